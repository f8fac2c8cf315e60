// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for a moment without sleeping, by the time stamp counter: asking Linux for the time may cost more than
//! what is waited for.

use crate::sys;
use hermit_abi::channel::MAX_SPIN_NS;
use std::time::Duration;

/// Looks between two pauses: in a virtual machine a PAUSE may take longer than the answer.
const LOOKS_PER_PAUSE: u32 = 16;

/// How much longer is spun while the other side wakes up.
const WAKE_FACTOR: u32 = 4;

/// How long is spun.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    time: Duration,
    tsc_khz: u64,
}

impl Spin {
    /// The longest.
    pub const MAX: Duration = Duration::from_nanos(MAX_SPIN_NS as u64);

    pub fn new(time: Duration, tsc_khz: u64) -> Self {
        Self { time: time.min(Self::MAX), tsc_khz }
    }

    /// For who may have to wait until the other side has woken up: longer, so that it doesn't go to sleep meanwhile. Or else each
    /// would sleep again by the time that the other has woken up, call after call.
    pub fn longer(&self) -> Self {
        Self::new(self.time.saturating_mul(WAKE_FACTOR), self.tsc_khz)
    }

    /// In nanoseconds.
    pub fn ns(&self) -> u32 {
        u32::try_from(self.time.as_nanos()).unwrap_or(MAX_SPIN_NS)
    }

    /// A time in ticks.
    pub fn ticks(&self, time: Duration) -> u64 {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        ns.saturating_mul(self.tsc_khz) / 1_000_000
    }

    /// Waits until `ready`, or until the time is over; says whether it is ready.
    pub fn until(&self, ready: impl Fn() -> bool) -> bool {
        let (began, limit) = (sys::ticks(), self.ticks(self.time));
        loop {
            for _ in 0..LOOKS_PER_PAUSE {
                if ready() {
                    return true;
                }
                // Counters of two CPUs may differ: at worst it ends early.
                if sys::ticks().wrapping_sub(began) >= limit {
                    return false;
                }
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn it_ends_by_either() {
        let spin = Spin::new(Duration::from_micros(100), 1_000_000);
        assert!(!spin.until(|| false));
        let looks = Cell::new(0);
        assert!(spin.until(|| looks.replace(looks.get() + 1) == 1));
        assert!(Spin::new(Duration::ZERO, 1_000_000).until(|| true), "it looks at least once");
        assert!(!Spin::new(Duration::MAX, 0).until(|| false));
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(Spin::new(Duration::MAX, 1).longer().ns(), MAX_SPIN_NS);
        assert_eq!(Spin::new(Duration::from_micros(50), 1).longer().ns(), 200_000);
        assert_eq!(Spin::new(Duration::ZERO, 1).longer().ns(), 0);
        assert_eq!(Spin::new(Duration::ZERO, 2_500_000).ticks(Duration::from_micros(10)), 25_000);
        assert_eq!(Spin::new(Duration::ZERO, u64::MAX).ticks(Duration::MAX), u64::MAX / 1_000_000);
    }
}
