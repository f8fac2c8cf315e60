// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clocks and sleeping.

use super::Outcome;
use crate::errno::Errno;
use crate::sched::{self, Woken};
use crate::stack::CLOCK_TICKS;
use crate::thread::Thread;
use hermit_plat::time::{monotonic_ns, realtime_ns, Clock};
use linux_raw_sys::general as nr;

pub const NS: u64 = 1_000_000_000;

/// Nanoseconds of a struct timespec that the application has.
pub fn read_timespec(t: &Thread, at: u64) -> Result<u64, Errno> {
    let [seconds, ns] = t.memory().read_words(at)?;
    if seconds > i64::MAX as u64 || ns >= NS {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(NS).saturating_add(ns))
}

fn now(t: &Thread, clock: u64) -> Result<u64, Errno> {
    match clock as u32 {
        nr::CLOCK_REALTIME | nr::CLOCK_REALTIME_COARSE => Ok(realtime_ns()),
        nr::CLOCK_MONOTONIC | nr::CLOCK_MONOTONIC_RAW | nr::CLOCK_MONOTONIC_COARSE => Ok(monotonic_ns()),
        nr::CLOCK_BOOTTIME => Ok(Clock::Boottime.now_ns()),
        nr::CLOCK_TAI => Ok(Clock::Tai.now_ns()),
        nr::CLOCK_PROCESS_CPUTIME_ID => Ok(t.process.run_ns()),
        nr::CLOCK_THREAD_CPUTIME_ID => Ok(t.task.run_ns()),
        id if (id as i32) < 0 => cpu_clock(t, id as i32),
        _ => Err(Errno::EINVAL),
    }
}

/// The clocks of pthread_getcpuclockid(3) and clock_getcpuclockid(3): the number of a thread or process, inverted, above
/// three bits that say which clock (linux/posix-timers.h).
fn cpu_clock(t: &Thread, clock: i32) -> Result<u64, Errno> {
    const PER_THREAD: i32 = 4;
    let id = !(clock >> 3) as u32;
    if clock & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    if clock & PER_THREAD != 0 {
        let task = if id == 0 { Some(t.task.clone()) } else { t.process.thread(id) };
        return Ok(task.ok_or(Errno::EINVAL)?.run_ns());
    }
    if id != 0 && id != t.process.pid() {
        return Err(Errno::EINVAL);
    }
    Ok(t.process.run_ns())
}

pub fn clock_gettime(t: &mut Thread, clock: u64, to: u64) -> Outcome {
    let ns = now(t, clock)?;
    t.memory().write_words(to, &[ns / NS, ns % NS])?;
    Ok(0)
}

pub fn clock_getres(t: &mut Thread, clock: u64, to: u64) -> Outcome {
    now(t, clock)?;
    if to != 0 {
        t.memory().write_words(to, &[0, 1])?;
    }
    Ok(0)
}

pub fn gettimeofday(t: &mut Thread, to: u64, zone: u64) -> Outcome {
    if to != 0 {
        let ns = realtime_ns();
        t.memory().write_words(to, &[ns / NS, ns % NS / 1000])?;
    }
    if zone != 0 {
        t.memory().write_words(zone, &[0])?;
    }
    Ok(0)
}

pub fn time(t: &mut Thread, to: u64) -> Outcome {
    let seconds = realtime_ns() / NS;
    if to != 0 {
        t.memory().write_words(to, &[seconds])?;
    }
    Ok(seconds)
}

pub fn times(t: &mut Thread, to: u64) -> Outcome {
    let ticks = |ns: u64| ns / (NS / CLOCK_TICKS);
    if to != 0 {
        let user = ticks(t.process.run_ns());
        t.memory().write_words(to, &[user, 0, 0, 0])?;
    }
    Ok(ticks(monotonic_ns()))
}

pub fn nanosleep(t: &mut Thread, request: u64, rest: u64) -> Outcome {
    let ns = read_timespec(t, request)?;
    let deadline = monotonic_ns().saturating_add(ns);
    sleep_until(t, deadline, Some(rest))
}

pub fn clock_nanosleep(t: &mut Thread, [clock, flags, request, rest, ..]: [u64; 6]) -> Outcome {
    const TIMER_ABSTIME: u64 = 1;
    if clock as u32 == nr::CLOCK_THREAD_CPUTIME_ID {
        return Err(Errno::EINVAL.into());
    }
    let now = now(t, clock)?;
    let ns = read_timespec(t, request)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    let wait = if absolute { ns.saturating_sub(now) } else { ns };
    let deadline = monotonic_ns().saturating_add(wait);
    sleep_until(t, deadline, (!absolute).then_some(rest))
}

fn sleep_until(t: &mut Thread, deadline: u64, rest: Option<u64>) -> Outcome {
    if sched::wait(&t.task, Some(deadline), &|| false) == Woken::TimedOut {
        return Ok(0);
    }
    if let Some(rest) = rest.filter(|r| *r != 0) {
        let left = deadline.saturating_sub(monotonic_ns());
        t.memory().write_words(rest, &[left / NS, left % NS])?;
    }
    t.check_end()?;
    Err(Errno::EINTR.into())
}
