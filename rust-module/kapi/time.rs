// SPDX-License-Identifier: GPL-2.0

//! Time: waiting, Linux's clocks, and the time stamp counter.

use kernel::bindings;
use kernel::error::Error;

/// Sleeps for at least so many microseconds.
pub fn sleep_us(us: usize) {
    // SAFETY: Process context, as all callers in this module.
    unsafe { bindings::usleep_range_state(us, us + us / 4 + 1, bindings::TASK_UNINTERRUPTIBLE as _) };
}

/// Waits until `done` says so, looking every so often, for at most so many milliseconds. Returns whether it is done.
pub fn wait_until(timeout_ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = monotonic_ns() + timeout_ms * 1_000_000;
    loop {
        if done() {
            return true;
        }
        if monotonic_ns() >= end {
            // Whoever was kept from running for long gets a last look.
            return done();
        }
        sleep_us(50);
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_get() as u64 }
}

/// CLOCK_REALTIME in nanoseconds.
pub fn realtime_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_get_with_offset(bindings::tk_offsets_TK_OFFS_REAL) as u64 }
}

/// The time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: Every x86-64 CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Frequency of the time stamp counter in kHz; 0 if Linux doesn't know.
pub fn tsc_khz() -> u32 {
    // SAFETY: Set at boot.
    unsafe { bindings::tsc_khz }
}

/// ETIMEDOUT, which the `kernel` crate of 6.12 has no constant for.
pub fn etimedout() -> Error {
    Error::from_errno(-(bindings::ETIMEDOUT as i32))
}
