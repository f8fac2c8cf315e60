// SPDX-License-Identifier: MIT OR Apache-2.0

//! The system calls of Linux for x86-64: which are done here, which by the proxy, which not at all.

mod child;
mod cwd;
mod descriptor;
mod epoll;
mod file;
mod futex;
mod identity;
mod inet;
mod info;
mod interface;
mod kept;
mod memory;
mod message;
mod names;
mod numa;
mod open;
pub(crate) mod paths;
mod poll;
mod prctl;
mod process;
#[cfg(all(feature = "selftest", target_os = "none"))]
mod selftest;
mod signal;
mod socket;
mod sockopt;
pub mod table;
mod thread;
mod time;
mod timer;
mod transfer;

use crate::errno::{Errno, Fail};
use crate::sched;
use crate::thread::{Ended, Thread};
use core::sync::atomic::{AtomicU64, Ordering};
use linux_raw_sys::general as nr;
use syscalls::Sysno;
use table::Entry;

pub use info::Limits;
pub use prctl::Settings;
pub use signal::MIN_SIGNAL_STACK;

/// Numbers of the calls that the kernel itself has the proxy make.
pub mod number {
    pub const CLOSE: u32 = super::nr::__NR_close;
    pub const DUP: u32 = super::nr::__NR_dup;
    pub const FCNTL: u32 = super::nr::__NR_fcntl;
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
    let result = call(t, number, t.context.syscall_args());
    // It may have had the last of what it, or another thread meanwhile, has closed.
    if t.process.link.closing.any() && t.process.ending().is_none() {
        t.close_unused();
    }
    match result {
        Ok(value) => t.context.rax = value,
        Err(Fail::Errno(errno)) => t.context.rax = errno.as_result(),
        Err(Fail::Restart) => t.restart = Some(number),
        Err(Fail::Ended) => return Err(Ended),
    }
    Ok(())
}

fn call(t: &mut Thread, number: u32, a: [u64; 6]) -> Outcome {
    match table::entry(number) {
        Entry::Native(handler) | Entry::Linux(handler) | Entry::Stub(handler) => handler(t, a),
        Entry::Forward => t.forward(number, a),
        Entry::Refused(errno) => Err(errno.into()),
        #[cfg(all(feature = "selftest", target_os = "none"))]
        Entry::Missing if number == selftest::NUMBER => selftest::call(a[0]),
        Entry::Missing => unknown(number),
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
