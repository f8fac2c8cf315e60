// SPDX-License-Identifier: MIT OR Apache-2.0

//! A child that calls execve(2).
//!
//! It is made as vfork(2) makes one, but on a stack of its own (as posix_spawn(3) does, which can't do all that is needed):
//! it shares the proxy's memory until it calls execve(2) or ends, and the thread that made it waits until then. fork(2) would
//! have to copy the page tables of all memory of the isle's application, and needs a pipe for the error.

use super::{check, errno};
use crate::rearrange::Step;
use libc::{c_char, c_int, c_long, c_void};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// What the child runs, and what it has then.
pub struct Command<'a> {
    pub path: &'a CStr,
    pub argv: &'a [&'a CStr],
    pub envp: &'a [&'a CStr],
    /// `None`: that of the proxy.
    pub cwd: Option<RawFd>,
    pub umask: u32,
    pub new_session: bool,
    /// For setpgid(2).
    pub group: Option<i32>,
    /// Blocked and ignored signals: bit `n - 1` is signal `n`.
    pub blocked: u64,
    pub ignored: u64,
    /// How its descriptors come to be.
    pub steps: &'a [Step],
}

/// Stack of the child until it calls execve(2).
const STACK: usize = 64 << 10;

/// The kernel's number of signals, and what rt_sigprocmask(2) and rt_sigaction(2) call the size of a set.
const SIGNALS: c_int = 64;
const SET_SIZE: usize = size_of::<u64>();

/// All that the child needs, so that it allocates nothing.
struct Task<'a> {
    command: &'a Command<'a>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// Why there was no execve(2); 0: there was.
    errno: AtomicI32,
}

/// Runs it. Returns the child's number, and a descriptor to wait for its end, once it runs.
pub fn spawn(command: &Command<'_>) -> io::Result<(i32, OwnedFd)> {
    let pointers = |strings: &[&CStr]| {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let errno = AtomicI32::new(0);
    let task = Task { command, argv: pointers(command.argv), envp: pointers(command.envp), errno };
    let mut stack: Vec<MaybeUninit<u128>> = Vec::with_capacity(STACK / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: RawFd = -1;
    let argument = (&raw const task).cast_mut().cast::<c_void>();
    // No handler may run in the child: it would do so in the proxy's memory.
    let before = set_mask(u64::MAX);
    // SAFETY:
    // 1. The child's stack is aligned as the ABI wants it and outlives its use: this thread goes on only once the child has
    //    other memory or has ended. So do `task` and all that it points to.
    // 2. The child shares this thread's thread-local storage; all that it writes there is errno.
    // 3. It calls but functions that may be called in signal handlers, and takes no lock.
    // 4. With CLONE_PIDFD the kernel writes a descriptor to the fifth argument.
    let pid = check(unsafe { libc::clone(run, top.cast(), flags, argument, &raw mut pidfd) });
    set_mask(before);
    let pid = pid?;
    // SAFETY: A new descriptor that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    match task.errno.load(Ordering::Relaxed) {
        0 => Ok((pid, pidfd)),
        errno => {
            // It has ended, or is about to. Nobody else can wait for it.
            let wait = || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).err();
            while wait() == Some(Errno::INTR) {}
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Sends a signal to the child behind such a descriptor.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: Touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on children that have ended are kept until they are waited for, also if who started the proxy ignored SIGCHLD (wait(2)).
pub fn keep_ended() {
    // SAFETY: The default action does nothing.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Blocks these signals in this thread, also the C library's own, and no others. Returns those that were blocked before.
fn set_mask(set: u64) -> u64 {
    let mut before: u64 = 0;
    let (new, old) = (&raw const set, &raw mut before);
    // SAFETY: Reads and writes sets of this size. It can't fail.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SET_SIZE) };
    before
}

extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a `Task`, which lives until this child is gone from its memory.
    let task = unsafe { &*argument.cast_const().cast::<Task<'_>>() };
    let Err(error) = begin(task);
    task.errno.store(error, Ordering::Relaxed);
    // SAFETY: Ends without the exit handlers, which are the proxy's.
    unsafe { libc::_exit(127) }
}

/// Runs in the child: allocates nothing, locks nothing, doesn't panic. An error is an errno.
fn begin(task: &Task<'_>) -> Result<Infallible, i32> {
    let Command { path, cwd, umask, new_session, group, blocked, ignored, steps, .. } = *task.command;
    // SAFETY: None of them touches memory.
    unsafe {
        if new_session {
            done(libc::setsid())?;
        }
        if let Some(group) = group {
            done(libc::setpgid(0, group))?;
        }
        if let Some(cwd) = cwd {
            done(libc::fchdir(cwd))?;
        }
        libc::umask(umask);
    }
    arrange(steps)?;
    for signal in 1..=SIGNALS {
        let is_ignored =
            ignored.checked_shr(signal.cast_unsigned().wrapping_sub(1)).is_some_and(|s| s & 1 == 1);
        set_action(signal, if is_ignored { libc::SIG_IGN } else { libc::SIG_DFL });
    }
    set_mask(blocked);
    // SAFETY: The path ends with a NUL, as all strings do to which the arrays point, and these end with a null.
    done(unsafe { libc::execve(path.as_ptr(), task.argv.as_ptr(), task.envp.as_ptr()) })?;
    Err(libc::EINVAL)
}

fn done(result: c_int) -> Result<c_int, i32> {
    if result == -1 { Err(errno()) } else { Ok(result) }
}

/// The child's descriptors.
fn arrange(steps: &[Step]) -> Result<(), i32> {
    let mut aside = -1;
    for step in steps {
        // SAFETY: The descriptors are this child's alone (no CLONE_FILES), and nothing that it still runs uses one.
        unsafe {
            match *step {
                Step::Close { first, last } => {
                    if libc::syscall(libc::SYS_close_range, first, last, 0) == -1 {
                        return Err(errno());
                    }
                }
                Step::Keep(fd) => {
                    done(libc::fcntl(fd, libc::F_SETFD, 0))?;
                }
                Step::Copy { from, to } => {
                    done(libc::dup2(from, to))?;
                }
                Step::SetAside(fd) => aside = done(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0))?,
                Step::Fetch(to) => {
                    done(libc::dup2(aside, to))?;
                    libc::close(aside);
                }
            }
        }
    }
    Ok(())
}

/// Sets the action of any signal, also of those that the C library keeps for itself. Those of SIGKILL and SIGSTOP stay.
fn set_action(signal: c_int, action: libc::sighandler_t) {
    // struct sigaction of the kernel: handler, flags, restorer, mask.
    let new: [usize; 4] = [action, 0, 0, 0];
    let old = std::ptr::null_mut::<usize>();
    // SAFETY: Reads a structure of this size. The actions are this child's alone (no CLONE_SIGHAND).
    let _: c_long = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new.as_ptr(), old, SET_SIZE) };
}
