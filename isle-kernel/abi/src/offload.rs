// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which system calls may be forwarded, and what their arguments are.
//!
//! One table for both sides: the isle kernel turns arguments into segments by it, the proxy checks
//! requests against it and refuses whatever isn't here.

/// Calls that Linux doesn't have.
pub mod special {
    /// `startup(out block, capacity)`: how the application begins. Writes a [`super::StartBlock`]
    /// and what follows it, and returns its length; -E2BIG if it doesn't fit in `capacity`
    /// (then ask again with twice as much).
    pub const STARTUP: u32 = 0x8000_0000;
    /// `spawn(in block, length)`: runs a command on Linux as a child of the proxy. The block is told in
    /// `spawn.rs`. Returns the child's number on Linux once the command has begun, and otherwise why
    /// execve(2) failed (a text without `#!` is -ENOEXEC), or that of fork(2), setsid(2), setpgid(2) or fchdir(2).
    /// -EBADF: a descriptor isn't the application's. -EINVAL: the block is malformed. -E2BIG: it is too long.
    pub const SPAWN: u32 = 0x8000_0001;
    /// `wait(pid)`: waits until that child has ended and returns its status as wait(2) has it, once. -ECHILD: it isn't
    /// a child of [`SPAWN`], or its status has been returned. After -EINTR it can be waited for again.
    pub const WAIT: u32 = 0x8000_0002;
    /// `signal_child(pid, signal)`: kill(2) of that child, which may have ended. -ESRCH: it isn't a child of [`SPAWN`],
    /// or its status has been returned.
    pub const SIGNAL_CHILD: u32 = 0x8000_0003;
}

/// What [`special::STARTUP`] writes, followed by `argc` strings, `envc` strings and the absolute path of
/// the program, each ended by a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StartBlock {
    /// Length of it all in bytes.
    pub len: u32,
    pub argc: u32,
    pub envc: u32,
    /// The proxy's descriptor of the program's file, for pread64.
    pub exe_fd: u32,
    /// Size of the program's file in bytes.
    pub exe_size: u64,
    /// What getpid(2) and its like return.
    pub pid: u32,
    pub ppid: u32,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    /// For AT_RANDOM.
    pub random: [u8; 16],
}

/// What one argument of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Not there.
    Absent,
    /// Passed as it is.
    Scalar,
    /// A file descriptor of the proxy (the isle kernel has translated its own).
    Fd,
    /// The directory of an *at call: a descriptor of the proxy, or AT_FDCWD.
    DirFd,
    /// A NUL-terminated string that the call reads; its length counts the NUL.
    Path,
    /// Bytes that the call reads; argument `n` says how many.
    In(u8),
    /// Bytes that the call writes; argument `n` says how many.
    Out(u8),
    /// Structures of size `s` that the call writes; argument `n` says how many fit, the result how many there are.
    OutArray(u8, u16),
    /// A structure of this size that the call writes.
    OutStruct(u16),
    /// A structure of this size that the call reads.
    InStruct(u16),
}

/// One call that may be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub name: &'static str,
    pub args: [Arg; 6],
    /// The result is a new descriptor.
    pub makes_fd: bool,
}

use Arg::*;

const fn call(number: u32, name: &'static str, args: &[Arg]) -> Call {
    let mut all = [Absent; 6];
    let mut i = 0;
    while i < args.len() {
        #[allow(clippy::indexing_slicing)] // at compile time
        {
            all[i] = args[i];
        }
        #[allow(clippy::arithmetic_side_effects)] // at most 6
        {
            i += 1;
        }
    }
    Call { number, name, args: all, makes_fd: false }
}

const fn opens(mut call: Call) -> Call {
    call.makes_fd = true;
    call
}

const STAT: u16 = 144;

/// struct epoll_event, which is packed.
pub const EPOLL_EVENT: u16 = 12;

/// All calls that may be forwarded. Sizes are those of the x86-64 structures.
pub const CALLS: &[Call] = &[
    call(0, "read", &[Fd, Out(2), Scalar]),
    call(1, "write", &[Fd, In(2), Scalar]),
    opens(call(2, "open", &[Path, Scalar, Scalar])),
    call(3, "close", &[Fd]),
    call(4, "stat", &[Path, OutStruct(STAT)]),
    call(5, "fstat", &[Fd, OutStruct(STAT)]),
    call(6, "lstat", &[Path, OutStruct(STAT)]),
    call(8, "lseek", &[Fd, Scalar, Scalar]),
    call(17, "pread64", &[Fd, Out(2), Scalar, Scalar]),
    call(18, "pwrite64", &[Fd, In(2), Scalar, Scalar]),
    call(21, "access", &[Path, Scalar]),
    opens(call(32, "dup", &[Fd])),
    call(74, "fsync", &[Fd]),
    call(75, "fdatasync", &[Fd]),
    call(77, "ftruncate", &[Fd, Scalar]),
    call(79, "getcwd", &[Out(1), Scalar]),
    call(80, "chdir", &[Path]),
    call(82, "rename", &[Path, Path]),
    call(83, "mkdir", &[Path, Scalar]),
    call(84, "rmdir", &[Path]),
    call(87, "unlink", &[Path]),
    call(89, "readlink", &[Path, Out(2), Scalar]),
    call(217, "getdents64", &[Fd, Out(2), Scalar]),
    call(EPOLL_WAIT, "epoll_wait", &[Fd, OutArray(2, EPOLL_EVENT), Scalar, Scalar]),
    call(EPOLL_CTL, "epoll_ctl", &[Fd, Scalar, Fd, InStruct(EPOLL_EVENT)]),
    opens(call(257, "openat", &[DirFd, Path, Scalar, Scalar])),
    call(258, "mkdirat", &[DirFd, Path, Scalar]),
    call(262, "newfstatat", &[DirFd, Path, OutStruct(STAT), Scalar]),
    call(263, "unlinkat", &[DirFd, Path, Scalar]),
    call(264, "renameat", &[DirFd, Path, DirFd, Path]),
    call(267, "readlinkat", &[DirFd, Path, Out(3), Scalar]),
    call(269, "faccessat", &[DirFd, Path, Scalar]),
    opens(call(EVENTFD2, "eventfd2", &[Scalar, Scalar])),
    opens(call(EPOLL_CREATE1, "epoll_create1", &[Scalar])),
    call(PIPE2, "pipe2", &[OutStruct(8), Scalar]),
    call(332, "statx", &[DirFd, Path, Scalar, Scalar, OutStruct(256)]),
    call(439, "faccessat2", &[DirFd, Path, Scalar, Scalar]),
    call(special::STARTUP, "startup", &[Out(1), Scalar]),
    call(special::SPAWN, "spawn", &[In(1), Scalar]),
    call(special::WAIT, "wait", &[Scalar]),
    call(special::SIGNAL_CHILD, "signal_child", &[Scalar, Scalar]),
];

/// The ioctls that may be forwarded, each with the structure it writes: those which C libraries
/// make to see whether a descriptor is a terminal.
pub const IOCTLS: &[(u32, Arg)] = &[(TCGETS, OutStruct(36)), (TIOCGWINSZ, OutStruct(8)), (FIONREAD, OutStruct(4))];

pub const EPOLL_WAIT: u32 = 232;
pub const EPOLL_CTL: u32 = 233;
pub const EVENTFD2: u32 = 290;
pub const EPOLL_CREATE1: u32 = 291;

/// Number of pipe2(2), which makes two descriptors: the structure that it writes.
pub const PIPE2: u32 = 293;

/// Number of ioctl(2), whose third argument depends on the second.
pub const IOCTL: u32 = 16;
pub const TCGETS: u32 = 0x5401;
pub const TIOCGWINSZ: u32 = 0x5413;
pub const FIONREAD: u32 = 0x541b;

/// The call with this number, or `None` if it may not be forwarded. `arg1` is the second argument,
/// which says what an ioctl's third one is.
pub fn find(number: u32, arg1: u64) -> Option<Call> {
    if number == IOCTL {
        let &(_, arg) = IOCTLS.iter().find(|(request, _)| u64::from(*request) == arg1)?;
        return Some(call(IOCTL, "ioctl", &[Fd, Scalar, arg]));
    }
    let at = CALLS.binary_search_by_key(&number, |c| c.number).ok()?;
    CALLS.get(at).copied()
}

const _: () = assert!(core::mem::size_of::<StartBlock>() == 64);

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_lengths_are_scalars() {
        assert!(CALLS.windows(2).all(|w| w[0].number < w[1].number));
        for c in CALLS {
            for a in c.args {
                if let In(n) | Out(n) | OutArray(n, _) = a {
                    assert_eq!(c.args[usize::from(n)], Scalar, "{}", c.name);
                }
            }
        }
    }

    #[test]
    fn ioctl_depends_on_its_request() {
        assert_eq!(find(IOCTL, TCGETS.into()).unwrap().args[2], OutStruct(36));
        assert!(find(IOCTL, 0x5402).is_none());
        assert!(find(57, 0).is_none(), "fork");
    }
}
