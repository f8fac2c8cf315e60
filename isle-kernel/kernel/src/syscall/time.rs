// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clocks and sleeping.

use super::Outcome;
use crate::errno::Errno;
use crate::process::Process;
use crate::stack::CLOCK_TICKS;
use hermit_plat::time::{monotonic_ns, realtime_ns};
use linux_raw_sys::general as nr;

const NS: u64 = 1_000_000_000;

/// Nanoseconds of a struct timespec that the application has.
pub fn read_timespec(p: &mut Process, at: u64) -> Result<u64, Errno> {
    let [seconds, ns] = p.space.read_words(at)?;
    if seconds > i64::MAX as u64 || ns >= NS {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(NS).saturating_add(ns))
}

fn now(p: &Process, clock: u64) -> Result<u64, Errno> {
    match clock as u32 {
        nr::CLOCK_REALTIME | nr::CLOCK_REALTIME_COARSE | nr::CLOCK_TAI => Ok(realtime_ns()),
        nr::CLOCK_MONOTONIC | nr::CLOCK_MONOTONIC_RAW | nr::CLOCK_MONOTONIC_COARSE | nr::CLOCK_BOOTTIME => {
            Ok(monotonic_ns())
        }
        // The core is the application's alone.
        nr::CLOCK_PROCESS_CPUTIME_ID | nr::CLOCK_THREAD_CPUTIME_ID => Ok(run_ns(p)),
        _ => Err(Errno::EINVAL),
    }
}

/// Nanoseconds since the application started.
pub fn run_ns(p: &Process) -> u64 {
    monotonic_ns().saturating_sub(p.started_ns)
}

pub fn clock_gettime(p: &mut Process, clock: u64, to: u64) -> Outcome {
    let ns = now(p, clock)?;
    p.space.write_words(to, &[ns / NS, ns % NS])?;
    Ok(0)
}

pub fn clock_getres(p: &mut Process, clock: u64, to: u64) -> Outcome {
    now(p, clock)?;
    if to != 0 {
        p.space.write_words(to, &[0, 1])?;
    }
    Ok(0)
}

pub fn gettimeofday(p: &mut Process, to: u64, zone: u64) -> Outcome {
    if to != 0 {
        let ns = realtime_ns();
        p.space.write_words(to, &[ns / NS, ns % NS / 1000])?;
    }
    if zone != 0 {
        p.space.write_words(zone, &[0])?;
    }
    Ok(0)
}

pub fn time(p: &mut Process, to: u64) -> Outcome {
    let seconds = realtime_ns() / NS;
    if to != 0 {
        p.space.write_words(to, &[seconds])?;
    }
    Ok(seconds)
}

pub fn times(p: &mut Process, to: u64) -> Outcome {
    let ticks = |ns: u64| ns / (NS / CLOCK_TICKS);
    if to != 0 {
        let user = ticks(run_ns(p));
        p.space.write_words(to, &[user, 0, 0, 0])?;
    }
    Ok(ticks(monotonic_ns()))
}

pub fn nanosleep(p: &mut Process, request: u64) -> Outcome {
    let ns = read_timespec(p, request)?;
    sleep_until(p, monotonic_ns().saturating_add(ns))
}

pub fn clock_nanosleep(p: &mut Process, [clock, flags, request, ..]: [u64; 6]) -> Outcome {
    const TIMER_ABSTIME: u64 = 1;
    let ns = read_timespec(p, request)?;
    let now = now(p, clock)?;
    let rest = if flags & TIMER_ABSTIME != 0 { ns.saturating_sub(now) } else { ns };
    sleep_until(p, monotonic_ns().saturating_add(rest))
}

fn sleep_until(p: &mut Process, deadline: u64) -> Outcome {
    p.link.wait_until(p.deadly(), Some(deadline), || false)?;
    Ok(0)
}
