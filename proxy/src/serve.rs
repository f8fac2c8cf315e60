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
use hermit_abi::channel::{Request, state};
use hermit_abi::door;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Look at the channel so often even if no doorbell came.
const ROUND: Duration = Duration::from_secs(2);

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
    /// Requests that were found although no doorbell had come.
    unannounced: AtomicU64,
}

impl<D: Door> Server<D> {
    pub fn new(door: D, channel: ChannelMap, performer: Performer) -> Arc<Self> {
        let has_complained = AtomicBool::new(false);
        let unannounced = AtomicU64::new(0);
        Arc::new(Self { door, channel, performer, has_complained, unannounced })
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
            let result = this.performer.perform(&checked, spare);
            this.complete(slot, result);
        });
        let mut policy = Policy::default();
        let mut spare = Vec::new();
        loop {
            let (rang, signalled) = self.wait(signals, policy.wait(ROUND, Instant::now()))?;
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
            if taken > 0 {
                policy.on_call();
            }
            if !rang {
                self.unannounced.fetch_add(taken, Ordering::Relaxed);
            }
            if let Some(signal) = policy.expired(Instant::now()) {
                return Ok(Outcome::Insisted(signal));
            }
        }
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
            let took = request.state.compare_exchange(state::POSTED, state::TAKEN, SeqCst, Ordering::Relaxed);
            if took.is_err() {
                continue;
            }
            taken += 1;
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
        // Both SeqCst, as on the isle's side with the two the other way round: one of us sees the other.
        state.store(state::DONE, SeqCst);
        if sleeping.load(SeqCst) != 0 {
            // Fails if the isle is gone, as the status will say.
            let _ = self.door.kick();
        }
    }
}
