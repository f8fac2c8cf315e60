// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls that no crate offers as safe functions: forwarded ones, the door's ioctls, signals.

pub mod child;

use crate::shm::Region;
use hermit_abi::clock::Sample;
use hermit_abi::door::{self, Attachment, StartIsle, Status};
use hermit_abi::offload::{self, Arg};
use libc::{c_int, c_ulong};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// One argument of a forwarded call. All memory belongs to the proxy, but for what is in place.
pub enum Value<'a> {
    Scalar(u64),
    Null,
    Path(&'a CStr),
    In(&'a [u8]),
    Out(&'a mut [u8]),
    InOut(&'a mut [u8]),
    /// In application memory: for what the call reads, and for what it writes.
    InPlace(Region<'a>),
}

/// Makes a system call from the table of [`offload`] and returns what the kernel returns: a result or a negative
/// errno. Lengths of buffers are those of the slices, whatever the scalar says. -ENOSYS if the call
/// isn't in the table, -EFAULT if a value isn't what the table says.
pub fn forward(number: u32, values: &mut [Value<'_>; 6]) -> i64 {
    let request = match values[1] {
        Value::Scalar(scalar) => scalar,
        _ => 0,
    };
    let call = match offload::find(number, request) {
        Some(call) if number < offload::special::STARTUP => call,
        _ => return -i64::from(libc::ENOSYS),
    };
    let mut raw = [0u64; 6];
    let mut lens: [Option<u64>; 6] = [None; 6];
    // How long the buffers are whose length the kernel reads from memory, see `Arg::Length`.
    let mut sized: [Option<u32>; 6] = [None; 6];
    for (arg, value) in call.args.iter().zip(values.iter()) {
        if let (Arg::OutSized(n), Value::Out(bytes)) = (arg, value) {
            sized[usize::from(*n)] = u32::try_from(bytes.len()).ok();
        }
    }
    for (i, (arg, value)) in call.args.iter().zip(values).enumerate() {
        raw[i] = match (arg, value) {
            (Arg::Absent, _) => 0,
            (Arg::Scalar | Arg::Fd | Arg::DirFd, Value::Scalar(scalar)) => *scalar,
            (Arg::Scalar | Arg::Fd | Arg::DirFd, _) => return -i64::from(libc::EFAULT),
            (_, Value::Null) => 0,
            (Arg::Path | Arg::Text, Value::Path(path)) => path.as_ptr() as u64,
            (Arg::In(n), Value::In(bytes)) => {
                lens[usize::from(*n)] = Some(bytes.len() as u64);
                bytes.as_ptr() as u64
            }
            (Arg::Out(n), Value::Out(bytes)) => {
                lens[usize::from(*n)] = Some(bytes.len() as u64);
                bytes.as_mut_ptr() as u64
            }
            (Arg::OutArray(n, size), Value::Out(bytes)) => {
                lens[usize::from(*n)] = Some(bytes.len() as u64 / u64::from((*size).max(1)));
                bytes.as_mut_ptr() as u64
            }
            (Arg::InOutArray(n, size), Value::InOut(bytes)) => {
                lens[usize::from(*n)] = Some(bytes.len() as u64 / u64::from((*size).max(1)));
                bytes.as_mut_ptr() as u64
            }
            (Arg::OutSized(_), Value::Out(bytes)) => bytes.as_mut_ptr() as u64,
            (Arg::Length, Value::InOut(bytes)) if bytes.len() == 4 => {
                // No buffer: no length.
                bytes.copy_from_slice(&sized[i].unwrap_or(0).to_ne_bytes());
                bytes.as_mut_ptr() as u64
            }
            (Arg::InOutStruct(size), Value::InOut(bytes)) if bytes.len() >= usize::from(*size) => {
                bytes.as_mut_ptr() as u64
            }
            (Arg::InStruct(size), Value::In(bytes)) if bytes.len() >= usize::from(*size) => {
                bytes.as_ptr() as u64
            }
            (Arg::OutStruct(size), Value::Out(bytes)) if bytes.len() >= usize::from(*size) => {
                bytes.as_mut_ptr() as u64
            }
            (Arg::In(n) | Arg::Out(n), Value::InPlace(region)) => {
                lens[usize::from(*n)] = Some(region.len());
                region.address()
            }
            (Arg::OutArray(n, size), Value::InPlace(region)) => {
                lens[usize::from(*n)] = Some(region.len() / u64::from((*size).max(1)));
                region.address()
            }
            (Arg::InStruct(size) | Arg::OutStruct(size), Value::InPlace(region))
                if region.len() >= u64::from(*size) =>
            {
                region.address()
            }
            _ => return -i64::from(libc::EFAULT),
        };
    }
    for (value, len) in raw.iter_mut().zip(lens) {
        *value = len.unwrap_or(*value);
    }
    let [a, b, c, d, e, f] = raw;
    // SAFETY:
    // 1. None of the calls in the table touches memory but through the arguments that the table calls buffers.
    // 2. Each of those is null, which makes the kernel return EFAULT or do without, or a slice or string that is borrowed
    //    until the call returns, for writing where the call writes, and as long as the table or the length
    //    argument that was set above says; or a region of application memory, which nothing of the proxy's is in.
    // 3. Descriptors are numbers to the kernel; callers see to it that they are the application's.
    let result = unsafe { libc::syscall(i64::from(number), a, b, c, d, e, f) };
    if result == -1 { -i64::from(errno()) } else { result }
}

/// A message of a socket: the parts of struct msghdr(3).
pub struct Message<'a> {
    pub name: &'a mut [u8],
    pub data: &'a mut [u8],
    pub control: &'a mut [u8],
    pub flags: usize,
}

impl Message<'_> {
    /// Calls `f` with it as the kernel wants it; returns the lengths of name and control messages as they are then.
    fn with_header(&mut self, f: impl FnOnce(*mut libc::msghdr) -> isize) -> (i64, (usize, usize)) {
        let mut part = libc::iovec { iov_base: self.data.as_mut_ptr().cast(), iov_len: self.data.len() };
        // SAFETY: All zeroes is a valid msghdr: one of nothing.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        if !self.name.is_empty() {
            header.msg_name = self.name.as_mut_ptr().cast();
            header.msg_namelen = libc::socklen_t::try_from(self.name.len()).unwrap_or(0);
        }
        if !self.control.is_empty() {
            header.msg_control = self.control.as_mut_ptr().cast();
            header.msg_controllen = self.control.len();
        }
        (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
        let result = f(&raw mut header);
        self.flags = usize::try_from(header.msg_flags).unwrap_or(0);
        let name_len = usize::try_from(header.msg_namelen).unwrap_or(0);
        let result = if result < 0 { -i64::from(errno()) } else { i64::try_from(result).unwrap_or(i64::MAX) };
        (result, (name_len, header.msg_controllen.min(self.control.len())))
    }
}

fn message_flags(flags: u64) -> c_int {
    c_int::try_from(flags & 0x7fff_ffff).unwrap_or(0)
}

/// sendmsg(2). Descriptors in control messages are the application's, says the caller. No SIGPIPE: that is the isle's affair.
pub fn send_message(fd: i32, message: &mut Message<'_>, flags: u64) -> i64 {
    let flags = message_flags(flags) | libc::MSG_NOSIGNAL;
    // SAFETY: All that the header points to is borrowed for writing until the call returns, and as long as it says.
    message.with_header(|header| unsafe { libc::sendmsg(fd, header, flags) }).0
}

/// recvmsg(2): its result, and the lengths of name and control messages.
pub fn receive_message(fd: i32, message: &mut Message<'_>, flags: u64) -> (i64, (usize, usize)) {
    // SAFETY: As in `send_message`.
    message.with_header(|header| unsafe { libc::recvmsg(fd, header, message_flags(flags)) })
}

/// Which way data goes between a file and application memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    FromFile,
    ToFile,
}

/// Reads or writes application memory in place, at a position or at the file's own; returns what the kernel
/// returns: a result or a negative errno. EFAULT also where a file system can't do I/O on memory that isn't Linux's.
pub fn transfer(way: Way, fd: i32, regions: &[Region<'_>], position: Option<u64>) -> i64 {
    let (number, buffer, len) = match (way, position, regions) {
        (Way::FromFile, None, [_, _, ..]) => (libc::SYS_readv, regions.as_ptr() as u64, regions.len() as u64),
        (Way::FromFile, Some(_), [_, _, ..]) => {
            (libc::SYS_preadv, regions.as_ptr() as u64, regions.len() as u64)
        }
        (Way::ToFile, None, [_, _, ..]) => (libc::SYS_writev, regions.as_ptr() as u64, regions.len() as u64),
        (Way::ToFile, Some(_), [_, _, ..]) => {
            (libc::SYS_pwritev, regions.as_ptr() as u64, regions.len() as u64)
        }
        (_, _, few) => {
            let (start, len) = few.first().map_or((0, 0), |r| (r.address(), r.len()));
            (single(way, position), start, len)
        }
    };
    // SAFETY:
    // 1. The buffer is a region of application memory, or a list of such: `Region` has the layout of an iovec, and the
    //    list is borrowed. They stay mapped as long as they are borrowed, and nothing of the proxy's is in them.
    // 2. The descriptor is a number to the kernel; the caller sees to it that it is the application's.
    // On x86-64 a position is one argument, and the half that follows it doesn't count.
    let result = unsafe { libc::syscall(number, fd, buffer, len, position.unwrap_or(0), 0) };
    if result == -1 { -i64::from(errno()) } else { result }
}

/// As [`transfer`], with memory of the proxy.
pub fn transfer_own(way: Way, fd: i32, bytes: &mut [u8], position: Option<u64>) -> i64 {
    let (start, len) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: The buffer is borrowed for writing; the descriptor as in `transfer`.
    let result = unsafe { libc::syscall(single(way, position), fd, start, len, position.unwrap_or(0)) };
    if result == -1 { -i64::from(errno()) } else { result }
}

/// The call for one buffer.
fn single(way: Way, position: Option<u64>) -> libc::c_long {
    match (way, position) {
        (Way::FromFile, None) => libc::SYS_read,
        (Way::FromFile, Some(_)) => libc::SYS_pread64,
        (Way::ToFile, None) => libc::SYS_write,
        (Way::ToFile, Some(_)) => libc::SYS_pwrite64,
    }
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: Every x86-64 CPU has it, and Linux lets programs read it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Linux's clocks, and the time stamp counter at the same time, about.
pub fn sample() -> Sample {
    let clock = |id| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: Writes a time, which is borrowed for writing; fails with no clock that Linux has.
        unsafe { libc::clock_gettime(id, &raw mut time) };
        (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
    };
    // The shortest of some tries was interrupted least.
    let tries = (0..8).map(|_| {
        let before = ticks();
        let monotonic = clock(libc::CLOCK_MONOTONIC);
        (ticks().wrapping_sub(before), before, monotonic)
    });
    let (took, before, monotonic_ns) = tries.min().unwrap_or_default();
    let offset = |id| clock(id).wrapping_sub(clock(libc::CLOCK_MONOTONIC));
    Sample {
        tsc: before.wrapping_add(took / 2),
        monotonic_ns,
        realtime: offset(libc::CLOCK_REALTIME),
        boottime: offset(libc::CLOCK_BOOTTIME),
        tai: offset(libc::CLOCK_TAI),
        pace: 0,
    }
}

/// Has a command end when the thread dies that starts it, and keeps it from the terminal's signals.
pub fn end_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    let parent = std::process::id();
    let set = move || {
        // SAFETY: Both are plain system calls, which a child of fork(2) may make.
        unsafe {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // It may have died just before.
            if libc::getppid().unsigned_abs() != parent {
                libc::_exit(1);
            }
        }
        Ok(())
    };
    // SAFETY: The closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(set) };
}

/// Calls `f` with a descriptor that a forwarded call has just made and that nobody else knows yet.
/// `None` if that is no descriptor.
pub fn with_new_descriptor<R>(fd: i32, f: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
    if fd < 0 {
        return None;
    }
    // SAFETY: Not -1. The application alone closes it, after it has been told of it, which is after `f`.
    Some(f(unsafe { BorrowedFd::borrow_raw(fd) }))
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Starts the isle behind a door.
pub fn start_isle(fd: BorrowedFd<'_>, argument: &StartIsle) -> io::Result<()> {
    // SAFETY: The ioctl reads a `StartIsle`. (Another device would say ENOTTY.)
    check(unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(door::START_ISLE), argument) })?;
    Ok(())
}

/// Attaches to the isle behind a door.
pub fn attach(fd: BorrowedFd<'_>) -> io::Result<Attachment> {
    let mut attachment = Attachment::default();
    // SAFETY: The ioctl writes an `Attachment`, which is borrowed for writing.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(door::ATTACH), &raw mut attachment) })?;
    Ok(attachment)
}

/// Asks how the application is.
pub fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    let mut status = Status::default();
    // SAFETY: The ioctl writes a `Status`, which is borrowed for writing.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(door::STATUS), &raw mut status) })?;
    Ok(status)
}

/// The orders to a door that have no argument in memory.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Run,
    Kick(u32),
    Signal(i32),
}

/// Gives an order to the isle behind a door.
pub fn order(fd: BorrowedFd<'_>, order: Order) -> io::Result<()> {
    let (command, argument) = match order {
        Order::Run => (door::RUN, 0),
        Order::Kick(cpu) => (door::KICK, c_ulong::from(cpu)),
        Order::Signal(number) => (door::SIGNAL, c_ulong::try_from(number).unwrap_or(0)),
    };
    // SAFETY: These ioctls touch no memory of ours.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), c_ulong::from(command), argument) })?;
    Ok(())
}

/// Has binfmt_misc kept `argv[0]` (flag P)? AT_FLAGS_PRESERVE_ARGV0, include/uapi/linux/binfmts.h.
pub fn binfmt_keeps_argv0() -> bool {
    const AT_FLAGS: c_ulong = 8;
    // SAFETY: Reads the process's own auxiliary vector.
    unsafe { libc::getauxval(AT_FLAGS) & 1 != 0 }
}

/// Saved user and group (getresuid(2)).
pub fn saved_ids() -> (u32, u32) {
    let (mut real, mut effective, mut user, mut group) = (0, 0, 0, 0);
    // SAFETY: Both write three numbers, which are borrowed for writing, and succeed with these pointers.
    unsafe {
        libc::getresuid(&raw mut real, &raw mut effective, &raw mut user);
        libc::getresgid(&raw mut real, &raw mut effective, &raw mut group);
    }
    (user, group)
}

/// Process group and session (getpgrp(2), getsid(2)); 0 is one whose leader is in another PID namespace (pid_namespaces(7)),
/// which `rustix` takes for impossible.
pub fn group_and_session() -> (u32, u32) {
    // SAFETY: Neither takes a pointer, and neither fails for the process itself.
    let ids = unsafe { [libc::getpgrp(), libc::getsid(0)] };
    ids.map(i32::unsigned_abs).into()
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set, `sigaddset` changes it or refuses a bad number.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Does the process ignore this signal, say because of nohup(1)? (Blocked, it would come all the same.)
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: Only asks; fills in `action` if it succeeds.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Blocks signals in this thread, and those it will start, and returns a descriptor to read them from.
pub fn take_signals(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: The set is initialised; the old one isn't asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: The set is initialised.
    let fd = check(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
    // SAFETY: A new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal of [`take_signals`], if there is one.
pub fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
    let n = rustix::io::read(fd, &mut bytes).ok()?;
    let signo = bytes.get(..n)?.first_chunk()?;
    i32::try_from(u32::from_ne_bytes(*signo)).ok()
}

/// Is this new descriptor the memory of this very process (proc_pid_mem(5)), by whatever way it was opened?
pub fn is_own_memory(fd: i32) -> bool {
    let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else { return false };
    let own = format!("/proc/{}/", std::process::id());
    target.to_str().is_some_and(|t| t.starts_with(&own) && t.ends_with("/mem"))
}

/// Closes a descriptor that nobody else knows.
pub fn close(fd: i32) {
    // SAFETY: the caller says that nobody uses it.
    unsafe { libc::close(fd) };
}

extern "C" fn on_interruption(_: c_int) {}

/// From now on [`interrupt`] makes a thread's blocking call return with EINTR. SIGURG is ignored by default and never
/// the application's affair.
pub fn allow_interruption() {
    let handler: extern "C" fn(c_int) = on_interruption;
    // SAFETY: All zeroes is a valid sigaction: no flags, so that calls aren't made again; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as libc::sighandler_t;
        libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut());
    }
}

/// The calling thread, for [`interrupt`].
pub fn thread_id() -> i32 {
    // SAFETY: Always succeeds.
    unsafe { libc::gettid() }
}

/// Interrupts a thread of this process; nothing happens if it is gone.
pub fn interrupt(thread: i32) {
    // SAFETY: Touches no memory.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGURG) };
}

/// Dies of this signal, so that the parent sees it, but without a core dump: it would be the proxy's.
/// Returns if the signal isn't deadly.
pub fn die_of(signal: i32) {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let set = signal_set(&[signal]);
    // SAFETY: Back to what every process starts with; no handler of this process is needed after it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Where [`on_sigbus`] writes.
static LAST_WORDS_FD: AtomicI32 = AtomicI32::new(2);

/// Tells the handler of SIGBUS where to write. The descriptor must stay open.
pub fn set_last_words_fd(fd: &OwnedFd) {
    LAST_WORDS_FD.store(fd.as_raw_fd(), Ordering::Relaxed);
}

extern "C" fn on_sigbus(_: c_int) {
    let words = b"proxy: the isle was stopped while its application ran\n";
    // SAFETY: write(2) and _exit(2) may be called in signal handlers.
    unsafe {
        libc::write(LAST_WORDS_FD.load(Ordering::Relaxed), words.as_ptr().cast(), words.len());
        libc::_exit(crate::failure::FAILED.into());
    }
}

/// From now on SIGBUS, which comes of touching the memory of an isle that is gone, ends the proxy
/// with a sentence.
pub fn explain_sigbus() {
    let handler: extern "C" fn(c_int) = on_sigbus;
    // SAFETY: The handler only does what is allowed in one.
    unsafe { libc::signal(libc::SIGBUS, handler as libc::sighandler_t) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{In, InOut, Null, Out, Path, Scalar};

    fn call(number: u32, values: [Value<'_>; 3]) -> i64 {
        let [a, b, c] = values;
        forward(number, &mut [a, b, c, Scalar(0), Scalar(0), Scalar(0)])
    }

    #[test]
    fn keeps_results_and_errno() {
        let cwd = || Scalar(libc::AT_FDCWD as u64);
        assert_eq!(call(269, [cwd(), Path(c"/"), Scalar(0)]), 0);
        assert_eq!(call(269, [cwd(), Path(c"/nonexistent"), Scalar(0)]), -i64::from(libc::ENOENT));
        assert_eq!(call(3, [Scalar(u64::MAX), Scalar(0), Scalar(0)]), -i64::from(libc::EBADF));
        assert_eq!(call(269, [cwd(), Null, Scalar(0)]), -i64::from(libc::EFAULT));
    }

    #[test]
    fn lengths_are_those_of_the_slices() {
        let mut small = [0; 4];
        let cwd = Scalar(libc::AT_FDCWD as u64);
        let path = Path(c"/proc/self/exe");
        let [none, more] = [Scalar(0), Scalar(0)];
        let result = forward(267, &mut [cwd, path, Out(&mut small), Scalar(1 << 40), none, more]);
        assert_eq!(result, 4);
        let mut stat = [0; 143];
        assert_eq!(call(5, [Scalar(0), Out(&mut stat), Scalar(0)]), -i64::from(libc::EFAULT));
    }

    #[test]
    fn lengths_in_memory_are_those_of_the_slices() {
        let socket = call(41, [Scalar(1), Scalar(1), Scalar(0)]);
        assert!(socket > 0);
        let (mut name, mut len) = ([0xff; 8], u32::MAX.to_ne_bytes());
        let fd = u64::try_from(socket).unwrap();
        assert_eq!(call(51, [Scalar(fd), Out(&mut name[..1]), InOut(&mut len)]), 0);
        // The whole name has two bytes, of which one fitted.
        assert_eq!((name, u32::from_ne_bytes(len)), ([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 2));
        assert_eq!(call(51, [Scalar(fd), Out(&mut name), InOut(&mut [0; 3])]), -i64::from(libc::EFAULT));
        close(i32::try_from(socket).unwrap());
    }

    #[test]
    fn refuses_what_is_not_in_the_table() {
        assert_eq!(call(57, [Scalar(0), Scalar(0), Scalar(0)]), -i64::from(libc::ENOSYS));
        assert_eq!(call(16, [Scalar(0), Scalar(0x5412), In(&[])]), -i64::from(libc::ENOSYS));
        assert_eq!(call(0, [Scalar(0), Scalar(4096), Scalar(8)]), -i64::from(libc::EFAULT));
        assert_eq!(call(0, [Scalar(0), In(b"read only"), Scalar(8)]), -i64::from(libc::EFAULT));
        let startup = offload::special::STARTUP;
        assert_eq!(call(startup, [Scalar(0), Scalar(0), Scalar(0)]), -i64::from(libc::ENOSYS));
    }
}
