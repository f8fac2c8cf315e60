// SPDX-License-Identifier: MIT OR Apache-2.0

//! Time by the time stamp counter, in step with Linux's clocks as of the start.

use crate::info;
use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds per tick, in 32.32 fixed point.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);

pub(crate) fn init() {
    // Under some emulators Linux doesn't know the frequency; then take 1 GHz rather than nothing.
    let khz = u64::from(info::boot_info().tsc_khz.max(1));
    let khz = if khz == 1 { 1_000_000 } else { khz };
    SCALE.store((1_000_000u64 << 32) / khz, Ordering::Relaxed);
}

/// The time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: Every x86-64 CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds since the loader read Linux's clocks.
pub fn since_boot_ns() -> u64 {
    let ticks = tsc().wrapping_sub(info::boot_info().tsc_at_boot);
    ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    info::boot_info().monotonic_ns.wrapping_add(since_boot_ns())
}

/// CLOCK_REALTIME in nanoseconds.
pub fn realtime_ns() -> u64 {
    info::boot_info().realtime_ns.wrapping_add(since_boot_ns())
}
