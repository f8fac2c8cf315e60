// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls: who handles which.

mod clock;
mod file;
mod memory;
mod process;
pub mod random;
mod signal;

use crate::app::{App, End};
use crate::offload;
use crate::space::Result;
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_plat::log_line;
use hermit_plat::user::Registers;
use linux_raw_sys::errno::ENOSYS;
use syscalls::Sysno;

/// Handles the call that an application has just made. `Some`: it was its last.
pub fn handle(app: &mut App, registers: &mut Registers) -> Option<End> {
    let r = &*registers;
    let number = r.rax;
    let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
    let result = match Sysno::new(number as usize) {
        Some(Sysno::exit | Sysno::exit_group) => return Some(End::Exited(args[0] as u8)),
        Some(call) => dispatch(app, call, args),
        None => Err(ENOSYS),
    };
    if result == Err(ENOSYS) {
        log_unknown(number);
    }
    registers.rax = match result {
        Ok(value) => value,
        Err(errno) => (-i64::from(errno)) as u64,
    };
    None
}

fn dispatch(app: &mut App, call: Sysno, a: [u64; 6]) -> Result<u64> {
    use Sysno::*;
    match call {
        brk => Ok(app.space.brk(a[0])),
        mmap => memory::mmap(app, a),
        munmap => app.space.unmap(a[0], a[1]).map(|()| 0),
        mprotect => memory::mprotect(app, a[0], a[1], a[2]),
        mremap => memory::mremap(app, a),
        madvise => memory::madvise(app, a[0], a[1], a[2]),
        mlock | munlock | mlock2 | mlockall | munlockall => Ok(0),

        read => file::transfer(app, false, a, None),
        write => file::transfer(app, true, a, None),
        pread64 => file::transfer(app, false, a, Some(a[3])),
        pwrite64 => file::transfer(app, true, a, Some(a[3])),
        readv => file::transfer_vector(app, false, a, None),
        writev => file::transfer_vector(app, true, a, None),
        preadv => file::transfer_vector(app, false, a, Some(a[3])),
        pwritev => file::transfer_vector(app, true, a, Some(a[3])),
        open => offload::open(app, Sysno::open as u32, a, file::closes_on_exec(a[1])),
        openat => offload::open(app, Sysno::openat as u32, a, file::closes_on_exec(a[2])),
        creat => {
            let flags =
                linux_raw_sys::general::O_CREAT | linux_raw_sys::general::O_WRONLY | linux_raw_sys::general::O_TRUNC;
            offload::open(app, Sysno::open as u32, [a[0], flags.into(), a[1], 0, 0, 0], false)
        }
        close => file::close(app, a[0] as i32),
        dup => app.files.duplicate(a[0] as i32, 0, false).map(|fd| fd as u64),
        dup2 => file::dup2(app, a[0] as i32, a[1] as i32),
        dup3 => file::dup3(app, a[0] as i32, a[1] as i32, a[2]),
        fcntl => file::fcntl(app, a[0] as i32, a[1] as u32, a[2]),
        ioctl => file::ioctl(app, a),
        poll => file::poll(app, a[0], a[1], a[2]),
        ppoll => file::poll(app, a[0], a[1], 0),
        stat | fstat | lstat | lseek | access | fsync | fdatasync | ftruncate | getcwd | chdir | rename | mkdir
        | rmdir | unlink | readlink | getdents64 | mkdirat | newfstatat | unlinkat | renameat | readlinkat
        | faccessat | faccessat2 | statx => file::forward(app, call, a),

        rt_sigaction => signal::action(app, a),
        rt_sigprocmask => signal::mask(app, a),
        rt_sigpending => signal::pending(app, a),
        sigaltstack => signal::alternate_stack(app, a[0], a[1]),
        kill => signal::kill(app, a[0] as i32, a[1]),
        tkill => signal::kill(app, a[0] as i32, a[1]),
        tgkill => signal::kill(app, a[1] as i32, a[2]),

        clock_gettime => clock::clock_gettime(app, a[0], a[1]),
        clock_getres => clock::clock_getres(app, a[0], a[1]),
        gettimeofday => clock::gettimeofday(app, a[0], a[1]),
        Sysno::time => clock::seconds(app, a[0]),
        nanosleep => clock::sleep(app, a[0], None),
        clock_nanosleep => clock::sleep(app, a[2], Some((a[0], a[1]))),
        times => clock::times(app, a[0]),

        arch_prctl => process::arch_prctl(app, a[0], a[1]),
        set_tid_address | gettid | getpid => Ok(app.pid().into()),
        getppid => Ok(app.identity.ppid.into()),
        getuid => Ok(app.identity.uid.into()),
        geteuid => Ok(app.identity.euid.into()),
        getgid => Ok(app.identity.gid.into()),
        getegid => Ok(app.identity.egid.into()),
        set_robust_list => Ok(0),
        sched_yield => Ok(0),
        sched_getaffinity => process::affinity(app, a[1], a[2]),
        getcpu => process::getcpu(app, a[0], a[1]),
        futex => process::futex(app, a),
        uname => process::uname(app, a[0]),
        prlimit64 => process::prlimit(app, a[1], a[2], a[3]),
        getrlimit => process::prlimit(app, a[0], 0, a[1]),
        sysinfo => process::sysinfo(app, a[0]),
        getrusage => process::rusage(app, a[1]),
        getrandom => random::getrandom(app, a[0], a[1]),
        prctl => process::prctl(app, a),
        // Known to C libraries to be missing at times: nothing to report.
        rseq => Err(ENOSYS),
        _ => Err(ENOSYS),
    }
}

/// Numbers that have been logged already.
static LOGGED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn log_unknown(number: u64) {
    let seen = LOGGED.get(number as usize / 64).map(|word| {
        let bit = 1 << (number % 64);
        word.fetch_or(bit, Ordering::Relaxed) & bit != 0
    });
    match (seen, Sysno::new(number as usize)) {
        (Some(true), _) => {}
        (_, Some(call)) => log_line!("system call {} is not there: ENOSYS (told once)", call.name()),
        (_, None) => log_line!("system call {number} does not exist: ENOSYS"),
    }
}
