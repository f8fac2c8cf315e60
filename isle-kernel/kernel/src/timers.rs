// SPDX-License-Identifier: MIT OR Apache-2.0

//! Timers that send signals: setitimer(2), timer_create(2).
//!
//! A timer that is armed is in the queue of the CPU that armed it (see `sched`), which calls [`Timer::expire`].
//! One of a CPU-time clock is looked at when its time could have come at the earliest, and again if it hasn't.

use crate::errno::Errno;
use crate::mem::is_scarce;
use crate::process::Process;
use crate::sched::{self, Bed, Task};
use crate::signal::{self, number, Info};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_plat::time;
use spin::Mutex;

/// Most timers of a process.
const MAX: usize = 1024;

/// A timer expires again after so long at the earliest; what it misses is counted. Else one with a tiny interval would take
/// all of a CPU.
const SHORTEST_NS: u64 = 50_000;

/// How often a CPU-time timer is looked at, at most (Linux: each tick): at first, and while its process doesn't run.
const TICK_NS: u64 = 1_000_000;
const IDLE_TICK_NS: u64 = 16_000_000;

/// What a timer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Realtime,
    Monotonic,
    /// All threads of the process on CPUs.
    Process,
}

impl Clock {
    /// Its time now.
    pub fn now(self, process: &Process) -> u64 {
        match self {
            Self::Realtime => time::realtime_ns(),
            Self::Monotonic => time::monotonic_ns(),
            Self::Process => process.run_ns(),
        }
    }
}

/// What happens when a timer expires.
#[derive(Clone)]
pub enum Notify {
    Nothing,
    /// A signal to the process, or to one thread of it.
    Signal {
        signal: u32,
        value: u64,
        thread: Option<Arc<Task>>,
    },
    /// As setitimer(2) has it.
    Plain {
        signal: u32,
    },
}

#[derive(Default)]
struct Setting {
    /// In time of the timer's clock; 0: disarmed.
    at: u64,
    interval: u64,
    bed: Option<Bed>,
    overrun: u32,
    /// Of a CPU-time timer: the clock's time when it was looked at last, and how long it was left alone then.
    seen: u64,
    pause: u64,
}

/// A timer.
pub struct Timer {
    id: u32,
    serial: u64,
    clock: Clock,
    notify: Notify,
    process: Weak<Process>,
    setting: Mutex<Setting>,
}

static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Timer {
    fn new(id: u32, clock: Clock, notify: Notify, process: &Arc<Process>) -> Arc<Self> {
        Arc::new(Self {
            id,
            // Threads and timers lie in the same queues: their numbers must differ.
            serial: SERIAL.fetch_add(1, Ordering::Relaxed) | 1 << 63,
            clock,
            notify,
            process: Arc::downgrade(process),
            setting: Mutex::new(Setting::default()),
        })
    }

    /// A number that no other timer has, nor any thread.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What is left until it expires, and its interval.
    pub fn get(&self) -> (u64, u64) {
        let setting = self.setting.lock();
        let Some(process) = self.process.upgrade().filter(|_| setting.at != 0) else {
            return (0, setting.interval);
        };
        // One that is armed has something left.
        (setting.at.saturating_sub(self.clock.now(&process)).max(1), setting.interval)
    }

    /// How often it expired unnoticed.
    pub fn overrun(&self) -> u32 {
        self.setting.lock().overrun
    }

    /// Arms it for a time of its clock, or disarms it with 0.
    pub fn set(self: &Arc<Self>, at: u64, interval: u64) {
        let mut setting = self.setting.lock();
        if let Some(bed) = setting.bed.take() {
            bed.leave();
        }
        (setting.at, setting.interval, setting.overrun, setting.pause) = (at, interval, 0, 0);
        self.sleep(&mut setting, 1);
    }

    /// Has it looked at when its time could have come, but not sooner than after so many nanoseconds.
    fn sleep(self: &Arc<Self>, setting: &mut Setting, shortest: u64) {
        let Some(process) = self.process.upgrade().filter(|_| setting.at != 0) else { return };
        let now = self.clock.now(&process);
        let left = setting.at.saturating_sub(now);
        let left = match self.clock {
            Clock::Process => {
                setting.pause = pause(setting.pause, now > setting.seen);
                setting.seen = now;
                // With all threads running it can't come sooner.
                (left / process.thread_count().max(1) as u64).max(setting.pause)
            }
            _ => left.max(shortest),
        };
        setting.bed = sched::alarm(time::monotonic_ns().saturating_add(left), self);
    }

    /// Its alarm has rung.
    pub fn expire(self: &Arc<Self>) {
        let Some(process) = self.process.upgrade() else { return };
        let mut setting = self.setting.lock();
        setting.bed = None;
        let now = self.clock.now(&process);
        if setting.at == 0 || now < setting.at {
            self.sleep(&mut setting, 1);
            return;
        }
        let missed = match setting.interval {
            0 => 0,
            interval => (now - setting.at) / interval,
        };
        let overrun = u32::try_from(missed).unwrap_or(u32::MAX).min(i32::MAX as u32);
        setting.at = match setting.interval {
            0 => 0,
            interval => setting.at.saturating_add(interval.saturating_mul(missed + 1)),
        };
        self.sleep(&mut setting, SHORTEST_NS);
        drop(setting);
        // A queue that is full loses signals, as on Linux.
        let overrun = match &self.notify {
            Notify::Nothing => Ok(overrun),
            Notify::Signal { signal, value, thread } => {
                let info = Info::timer(*signal, self.id, overrun, *value);
                signal::send_of_timer(&process, thread.as_ref(), info, self.id)
            }
            Notify::Plain { signal } => signal::send(&process, None, Info::kernel(*signal)).map(|()| overrun),
        };
        self.setting.lock().overrun = overrun.unwrap_or(0);
    }
}

/// How long a CPU-time timer is left alone, after the last time; `ran`: the process has run since.
fn pause(last: u64, ran: bool) -> u64 {
    match ran {
        true => TICK_NS,
        false => last.saturating_mul(2).clamp(TICK_NS, IDLE_TICK_NS),
    }
}

/// The timers of a process.
#[derive(Default)]
pub struct Timers {
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    interval: [Option<Arc<Timer>>; 3],
    by_id: BTreeMap<u32, Arc<Timer>>,
    next_id: u32,
}

impl Timers {
    /// The timer of setitimer(2).
    pub fn interval(&mut self, which: u64, process: &Arc<Process>) -> Result<Arc<Timer>, Errno> {
        let (clock, signal) = match which {
            0 => (Clock::Monotonic, number::SIGALRM),
            // The kernel's part of the time isn't counted apart.
            1 => (Clock::Process, number::SIGVTALRM),
            2 => (Clock::Process, number::SIGPROF),
            _ => return Err(Errno::EINVAL),
        };
        let slot = self.interval.get_mut(which as usize).ok_or(Errno::EINVAL)?;
        Ok(slot.get_or_insert_with(|| Timer::new(0, clock, Notify::Plain { signal }, process)).clone())
    }

    /// timer_create(2): `notify` is told the timer's number.
    pub fn create(
        &mut self,
        clock: Clock,
        process: &Arc<Process>,
        notify: impl FnOnce(u32) -> Notify,
    ) -> Result<u32, Errno> {
        if self.by_id.len() >= MAX || is_scarce(0) {
            return Err(Errno::EAGAIN);
        }
        while self.by_id.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1) & (i32::MAX as u32);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1) & (i32::MAX as u32);
        self.by_id.insert(id, Timer::new(id, clock, notify(id), process));
        Ok(id)
    }

    /// A timer by its number.
    pub fn find(&self, id: u64) -> Result<Arc<Timer>, Errno> {
        let id = u32::try_from(id as i32).map_err(|_| Errno::EINVAL)?;
        self.by_id.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// timer_delete(2).
    pub fn delete(&mut self, id: u64) -> Result<(), Errno> {
        let timer = self.find(id)?;
        timer.set(0, 0);
        self.by_id.remove(&timer.id);
        Ok(())
    }

    /// Disarms them all.
    pub fn clear(&mut self) {
        for timer in self.interval.iter().flatten().chain(self.by_id.values()) {
            timer.set(0, 0);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_asked_for_less_often_while_nothing_runs() {
        let mut last = 0;
        let pauses = [false, false, false, false, false, false, true].map(|ran| {
            last = pause(last, ran);
            last / TICK_NS
        });
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 1]);
    }
}
