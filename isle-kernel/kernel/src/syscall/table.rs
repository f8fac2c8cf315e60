// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every system call of Linux for x86-64, and what becomes of it on an isle: the one place that says so.

use super::{
    child, cwd, descriptor, epoll, file, futex, identity, inet, info, kept, memory, message, names, nr, numa, open,
    poll, prctl, process, signal, socket, thread, time, timer, transfer, Outcome,
};
use crate::errno::Errno;
use crate::thread::Thread;

type Handler = fn(&mut Thread, [u64; 6]) -> Outcome;

/// What becomes of a call.
#[derive(Clone, Copy)]
pub enum Entry {
    /// The isle does it.
    Native(Handler),
    /// Linux does it; the isle says of what, or keeps a part of the files that it may be about.
    Linux(Handler),
    /// Linux does it, as it is.
    Forward,
    /// It is accepted, and has no effect.
    Stub(Handler),
    /// It fails, always.
    Refused(Errno),
    Missing,
}

use Entry::{Forward, Linux, Missing, Native, Refused, Stub};

/// One more than the last call's number.
pub const LEN: usize = 480;

static TABLE: [Entry; LEN] = {
    let mut table = [Missing; LEN];
    let mut lists: &[&[(u32, Entry)]] =
        &[FILES, DESCRIPTORS, WAITING, SOCKETS, MEMORY, SIGNALS, TIME, PROCESS, REFUSED];
    while let [list, rest @ ..] = lists {
        let mut list = *list;
        while let [(number, entry), others @ ..] = list {
            // At compile time: one that is there twice, or beyond the end, is an error.
            #[allow(clippy::indexing_slicing)]
            {
                assert!(matches!(table[*number as usize], Missing));
                table[*number as usize] = *entry;
            }
            list = others;
        }
        lists = rest;
    }
    table
};

/// What becomes of the call with this number.
pub fn entry(number: u32) -> Entry {
    TABLE.get(number as usize).copied().unwrap_or(Missing)
}

const FILES: &[(u32, Entry)] = &[
    (nr::__NR_open, Linux(open::open)),
    (nr::__NR_creat, Linux(open::creat)),
    (nr::__NR_openat, Linux(open::openat)),
    (nr::__NR_openat2, Linux(open::openat2)),
    (nr::__NR_stat, Linux(names::stat)),
    (nr::__NR_lstat, Linux(names::lstat)),
    (nr::__NR_fstat, Linux(names::fstat)),
    (nr::__NR_newfstatat, Linux(names::newfstatat)),
    (nr::__NR_statx, Linux(names::statx)),
    (nr::__NR_access, Linux(names::access)),
    (nr::__NR_faccessat, Linux(names::faccessat)),
    (nr::__NR_faccessat2, Linux(names::faccessat2)),
    (nr::__NR_readlink, Linux(names::readlink)),
    (nr::__NR_readlinkat, Linux(names::readlinkat)),
    (nr::__NR_mkdir, Linux(names::mkdir)),
    (nr::__NR_mkdirat, Linux(names::mkdirat)),
    (nr::__NR_mknod, Linux(names::mknod)),
    (nr::__NR_mknodat, Linux(names::mknodat)),
    (nr::__NR_rmdir, Linux(names::rmdir)),
    (nr::__NR_unlink, Linux(names::unlink)),
    (nr::__NR_unlinkat, Forward),
    (nr::__NR_rename, Linux(names::rename)),
    (nr::__NR_renameat, Linux(names::renameat)),
    (nr::__NR_renameat2, Forward),
    (nr::__NR_link, Linux(names::link)),
    (nr::__NR_linkat, Forward),
    (nr::__NR_symlink, Linux(names::symlink)),
    (nr::__NR_symlinkat, Forward),
    (nr::__NR_chmod, Linux(names::chmod)),
    (nr::__NR_fchmod, Forward),
    (nr::__NR_fchmodat, Forward),
    (nr::__NR_fchmodat2, Forward),
    (nr::__NR_chown, Linux(names::chown)),
    (nr::__NR_lchown, Linux(names::lchown)),
    (nr::__NR_fchown, Forward),
    (nr::__NR_fchownat, Forward),
    (nr::__NR_utime, Linux(names::utime)),
    (nr::__NR_utimes, Linux(names::utimes)),
    (nr::__NR_futimesat, Linux(names::futimesat)),
    (nr::__NR_utimensat, Linux(names::utimensat)),
    (nr::__NR_truncate, Forward),
    (nr::__NR_statfs, Forward),
    (nr::__NR_fstatfs, Forward),
    (nr::__NR_sync, Forward),
    (nr::__NR_setxattr, Forward),
    (nr::__NR_lsetxattr, Forward),
    (nr::__NR_fsetxattr, Forward),
    (nr::__NR_getxattr, Forward),
    (nr::__NR_lgetxattr, Forward),
    (nr::__NR_fgetxattr, Forward),
    (nr::__NR_listxattr, Forward),
    (nr::__NR_llistxattr, Forward),
    (nr::__NR_flistxattr, Forward),
    (nr::__NR_removexattr, Forward),
    (nr::__NR_lremovexattr, Forward),
    (nr::__NR_fremovexattr, Forward),
    (nr::__NR_inotify_init, Linux(open::inotify_init)),
    (nr::__NR_inotify_init1, Linux(open::inotify_init1)),
    (nr::__NR_inotify_add_watch, Forward),
    (nr::__NR_inotify_rm_watch, Forward),
    (nr::__NR_memfd_create, Linux(open::memfd_create)),
    (nr::__NR_chdir, Native(cwd::chdir)),
    (nr::__NR_fchdir, Native(cwd::fchdir)),
    (nr::__NR_getcwd, Native(cwd::getcwd)),
    (nr::__NR_umask, Native(cwd::umask)),
];

const DESCRIPTORS: &[(u32, Entry)] = &[
    (nr::__NR_close, Native(descriptor::close)),
    (nr::__NR_close_range, Native(descriptor::close_range)),
    (nr::__NR_dup, Native(descriptor::dup)),
    (nr::__NR_dup2, Native(descriptor::dup2)),
    (nr::__NR_dup3, Native(descriptor::dup3)),
    (nr::__NR_fcntl, Linux(descriptor::fcntl)),
    (nr::__NR_ioctl, Linux(descriptor::ioctl)),
    (nr::__NR_lseek, Linux(descriptor::lseek)),
    (nr::__NR_getdents, Linux(descriptor::getdents)),
    (nr::__NR_getdents64, Linux(descriptor::getdents64)),
    (nr::__NR_pipe, Linux(open::pipe)),
    (nr::__NR_pipe2, Linux(open::pipe2)),
    (nr::__NR_read, Linux(transfer::read)),
    (nr::__NR_write, Linux(transfer::write)),
    (nr::__NR_pread64, Linux(transfer::pread)),
    (nr::__NR_pwrite64, Linux(transfer::pwrite)),
    (nr::__NR_readv, Linux(|t, a| transfer::readv(t, a, None))),
    (nr::__NR_writev, Linux(|t, a| transfer::writev(t, a, None))),
    (nr::__NR_preadv, Linux(|t, a| transfer::readv(t, a, Some(a[3])))),
    (nr::__NR_pwritev, Linux(|t, a| transfer::writev(t, a, Some(a[3])))),
    (nr::__NR_preadv2, Linux(|t, a| transfer::readv(t, a, transfer::offset(a)?))),
    (nr::__NR_pwritev2, Linux(|t, a| transfer::writev(t, a, transfer::offset(a)?))),
    (nr::__NR_vmsplice, Linux(file::vmsplice)),
    (nr::__NR_splice, Forward),
    (nr::__NR_tee, Forward),
    (nr::__NR_sendfile, Linux(inet::sendfile)),
    (nr::__NR_copy_file_range, Forward),
    (nr::__NR_fallocate, Forward),
    (nr::__NR_fadvise64, Linux(file::fadvise64)),
    (nr::__NR_readahead, Forward),
    (nr::__NR_ftruncate, Linux(file::ftruncate)),
    (nr::__NR_fsync, Forward),
    (nr::__NR_fdatasync, Forward),
    (nr::__NR_syncfs, Forward),
    (nr::__NR_sync_file_range, Forward),
    (nr::__NR_flock, Linux(file::flock)),
];

const WAITING: &[(u32, Entry)] = &[
    (nr::__NR_poll, Linux(poll::poll)),
    (nr::__NR_ppoll, Linux(poll::ppoll)),
    (nr::__NR_select, Linux(poll::select)),
    (nr::__NR_pselect6, Linux(poll::pselect6)),
    (nr::__NR_epoll_create, Linux(epoll::epoll_create)),
    (nr::__NR_epoll_create1, Linux(epoll::epoll_create1)),
    (nr::__NR_epoll_ctl, Linux(epoll::epoll_ctl)),
    (nr::__NR_epoll_wait, Linux(epoll::epoll_wait)),
    (nr::__NR_epoll_pwait, Linux(epoll::epoll_pwait)),
    (nr::__NR_epoll_pwait2, Linux(epoll::epoll_pwait2)),
    (nr::__NR_eventfd, Linux(open::eventfd)),
    (nr::__NR_eventfd2, Linux(open::eventfd2)),
    (nr::__NR_timerfd_create, Linux(open::timerfd_create)),
    (nr::__NR_timerfd_settime, Forward),
    (nr::__NR_timerfd_gettime, Forward),
    (nr::__NR_signalfd, Native(kept::signalfd)),
    (nr::__NR_signalfd4, Native(kept::signalfd4)),
];

const SOCKETS: &[(u32, Entry)] = &[
    (nr::__NR_socket, Linux(socket::socket)),
    (nr::__NR_socketpair, Linux(socket::socketpair)),
    (nr::__NR_bind, Linux(socket::bind)),
    (nr::__NR_connect, Linux(socket::connect)),
    (nr::__NR_listen, Linux(socket::listen)),
    (nr::__NR_accept, Linux(socket::accept)),
    (nr::__NR_accept4, Linux(socket::accept4)),
    (nr::__NR_shutdown, Linux(socket::shutdown)),
    (nr::__NR_getsockname, Linux(socket::getsockname)),
    (nr::__NR_getpeername, Linux(socket::getpeername)),
    (nr::__NR_getsockopt, Linux(socket::getsockopt)),
    (nr::__NR_setsockopt, Linux(socket::setsockopt)),
    (nr::__NR_sendto, Linux(message::sendto)),
    (nr::__NR_sendmsg, Linux(message::sendmsg)),
    (nr::__NR_sendmmsg, Linux(message::sendmmsg)),
    (nr::__NR_recvfrom, Linux(message::recvfrom)),
    (nr::__NR_recvmsg, Linux(message::recvmsg)),
    (nr::__NR_recvmmsg, Linux(message::recvmmsg)),
];

const MEMORY: &[(u32, Entry)] = &[
    (nr::__NR_brk, Native(|t, a| Ok(t.space().set_brk(a[0])))),
    (nr::__NR_mmap, Native(memory::mmap)),
    (nr::__NR_munmap, Native(|t, a| memory::munmap(t, a[0], a[1]))),
    (nr::__NR_mprotect, Native(|t, a| memory::mprotect(t, a[0], a[1], a[2]))),
    (nr::__NR_mremap, Native(memory::mremap)),
    (nr::__NR_madvise, Native(|t, a| memory::madvise(t, a[0], a[1], a[2]))),
    (nr::__NR_msync, Native(|t, a| memory::msync(t, a[0], a[1], a[2]))),
    (nr::__NR_mincore, Native(|t, a| memory::mincore(t, a[0], a[1], a[2]))),
    (nr::__NR_mlock, Stub(|t, a| memory::check(t, a[0], a[1]))),
    (nr::__NR_mlock2, Stub(file::mlock2)),
    (nr::__NR_munlock, Stub(|t, a| memory::check(t, a[0], a[1]))),
    (nr::__NR_mlockall, Stub(|_, _| Ok(0))),
    (nr::__NR_munlockall, Stub(|_, _| Ok(0))),
    (nr::__NR_set_mempolicy, Stub(numa::set_mempolicy)),
    (nr::__NR_get_mempolicy, Native(numa::get_mempolicy)),
    (nr::__NR_mbind, Stub(numa::mbind)),
    (nr::__NR_migrate_pages, Stub(numa::migrate_pages)),
    (nr::__NR_move_pages, Native(numa::move_pages)),
];

const SIGNALS: &[(u32, Entry)] = &[
    (nr::__NR_rt_sigaction, Native(signal::rt_sigaction)),
    (nr::__NR_rt_sigprocmask, Native(signal::rt_sigprocmask)),
    (nr::__NR_rt_sigpending, Native(|t, a| signal::rt_sigpending(t, a[0], a[1]))),
    (nr::__NR_rt_sigsuspend, Native(|t, a| signal::rt_sigsuspend(t, a[0], a[1]))),
    (nr::__NR_sigaltstack, Native(|t, a| signal::sigaltstack(t, a[0], a[1]))),
    (nr::__NR_rt_sigtimedwait, Native(signal::rt_sigtimedwait)),
    (nr::__NR_rt_sigqueueinfo, Native(|t, a| signal::rt_sigqueueinfo(t, a[0], a[1], a[2]))),
    (nr::__NR_rt_tgsigqueueinfo, Native(signal::rt_tgsigqueueinfo)),
    // Done before all others, see `super::dispatch`.
    (nr::__NR_rt_sigreturn, Native(|_, _| Err(Errno::ENOSYS.into()))),
    (nr::__NR_pause, Native(|t, _| signal::pause(t))),
    (nr::__NR_kill, Native(|t, a| signal::kill(t, a[0], a[1]))),
    (nr::__NR_tkill, Native(|t, a| signal::tkill(t, a[0], a[1]))),
    (nr::__NR_tgkill, Native(|t, a| signal::tgkill(t, a[0], a[1], a[2]))),
];

const TIME: &[(u32, Entry)] = &[
    (nr::__NR_futex, Native(futex::futex)),
    (nr::__NR_nanosleep, Native(|t, a| time::nanosleep(t, a[0], a[1]))),
    (nr::__NR_clock_nanosleep, Native(time::clock_nanosleep)),
    (nr::__NR_clock_gettime, Native(|t, a| time::clock_gettime(t, a[0], a[1]))),
    (nr::__NR_clock_getres, Native(|t, a| time::clock_getres(t, a[0], a[1]))),
    (nr::__NR_gettimeofday, Native(|t, a| time::gettimeofday(t, a[0], a[1]))),
    (nr::__NR_time, Native(|t, a| time::time(t, a[0]))),
    (nr::__NR_times, Native(|t, a| time::times(t, a[0]))),
    (nr::__NR_getitimer, Native(|t, a| timer::getitimer(t, a[0], a[1]))),
    (nr::__NR_setitimer, Native(|t, a| timer::setitimer(t, a[0], a[1], a[2]))),
    (nr::__NR_alarm, Native(|t, a| timer::alarm(t, a[0]))),
    (nr::__NR_timer_create, Native(|t, a| timer::timer_create(t, a[0], a[1], a[2]))),
    (nr::__NR_timer_settime, Native(timer::timer_settime)),
    (nr::__NR_timer_gettime, Native(|t, a| timer::timer_gettime(t, a[0], a[1]))),
    (nr::__NR_timer_getoverrun, Native(|t, a| timer::timer_getoverrun(t, a[0]))),
    (nr::__NR_timer_delete, Native(|t, a| timer::timer_delete(t, a[0]))),
];

/// Answers that `super::quick` has.
const fn quick(number: u32) -> (u32, Entry) {
    (number, Native(|t, _| super::quick(t, t.context.syscall_number() as u32).ok_or(Errno::ENOSYS.into())))
}

const PROCESS: &[(u32, Entry)] = &[
    (nr::__NR_clone, Native(thread::clone)),
    (nr::__NR_clone3, Native(|t, a| thread::clone3(t, a[0], a[1]))),
    (nr::__NR_fork, Native(|t, _| thread::fork(t))),
    (nr::__NR_vfork, Native(|t, _| thread::vfork(t))),
    (nr::__NR_execve, Native(|t, a| child::execve(t, a[0], a[1], a[2]))),
    (nr::__NR_execveat, Native(child::execveat)),
    (nr::__NR_wait4, Native(child::wait4)),
    (nr::__NR_waitid, Native(child::waitid)),
    (nr::__NR_exit, Native(|t, a| thread::exit(t, a[0]))),
    (nr::__NR_exit_group, Native(|t, a| thread::exit_group(t, a[0]))),
    (nr::__NR_set_tid_address, Native(|t, a| thread::set_tid_address(t, a[0]))),
    (nr::__NR_set_robust_list, Native(|t, a| thread::set_robust_list(t, a[0], a[1]))),
    (nr::__NR_get_robust_list, Native(|t, a| thread::get_robust_list(t, a[0], a[1], a[2]))),
    (nr::__NR_membarrier, Native(|t, a| thread::membarrier(t, a[0], a[1]))),
    (nr::__NR_arch_prctl, Native(|t, a| process::arch_prctl(t, a[0], a[1]))),
    (nr::__NR_prctl, Native(prctl::prctl)),
    quick(nr::__NR_getpid),
    quick(nr::__NR_gettid),
    quick(nr::__NR_getppid),
    quick(nr::__NR_getuid),
    quick(nr::__NR_geteuid),
    quick(nr::__NR_getgid),
    quick(nr::__NR_getegid),
    (nr::__NR_getresuid, Native(identity::getresuid)),
    (nr::__NR_getresgid, Native(identity::getresgid)),
    (nr::__NR_getgroups, Native(identity::getgroups)),
    (nr::__NR_setuid, Stub(identity::setuid)),
    (nr::__NR_setgid, Stub(identity::setgid)),
    (nr::__NR_setreuid, Stub(identity::setreuid)),
    (nr::__NR_setregid, Stub(identity::setregid)),
    (nr::__NR_setresuid, Stub(identity::setresuid)),
    (nr::__NR_setresgid, Stub(identity::setresgid)),
    (nr::__NR_setfsuid, Stub(identity::setfsuid)),
    (nr::__NR_setfsgid, Stub(identity::setfsgid)),
    (nr::__NR_setgroups, Stub(identity::setgroups)),
    (nr::__NR_capget, Native(identity::capget)),
    (nr::__NR_capset, Stub(identity::capset)),
    (nr::__NR_getpgrp, Native(identity::getpgrp)),
    (nr::__NR_getpgid, Native(identity::getpgid)),
    (nr::__NR_getsid, Native(identity::getsid)),
    (nr::__NR_setpgid, Native(identity::setpgid)),
    (nr::__NR_setsid, Native(identity::setsid)),
    (nr::__NR_getpriority, Native(identity::getpriority)),
    (nr::__NR_setpriority, Stub(identity::setpriority)),
    (nr::__NR_ioprio_get, Native(identity::ioprio_get)),
    (nr::__NR_ioprio_set, Stub(identity::ioprio_set)),
    (nr::__NR_personality, Stub(identity::personality)),
    (nr::__NR_sched_yield, Native(|t, _| thread::sched_yield(t))),
    (nr::__NR_sched_getaffinity, Native(process::sched_getaffinity)),
    (nr::__NR_sched_setaffinity, Native(process::sched_setaffinity)),
    (nr::__NR_sched_getscheduler, Native(|t, a| process::sched_getscheduler(t, a[0]))),
    (nr::__NR_sched_setscheduler, Stub(|t, a| process::sched_setscheduler(t, a[0], a[1], a[2]))),
    (nr::__NR_sched_getparam, Native(|t, a| process::sched_getparam(t, a[0], a[1]))),
    (nr::__NR_sched_setparam, Stub(|t, a| process::sched_setparam(t, a[0], a[1]))),
    (nr::__NR_sched_getattr, Native(prctl::sched_getattr)),
    (nr::__NR_sched_setattr, Stub(prctl::sched_setattr)),
    (nr::__NR_sched_rr_get_interval, Native(|t, a| process::sched_rr_get_interval(t, a[0], a[1]))),
    (nr::__NR_sched_get_priority_max, Native(|_, a| process::priority_limit(a[0], 99))),
    (nr::__NR_sched_get_priority_min, Native(|_, a| process::priority_limit(a[0], 1))),
    (nr::__NR_getcpu, Native(|t, a| process::getcpu(t, a[0], a[1]))),
    (nr::__NR_uname, Native(info::uname)),
    (nr::__NR_sysinfo, Native(info::sysinfo)),
    (nr::__NR_getrusage, Native(info::getrusage)),
    (nr::__NR_getrlimit, Native(info::getrlimit)),
    (nr::__NR_setrlimit, Native(info::setrlimit)),
    (nr::__NR_prlimit64, Native(info::prlimit64)),
    (nr::__NR_getrandom, Native(info::getrandom)),
];

const REFUSED: &[(u32, Entry)] = &[
    // C libraries ask for it at every start and do well without.
    (nr::__NR_rseq, Refused(Errno::ENOSYS)),
    // Nothing is ever restarted by it here.
    (nr::__NR_restart_syscall, Refused(Errno::EINTR)),
    // What concerns the machine is Linux's, and not for applications on an isle.
    (nr::__NR_acct, Refused(Errno::EPERM)),
    (nr::__NR_adjtimex, Refused(Errno::EPERM)),
    (nr::__NR_chroot, Refused(Errno::EPERM)),
    (nr::__NR_clock_adjtime, Refused(Errno::EPERM)),
    (nr::__NR_clock_settime, Refused(Errno::EPERM)),
    (nr::__NR_delete_module, Refused(Errno::EPERM)),
    (nr::__NR_finit_module, Refused(Errno::EPERM)),
    (nr::__NR_fsconfig, Refused(Errno::EPERM)),
    (nr::__NR_fsmount, Refused(Errno::EPERM)),
    (nr::__NR_fsopen, Refused(Errno::EPERM)),
    (nr::__NR_fspick, Refused(Errno::EPERM)),
    (nr::__NR_init_module, Refused(Errno::EPERM)),
    (nr::__NR_ioperm, Refused(Errno::EPERM)),
    (nr::__NR_iopl, Refused(Errno::EPERM)),
    (nr::__NR_kexec_file_load, Refused(Errno::EPERM)),
    (nr::__NR_kexec_load, Refused(Errno::EPERM)),
    (nr::__NR_mount, Refused(Errno::EPERM)),
    (nr::__NR_mount_setattr, Refused(Errno::EPERM)),
    (nr::__NR_move_mount, Refused(Errno::EPERM)),
    (nr::__NR_open_tree, Refused(Errno::EPERM)),
    (nr::__NR_pivot_root, Refused(Errno::EPERM)),
    (nr::__NR_quotactl, Refused(Errno::EPERM)),
    (nr::__NR_quotactl_fd, Refused(Errno::EPERM)),
    (nr::__NR_reboot, Refused(Errno::EPERM)),
    (nr::__NR_setdomainname, Refused(Errno::EPERM)),
    (nr::__NR_sethostname, Refused(Errno::EPERM)),
    (nr::__NR_setns, Refused(Errno::EPERM)),
    (nr::__NR_settimeofday, Refused(Errno::EPERM)),
    (nr::__NR_swapoff, Refused(Errno::EPERM)),
    (nr::__NR_swapon, Refused(Errno::EPERM)),
    (nr::__NR_syslog, Refused(Errno::EPERM)),
    (nr::__NR_umount2, Refused(Errno::EPERM)),
    (nr::__NR_unshare, Refused(Errno::EPERM)),
    (nr::__NR_vhangup, Refused(Errno::EPERM)),
];

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
