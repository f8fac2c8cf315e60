// SPDX-License-Identifier: GPL-2.0

//! Keeps an isle's clock page up to date while the isle runs; see `abi/clock.rs` for what it holds.

use crate::abi::clock::{is_other_pace, Steering, INTERVAL_MS};
use crate::boot::shared::Shared;
use crate::kapi::time;
use crate::kapi::timekeeper::{Listener, Watch};
use crate::kapi::work::{Repeating, Task};
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::Arc;

/// When to try again if an update could not be made.
const AGAIN_MS: u32 = 2;

/// How often an update is begun again at once because it took too long.
const TRIES: usize = 10;

/// How fast Linux has its clock go (`Sample::pace`; 0: not known yet).
struct Pace {
    /// Now.
    now: AtomicU32,
    /// When the page was last updated.
    published: AtomicU32,
}

/// Makes the updates.
struct Updater {
    shared: Arc<Shared>,
    pace: Arc<Pace>,
    steering: Steering,
}

enum Outcome {
    Done,
    /// The last update does not hold yet.
    TooEarly,
    /// A hypervisor has kept this CPU from running.
    TooLate,
}

impl Updater {
    fn update(&mut self) -> Result<Outcome> {
        let page = self.shared.clock()?;
        let pace = self.pace.now.load(Ordering::Relaxed);
        let mut sample = time::sample();
        sample.pace = pace;
        let Some(next) = self.steering.steer(&sample) else {
            return Ok(Outcome::TooEarly);
        };
        if next.is_late(time::tsc()) {
            return Ok(Outcome::TooLate);
        }
        page.publish(&next);
        self.steering = next;
        self.pace.published.store(pace, Ordering::Relaxed);
        Ok(Outcome::Done)
    }
}

impl Task for Updater {
    fn run(&mut self) -> u32 {
        for _ in 0..TRIES {
            match time::undisturbed(|| self.update()) {
                Ok(Outcome::Done) => return INTERVAL_MS,
                Ok(Outcome::TooLate) => continue,
                Ok(Outcome::TooEarly) | Err(_) => break,
            }
        }
        AGAIN_MS
    }
}

/// Asks for an update when it should not wait for the next.
struct Changes {
    updates: Arc<Repeating<Updater>>,
    pace: Arc<Pace>,
}

impl Listener for Changes {
    fn tick(&self, pace: u32, was_set: bool) -> bool {
        self.pace.now.store(pace, Ordering::Relaxed);
        was_set || is_other_pace(pace, self.pace.published.load(Ordering::Relaxed))
    }

    fn changed(&self) {
        self.updates.hurry();
    }
}

/// Updates an isle's clock page until dropped. Fields are given back in this order.
pub struct Keeper {
    _watch: Watch<Changes>,
    _updates: Arc<Repeating<Updater>>,
}

impl Keeper {
    /// `steering` is what the page says already.
    pub fn new(shared: Arc<Shared>, steering: Steering) -> Result<Self> {
        let pace = Arc::new(Pace { now: AtomicU32::new(0), published: AtomicU32::new(0) }, GFP_KERNEL)?;
        let updates = Repeating::new(Updater { shared, pace: pace.clone(), steering })?;
        let updates = Arc::new(updates, GFP_KERNEL)?;
        let watch = Watch::new(Changes { updates: updates.clone(), pace })?;
        Ok(Self { _watch: watch, _updates: updates })
    }
}
