// SPDX-License-Identifier: GPL-2.0

//! Time: waiting, Linux's clocks, and the time stamp counter.

use crate::abi::clock::Sample;
use kernel::bindings;
use kernel::error::Error;

extern "C" {
    fn hermit_helper_local_irq_save() -> usize;
    fn hermit_helper_local_irq_restore(flags: usize);
}

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

/// The time stamp counter, when all before it is done.
pub fn tsc() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: Every x86-64 CPU has both instructions; Linux makes LFENCE wait for what is before it on AMD's, too.
    unsafe { core::arch::asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    (high << 32) | low
}

/// Calls `f` with interrupts off. It must not sleep.
pub fn undisturbed<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: Pairs with the call below, and nothing panics in the kernel and comes back.
    let flags = unsafe { hermit_helper_local_irq_save() };
    let result = f();
    // SAFETY: As above.
    unsafe { hermit_helper_local_irq_restore(flags) };
    result
}

/// How often Linux's clocks are read, until nobody sets them meanwhile; and how often to have the counter and a slow
/// clocksource as close together as can be.
const TRIES: usize = 3;

/// The counter and Linux's clocks, all at one moment. Best with interrupts off. Without the pace.
pub fn sample() -> Sample {
    let mut sample = Sample::default();
    for _ in 0..TRIES {
        sample.realtime = offset(bindings::tk_offsets_TK_OFFS_REAL);
        sample.boottime = offset(bindings::tk_offsets_TK_OFFS_BOOT);
        sample.tai = offset(bindings::tk_offsets_TK_OFFS_TAI);
        (sample.tsc, sample.monotonic_ns) = counter_and_monotonic(sample.realtime);
        if offset(bindings::tk_offsets_TK_OFFS_REAL) == sample.realtime {
            break;
        }
    }
    sample
}

/// What is to be added to CLOCK_MONOTONIC, modulo 2^64.
fn offset(clock: bindings::tk_offsets) -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_mono_to_any(0, clock) as u64 }
}

/// The counter and CLOCK_MONOTONIC; `realtime` is by how much CLOCK_REALTIME is ahead of that.
fn counter_and_monotonic(realtime: u64) -> (u64, u64) {
    let mut snapshot = bindings::system_time_snapshot::default();
    // SAFETY: Nobody suspends while an isle runs.
    unsafe { bindings::ktime_get_snapshot(&mut snapshot) };
    // Where the clocksource is the counter itself (also for its first seconds, until it is calibrated finely), Linux
    // says from which value of it the time was computed.
    if [bindings::clocksource_ids_CSID_X86_TSC, bindings::clocksource_ids_CSID_X86_TSC_EARLY].contains(&snapshot.cs_id)
    {
        return (snapshot.cycles, (snapshot.real as u64).wrapping_sub(realtime));
    }
    // Otherwise (HPET, ACPI's timer, a hypervisor's clock) it is somewhere between two.
    let (mut best, mut closest) = ((0, 0), u64::MAX);
    for _ in 0..TRIES {
        let before = tsc();
        let ns = monotonic_ns();
        let apart = tsc().wrapping_sub(before);
        if apart < closest {
            (best, closest) = ((before.wrapping_add(apart / 2), ns), apart);
        }
    }
    best
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
