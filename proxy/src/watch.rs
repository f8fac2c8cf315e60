// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the thread that watches the channel has to know: it is passed on with the watch.

use crate::bell::Bell;
use crate::serve::Outcome;
use crate::signals::{Action, Policy};
use crate::sys;
use hermit_abi::channel::{Channel, REQUESTS, WORDS, state};
use hermit_abi::protocol;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Look at the channel so often even if no doorbell came.
pub const ROUND: Duration = Duration::from_secs(2);

/// A call that has to be interrupted may not have begun yet: it is interrupted again so often.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a sleep is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// By doorbell or signal, or it had a limit shorter than [`ROUND`].
    Up,
    /// By nothing for so long.
    Late,
}

/// The watch over a channel. One thread has it at a time.
pub struct Watch {
    policy: Policy,
    /// Where the outcome goes.
    tell: Sender<io::Result<Outcome>>,
    /// Requests whose calls have to end.
    cancelled: Vec<usize>,
    /// Bits that were taken out of `posted`, of requests that nobody has looked at yet.
    taken: [u64; WORDS],
    /// The request to look at first, so that each has its turn.
    first: usize,
    /// It has been woken, and nobody has looked after signals and the application's state since.
    pub was_woken: bool,
    /// When somebody did.
    pub looked_around_at: u64,
}

impl Watch {
    pub fn new(tell: Sender<io::Result<Outcome>>) -> Self {
        let (policy, cancelled) = (Policy::default(), Vec::new());
        let taken = [0; WORDS];
        Self { policy, tell, cancelled, taken, first: 0, was_woken: false, looked_around_at: 0 }
    }

    pub fn tell(self, outcome: io::Result<Outcome>) {
        // Nobody listens any more: then it is known.
        let _ = self.tell.send(outcome);
    }

    /// Takes the bit of a request that the isle wants to be looked at.
    pub fn take_posted(&mut self, channel: &Channel) -> Option<usize> {
        let (first, bit) = (self.first / 64, self.first % 64);
        // The word of `first` comes twice: from its bit on, and at last as a whole.
        for (turn, word) in (first..WORDS).chain(0..=first).enumerate() {
            let taken = self.taken.get_mut(word)?;
            *taken |= protocol::look(channel.posted.get(word)?);
            let mask = if turn == 0 { u64::MAX << bit } else { u64::MAX };
            let bits = *taken & mask;
            if bits != 0 {
                let slot = word.wrapping_mul(64).wrapping_add(bits.trailing_zeros() as usize);
                *taken &= !protocol::bit(slot);
                self.first = slot.wrapping_add(1) % REQUESTS;
                return Some(slot);
            }
        }
        None
    }

    /// True if there is a request to look at whose bit isn't in the channel any more.
    pub fn has_taken(&self) -> bool {
        self.taken.iter().any(|bits| *bits != 0)
    }

    pub fn cancel(&mut self, slot: usize) {
        if !self.cancelled.contains(&slot) {
            self.cancelled.push(slot);
        }
    }

    /// Interrupts calls that have to end; `interrupt` says whether a request's is still under way.
    pub fn interrupt(&mut self, interrupt: impl Fn(usize) -> bool) {
        self.cancelled.retain(|slot| interrupt(*slot));
    }

    /// How long to sleep, at most.
    fn limit(&self) -> Duration {
        let round = if self.cancelled.is_empty() { ROUND } else { AGAIN };
        self.policy.wait(round, Instant::now())
    }

    /// True if nothing has to be done but what somebody says.
    pub fn is_calm(&self) -> bool {
        !self.has_taken() && !self.was_woken && self.limit() >= ROUND
    }

    /// Sleeps until somebody wants something.
    pub fn sleep(&self, bell: &Bell, door: BorrowedFd<'_>) -> io::Result<Woken> {
        let limit = self.limit();
        let rang = bell.wait(door, limit)?;
        Ok(if !rang && limit >= ROUND { Woken::Late } else { Woken::Up })
    }

    /// Passes on signals that have come; one of them may end it.
    pub fn pass_signals(&mut self, bell: &Bell, pass: impl Fn(i32)) -> Option<Outcome> {
        while let Some(signal) = sys::next_signal(bell.signals()) {
            if self.policy.on_signal(signal, Instant::now()) == Action::End {
                return Some(Outcome::Insisted(signal));
            }
            pass(signal);
        }
        None
    }

    /// Are there signals that the isle hasn't taken yet? It must not be too long.
    pub fn note_untaken(&mut self, untaken: u64) -> Option<Outcome> {
        if untaken == 0 {
            self.policy.on_taken();
        }
        self.policy.expired(Instant::now()).map(Outcome::Insisted)
    }
}

/// True if there is a request to look at.
pub fn has_posted(channel: &Channel) -> bool {
    channel.posted.iter().any(|word| word.load(SeqCst) != 0)
}

/// Sets the bits of requests that have none though they were posted; returns how many.
pub fn find_lost(channel: &Channel) -> u64 {
    let mut lost = 0;
    for (slot, request) in channel.requests.iter().enumerate() {
        let Some(word) = channel.posted.get(slot / 64) else { continue };
        if request.state.load(SeqCst) == state::POSTED {
            word.fetch_or(protocol::bit(slot), SeqCst);
            lost += 1;
        }
    }
    lost
}
