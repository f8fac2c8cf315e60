// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls about timers that send signals.

use super::time::{read_timespec, NS};
use super::{nr, Outcome};
use crate::errno::Errno;
use crate::mem::access::element;
use crate::signal::number::{LAST, SIGALRM};
use crate::thread::Thread;
use crate::timers::{Clock, Notify};
use hermit_plat::time::monotonic_ns;

const US: u64 = 1_000_000;

/// Nanoseconds of a struct timeval.
fn read_timeval(t: &Thread, at: u64) -> Result<u64, Errno> {
    let [seconds, us] = t.memory().read_words(at)?;
    if seconds > i64::MAX as u64 || us >= US {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(NS).saturating_add(us * 1000))
}

fn write_itimerval(t: &Thread, to: u64, (left, interval): (u64, u64)) -> Result<(), Errno> {
    // What is left is rounded up: 0 would say that the timer is disarmed.
    let us = |ns: u64| [ns.div_ceil(1000) / US, ns.div_ceil(1000) % US];
    let ([a, b], [c, d]) = (us(interval), us(left));
    t.memory().write_words(to, &[a, b, c, d])
}

pub fn getitimer(t: &mut Thread, which: u64, to: u64) -> Outcome {
    let timer = t.process.timers.lock().interval(which, &t.process)?;
    write_itimerval(t, to, timer.get())?;
    Ok(0)
}

pub fn setitimer(t: &mut Thread, which: u64, new: u64, old: u64) -> Outcome {
    let timer = t.process.timers.lock().interval(which, &t.process)?;
    let (interval, value) = match new {
        0 => (0, 0),
        at => (read_timeval(t, at)?, read_timeval(t, element(at, 1, 16)?)?),
    };
    let before = timer.get();
    let at = if value == 0 { 0 } else { timer.clock().now(&t.process).saturating_add(value) };
    timer.set(at, interval);
    if old != 0 {
        write_itimerval(t, old, before)?;
    }
    Ok(0)
}

pub fn alarm(t: &mut Thread, seconds: u64) -> Outcome {
    let timer = t.process.timers.lock().interval(0, &t.process)?;
    let (left, _) = timer.get();
    let at = match seconds as u32 {
        0 => 0,
        seconds => monotonic_ns().saturating_add(u64::from(seconds) * NS),
    };
    timer.set(at, 0);
    // Rounded, but never to "none".
    Ok(if left == 0 { 0 } else { ((left + NS / 2) / NS).max(1) })
}

/// Clocks that timers can count; those of threads and other processes can't be chosen.
fn clock(id: u64) -> Result<Clock, Errno> {
    match id as u32 {
        nr::CLOCK_REALTIME | nr::CLOCK_TAI | nr::CLOCK_REALTIME_ALARM => Ok(Clock::Realtime),
        nr::CLOCK_MONOTONIC | nr::CLOCK_BOOTTIME | nr::CLOCK_BOOTTIME_ALARM => Ok(Clock::Monotonic),
        nr::CLOCK_PROCESS_CPUTIME_ID | nr::CLOCK_THREAD_CPUTIME_ID => Ok(Clock::Process),
        _ => Err(Errno::EINVAL),
    }
}

pub fn timer_create(t: &mut Thread, clock_id: u64, event: u64, to: u64) -> Outcome {
    let clock = clock(clock_id)?;
    // struct sigevent: value, signal and kind, thread.
    let words = match event {
        0 => None,
        at => Some(t.memory().read_words::<3>(at)?),
    };
    let valid = |signal: u32| (1..=LAST).contains(&signal).then_some(signal).ok_or(Errno::EINVAL);
    let notify = match words {
        None => None,
        Some([value, kind, thread]) => Some(match (kind >> 32) as u32 {
            nr::SIGEV_NONE => Notify::Nothing,
            nr::SIGEV_SIGNAL => Notify::Signal { signal: valid(kind as u32)?, value, thread: None },
            nr::SIGEV_THREAD_ID => {
                let thread = t.process.thread(thread as u32).ok_or(Errno::EINVAL)?;
                Notify::Signal { signal: valid(kind as u32)?, value, thread: Some(thread) }
            }
            _ => return Err(Errno::EINVAL.into()),
        }),
    };
    let mut timers = t.process.timers.lock();
    let id = timers.create(clock, &t.process, |id| {
        notify.unwrap_or(Notify::Signal { signal: SIGALRM, value: id.into(), thread: None })
    })?;
    drop(timers);
    let written = t.memory().write(to, &id.to_le_bytes());
    if let Err(errno) = written {
        // It was made just now.
        let _ = t.process.timers.lock().delete(id.into());
        return Err(errno.into());
    }
    Ok(0)
}

fn write_itimerspec(t: &Thread, to: u64, (left, interval): (u64, u64)) -> Result<(), Errno> {
    t.memory().write_words(to, &[interval / NS, interval % NS, left / NS, left % NS])
}

pub fn timer_settime(t: &mut Thread, [id, flags, new, old, ..]: [u64; 6]) -> Outcome {
    const TIMER_ABSTIME: u64 = 1;
    let timer = t.process.timers.lock().find(id)?;
    if new == 0 {
        return Err(Errno::EINVAL.into());
    }
    let (interval, value) = (read_timespec(t, new)?, read_timespec(t, element(new, 1, 16)?)?);
    let before = timer.get();
    let at = match (value, flags & TIMER_ABSTIME) {
        (0, _) => 0,
        (value, 0) => timer.clock().now(&t.process).saturating_add(value),
        (value, _) => value,
    };
    timer.set(at, interval);
    if old != 0 {
        write_itimerspec(t, old, before)?;
    }
    Ok(0)
}

pub fn timer_gettime(t: &mut Thread, id: u64, to: u64) -> Outcome {
    let timer = t.process.timers.lock().find(id)?;
    write_itimerspec(t, to, timer.get())?;
    Ok(0)
}

pub fn timer_getoverrun(t: &mut Thread, id: u64) -> Outcome {
    Ok(t.process.timers.lock().find(id)?.overrun().into())
}

pub fn timer_delete(t: &mut Thread, id: u64) -> Outcome {
    t.process.timers.lock().delete(id)?;
    Ok(0)
}
