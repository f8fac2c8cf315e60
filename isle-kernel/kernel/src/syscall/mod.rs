// SPDX-License-Identifier: MIT OR Apache-2.0

//! The system calls of Linux for x86-64: which are done here, which by the proxy, which not at all.

mod file;
mod futex;
mod info;
mod memory;
mod poll;
mod process;
#[cfg(all(feature = "selftest", target_os = "none"))]
mod selftest;
mod signal;
mod time;
mod transfer;

use crate::errno::{End, Errno, Fail};
use crate::process::Process;
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_plat::abi::offload;
use linux_raw_sys::general as nr;
use syscalls::Sysno;

pub use info::{default_limits, Limits};

/// Numbers of the calls that the kernel itself has the proxy make.
pub mod number {
    pub const CLOSE: u32 = super::nr::__NR_close;
    pub const PREAD64: u32 = super::nr::__NR_pread64;
}

/// What a system call comes to.
type Outcome = Result<u64, Fail>;

/// Makes the system call that the application's registers hold.
pub fn dispatch(p: &mut Process) -> Result<(), End> {
    // As in Linux, the upper half of the register doesn't count.
    let number = p.context.syscall_number() as u32;
    let result = match call(p, number, p.context.syscall_args()) {
        Ok(value) => value,
        Err(Fail::Errno(errno)) => errno.as_result(),
        Err(Fail::End(end)) => return Err(end),
    };
    p.context.rax = result;
    Ok(())
}

fn call(p: &mut Process, number: u32, a: [u64; 6]) -> Outcome {
    match number {
        nr::__NR_read => transfer::read(p, a),
        nr::__NR_close => file::close(p, a[0]),
        nr::__NR_open => file::open(p, number, a, 0),
        nr::__NR_creat => file::creat(p, a),
        nr::__NR_openat => file::open(p, number, a, 1),
        nr::__NR_fstat => file::fstat(p, a),
        nr::__NR_newfstatat => file::newfstatat(p, a),
        nr::__NR_lseek => file::lseek(p, a),
        nr::__NR_dup => file::dup(p, a[0]),
        nr::__NR_dup2 => file::dup2(p, a[0], a[1]),
        nr::__NR_dup3 => file::dup3(p, a[0], a[1], a[2]),
        nr::__NR_fcntl => file::fcntl(p, a[0], a[1], a[2]),
        nr::__NR_close_range => file::close_range(p, a),
        nr::__NR_ioctl => file::ioctl(p, a),
        nr::__NR_readlink => file::readlink(p, number, a, 0),
        nr::__NR_readlinkat => file::readlink(p, number, a, 1),

        nr::__NR_write => transfer::write(p, a),
        nr::__NR_pread64 => transfer::pread(p, a),
        nr::__NR_pwrite64 => transfer::pwrite(p, a),
        nr::__NR_readv => transfer::readv(p, a, None),
        nr::__NR_writev => transfer::writev(p, a, None),
        nr::__NR_preadv => transfer::readv(p, a, Some(a[3])),
        nr::__NR_pwritev => transfer::writev(p, a, Some(a[3])),
        nr::__NR_preadv2 => transfer::readv(p, a, transfer::offset(a)?),
        nr::__NR_pwritev2 => transfer::writev(p, a, transfer::offset(a)?),

        nr::__NR_poll => poll::poll(p, a[0], a[1], a[2]),
        nr::__NR_ppoll => poll::ppoll(p, a[0], a[1], a[2]),

        nr::__NR_brk => Ok(p.space.set_brk(a[0])),
        nr::__NR_mmap => memory::mmap(p, a),
        nr::__NR_munmap => memory::munmap(p, a[0], a[1]),
        nr::__NR_mprotect => memory::mprotect(p, a[0], a[1], a[2]),
        nr::__NR_mremap => memory::mremap(p, a),
        nr::__NR_madvise => memory::madvise(p, a[0], a[1], a[2]),
        nr::__NR_msync | nr::__NR_mlock | nr::__NR_munlock => memory::check(p, a[0], a[1]),
        nr::__NR_mincore => memory::mincore(p, a[0], a[1], a[2]),

        nr::__NR_rt_sigaction => signal::rt_sigaction(p, a),
        nr::__NR_rt_sigprocmask => signal::rt_sigprocmask(p, a),
        nr::__NR_rt_sigpending => signal::rt_sigpending(p, a[0], a[1]),
        nr::__NR_rt_sigsuspend => signal::rt_sigsuspend(p, a[0], a[1]),
        nr::__NR_sigaltstack => signal::sigaltstack(p, a[0], a[1]),
        nr::__NR_pause => signal::pause(p),
        nr::__NR_kill => signal::kill(p, a[0], a[1]),
        nr::__NR_tkill => signal::tkill(p, a[0], a[1]),
        nr::__NR_tgkill => signal::tgkill(p, a[0], a[1], a[2]),

        nr::__NR_futex => futex::futex(p, a),
        nr::__NR_nanosleep => time::nanosleep(p, a[0]),
        nr::__NR_clock_nanosleep => time::clock_nanosleep(p, a),
        nr::__NR_clock_gettime => time::clock_gettime(p, a[0], a[1]),
        nr::__NR_clock_getres => time::clock_getres(p, a[0], a[1]),
        nr::__NR_gettimeofday => time::gettimeofday(p, a[0], a[1]),
        nr::__NR_time => time::time(p, a[0]),
        nr::__NR_times => time::times(p, a[0]),

        nr::__NR_exit | nr::__NR_exit_group => Err(End::exit(a[0] as u8).into()),
        nr::__NR_getpid | nr::__NR_gettid | nr::__NR_getpgrp => Ok(p.startup.pid.into()),
        nr::__NR_getpgid | nr::__NR_getsid => process::of_self(p, a[0]),
        nr::__NR_set_tid_address => Ok(p.startup.pid.into()),
        nr::__NR_getppid => Ok(p.startup.ppid.into()),
        nr::__NR_getuid => Ok(p.startup.uid.into()),
        nr::__NR_geteuid => Ok(p.startup.euid.into()),
        nr::__NR_getgid => Ok(p.startup.gid.into()),
        nr::__NR_getegid => Ok(p.startup.egid.into()),
        nr::__NR_getresuid => process::ids(p, a, [p.startup.uid, p.startup.euid, p.startup.euid]),
        nr::__NR_getresgid => process::ids(p, a, [p.startup.gid, p.startup.egid, p.startup.egid]),
        nr::__NR_getgroups | nr::__NR_set_robust_list | nr::__NR_sched_yield => Ok(0),
        nr::__NR_arch_prctl => process::arch_prctl(p, a[0], a[1]),
        nr::__NR_prctl => process::prctl(p, a[0], a[1]),
        nr::__NR_sched_getaffinity => process::sched_getaffinity(p, a),
        nr::__NR_sched_setaffinity => process::sched_setaffinity(p, a),
        nr::__NR_sched_getscheduler => process::of_self(p, a[0]).map(|_| 0),
        nr::__NR_sched_getparam => process::sched_getparam(p, a[0], a[1]),
        nr::__NR_sched_get_priority_max => process::priority_limit(a[0], 99),
        nr::__NR_sched_get_priority_min => process::priority_limit(a[0], 1),
        nr::__NR_getpriority => Ok(20),
        nr::__NR_getcpu => process::getcpu(p, a[0], a[1]),

        nr::__NR_uname => info::uname(p, a[0]),
        nr::__NR_sysinfo => info::sysinfo(p, a[0]),
        nr::__NR_getrusage => info::getrusage(p, a[0], a[1]),
        nr::__NR_getrlimit => info::getrlimit(p, a[0], a[1]),
        nr::__NR_setrlimit => info::setrlimit(p, a[0], a[1]),
        nr::__NR_prlimit64 => info::prlimit64(p, a),
        nr::__NR_getrandom => info::getrandom(p, a[0], a[1], a[2]),

        // C libraries ask for it at every start and do well without.
        nr::__NR_rseq => Err(Errno::ENOSYS.into()),
        #[cfg(all(feature = "selftest", target_os = "none"))]
        selftest::NUMBER => selftest::call(a[0]),
        _ if offload::find(number, a[1]).is_some_and(|c| !c.makes_fd) => p.forward(number, a),
        _ => unknown(number),
    }
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
