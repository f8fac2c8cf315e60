// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clock page: Linux's clocks as functions of the time stamp counter (TSC), for the isle kernel and its programs.
//!
//! # The curve
//!
//! CLOCK_MONOTONIC of an isle is a curve of straight pieces. [`Params`] hold where the newest piece begins and
//! the slopes before and after that point, so that
//!
//! ```text
//! monotonic(t) = ns + frac / 2^48 + (t - tsc) * (if t < tsc { before } else { after }) / 2^48
//! ```
//!
//! The other clocks differ from it by offsets, which change only when somebody sets the time.
//!
//! Linux steers its own clock (NTP), and where its clocksource is not the TSC, the two drift. So the module
//! measures both about every [`INTERVAL_MS`], and [`Steering::steer`] adds a piece whose slope leads back to Linux's
//! clock. Each piece begins [`LEAD_NS`] *after* it is published, at the point where the piece before it arrives
//! by then, to the last bit. So readers with old and with new parameters see the same curve, no reader sees a step,
//! and time goes backwards on no CPU, as far as Linux has kept the CPUs' counters in step (where it could not, it does
//! not use the TSC itself: `tsc_sync.c`).
//!
//! # The protocol
//!
//! A sequence lock with two copies, a *latch* (Linux: `seqcount_latch_t` in `include/linux/seqlock.h`): `number`
//! counts publications, and number `n` is in copy `n % 2`. The writer fills the copy that is not in use, then stores
//! its number. A reader loads the number, the copy, the counter, and the number again, and starts over if that has
//! changed. Unlike with a plain sequence lock, a reader never waits for Linux: even a Linux that stops halfway through a
//! publication leaves a good copy. A reader is sent back only by a publication that is completed meanwhile.
//!
//! The orderings follow Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012): relaxed
//! loads of the data, an acquire fence, a relaxed load of the number; and a release fence before the data is stored.

use core::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};

/// How often the module measures, in milliseconds; sooner if Linux's clock is set or changes its pace.
pub const INTERVAL_MS: u32 = 500;

/// How long before it holds a new piece of the curve is published, in nanoseconds.
pub const LEAD_NS: u64 = 1_000_000;

/// Slopes are in units of 2^-`SHIFT` ns per tick.
pub const SHIFT: u32 = 48;

/// A deviation is corrected within 2^30 ns, or 1.07 s: twice the interval, so that an update that comes late overshoots
/// by no more than what there was to correct.
const HORIZON_SHIFT: u32 = 30;

/// More than this, or 134 ms, is corrected in as many steps as it takes: so slopes change by at most 1/8.
const MOST_CORRECTED_NS: i64 = 1 << (HORIZON_SHIFT - 3);

/// An interval from which a slope can be measured: 2^26 ns, or 67 ms. Reading a slow clocksource takes a microsecond
/// or two, which makes 30 ppm of this.
const MEASURABLE_NS: u64 = 1 << 26;

/// [`Sample::pace`] of a Linux clock that is not steered.
pub const NORMAL_PACE: u32 = 1 << 31;

/// True if two paces differ by more than 61 ppm, which the next update should not be waited for: 31 us until then.
pub const fn is_other_pace(a: u32, b: u32) -> bool {
    a.abs_diff(b) > NORMAL_PACE >> 14
}

/// Values of [`Clock::getcpu`].
pub mod getcpu {
    /// By the system call.
    pub const SYSCALL: u32 = 0;
    /// The CPUs have RDTSCP, and TSC_AUX holds what [`super::tsc_aux`] says.
    pub const RDTSCP: u32 = 1;
    /// As [`RDTSCP`], and they have RDPID.
    pub const RDPID: u32 = 2;
}

/// TSC_AUX as Linux has it (arch/x86/include/asm/segment.h, `vdso_encode_cpunode`), and programs know it.
pub const fn tsc_aux(cpu: u32, node: u32) -> u32 {
    (cpu & 0xfff) | (node << 12)
}

/// One copy of the [`Params`], in a cache line.
#[repr(C, align(64))]
struct Line {
    words: [AtomicU64; 8],
}

/// The clock page. Programs see it read-only.
#[repr(C, align(4096))]
pub struct Clock {
    /// Module: number of the newest publication; it is in copy `number % 2`.
    number: AtomicU64,
    _pad0: [u64; 7],
    /// Module: the parameters.
    copies: [Line; 2],
    /// Isle kernel, before the first program: one of [`getcpu`], how programs may ask for their CPU.
    pub getcpu: AtomicU32,
    _pad1: [u32; 15],
    _rest: [u64; 480],
}

const _: () = assert!(core::mem::size_of::<Clock>() == 4096);
const _: () = assert!(core::mem::offset_of!(Clock, copies) == 64);
const _: () = assert!(core::mem::offset_of!(Clock, getcpu) == 192);

/// What the clocks are functions of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// Counter at which the newest piece of the curve begins.
    pub tsc: u64,
    /// CLOCK_MONOTONIC there, in nanoseconds …
    pub ns: u64,
    /// … and 2^-[`SHIFT`] nanoseconds.
    pub frac: u64,
    /// Slope before it.
    pub before: u64,
    /// Slope from there on.
    pub after: u64,
    /// What is to be added for CLOCK_REALTIME, modulo 2^64.
    pub realtime: u64,
    /// What is to be added for CLOCK_BOOTTIME.
    pub boottime: u64,
    /// What is to be added for CLOCK_TAI.
    pub tai: u64,
}

const FRAC_MASK: u64 = (1 << SHIFT) - 1;

impl Params {
    /// CLOCK_MONOTONIC in nanoseconds when the counter is `tsc`.
    #[inline]
    pub fn monotonic_ns(&self, tsc: u64) -> u64 {
        // Counters are compared modulo 2^64.
        let ticks = tsc.wrapping_sub(self.tsc) as i64;
        let slope = if ticks < 0 { self.before } else { self.after };
        // Less than 2^63 times 2^64, and the shift rounds down on both sides of zero.
        let fine = i128::from(ticks).wrapping_mul(i128::from(slope)).wrapping_add(i128::from(self.frac));
        self.ns.saturating_add_signed((fine >> SHIFT) as i64)
    }

    /// CLOCK_REALTIME in nanoseconds.
    #[inline]
    pub fn realtime_ns(&self, tsc: u64) -> u64 {
        self.monotonic_ns(tsc).wrapping_add(self.realtime)
    }

    /// CLOCK_BOOTTIME in nanoseconds.
    #[inline]
    pub fn boottime_ns(&self, tsc: u64) -> u64 {
        self.monotonic_ns(tsc).wrapping_add(self.boottime)
    }

    /// CLOCK_TAI in nanoseconds.
    #[inline]
    pub fn tai_ns(&self, tsc: u64) -> u64 {
        self.monotonic_ns(tsc).wrapping_add(self.tai)
    }

    fn to_words(self) -> [u64; 8] {
        [self.tsc, self.ns, self.frac, self.before, self.after, self.realtime, self.boottime, self.tai]
    }

    #[inline]
    fn from_words([tsc, ns, frac, before, after, realtime, boottime, tai]: [u64; 8]) -> Self {
        Self { tsc, ns, frac, before, after, realtime, boottime, tai }
    }
}

impl Line {
    #[inline]
    fn load(&self) -> Params {
        let [a, b, c, d, e, f, g, h] = &self.words;
        Params::from_words([a, b, c, d, e, f, g, h].map(|word| word.load(Ordering::Relaxed)))
    }

    fn store(&self, params: &Params) {
        for (to, from) in self.words.iter().zip(params.to_words()) {
            to.store(from, Ordering::Relaxed);
        }
    }
}

impl Clock {
    #[inline]
    fn copy(&self, number: u64) -> &Line {
        let [even, odd] = &self.copies;
        if number & 1 == 0 {
            even
        } else {
            odd
        }
    }

    /// The parameters, and the counter while they were the newest. `tsc` has to read the counter after all loads before it
    /// (LFENCE; RDTSC).
    #[inline]
    pub fn read(&self, tsc: impl Fn() -> u64) -> (Params, u64) {
        loop {
            let number = self.number.load(Ordering::Acquire);
            let params = self.copy(number).load();
            // Between the two loads of the number: a thread that is held up here for long must not apply parameters to
            // a time for which they aren't made.
            let now = tsc();
            fence(Ordering::Acquire);
            if self.number.load(Ordering::Relaxed) == number {
                return (params, now);
            }
            core::hint::spin_loop();
        }
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    #[inline]
    pub fn monotonic_ns(&self, tsc: impl Fn() -> u64) -> u64 {
        let (params, now) = self.read(tsc);
        params.monotonic_ns(now)
    }

    /// CLOCK_REALTIME in nanoseconds.
    #[inline]
    pub fn realtime_ns(&self, tsc: impl Fn() -> u64) -> u64 {
        let (params, now) = self.read(tsc);
        params.realtime_ns(now)
    }

    /// Makes new parameters known. One writer only, and in order: it keeps the number itself, since the isle
    /// may have overwritten the one in the page.
    pub fn publish(&self, steering: &Steering) {
        // Whoever sees any of the stores below also sees the number before, and knows that this copy is an old one.
        fence(Ordering::Release);
        self.copy(steering.number).store(&steering.params);
        self.number.store(steering.number, Ordering::Release);
    }
}

/// The counter and Linux's clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub tsc: u64,
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME, CLOCK_BOOTTIME and CLOCK_TAI less CLOCK_MONOTONIC, modulo 2^64.
    pub realtime: u64,
    pub boottime: u64,
    pub tai: u64,
    /// How fast Linux has its clock go at this moment, compared to its clocksource's nominal rate: [`NORMAL_PACE`] is
    /// 1. By this a change of pace is followed at once rather than measured. 0 if it isn't known.
    pub pace: u32,
}

/// The writer's state: what was published last, and what the next piece is computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    params: Params,
    number: u64,
    sample: Sample,
    /// Linux's own slope when the sample was taken, without any correction; 0 if it isn't known.
    slope: u64,
}

impl Steering {
    /// The first piece, of an isle whose counter has this frequency. 0 is allowed: then time stands still until
    /// it has been measured.
    pub fn start(sample: &Sample, tsc_khz: u32) -> Self {
        let slope = ratio(1_000_000, tsc_khz.into());
        let params = Params {
            tsc: sample.tsc,
            ns: sample.monotonic_ns,
            frac: 0,
            before: slope,
            after: slope,
            realtime: sample.realtime,
            boottime: sample.boottime,
            tai: sample.tai,
        };
        Self { params, number: 1, sample: *sample, slope }
    }

    /// What was computed.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// True if the counter has passed the point where the new piece begins. Then it must not be published
    /// any more: somebody may have read a time after it from the piece before.
    pub fn is_late(&self, tsc: u64) -> bool {
        tsc.wrapping_sub(self.params.tsc) as i64 >= 0
    }

    /// The next piece. `None` if it is too early for one: the last one does not hold yet, or nothing is known.
    pub fn steer(&self, sample: &Sample) -> Option<Self> {
        let old = &self.params;
        if !self.is_late(sample.tsc) {
            return None;
        }
        let slope = self.slope_at(sample)?;
        let lead = ratio(LEAD_NS, slope); // the slope is in units of 2^-48, so these are whole ticks
        let tsc = sample.tsc.wrapping_add(lead);

        // Where the curve arrives by itself.
        let ticks = u128::from(tsc.wrapping_sub(old.tsc));
        let fine = ticks.wrapping_mul(u128::from(old.after)).wrapping_add(u128::from(old.frac));
        let ns = old.ns.wrapping_add((fine >> SHIFT) as u64);
        let frac = fine as u64 & FRAC_MASK;

        // Where Linux's clock will be then, and the way there.
        let deviation = sample.monotonic_ns.wrapping_add(LEAD_NS).wrapping_sub(ns) as i64;
        let correctable = deviation.clamp(-MOST_CORRECTED_NS, MOST_CORRECTED_NS);
        let correction = i128::from(slope).wrapping_mul(correctable.into()) >> HORIZON_SHIFT;
        let params = Params {
            tsc,
            ns,
            frac,
            before: old.after,
            after: slope.saturating_add_signed(correction as i64),
            realtime: sample.realtime,
            boottime: sample.boottime,
            tai: sample.tai,
        };
        Some(Self { params, number: self.number.wrapping_add(1), sample: *sample, slope })
    }

    /// Linux's own slope at a sample: what it was since the last one, or, if that is too short a time or the
    /// pace has changed in it, what it was before that; adjusted by how the pace has changed.
    fn slope_at(&self, sample: &Sample) -> Option<u64> {
        let ticks = sample.tsc.wrapping_sub(self.sample.tsc);
        let ns = sample.monotonic_ns.checked_sub(self.sample.monotonic_ns)?;
        let known = self.slope;
        let changed = match (self.sample.pace, sample.pace) {
            (0, _) | (_, 0) => 1 << SHIFT,
            (old, new) => ratio(new.into(), old.into()),
        };
        let before = if known == 0 && ns >= MEASURABLE_NS {
            ratio(ns, ticks)
        } else if ns < MEASURABLE_NS || is_other_pace(self.sample.pace, sample.pace) {
            known
        } else {
            // More than this is no drift: somebody stopped one of the two for a while (a debugger of the VM, say).
            let limit = known >> 2;
            ratio(ns, ticks).clamp(known.saturating_sub(limit), known.saturating_add(limit))
        };
        let now = (u128::from(before).wrapping_mul(u128::from(changed)) >> SHIFT) as u64;
        // Less would be a counter of more than 65 THz.
        (now >> 32 != 0).then_some(now)
    }
}

/// `a / b` in units of 2^-[`SHIFT`], rounded down; all ones if that is too much, 0 if `b` is. By long
/// division, since Linux's kernel has none of 128 bits.
fn ratio(a: u64, b: u64) -> u64 {
    let (Some(whole), Some(mut rest)) = (a.checked_div(b), a.checked_rem(b)) else {
        return 0;
    };
    if whole >> (u64::BITS - SHIFT) != 0 {
        return u64::MAX;
    }
    let mut quotient = whole;
    for _ in 0..SHIFT {
        let carry = rest >> 63;
        rest <<= 1;
        quotient <<= 1;
        if carry != 0 || rest >= b {
            rest = rest.wrapping_sub(b);
            quotient |= 1;
        }
    }
    quotient
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
