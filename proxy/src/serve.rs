// SPDX-License-Identifier: MIT OR Apache-2.0

//! Serving an application from its first call to its end.

use crate::door::Door;
use crate::failure::say;
use crate::perform::Performer;
use crate::pool::Pool;
use crate::request::{Checked, Refusal, Snapshot};
use crate::shm::ChannelMap;
use crate::signals::{Action, Policy};
use crate::sys;
use hermit_abi::channel::{REQUESTS, Request, state};
use hermit_abi::door;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Look at the channel so often even if no doorbell came.
const ROUND: Duration = Duration::from_secs(2);

/// A call that has to be interrupted may not have begun yet: it is interrupted again so often.
const AGAIN: Duration = Duration::from_millis(5);

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The application has ended with this wait status.
    Ended(u32),
    /// It has to be ended: the user insists by this signal.
    Insisted(i32),
    IsleStopped,
    IsleCrashed,
}

/// An application's door, channel and memory.
pub struct Server<D> {
    door: D,
    channel: ChannelMap,
    performer: Performer,
    has_complained: AtomicBool,
    /// Requests that haven't been answered, whatever the isle says.
    busy: [AtomicBool; REQUESTS],
    /// Which thread works on which request; 0: none.
    workers: [AtomicI32; REQUESTS],
    /// Requests that were found although no doorbell had come.
    unannounced: AtomicU64,
}

impl<D: Door> Server<D> {
    pub fn new(door: D, channel: ChannelMap, performer: Performer) -> Arc<Self> {
        let has_complained = AtomicBool::new(false);
        let unannounced = AtomicU64::new(0);
        let busy = [const { AtomicBool::new(false) }; REQUESTS];
        let workers = [const { AtomicI32::new(0) }; REQUESTS];
        Arc::new(Self { door, channel, performer, has_complained, busy, workers, unannounced })
    }

    pub fn door(&self) -> &D {
        &self.door
    }

    /// How many requests came without a doorbell; 0 in a world without bugs.
    pub fn unannounced(&self) -> u64 {
        self.unannounced.load(Ordering::Relaxed)
    }

    /// Serves until the application ends. `signals` is from [`sys::take_signals`].
    pub fn serve(self: &Arc<Self>, signals: &OwnedFd) -> io::Result<Outcome> {
        let this = self.clone();
        let pool = Pool::new(move |(slot, checked): (usize, Checked), spare: &mut Vec<u8>| {
            let result = this.work(slot, &checked, spare);
            this.complete(slot, result);
        });
        sys::allow_interruption();
        sys::child::keep_ended();
        let mut policy = Policy::default();
        let mut spare = Vec::new();
        loop {
            let round = if self.cancel() { AGAIN } else { ROUND };
            let (rang, signalled) = self.wait(signals, policy.wait(round, Instant::now()))?;
            while signalled && let Some(signal) = sys::next_signal(signals.as_fd()) {
                if policy.on_signal(signal, Instant::now()) == Action::End {
                    return Ok(Outcome::Insisted(signal));
                }
                // Fails if the isle is gone, as the status will say.
                let _ = self.door.signal(signal);
            }
            // Before the channel is looked at: what comes later rings anew.
            let status = self.door.status()?;
            match status.state {
                door::state::ENDED => return Ok(Outcome::Ended(status.exit_status)),
                door::state::ISLE_STOPPED => return Ok(Outcome::IsleStopped),
                door::state::ISLE_CRASHED => return Ok(Outcome::IsleCrashed),
                _ => {}
            }
            let taken = self.scan(&pool, &mut spare);
            if status.untaken_signals == 0 {
                policy.on_taken();
            }
            if !rang {
                self.unannounced.fetch_add(taken, Ordering::Relaxed);
            }
            if let Some(signal) = policy.expired(Instant::now()) {
                return Ok(Outcome::Insisted(signal));
            }
        }
    }

    /// Makes a call that may block.
    fn work(&self, slot: usize, checked: &Checked, spare: &mut Vec<u8>) -> i64 {
        let (Some(worker), Some(request)) = (self.workers.get(slot), self.channel.get().requests.get(slot))
        else {
            return -i64::from(libc::EINVAL);
        };
        worker.store(sys::thread_id(), SeqCst);
        let result = loop {
            let result = self.performer.perform(checked, spare);
            // What interrupted it may have been meant for the call that this thread made before.
            if result != -i64::from(libc::EINTR) || request.cancel.load(SeqCst) != 0 {
                break result;
            }
        };
        worker.store(0, SeqCst);
        result
    }

    /// Interrupts the calls that the isle wants to end early; true if there are any.
    fn cancel(&self) -> bool {
        let mut any = false;
        for (request, worker) in self.channel.get().requests.iter().zip(&self.workers) {
            let taken = request.state.load(SeqCst) == state::TAKEN;
            let worker = worker.load(SeqCst);
            if taken && request.cancel.load(SeqCst) != 0 {
                // Also if no thread has begun with it yet: it is looked for again soon.
                any = true;
                if worker != 0 {
                    sys::interrupt(worker);
                }
            }
        }
        any
    }

    /// Waits for door and signals; says which of them there is.
    fn wait(&self, signals: &OwnedFd, limit: Duration) -> io::Result<(bool, bool)> {
        let door = self.door.fd();
        let mut fds = [PollFd::new(&door, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&limit)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false)),
            Err(e) => return Err(e.into()),
        }
        let [rang, signalled] = fds.map(|fd| !fd.revents().is_empty());
        Ok((rang, signalled))
    }

    /// Takes all requests that are there; returns how many.
    fn scan(&self, pool: &Pool<(usize, Checked)>, spare: &mut Vec<u8>) -> u64 {
        let mut taken = 0;
        for (slot, request) in self.channel.get().requests.iter().enumerate() {
            let Some(busy) = self.busy.get(slot) else { continue };
            if busy.load(SeqCst) {
                // The isle says that it is free; it isn't.
                continue;
            }
            let took = request.state.compare_exchange(state::POSTED, state::TAKEN, SeqCst, Ordering::Relaxed);
            if took.is_err() {
                continue;
            }
            taken += 1;
            busy.store(true, SeqCst);
            let snapshot = Snapshot::of(request);
            match self.performer.check(&snapshot) {
                Err(refusal) => self.complete(slot, self.refuse(&snapshot, refusal)),
                Ok(checked) if self.performer.is_quick(&checked) => {
                    self.complete(slot, self.performer.perform(&checked, spare));
                }
                Ok(checked) => {
                    if let Err(((slot, checked), _)) = pool.submit((slot, checked)) {
                        // No thread can be had: better late than never.
                        self.complete(slot, self.performer.perform(&checked, spare));
                    }
                }
            }
        }
        taken
    }

    fn refuse(&self, snapshot: &Snapshot, refusal: Refusal) -> i64 {
        let errno = match refusal {
            Refusal::Errno(errno) => errno,
            Refusal::Malformed(why) => {
                if !self.has_complained.swap(true, Ordering::Relaxed) {
                    let Snapshot { number, tid, .. } = snapshot;
                    say(&format!("the isle made a malformed request (call {number}, thread {tid}): {why}"));
                }
                libc::EINVAL
            }
        };
        -i64::from(errno)
    }

    /// Gives the answer and wakes who waits for it.
    fn complete(&self, slot: usize, result: i64) {
        let Some(request) = self.channel.get().requests.get(slot) else { return };
        let Request { state, sleeping, result: place, .. } = request;
        place.store(result, Ordering::Relaxed);
        if let Some(busy) = self.busy.get(slot) {
            busy.store(false, SeqCst);
        }
        // Both SeqCst, as on the isle's side with the two the other way round: one of us sees the other.
        state.store(state::DONE, SeqCst);
        if let Some(cpu) = sleeping.load(SeqCst).checked_sub(1) {
            // Fails if the isle is gone, as the status will say, or has named a CPU that it hasn't.
            let _ = self.door.kick(cpu);
        }
    }
}
