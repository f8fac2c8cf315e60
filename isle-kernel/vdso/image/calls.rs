// SPDX-License-Identifier: MIT OR Apache-2.0

//! The functions of the vDSO, as Linux has them (arch/x86/entry/vdso/, lib/vdso/gettimeofday.c).
//!
//! Like there, a pointer to nowhere makes the program fault where the system call would return EFAULT, and what
//! isn't known here goes to the kernel, which also says what is wrong.

use super::clock::{getcpu, Clock};
use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering;

const NS: u64 = 1_000_000_000;

/// Numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl).
mod nr {
    pub const CLOCK_GETTIME: usize = 228;
    pub const CLOCK_GETRES: usize = 229;
    pub const GETCPU: usize = 309;
}

/// Sets of clocks, by number (include/uapi/linux/time.h): sets and not a `match`, so that the compiler makes no indirect
/// jump of it, which is slow to mispredict. There are no coarser clocks than the others, nor one that isn't steered.
mod set {
    /// CLOCK_REALTIME, CLOCK_REALTIME_COARSE.
    pub const REALTIME: u32 = 1 << 0 | 1 << 5;
    /// CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE.
    pub const MONOTONIC: u32 = 1 << 1 | 1 << 4 | 1 << 6;
    /// CLOCK_BOOTTIME.
    pub const BOOTTIME: u32 = 1 << 7;
    /// CLOCK_TAI.
    pub const TAI: u32 = 1 << 11;
    pub const KNOWN: u32 = REALTIME | MONOTONIC | BOOTTIME | TAI;
}

/// `struct timespec` or `struct timeval`.
#[repr(C)]
pub struct Time {
    seconds: u64,
    /// Nanoseconds or microseconds.
    fraction: u64,
}

/// `struct timezone`.
#[repr(C)]
pub struct Zone {
    minutes_west: i32,
    dst_time: i32,
}

// The second name of each function is for those who link with the vDSO; weak, as on Linux.
global_asm!(
    ".macro second_name new, old",
    ".weak \\new",
    ".type \\new, @function",
    ".set \\new, \\old",
    ".endm",
    "second_name clock_gettime, __vdso_clock_gettime",
    "second_name gettimeofday, __vdso_gettimeofday",
    "second_name time, __vdso_time",
    "second_name clock_getres, __vdso_clock_getres",
    "second_name getcpu, __vdso_getcpu",
    ".purgem second_name",
);

/// The clock page, which is mapped right before the vDSO.
fn clock() -> &'static Clock {
    let page: *const Clock;
    // SAFETY: computes an address. By assembly, since for a static of somebody else's the compiler would ask
    // the global offset table, and so for a relocation.
    unsafe { asm!("lea {}, [rip + clock_page]", out(reg) page, options(pure, nomem, nostack, preserves_flags)) }
    // SAFETY: the isle kernel maps the page, and it is made of atomics.
    unsafe { &*page }
}

/// Reads the time stamp counter when all loads before it are done.
fn tsc() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: every x86-64 CPU has both instructions. LFENCE waits for the loads: always on Intel's CPUs (SDM vol. 2,
    // RDTSC), on AMD's because Linux sets DE_CFG.LFENCE_SERIALIZE at boot (arch/x86/kernel/cpu/amd.c). Without `nomem`,
    // so the compiler doesn't move loads over it either.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) }
    (high << 32) | low
}

/// Makes a system call.
///
/// # Safety
///
/// As the call says.
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel changes these registers only; the rest is up to the caller.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result
}

/// The set that a clock is, if it is known here.
fn known(clock_id: i32) -> Option<u32> {
    let bit = u32::try_from(clock_id).ok().and_then(|id| 1u32.checked_shl(id))?;
    (bit & set::KNOWN != 0).then_some(bit)
}

/// Nanoseconds of a clock.
fn now(bit: u32) -> u64 {
    let (params, tsc) = clock().read(tsc);
    let offset = if bit & set::REALTIME != 0 {
        params.realtime
    } else if bit & set::BOOTTIME != 0 {
        params.boottime
    } else if bit & set::TAI != 0 {
        params.tai
    } else {
        0
    };
    params.monotonic_ns(tsc).wrapping_add(offset)
}

fn realtime_ns() -> u64 {
    clock().realtime_ns(tsc)
}

/// clock_gettime(2).
///
/// # Safety
///
/// `to` is writable.
#[no_mangle]
pub unsafe extern "C" fn __vdso_clock_gettime(clock_id: i32, to: *mut Time) -> i32 {
    let Some(bit) = known(clock_id) else {
        // SAFETY: the kernel checks the pointer.
        return unsafe { syscall(nr::CLOCK_GETTIME, clock_id as usize, to as usize, 0) } as i32;
    };
    let ns = now(bit);
    // SAFETY: the caller vouches for it.
    unsafe { to.write(Time { seconds: ns / NS, fraction: ns % NS }) };
    0
}

/// gettimeofday(2).
///
/// # Safety
///
/// Both are writable or null.
#[no_mangle]
pub unsafe extern "C" fn __vdso_gettimeofday(to: *mut Time, zone: *mut Zone) -> i32 {
    if !to.is_null() {
        let ns = realtime_ns();
        // SAFETY: the caller vouches for it.
        unsafe { to.write(Time { seconds: ns / NS, fraction: ns % NS / 1000 }) };
    }
    if !zone.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { zone.write(Zone { minutes_west: 0, dst_time: 0 }) };
    }
    0
}

/// time(2).
///
/// # Safety
///
/// `to` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn __vdso_time(to: *mut u64) -> u64 {
    let seconds = realtime_ns() / NS;
    if !to.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { to.write(seconds) };
    }
    seconds
}

/// clock_getres(2).
///
/// # Safety
///
/// `to` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn __vdso_clock_getres(clock_id: i32, to: *mut Time) -> i32 {
    if known(clock_id).is_none() {
        // SAFETY: the kernel checks the pointer.
        return unsafe { syscall(nr::CLOCK_GETRES, clock_id as usize, to as usize, 0) } as i32;
    }
    if !to.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { to.write(Time { seconds: 0, fraction: 1 }) };
    }
    0
}

/// TSC_AUX, if the isle kernel says that it can be read.
fn tsc_aux() -> Option<u32> {
    let aux: u64;
    // SAFETY: the isle kernel says that the CPUs have the instruction.
    unsafe {
        match clock().getcpu.load(Ordering::Relaxed) {
            getcpu::RDPID => asm!("rdpid {}", out(reg) aux, options(nomem, nostack, preserves_flags)),
            getcpu::RDTSCP => {
                asm!("rdtscp", out("rcx") aux, out("rax") _, out("rdx") _, options(nomem, nostack, preserves_flags))
            }
            _ => return None,
        }
    }
    Some(aux as u32)
}

/// getcpu(2). The third parameter is a cache that nobody uses any more.
///
/// # Safety
///
/// `cpu` and `node` are writable or null.
#[no_mangle]
pub unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _: *mut u8) -> isize {
    let Some(aux) = tsc_aux() else {
        // SAFETY: the kernel checks the pointers.
        return unsafe { syscall(nr::GETCPU, cpu as usize, node as usize, 0) };
    };
    if !cpu.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { cpu.write(aux & 0xfff) };
    }
    if !node.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { node.write(aux >> 12) };
    }
    0
}
