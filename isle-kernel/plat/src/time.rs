// SPDX-License-Identifier: MIT OR Apache-2.0

//! The time stamp counter and the clocks that follow from it. Nothing here ever writes the counter.

use crate::shared;

/// Reads the time stamp counter, when all loads before it are done.
pub fn tsc() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: every x86-64 CPU has both instructions. Without `nomem`: what the compiler loads before, it loads before.
    unsafe { core::arch::asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) }
    (high << 32) | low
}

/// Nanoseconds of `ticks` at `khz`.
pub fn ticks_to_ns(ticks: u64, khz: u32) -> u64 {
    let ns = u128::from(ticks) * 1_000_000 / u128::from(khz.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Nanoseconds of so many ticks of the time stamp counter.
pub fn to_ns(ticks: u64) -> u64 {
    ticks_to_ns(ticks, shared::try_get().map_or(0, |s| s.boot.tsc_khz))
}

/// Ticks of the time stamp counter in so many nanoseconds.
pub fn from_ns(ns: u64) -> u64 {
    let khz = shared::try_get().map_or(0, |s| s.boot.tsc_khz);
    u64::try_from(u128::from(ns) * u128::from(khz) / 1_000_000).unwrap_or(u64::MAX)
}

/// Nanoseconds since Linux read its clocks for this isle.
pub fn since_boot_ns() -> u64 {
    let Some(shared) = shared::try_get() else {
        return 0;
    };
    // Counters of different CPUs may be a little apart.
    let ticks = tsc().saturating_sub(shared.boot.tsc_at_boot);
    ticks_to_ns(ticks, shared.boot.tsc_khz)
}

/// Linux's clocks, which an isle follows. All in nanoseconds; 0 on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Monotonic,
    Realtime,
    Boottime,
    Tai,
}

impl Clock {
    /// What it shows, as of the clock page (see `hermit_abi::clock`).
    pub fn now_ns(self) -> u64 {
        let Some(shared) = shared::try_get() else {
            return 0;
        };
        let (params, tsc) = shared.clock.read(tsc);
        match self {
            Self::Monotonic => params.monotonic_ns(tsc),
            Self::Realtime => params.realtime_ns(tsc),
            Self::Boottime => params.boottime_ns(tsc),
            Self::Tai => params.tai_ns(tsc),
        }
    }
}

/// CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    Clock::Monotonic.now_ns()
}

/// CLOCK_REALTIME.
pub fn realtime_ns() -> u64 {
    Clock::Realtime.now_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds() {
        assert_eq!(ticks_to_ns(3_000_000, 3_000_000), 1_000_000);
        assert_eq!(ticks_to_ns(1, 1_000_000), 1);
        assert_eq!(ticks_to_ns(u64::MAX, 1), u64::MAX);
        assert_eq!(ticks_to_ns(5, 0), 5_000_000);
    }
}
