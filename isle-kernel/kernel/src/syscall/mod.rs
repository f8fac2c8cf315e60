// SPDX-License-Identifier: MIT OR Apache-2.0

//! The system calls of Linux for x86-64: which are done here, which by the proxy, which not at all.

mod child;
mod epoll;
mod file;
mod futex;
mod info;
mod memory;
mod poll;
mod process;
#[cfg(all(feature = "selftest", target_os = "none"))]
mod selftest;
mod signal;
mod thread;
mod time;
mod timer;
mod transfer;

use crate::errno::{Errno, Fail};
use crate::sched;
use crate::thread::{Ended, Thread};
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_plat::abi::offload;
use linux_raw_sys::general as nr;
use syscalls::Sysno;

pub use info::{default_limits, Limits};
pub use signal::MIN_SIGNAL_STACK;

/// Numbers of the calls that the kernel itself has the proxy make.
pub mod number {
    pub const CLOSE: u32 = super::nr::__NR_close;
    pub const DUP: u32 = super::nr::__NR_dup;
    pub const FSTAT: u32 = super::nr::__NR_fstat;
    pub const OPENAT: u32 = super::nr::__NR_openat;
    pub const PWRITE64: u32 = super::nr::__NR_pwrite64;
    pub const READLINKAT: u32 = super::nr::__NR_readlinkat;
    pub const PREAD64: u32 = super::nr::__NR_pread64;
}

/// What a system call comes to.
type Outcome = Result<u64, Fail>;

/// Makes the system call that the thread's registers hold.
pub fn dispatch(t: &mut Thread) -> Result<(), Ended> {
    // As in Linux, the upper half of the register doesn't count.
    let number = t.context.syscall_number() as u32;
    if number == nr::__NR_rt_sigreturn {
        return signal::rt_sigreturn(t);
    }
    match call(t, number, t.context.syscall_args()) {
        Ok(value) => t.context.rax = value,
        Err(Fail::Errno(errno)) => t.context.rax = errno.as_result(),
        Err(Fail::Restart) => t.restart = Some(number),
        Err(Fail::Ended) => return Err(Ended),
    }
    Ok(())
}

fn call(t: &mut Thread, number: u32, a: [u64; 6]) -> Outcome {
    match number {
        nr::__NR_read => transfer::read(t, a),
        nr::__NR_close => file::close(t, a[0]),
        nr::__NR_open => file::open(t, number, a, 0),
        nr::__NR_creat => file::creat(t, a),
        nr::__NR_openat => file::open(t, number, a, 1),
        nr::__NR_fstat => file::fstat(t, a),
        nr::__NR_newfstatat => file::newfstatat(t, a),
        nr::__NR_lseek => file::lseek(t, a),
        nr::__NR_dup => file::dup(t, a[0]),
        nr::__NR_dup2 => file::dup2(t, a[0], a[1]),
        nr::__NR_dup3 => file::dup3(t, a[0], a[1], a[2]),
        nr::__NR_fcntl => file::fcntl(t, a[0], a[1], a[2]),
        nr::__NR_close_range => file::close_range(t, a),
        nr::__NR_ioctl => file::ioctl(t, a),
        nr::__NR_pipe => file::pipe2(t, a[0], 0),
        nr::__NR_pipe2 => file::pipe2(t, a[0], a[1]),
        nr::__NR_readlink => file::readlink(t, number, a, 0),
        nr::__NR_readlinkat => file::readlink(t, number, a, 1),

        nr::__NR_write => transfer::write(t, a),
        nr::__NR_pread64 => transfer::pread(t, a),
        nr::__NR_pwrite64 => transfer::pwrite(t, a),
        nr::__NR_readv => transfer::readv(t, a, None),
        nr::__NR_writev => transfer::writev(t, a, None),
        nr::__NR_preadv => transfer::readv(t, a, Some(a[3])),
        nr::__NR_pwritev => transfer::writev(t, a, Some(a[3])),
        nr::__NR_preadv2 => transfer::readv(t, a, transfer::offset(a)?),
        nr::__NR_pwritev2 => transfer::writev(t, a, transfer::offset(a)?),

        nr::__NR_poll => poll::poll(t, a[0], a[1], a[2]),
        nr::__NR_ppoll => poll::ppoll(t, a),
        nr::__NR_eventfd => epoll::eventfd(t, a[0], 0),
        nr::__NR_eventfd2 => epoll::eventfd(t, a[0], a[1]),
        nr::__NR_epoll_create => epoll::epoll_create(t, a[0]),
        nr::__NR_epoll_create1 => epoll::epoll_create1(t, a[0]),
        nr::__NR_epoll_wait => epoll::epoll_wait(t, a),
        nr::__NR_epoll_pwait => epoll::epoll_pwait(t, a),
        nr::__NR_epoll_pwait2 => epoll::epoll_pwait2(t, a),

        nr::__NR_brk => Ok(t.space().set_brk(a[0])),
        nr::__NR_mmap => memory::mmap(t, a),
        nr::__NR_munmap => memory::munmap(t, a[0], a[1]),
        nr::__NR_mprotect => memory::mprotect(t, a[0], a[1], a[2]),
        nr::__NR_mremap => memory::mremap(t, a),
        nr::__NR_madvise => memory::madvise(t, a[0], a[1], a[2]),
        nr::__NR_msync => memory::msync(t, a[0], a[1], a[2]),
        nr::__NR_mlock | nr::__NR_munlock => memory::check(t, a[0], a[1]),
        nr::__NR_mlockall | nr::__NR_munlockall => Ok(0),
        nr::__NR_mincore => memory::mincore(t, a[0], a[1], a[2]),

        nr::__NR_rt_sigaction => signal::rt_sigaction(t, a),
        nr::__NR_rt_sigprocmask => signal::rt_sigprocmask(t, a),
        nr::__NR_rt_sigpending => signal::rt_sigpending(t, a[0], a[1]),
        nr::__NR_rt_sigsuspend => signal::rt_sigsuspend(t, a[0], a[1]),
        nr::__NR_sigaltstack => signal::sigaltstack(t, a[0], a[1]),
        nr::__NR_rt_sigtimedwait => signal::rt_sigtimedwait(t, a),
        nr::__NR_rt_sigqueueinfo => signal::rt_sigqueueinfo(t, a[0], a[1], a[2]),
        nr::__NR_rt_tgsigqueueinfo => signal::rt_tgsigqueueinfo(t, a),
        nr::__NR_pause => signal::pause(t),
        nr::__NR_kill => signal::kill(t, a[0], a[1]),
        nr::__NR_tkill => signal::tkill(t, a[0], a[1]),
        nr::__NR_tgkill => signal::tgkill(t, a[0], a[1], a[2]),

        nr::__NR_futex => futex::futex(t, a),
        nr::__NR_nanosleep => time::nanosleep(t, a[0], a[1]),
        nr::__NR_clock_nanosleep => time::clock_nanosleep(t, a),
        nr::__NR_clock_gettime => time::clock_gettime(t, a[0], a[1]),
        nr::__NR_clock_getres => time::clock_getres(t, a[0], a[1]),
        nr::__NR_gettimeofday => time::gettimeofday(t, a[0], a[1]),
        nr::__NR_time => time::time(t, a[0]),
        nr::__NR_times => time::times(t, a[0]),
        nr::__NR_getitimer => timer::getitimer(t, a[0], a[1]),
        nr::__NR_setitimer => timer::setitimer(t, a[0], a[1], a[2]),
        nr::__NR_alarm => timer::alarm(t, a[0]),
        nr::__NR_timer_create => timer::timer_create(t, a[0], a[1], a[2]),
        nr::__NR_timer_settime => timer::timer_settime(t, a),
        nr::__NR_timer_gettime => timer::timer_gettime(t, a[0], a[1]),
        nr::__NR_timer_getoverrun => timer::timer_getoverrun(t, a[0]),
        nr::__NR_timer_delete => timer::timer_delete(t, a[0]),

        nr::__NR_clone => thread::clone(t, a),
        nr::__NR_clone3 => thread::clone3(t, a[0], a[1]),
        nr::__NR_fork => thread::fork(t),
        nr::__NR_vfork => thread::vfork(t),
        nr::__NR_execve => child::execve(t, a[0], a[1], a[2]),
        nr::__NR_execveat => child::execveat(t, a),
        nr::__NR_wait4 => child::wait4(t, a),
        nr::__NR_waitid => child::waitid(t, a),
        nr::__NR_exit => thread::exit(t, a[0]),
        nr::__NR_exit_group => thread::exit_group(t, a[0]),
        nr::__NR_getpgrp => Ok(t.process.pid().into()),
        nr::__NR_set_tid_address => thread::set_tid_address(t, a[0]),
        nr::__NR_set_robust_list => thread::set_robust_list(t, a[0], a[1]),
        nr::__NR_get_robust_list => thread::get_robust_list(t, a[0], a[1], a[2]),
        nr::__NR_membarrier => thread::membarrier(t, a[0], a[1]),
        nr::__NR_getpgid | nr::__NR_getsid => process::of_self(t, a[0]),
        nr::__NR_getresuid => {
            process::ids(t, a, [t.process.startup().uid, t.process.startup().euid, t.process.startup().euid])
        }
        nr::__NR_getresgid => {
            process::ids(t, a, [t.process.startup().gid, t.process.startup().egid, t.process.startup().egid])
        }
        nr::__NR_getgroups => Ok(0),
        nr::__NR_sched_yield => thread::sched_yield(t),
        nr::__NR_arch_prctl => process::arch_prctl(t, a[0], a[1]),
        nr::__NR_prctl => process::prctl(t, a[0], a[1]),
        nr::__NR_sched_getaffinity => process::sched_getaffinity(t, a),
        nr::__NR_sched_setaffinity => process::sched_setaffinity(t, a),
        nr::__NR_sched_getscheduler => process::sched_getscheduler(t, a[0]),
        nr::__NR_sched_setscheduler => process::sched_setscheduler(t, a[0], a[1], a[2]),
        nr::__NR_sched_getparam => process::sched_getparam(t, a[0], a[1]),
        nr::__NR_sched_setparam => process::sched_setparam(t, a[0], a[1]),
        nr::__NR_sched_rr_get_interval => process::sched_rr_get_interval(t, a[0], a[1]),
        nr::__NR_sched_get_priority_max => process::priority_limit(a[0], 99),
        nr::__NR_sched_get_priority_min => process::priority_limit(a[0], 1),
        nr::__NR_getpriority => Ok(20),
        nr::__NR_getcpu => process::getcpu(t, a[0], a[1]),

        nr::__NR_uname => info::uname(t, a[0]),
        nr::__NR_sysinfo => info::sysinfo(t, a[0]),
        nr::__NR_getrusage => info::getrusage(t, a[0], a[1]),
        nr::__NR_getrlimit => info::getrlimit(t, a[0], a[1]),
        nr::__NR_setrlimit => info::setrlimit(t, a[0], a[1]),
        nr::__NR_prlimit64 => info::prlimit64(t, a),
        nr::__NR_getrandom => info::getrandom(t, a[0], a[1], a[2]),

        // C libraries ask for it at every start and do well without.
        nr::__NR_rseq => Err(Errno::ENOSYS.into()),
        #[cfg(all(feature = "selftest", target_os = "none"))]
        selftest::NUMBER => selftest::call(a[0]),
        _ if offload::find(number, a[1]).is_some_and(|c| !c.makes_fd) => t.forward(number, a),
        _ => quick(t, number).map_or_else(|| unknown(number), Ok),
    }
}

/// Calls that are answered at once, see `Program::quick_syscall` and the list beside it.
pub fn quick(t: &Thread, number: u32) -> Option<u64> {
    let id = match number {
        nr::__NR_getpid => t.process.pid(),
        nr::__NR_gettid => t.tid(),
        nr::__NR_getppid => t.process.startup().ppid,
        nr::__NR_getuid => t.process.startup().uid,
        nr::__NR_geteuid => t.process.startup().euid,
        nr::__NR_getgid => t.process.startup().gid,
        nr::__NR_getegid => t.process.startup().egid,
        nr::__NR_sched_yield if sched::is_alone() => 0,
        _ => return None,
    };
    Some(id.into())
}

/// Calls that were asked for in vain, one bit each.
static UNKNOWN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Says once what is missing.
fn unknown(number: u32) -> Outcome {
    let seen = UNKNOWN.get(number as usize / 64).map(|word| {
        let bit = 1 << (number % 64);
        word.fetch_or(bit, Ordering::Relaxed) & bit != 0
    });
    if seen == Some(false) {
        match Sysno::new(number as usize) {
            Some(call) => log::warn!("system call {} ({number}) is not there yet: ENOSYS", call.name()),
            None => log::warn!("system call {number} is unknown: ENOSYS"),
        }
    }
    Err(Errno::ENOSYS.into())
}
