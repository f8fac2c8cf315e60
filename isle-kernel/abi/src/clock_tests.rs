// SPDX-License-Identifier: MIT OR Apache-2.0

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::Mutex;

/// The same numbers in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    fn signed(&mut self, most: u64) -> i64 {
        self.range(0, 2 * most + 1) as i64 - most as i64
    }
}

fn clock() -> Box<Clock> {
    Box::new(Clock {
        number: AtomicU64::new(0),
        _pad0: [0; 7],
        copies: [0, 1].map(|_| Line { words: [0; 8].map(AtomicU64::new) }),
        getcpu: AtomicU32::new(0),
        _pad1: [0; 15],
        _rest: [0; 480],
    })
}

/// A Linux, and the counter of its machine.
struct Linux {
    tsc: u64,
    /// CLOCK_MONOTONIC in 2^-48 ns.
    fine: u128,
    /// Slope of a clock that isn't steered.
    nominal: u64,
    /// How much it is steered, in parts per million.
    ppm: i64,
    /// Most that a reading is wrong by.
    noise_ns: u64,
    tells_pace: bool,
}

impl Linux {
    fn new(tsc: u64, khz: u64, ppm: i64) -> Self {
        let fine = 12_345_678_901_234_u128 << SHIFT;
        Self { tsc, fine, nominal: ratio(1_000_000, khz), ppm, noise_ns: 0, tells_pace: false }
    }

    fn slope(&self) -> u64 {
        (i128::from(self.nominal) * i128::from(1_000_000 + self.ppm) / 1_000_000) as u64
    }

    fn run(&mut self, ticks: u64) {
        self.tsc = self.tsc.wrapping_add(ticks);
        self.fine += u128::from(ticks) * u128::from(self.slope());
    }

    fn ticks(&self, ns: u64) -> u64 {
        ratio(ns, self.nominal)
    }

    fn ns(&self) -> u64 {
        (self.fine >> SHIFT) as u64
    }

    fn sample(&self, random: &mut Random) -> Sample {
        Sample {
            tsc: self.tsc,
            monotonic_ns: self.ns().wrapping_add_signed(random.signed(self.noise_ns)),
            realtime: 1_700_000_000_000_000_000,
            boottime: 5,
            tai: 1_700_000_037_000_000_000,
            pace: if self.tells_pace {
                (i64::from(NORMAL_PACE) * (1_000_000 + self.ppm) / 1_000_000) as u32
            } else {
                0
            },
        }
    }
}

/// Asserts that old and new parameters are one curve up to where the new piece begins, and go on from there.
fn assert_continuous(old: &Params, new: &Params, random: &mut Random) {
    assert_eq!(old.monotonic_ns(new.tsc), new.monotonic_ns(new.tsc));
    let span = new.tsc.wrapping_sub(old.tsc);
    for _ in 0..10 {
        let tsc = old.tsc.wrapping_add(random.next() % (span + 1));
        assert_eq!(old.monotonic_ns(tsc), new.monotonic_ns(tsc));
        let after = new.tsc.wrapping_add(random.next() % (span + 1));
        assert!(new.monotonic_ns(after) >= new.ns);
    }
}

/// What happens in a simulation: called before each update.
type Event = fn(&mut Linux, &mut Random);

/// An hour of updates, each up to 50 ms late and one in a hundred 1.5 s; the isle reads at random times between.
/// Returns the largest deviation, in nanoseconds, after the first `settle` updates.
fn hour(linux: &mut Linux, seed: u64, khz: u32, settle: usize, event: Event) -> u64 {
    let mut random = Random(seed);
    let page = clock();
    let mut steering = Steering::start(&linux.sample(&mut random), khz);
    page.publish(&steering);
    let (mut worst, mut last, end) = (0, 0, linux.ns() + 3_600_000_000_000);
    let mut updates = 0;
    while linux.ns() < end {
        event(linux, &mut random);
        let late = if random.range(0, 100) == 0 { 1_500_000_000 } else { random.range(0, 50_000_000) };
        let mut left = linux.ticks(u64::from(INTERVAL_MS) * 1_000_000 + late);
        while left > 0 {
            let ticks = random.range(1, linux.ticks(60_000_000)).min(left);
            left -= ticks;
            linux.run(ticks);
            let ns = page.monotonic_ns(|| linux.tsc);
            assert!(ns >= last, "{ns} after {last}");
            last = ns;
            assert_eq!(page.realtime_ns(|| linux.tsc), ns.wrapping_add(steering.params.realtime));
            if updates > settle {
                worst = worst.max(ns.abs_diff(linux.ns()));
            }
        }
        let next = steering.steer(&linux.sample(&mut random)).expect("not too early");
        assert!(!next.is_late(linux.tsc));
        assert_continuous(&steering.params, &next.params, &mut random);
        page.publish(&next);
        steering = next;
        updates += 1;
    }
    worst
}

#[test]
fn an_hour_with_a_constant_deviation() {
    for ppm in [-500, -37, 0, 1, 500] {
        let worst = hour(&mut Linux::new(1 << 40, 2_900_000, ppm), 1, 2_900_000, 0, |_, _| ());
        assert!(worst < 1_000_000, "{ppm} ppm: {worst} ns");
        // Once it is known, nothing is left of it.
        let worst = hour(&mut Linux::new(1 << 40, 2_900_000, ppm), 1, 2_900_000, 30, |_, _| ());
        assert!(worst < 10, "{ppm} ppm: {worst} ns");
    }
}

#[test]
fn an_hour_with_a_slow_clocksource() {
    for (seed, khz) in [(2, 1_000_000), (3, 2_100_000), (4, 5_800_000)] {
        let mut linux = Linux { noise_ns: 2000, ..Linux::new(7, khz, 123) };
        let worst = hour(&mut linux, seed, khz as u32, 10, |_, _| ());
        assert!(worst < 50_000, "{khz} kHz: {worst} ns");
    }
}

#[test]
fn an_hour_of_steering() {
    // NTP changes the frequency every few seconds, by all that it may at once.
    let event: Event = |linux, random| {
        if random.range(0, 10) == 0 {
            linux.ppm = random.signed(500);
        }
    };
    for seed in 5..10 {
        let mut linux = Linux { noise_ns: 100, ..Linux::new(9, 3_000_000, 0) };
        let worst = hour(&mut linux, seed, 3_000_000, 0, event);
        // A change of 1000 ppm right before one of the updates that are 1.5 s late: 2 ms. Usual ones: 0.5 ms.
        assert!(worst < 2_000_000, "{worst} ns");
        // As told by Linux, at the next tick.
        let mut linux = Linux { noise_ns: 100, tells_pace: true, ..Linux::new(9, 3_000_000, 0) };
        let told = hour_told(&mut linux, seed, |random| random.signed(500));
        assert!(told < 50_000, "{told} ns");
    }
}

#[test]
fn an_hour_of_fast_slewing() {
    // chrony's maxslewrate (chrony.conf(5)).
    for seed in 15..18 {
        let mut linux = Linux { tells_pace: true, ..Linux::new(11, 2_400_000, 0) };
        let worst = hour_told(&mut linux, seed, |random| 83_333 * random.signed(1));
        assert!(worst < 1_000_000, "{worst} ns");
    }
}

/// As [`hour`], but changes of pace come between updates, and Linux tells of them 4 ms later at most.
fn hour_told(linux: &mut Linux, seed: u64, ppm: fn(&mut Random) -> i64) -> u64 {
    let mut random = Random(seed);
    let page = clock();
    let mut steering = Steering::start(&linux.sample(&mut random), linux.ticks(1_000_000) as u32);
    page.publish(&steering);
    let (mut worst, mut last) = (0, 0);
    for _ in 0..7200 {
        let changes = random.range(0, 4) == 0;
        let mut pieces = vec![random.range(10_000_000, 500_000_000)];
        if changes {
            pieces.push(random.range(100_000, 4_000_000));
        }
        for (index, piece) in pieces.into_iter().enumerate() {
            if index == 1 {
                linux.ppm = ppm(&mut random);
            }
            for _ in 0..10 {
                linux.run(linux.ticks(piece / 10));
                let ns = page.monotonic_ns(|| linux.tsc);
                assert!(ns >= last);
                last = ns;
                worst = worst.max(ns.abs_diff(linux.ns()));
            }
        }
        if let Some(next) = steering.steer(&linux.sample(&mut random)) {
            assert_continuous(&steering.params, &next.params, &mut random);
            page.publish(&next);
            steering = next;
        }
    }
    worst
}

#[test]
fn only_realtime_jumps() {
    let mut random = Random(20);
    let page = clock();
    let mut linux = Linux::new(1 << 50, 3_000_000, 0);
    let mut steering = Steering::start(&linux.sample(&mut random), 3_000_000);
    page.publish(&steering);
    let mut offset = steering.params.realtime;
    for step in [3_600_000_000_000_i64, -1_000_000_000, 1, -7_200_000_000_000, 0] {
        linux.run(linux.ticks(500_000_000));
        let (monotonic, realtime) = (page.monotonic_ns(|| linux.tsc), page.realtime_ns(|| linux.tsc));
        offset = offset.wrapping_add_signed(step);
        let sample = Sample { realtime: offset, ..linux.sample(&mut random) };
        steering = steering.steer(&sample).unwrap();
        page.publish(&steering);
        assert_eq!(page.monotonic_ns(|| linux.tsc), monotonic);
        assert_eq!(page.realtime_ns(|| linux.tsc), realtime.wrapping_add_signed(step));
    }
    let (params, tsc) = page.read(|| linux.tsc);
    assert_eq!(params.boottime_ns(tsc), params.monotonic_ns(tsc) + 5);
    assert_eq!(params.tai_ns(tsc), params.monotonic_ns(tsc) + 1_700_000_037_000_000_000);
}

#[test]
fn counters_may_wrap() {
    for before_wrap in [1, 1_000, 1_600_000_000, 3_000_000_000, 9_000_000_000] {
        let mut random = Random(before_wrap);
        let mut linux = Linux::new(0u64.wrapping_sub(before_wrap), 3_000_000, 250);
        let mut steering = Steering::start(&linux.sample(&mut random), 3_000_000);
        let mut last = 0;
        for _ in 0..20 {
            for _ in 0..10 {
                linux.run(linux.ticks(50_000_000));
                let ns = steering.params.monotonic_ns(linux.tsc);
                assert!(ns >= last && ns.abs_diff(linux.ns()) < 1_000_000, "{ns} after {last}, Linux {}", linux.ns());
                last = ns;
            }
            let next = steering.steer(&linux.sample(&mut random)).unwrap();
            assert_continuous(&steering.params, &next.params, &mut random);
            steering = next;
        }
    }
}

#[test]
fn an_unknown_frequency_is_measured() {
    let mut random = Random(30);
    let mut linux = Linux::new(1000, 2_000_000, 0);
    let mut steering = Steering::start(&linux.sample(&mut random), 0);
    let start = linux.ns();
    linux.run(linux.ticks(10_000_000));
    assert_eq!(steering.params.monotonic_ns(linux.tsc), start);
    // Too short to measure it.
    assert_eq!(steering.steer(&linux.sample(&mut random)), None);
    let mut last = start;
    for _ in 0..100 {
        linux.run(linux.ticks(500_000_000));
        let next = steering.steer(&linux.sample(&mut random)).unwrap();
        assert_continuous(&steering.params, &next.params, &mut random);
        let ns = next.params.monotonic_ns(linux.tsc);
        assert!(ns >= last);
        last = ns;
        steering = next;
    }
    assert!(last.abs_diff(linux.ns()) < 1_000);
}

#[test]
fn a_wrong_frequency_is_found() {
    for khz in [1_000_000, 9_000_000, 100_000_000] {
        let worst = hour(&mut Linux::new(1000, 3_000_000, 0), 40, khz, 200, |_, _| ());
        assert!(worst < 10, "{khz} kHz: {worst} ns");
    }
}

#[test]
fn updates_that_come_too_early_are_refused() {
    let mut random = Random(50);
    let mut linux = Linux::new(1000, 2_000_000, 0);
    let steering = Steering::start(&linux.sample(&mut random), 2_000_000);
    linux.run(linux.ticks(100_000_000));
    let next = steering.steer(&linux.sample(&mut random)).unwrap();
    assert!(!next.is_late(linux.tsc));
    linux.run(linux.ticks(LEAD_NS / 2));
    assert!(!next.is_late(linux.tsc));
    assert_eq!(next.steer(&linux.sample(&mut random)), None);
    linux.run(linux.ticks(LEAD_NS));
    assert!(next.is_late(linux.tsc));
    assert!(next.steer(&linux.sample(&mut random)).is_some());
    // A counter or a clock that runs backwards.
    assert_eq!(next.steer(&Sample { tsc: 0, ..linux.sample(&mut random) }), None);
    assert_eq!(next.steer(&Sample { monotonic_ns: 0, ..linux.sample(&mut random) }), None);
}

#[test]
fn extreme_values_do_no_harm() {
    let values = [0, 1, 2, 1 << 31, 1 << 32, 1 << 48, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX];
    let mut random = Random(60);
    for _ in 0..200_000 {
        let mut pick = || match random.next() % 3 {
            0 => random.next(),
            _ => values[random.next() as usize % values.len()],
        };
        let mut sample = || Sample {
            tsc: pick(),
            monotonic_ns: pick(),
            realtime: pick(),
            boottime: pick(),
            tai: pick(),
            pace: pick() as u32,
        };
        let (first, second, third) = (sample(), sample(), sample());
        let mut steering = Steering::start(&first, pick() as u32);
        for sample in [second, third] {
            for tsc in [pick(), sample.tsc] {
                let _ =
                    (steering.params.realtime_ns(tsc), steering.params.boottime_ns(tsc), steering.params.tai_ns(tsc));
            }
            steering = steering.steer(&sample).unwrap_or(steering);
        }
    }
    assert_eq!(Params::default().monotonic_ns(u64::MAX), 0);
}

#[test]
fn ratios_are_exact() {
    assert_eq!(ratio(1, 0), 0);
    assert_eq!(ratio(0, 5), 0);
    assert_eq!(ratio(u64::MAX, 1), u64::MAX);
    assert_eq!(ratio(u64::MAX, u64::MAX), 1 << SHIFT);
    let mut random = Random(70);
    for _ in 0..100_000 {
        let (a, b) = (random.next() >> (random.next() % 56), random.next() >> (random.next() % 56));
        let exact = (u128::from(a) << SHIFT).checked_div(u128::from(b)).unwrap_or(0);
        assert_eq!(ratio(a, b), u64::try_from(exact).unwrap_or(u64::MAX));
    }
}

#[test]
fn tsc_aux_is_as_on_linux() {
    assert_eq!(tsc_aux(5, 2), 0x2005);
}

/// Publishes as fast as it can; every word of a publication follows from its number.
#[test]
fn readers_see_no_mixture() {
    let page = clock();
    let done = AtomicBool::new(false);
    let seen = Mutex::new(0);
    let params = |n: u64| Params::from_words([1, 3, 5, 7, 11, 13, 17, 19].map(|prime| n.wrapping_mul(prime)));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (mut last, mut different) = (0, 0u64);
                while !done.load(Ordering::Relaxed) {
                    let (read, _) = page.read(|| 0);
                    assert_eq!(read, params(read.tsc));
                    assert!(read.tsc >= last);
                    different += u64::from(read.tsc != last);
                    last = read.tsc;
                }
                *seen.lock().unwrap() += different;
            });
        }
        for number in 1..500_000 {
            page.publish(&Steering { params: params(number), number, ..Steering::default() });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.into_inner().unwrap() > 0);
}

/// A writer that steers against the real counter of this machine, or else a made-up one, while threads read:
/// no thread may see a time before one that another has seen.
#[test]
fn time_goes_backwards_nowhere() {
    let page = clock();
    let epoch = std::time::Instant::now();
    let tsc = || epoch.elapsed().as_nanos() as u64 * 3;
    let mut random = Random(80);
    let slope = ratio(1, 3);
    let sample = |random: &mut Random, lean: i64| {
        let tsc = tsc();
        // Off by up to 200 us, now this way and now that, so that there always is something to correct.
        let monotonic_ns = (tsc / 3 + 10_000_000_000).wrapping_add_signed(lean + random.signed(1000));
        Sample { tsc, monotonic_ns, ..Sample::default() }
    };
    let mut steering = Steering::start(&sample(&mut random, 0), 3_000_000);
    assert_eq!(steering.slope, slope);
    page.publish(&steering);
    let done = AtomicBool::new(false);
    let newest = AtomicU64::new(0);
    let published = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let before = newest.load(Ordering::SeqCst);
                    let ns = page.monotonic_ns(tsc);
                    assert!(ns >= before, "{ns} after {before}");
                    newest.fetch_max(ns, Ordering::SeqCst);
                }
            });
        }
        let mut published = 0;
        while epoch.elapsed().as_millis() < 1_500 {
            std::thread::sleep(std::time::Duration::from_micros(1_500));
            let lean = if published & 1 == 0 { 200_000 } else { -200_000 };
            if let Some(next) = steering.steer(&sample(&mut random, lean)) {
                if !next.is_late(tsc()) {
                    page.publish(&next);
                    steering = next;
                    published += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        published
    });
    assert!(published > 10);
}
