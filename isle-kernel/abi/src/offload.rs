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
    /// `sendmsg(fd, in data, length, flags, in envelope, length)`: sendmsg(2) with its data in one buffer, and name and
    /// control messages in a [`super::Envelope`].
    pub const SENDMSG: u32 = 0x8000_0010;
    /// `recvmsg(fd, out data, length, flags, inout envelope)`: recvmsg(2), likewise. `name_len` and `control_len` say how
    /// much there may be of each, then how much there is.
    pub const RECVMSG: u32 = 0x8000_0011;
}

/// Longest name of a socket (struct sockaddr_storage), and the control messages of one call.
pub const NAME_MAX: usize = 128;
pub const CONTROL_MAX: usize = 3840;

/// What a message is sent or received with besides its data: struct msghdr(2) without pointers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    pub name_len: u32,
    pub control_len: u32,
    /// msg_flags of what was received.
    pub flags: u32,
    pub _pad: u32,
    pub name: [u8; NAME_MAX],
    /// As cmsg(3) has it; descriptors (SCM_RIGHTS) are the proxy's.
    pub control: [u8; CONTROL_MAX],
}

/// Bytes of an [`Envelope`], and of what precedes its name and its control messages.
pub const ENVELOPE_LEN: usize = core::mem::size_of::<Envelope>();
pub const ENVELOPE_NAME: usize = core::mem::offset_of!(Envelope, name);
pub const ENVELOPE_CONTROL: usize = core::mem::offset_of!(Envelope, control);

/// Limits of setrlimit(2) that there are.
pub const LIMITS: usize = 16;

/// What [`special::STARTUP`] writes, followed by `group_count` numbers of 4 bytes (getgroups(2)), `argc` strings, `envc`
/// strings, the absolute path of the program, and Linux's host name, each string ended by a NUL.
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
    /// Saved user and group (getresuid(2)).
    pub suid: u32,
    pub sgid: u32,
    /// Process group and session.
    pub pgid: u32,
    pub sid: u32,
    /// umask(2): the proxy's own is 0, the isle applies this one.
    pub umask: u32,
    pub group_count: u32,
    /// getrlimit(2): soft and hard, by number.
    pub limits: [[u64; 2]; LIMITS],
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
    /// A path, ended by a NUL, which its length counts.
    Path,
    /// Another string that the call reads, ended by a NUL likewise.
    Text,
    /// Bytes that the call reads; argument `n` says how many.
    In(u8),
    /// Bytes that the call writes; argument `n` says how many.
    Out(u8),
    /// Bytes that the call writes; argument `n`, an [`Arg::Length`], says how many at most.
    OutSized(u8),
    /// A number of 4 bytes (socklen_t): how long a buffer is, then how much the call had for it.
    Length,
    /// Structures of size `s` that the call writes; argument `n` says how many fit, the result how many there are.
    OutArray(u8, u16),
    /// Structures of size `s` that the call reads and changes; argument `n` says how many.
    InOutArray(u8, u16),
    /// A structure of this size that the call writes.
    OutStruct(u16),
    /// A structure of this size that the call reads.
    InStruct(u16),
    /// A structure of this size that the call reads and changes.
    InOutStruct(u16),
}

/// One call that may be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub name: &'static str,
    pub args: [Arg; 6],
    /// The result is a new descriptor.
    pub makes_fd: bool,
    /// The result may say how much there is, more than fits into the buffer.
    pub measures: bool,
}

use Arg::*;

impl Call {
    /// None at all.
    pub const NONE: Self = call(u32::MAX, "none", &[]);
}

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
    Call { number, name, args: all, makes_fd: false, measures: false }
}

const fn opens(mut call: Call) -> Call {
    call.makes_fd = true;
    call
}

const fn measures(mut call: Call) -> Call {
    call.measures = true;
    call
}

const STAT: u16 = 144;

/// struct pollfd.
pub const POLLFD: u16 = 8;

/// struct epoll_event, which is packed.
pub const EPOLL_EVENT: u16 = 12;

/// All calls that may be forwarded. Sizes are those of the x86-64 structures. Of calls that differ only in how they name
/// a file, the one with a directory (*at) is here, and the isle kernel makes the others so.
pub const CALLS: &[Call] = &[
    call(0, "read", &[Fd, Out(2), Scalar]),
    call(1, "write", &[Fd, In(2), Scalar]),
    call(3, "close", &[Fd]),
    call(5, "fstat", &[Fd, OutStruct(STAT)]),
    call(8, "lseek", &[Fd, Scalar, Scalar]),
    call(17, "pread64", &[Fd, Out(2), Scalar, Scalar]),
    call(18, "pwrite64", &[Fd, In(2), Scalar, Scalar]),
    opens(call(32, "dup", &[Fd])),
    call(40, "sendfile", &[Fd, Fd, InOutStruct(8), Scalar]),
    opens(call(41, "socket", &[Scalar, Scalar, Scalar])),
    call(42, "connect", &[Fd, In(2), Scalar]),
    call(48, "shutdown", &[Fd, Scalar]),
    call(49, "bind", &[Fd, In(2), Scalar]),
    call(50, "listen", &[Fd, Scalar]),
    call(51, "getsockname", &[Fd, OutSized(2), Length]),
    call(52, "getpeername", &[Fd, OutSized(2), Length]),
    call(SOCKETPAIR, "socketpair", &[Scalar, Scalar, Scalar, OutStruct(8)]),
    call(54, "setsockopt", &[Fd, Scalar, Scalar, In(4), Scalar]),
    call(55, "getsockopt", &[Fd, Scalar, Scalar, OutSized(4), Length]),
    call(73, "flock", &[Fd, Scalar]),
    call(74, "fsync", &[Fd]),
    call(75, "fdatasync", &[Fd]),
    call(76, "truncate", &[Path, Scalar]),
    call(77, "ftruncate", &[Fd, Scalar]),
    call(78, "getdents", &[Fd, Out(2), Scalar]),
    call(79, "getcwd", &[Out(1), Scalar]),
    call(91, "fchmod", &[Fd, Scalar]),
    call(93, "fchown", &[Fd, Scalar, Scalar]),
    call(137, "statfs", &[Path, OutStruct(120)]),
    call(138, "fstatfs", &[Fd, OutStruct(120)]),
    call(162, "sync", &[]),
    call(187, "readahead", &[Fd, Scalar, Scalar]),
    call(188, "setxattr", &[Path, Text, In(3), Scalar, Scalar]),
    call(189, "lsetxattr", &[Path, Text, In(3), Scalar, Scalar]),
    call(190, "fsetxattr", &[Fd, Text, In(3), Scalar, Scalar]),
    measures(call(191, "getxattr", &[Path, Text, Out(3), Scalar])),
    measures(call(192, "lgetxattr", &[Path, Text, Out(3), Scalar])),
    measures(call(193, "fgetxattr", &[Fd, Text, Out(3), Scalar])),
    measures(call(194, "listxattr", &[Path, Out(2), Scalar])),
    measures(call(195, "llistxattr", &[Path, Out(2), Scalar])),
    measures(call(196, "flistxattr", &[Fd, Out(2), Scalar])),
    call(197, "removexattr", &[Path, Text]),
    call(198, "lremovexattr", &[Path, Text]),
    call(199, "fremovexattr", &[Fd, Text]),
    call(217, "getdents64", &[Fd, Out(2), Scalar]),
    call(221, "fadvise64", &[Fd, Scalar, Scalar, Scalar]),
    call(EPOLL_WAIT, "epoll_wait", &[Fd, OutArray(2, EPOLL_EVENT), Scalar, Scalar]),
    call(EPOLL_CTL, "epoll_ctl", &[Fd, Scalar, Fd, InStruct(EPOLL_EVENT)]),
    call(254, "inotify_add_watch", &[Fd, Path, Scalar]),
    call(255, "inotify_rm_watch", &[Fd, Scalar]),
    opens(call(257, "openat", &[DirFd, Path, Scalar, Scalar])),
    call(258, "mkdirat", &[DirFd, Path, Scalar]),
    call(259, "mknodat", &[DirFd, Path, Scalar, Scalar]),
    call(260, "fchownat", &[DirFd, Path, Scalar, Scalar, Scalar]),
    call(262, "newfstatat", &[DirFd, Path, OutStruct(STAT), Scalar]),
    call(263, "unlinkat", &[DirFd, Path, Scalar]),
    call(265, "linkat", &[DirFd, Path, DirFd, Path, Scalar]),
    call(266, "symlinkat", &[Text, DirFd, Path]),
    call(267, "readlinkat", &[DirFd, Path, Out(3), Scalar]),
    call(268, "fchmodat", &[DirFd, Path, Scalar]),
    call(269, "faccessat", &[DirFd, Path, Scalar]),
    call(PPOLL, "ppoll", &[InOutArray(1, POLLFD), Scalar, InStruct(16)]),
    call(275, "splice", &[Fd, InOutStruct(8), Fd, InOutStruct(8), Scalar, Scalar]),
    call(276, "tee", &[Fd, Fd, Scalar, Scalar]),
    call(277, "sync_file_range", &[Fd, Scalar, Scalar, Scalar]),
    call(280, "utimensat", &[DirFd, Path, InStruct(32), Scalar]),
    opens(call(283, "timerfd_create", &[Scalar, Scalar])),
    call(285, "fallocate", &[Fd, Scalar, Scalar, Scalar]),
    call(286, "timerfd_settime", &[Fd, Scalar, InStruct(32), OutStruct(32)]),
    call(287, "timerfd_gettime", &[Fd, OutStruct(32)]),
    opens(call(288, "accept4", &[Fd, OutSized(2), Length, Scalar])),
    opens(call(EVENTFD2, "eventfd2", &[Scalar, Scalar])),
    opens(call(EPOLL_CREATE1, "epoll_create1", &[Scalar])),
    call(PIPE2, "pipe2", &[OutStruct(8), Scalar]),
    opens(call(294, "inotify_init1", &[Scalar])),
    call(306, "syncfs", &[Fd]),
    call(316, "renameat2", &[DirFd, Path, DirFd, Path, Scalar]),
    opens(call(319, "memfd_create", &[Text, Scalar])),
    call(326, "copy_file_range", &[Fd, InOutStruct(8), Fd, InOutStruct(8), Scalar, Scalar]),
    call(332, "statx", &[DirFd, Path, Scalar, Scalar, OutStruct(256)]),
    opens(call(437, "openat2", &[DirFd, Path, In(3), Scalar])),
    call(439, "faccessat2", &[DirFd, Path, Scalar, Scalar]),
    call(452, "fchmodat2", &[DirFd, Path, Scalar, Scalar]),
    call(special::STARTUP, "startup", &[Out(1), Scalar]),
    call(special::SPAWN, "spawn", &[In(1), Scalar]),
    call(special::WAIT, "wait", &[Scalar]),
    call(special::SIGNAL_CHILD, "signal_child", &[Scalar, Scalar]),
    call(special::SENDMSG, "sendmsg", &[Fd, In(2), Scalar, Scalar, In(5), Scalar]),
    measures(call(special::RECVMSG, "recvmsg", &[Fd, Out(2), Scalar, Scalar, InOutStruct(ENVELOPE_LEN as u16)])),
];

/// Commands of fcntl(2) that may be forwarded, and their third argument: those about what Linux has of a file.
pub const FCNTLS: &[(u32, Arg)] = &[
    (3, Scalar),           // F_GETFL
    (4, Scalar),           // F_SETFL
    (5, InOutStruct(32)),  // F_GETLK
    (6, InStruct(32)),     // F_SETLK
    (7, InStruct(32)),     // F_SETLKW
    (8, Scalar),           // F_SETOWN
    (9, Scalar),           // F_GETOWN
    (36, InOutStruct(32)), // F_OFD_GETLK
    (37, InStruct(32)),    // F_OFD_SETLK
    (38, InStruct(32)),    // F_OFD_SETLKW
    (1024, Scalar),        // F_SETLEASE
    (1025, Scalar),        // F_GETLEASE
    (1031, Scalar),        // F_SETPIPE_SZ
    (1032, Scalar),        // F_GETPIPE_SZ
    (1033, Scalar),        // F_ADD_SEALS
    (1034, Scalar),        // F_GET_SEALS
    (1035, OutStruct(8)),  // F_GET_RW_HINT
    (1036, InStruct(8)),   // F_SET_RW_HINT
];

/// Requests of ioctl(2) that may be forwarded, and their third argument: on terminals, and a few that programs make on any file.
pub const IOCTLS: &[(u32, Arg)] = &[
    (0x5401, OutStruct(36)),      // TCGETS
    (0x5402, InStruct(36)),       // TCSETS
    (0x5403, InStruct(36)),       // TCSETSW
    (0x5404, InStruct(36)),       // TCSETSF
    (0x5409, Scalar),             // TCSBRK
    (0x540a, Scalar),             // TCXONC
    (0x540b, Scalar),             // TCFLSH
    (0x540e, Scalar),             // TIOCSCTTY
    (0x540f, OutStruct(4)),       // TIOCGPGRP
    (0x5410, InStruct(4)),        // TIOCSPGRP
    (0x5411, OutStruct(4)),       // TIOCOUTQ
    (0x5413, OutStruct(8)),       // TIOCGWINSZ
    (0x5414, InStruct(8)),        // TIOCSWINSZ
    (0x541b, OutStruct(4)),       // FIONREAD
    (0x5421, InStruct(4)),        // FIONBIO
    (0x5422, Scalar),             // TIOCNOTTY
    (0x5424, OutStruct(4)),       // TIOCGETD
    (0x5425, Scalar),             // TCSBRKP
    (0x5429, OutStruct(4)),       // TIOCGSID
    (0x802c_542a, OutStruct(44)), // TCGETS2
    (0x402c_542b, InStruct(44)),  // TCSETS2
    (0x402c_542c, InStruct(44)),  // TCSETSW2
    (0x402c_542d, InStruct(44)),  // TCSETSF2
    (0x8004_5430, OutStruct(4)),  // TIOCGPTN
    (0x4004_5431, InStruct(4)),   // TIOCSPTLCK
    (0x8004_5439, OutStruct(4)),  // TIOCGPTLCK
    (0x5460, OutStruct(8)),       // FIOQSIZE
    (0x8905, OutStruct(4)),       // SIOCATMARK
    (0x4004_9409, Fd),            // FICLONE
    (0x8008_6601, OutStruct(4)),  // FS_IOC_GETFLAGS, which writes an int
    (0x4008_6602, InStruct(4)),   // FS_IOC_SETFLAGS
    (0x1268, OutStruct(4)),       // BLKSSZGET
    (0x8008_1270, OutStruct(4)),  // BLKBSZGET, which writes an int
    (0x8008_1272, OutStruct(8)),  // BLKGETSIZE64
];

pub const SOCKETPAIR: u32 = 53;
pub const EPOLL_WAIT: u32 = 232;
pub const EPOLL_CTL: u32 = 233;
pub const PPOLL: u32 = 271;
pub const EVENTFD2: u32 = 290;
pub const EPOLL_CREATE1: u32 = 291;

/// Number of pipe2(2), which makes two descriptors: the structure that it writes.
pub const PIPE2: u32 = 293;

/// Numbers of ioctl(2) and fcntl(2), whose third argument depends on the second.
pub const IOCTL: u32 = 16;
pub const FCNTL: u32 = 72;

/// Where the calls that Linux has are in the table, and one; 0: it isn't there. Both sides look at every call.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // at compile time
static INDEX: [u8; 512] = {
    let mut index = [0; 512];
    let mut at = 0;
    while at < CALLS.len() {
        let number = CALLS[at].number as usize;
        if number < index.len() {
            assert!(at < u8::MAX as usize);
            index[number] = at as u8 + 1;
        }
        at += 1;
    }
    index
};

/// The call with this number, or `None` if it may not be forwarded. `arg1` is the second argument,
/// which says what the third one of ioctl and fcntl is.
pub fn find(number: u32, arg1: u64) -> Option<Call> {
    let (list, name) = match number {
        IOCTL => (IOCTLS, "ioctl"),
        FCNTL => (FCNTLS, "fcntl"),
        _ => {
            let at = match INDEX.get(number as usize) {
                Some(at) => usize::from(*at).checked_sub(1)?,
                None => CALLS.binary_search_by_key(&number, |c| c.number).ok()?,
            };
            return CALLS.get(at).copied();
        }
    };
    let &(_, arg) = list.iter().find(|(request, _)| u64::from(*request) == arg1)?;
    Some(call(number, name, &[Fd, Scalar, arg]))
}

const _: () = assert!(core::mem::size_of::<StartBlock>() == 88 + 16 * LIMITS);
const _: () = assert!(ENVELOPE_LEN <= 4096 && core::mem::align_of::<Envelope>() == 4);

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_lengths_are_scalars() {
        assert!(CALLS.windows(2).all(|w| w[0].number < w[1].number));
        for number in (0..1024).chain([special::STARTUP, special::RECVMSG, u32::MAX]) {
            let known = CALLS.iter().find(|c| c.number == number);
            assert_eq!(find(number, u64::MAX).map(|c| c.name), known.map(|c| c.name), "{number}");
        }
        for c in CALLS {
            for a in c.args {
                match a {
                    In(n) | Out(n) | OutArray(n, _) | InOutArray(n, _) => {
                        assert_eq!(c.args[usize::from(n)], Scalar, "{}", c.name);
                    }
                    OutSized(n) => assert_eq!(c.args[usize::from(n)], Length, "{}", c.name),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn ioctl_depends_on_its_request() {
        assert_eq!(find(IOCTL, 0x5401).unwrap().args[2], OutStruct(36));
        assert_eq!(find(FCNTL, 7).unwrap().args[2], InStruct(32));
        assert!(find(IOCTL, 0x5412).is_none(), "TIOCSTI");
        assert!(find(FCNTL, 0).is_none(), "F_DUPFD");
        assert!(find(57, 0).is_none(), "fork");
    }
}
