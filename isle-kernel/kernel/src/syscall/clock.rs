// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clocks and sleeping.

use crate::app::App;
use crate::space::Result;
use hermit_plat::time;
use linux_raw_sys::errno::{EINTR, EINVAL};
use linux_raw_sys::general as c;

const SECOND: u64 = 1_000_000_000;

fn clock(app: &App, which: u64) -> Result<u64> {
    match which as u32 {
        c::CLOCK_REALTIME | c::CLOCK_REALTIME_COARSE | c::CLOCK_TAI => Ok(time::realtime_ns()),
        c::CLOCK_MONOTONIC | c::CLOCK_MONOTONIC_RAW | c::CLOCK_MONOTONIC_COARSE | c::CLOCK_BOOTTIME => {
            Ok(time::monotonic_ns())
        }
        // It runs alone: all time since its start is its own.
        c::CLOCK_PROCESS_CPUTIME_ID | c::CLOCK_THREAD_CPUTIME_ID => Ok(time::monotonic_ns() - app.start_ns),
        _ => Err(EINVAL),
    }
}

fn write_pair(app: &mut App, to: u64, pair: [u64; 2]) -> Result<u64> {
    for (i, word) in pair.iter().enumerate() {
        app.space.write(to + 8 * i as u64, &word.to_le_bytes())?;
    }
    Ok(0)
}

pub fn clock_gettime(app: &mut App, which: u64, to: u64) -> Result<u64> {
    let ns = clock(app, which)?;
    write_pair(app, to, [ns / SECOND, ns % SECOND])
}

pub fn clock_getres(app: &mut App, which: u64, to: u64) -> Result<u64> {
    clock(app, which)?;
    if to == 0 {
        return Ok(0);
    }
    write_pair(app, to, [0, 1])
}

pub fn gettimeofday(app: &mut App, to: u64, zone: u64) -> Result<u64> {
    let ns = time::realtime_ns();
    if to != 0 {
        write_pair(app, to, [ns / SECOND, ns % SECOND / 1000])?;
    }
    if zone != 0 {
        app.space.write(zone, &[0; 8])?;
    }
    Ok(0)
}

pub fn seconds(app: &mut App, to: u64) -> Result<u64> {
    let now = time::realtime_ns() / SECOND;
    if to != 0 {
        app.space.write(to, &now.to_le_bytes())?;
    }
    Ok(now)
}

pub fn times(app: &mut App, to: u64) -> Result<u64> {
    let ticks = |ns: u64| ns / (SECOND / 100);
    if to != 0 {
        let user = ticks(time::monotonic_ns() - app.start_ns);
        for (i, word) in [user, 0, 0, 0].iter().enumerate() {
            app.space.write(to + 8 * i as u64, &word.to_le_bytes())?;
        }
    }
    Ok(ticks(time::monotonic_ns()))
}

/// nanosleep(2), or clock_nanosleep(2) with its clock and flags.
pub fn sleep(app: &mut App, request: u64, clock_and_flags: Option<(u64, u64)>) -> Result<u64> {
    let (seconds, ns) = (app.space.read_u64(request)?, app.space.read_u64(request + 8)?);
    if ns >= SECOND || seconds > i64::MAX as u64 {
        return Err(EINVAL);
    }
    let time = seconds.saturating_mul(SECOND).saturating_add(ns);
    let (which, absolute) = match clock_and_flags {
        Some((which, flags)) => (which, flags & u64::from(c::TIMER_ABSTIME) != 0),
        None => (u64::from(c::CLOCK_MONOTONIC), false),
    };
    let end = if absolute { time } else { clock(app, which)?.saturating_add(time) };
    // There is no timer yet, so the CPU has to look.
    while clock(app, which)? < end {
        hermit_plat::cpu::take_interrupts();
        if app.must_end() {
            return Err(EINTR);
        }
        core::hint::spin_loop();
    }
    Ok(0)
}
