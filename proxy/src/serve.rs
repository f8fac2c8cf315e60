// SPDX-License-Identifier: MIT OR Apache-2.0

//! Serving an application from its first call to its end.
//!
//! One thread at a time watches the channel: it looks for a moment, then sleeps until the doorbell rings. What it finds it does
//! itself. Another thread, made when it is needed, *stands by*: it sleeps until the doorbell rings, which it only does while
//! nobody looks. So before a call that may wait the watch is left alone, and whoever is faster takes it: mostly who made the
//! call, after it, and no thread had to be woken; or who stands by, for the next request. There are as many threads as calls
//! that wait, and one more.

use crate::bell::Bell;
use crate::door::Door;
use crate::failure::say;
use crate::perform::Performer;
use crate::request::{Checked, Refusal, Snapshot};
use crate::shm::{Bounce, ChannelMap};
use crate::spin::Spin;
use crate::sys;
use crate::watch::{self, Watch, Woken};
use crate::worker::Worker;
use hermit_abi::channel::{REQUESTS, Request};
use hermit_abi::{door, protocol};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Stack of a thread that makes calls.
const STACK: usize = 256 << 10;

/// Look after signals and the application's state so often, however many requests there are.
const LOOK_AROUND: Duration = Duration::from_millis(2);

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

/// What the proxy itself knows of a request. One line each: several threads write to their own.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    /// It hasn't been answered, whatever the isle says.
    busy: AtomicBool,
    worker: Worker,
}

/// What to do after watching.
enum Next {
    /// A call that may wait, of the request at this index.
    Call(usize),
    /// To stand by: nothing is to be done, and somebody else waits for the doorbell already.
    Nothing,
    End(Outcome),
}

/// An application's door, channel and memory.
pub struct Server<D> {
    door: D,
    channel: ChannelMap,
    performer: Performer,
    spin: Spin,
    /// A CPU of the isle was woken for an answer, and nobody has looked since for what it wants next.
    has_kicked: AtomicBool,
    has_complained: AtomicBool,
    slots: Box<[Slot]>,
    /// `None`: it is over.
    watch: Mutex<Option<Watch>>,
    /// Whose turn it is to wait for the doorbell. Locked before `watch`, and kept for as long as nobody else has to.
    turn: Mutex<()>,
    bell: Bell,
    /// Threads that wait for the doorbell, or for their turn.
    idle: AtomicUsize,
    /// Threads that make calls.
    active: AtomicUsize,
    /// CPUs that these threads can have.
    cpus: usize,
    /// Requests that were found although no doorbell had come.
    unannounced: AtomicU64,
}

impl<D: Door> Server<D> {
    /// To be made before the application begins: it tells the isle how long to spin. `signals` is from [`sys::take_signals`].
    pub fn new(
        door: D,
        channel: ChannelMap,
        performer: Performer,
        spin: Spin,
        signals: OwnedFd,
    ) -> io::Result<Arc<Self>> {
        let bell = Bell::new(signals)?;
        // It always has to reckon with that.
        channel.get().spin_ns.store(spin.longer().ns(), SeqCst);
        Ok(Arc::new(Self {
            door,
            channel,
            performer,
            spin,
            has_kicked: AtomicBool::new(false),
            has_complained: AtomicBool::new(false),
            slots: (0..REQUESTS).map(|_| Slot::default()).collect(),
            watch: Mutex::new(None),
            turn: Mutex::new(()),
            bell,
            idle: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            unannounced: AtomicU64::new(0),
        }))
    }

    pub fn door(&self) -> &D {
        &self.door
    }

    /// How many requests came without a doorbell; 0 in a world without bugs.
    pub fn unannounced(&self) -> u64 {
        self.unannounced.load(Ordering::Relaxed)
    }

    /// Serves until the application ends. Threads may still be in a call then.
    pub fn serve(self: &Arc<Self>) -> io::Result<Outcome> {
        sys::allow_interruption();
        sys::child::keep_ended();
        let (tell, outcome) = mpsc::channel();
        *self.lock() = Some(Watch::new(tell));
        self.spawn()?;
        outcome.recv().map_err(|_| io::Error::other("the thread that serves it is gone"))?
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let this = self.clone();
        let builder = thread::Builder::new().name("proxy-call".into()).stack_size(STACK);
        // It counts as idle from now on, so that nobody makes another one meanwhile.
        self.idle.fetch_add(1, SeqCst);
        let spawned = builder.spawn(move || this.run());
        if spawned.is_err() {
            self.idle.fetch_sub(1, SeqCst);
        }
        spawned.map(drop)
    }

    /// A thread's life: it stands by in turn, and then makes the calls that it finds.
    fn run(self: Arc<Self>) {
        let mut hands =
            Hands { me: sys::thread_id(), checked: Checked::default(), bounce: Bounce::default() };
        loop {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let rang = self.stand_by();
            let mut guard = self.lock();
            // Only now: who has the watch until then may rely on this thread.
            self.idle.fetch_sub(1, SeqCst);
            // It stays nudged if it is over: so all the others learn of it.
            let Some(watch) = guard.as_mut() else { return };
            self.bell.calm();
            match rang {
                Ok(true) => {}
                Ok(false) if self.is_asleep() => self.note_late(),
                Ok(false) => {}
                Err(e) => return self.finish(guard, Err(e)),
            }
            watch.was_woken = true;
            if !self.attend(guard, turn, &mut hands) {
                return;
            }
            self.idle.fetch_add(1, SeqCst);
        }
    }

    /// Waits until the watch is wanted. False: nobody has said so for long, though nobody looks.
    fn stand_by(&self) -> io::Result<bool> {
        loop {
            let rang = self.bell.wait(self.door.fd(), watch::ROUND)?;
            if rang || self.is_asleep() {
                return Ok(rang);
            }
        }
    }

    /// Nobody looks: requests come with a doorbell.
    fn is_asleep(&self) -> bool {
        self.channel.get().watch.load(SeqCst) != hermit_abi::channel::watch::LOOKING
    }

    fn note_late(&self) {
        self.unannounced.fetch_add(watch::find_lost(self.channel.get()), Ordering::Relaxed);
    }

    /// Keeps the watch, and makes calls, until there is nothing to do and another thread stands by. False: it is over.
    fn attend<'a>(
        self: &'a Arc<Self>,
        mut guard: MutexGuard<'a, Option<Watch>>,
        turn: MutexGuard<'a, ()>,
        hands: &mut Hands,
    ) -> bool {
        let mut turn = Some(turn);
        loop {
            let Some(watch) = guard.as_mut() else { return false };
            match self.keep_watch(watch, turn.is_some(), hands) {
                Ok(Next::Call(slot)) => {
                    self.active.fetch_add(1, SeqCst);
                    let may_sleep =
                        protocol::stop_looking(&self.channel.get().watch, &self.channel.get().posted);
                    let is_calm = may_sleep && watch.is_calm();
                    drop(guard);
                    // Another thread stands by from now on.
                    turn = None;
                    if !is_calm {
                        self.bell.nudge();
                    }
                    let result = self.work(slot, hands);
                    self.active.fetch_sub(1, SeqCst);
                    // Before the answer, so that what comes of it needs no doorbell.
                    let free = match self.watch.try_lock() {
                        Ok(free) => Some(free).filter(|watch| watch.is_some()),
                        Err(_) => None,
                    };
                    if free.is_some() {
                        protocol::start_looking(&self.channel.get().watch);
                    }
                    self.complete(slot, result);
                    match free {
                        Some(free) => guard = free,
                        None => return true,
                    }
                }
                Ok(Next::Nothing) => return true,
                Ok(Next::End(outcome)) => {
                    self.finish(guard, Ok(outcome));
                    return false;
                }
                Err(e) => {
                    self.finish(guard, Err(e));
                    return false;
                }
            }
        }
    }

    /// Watches the channel until there is a call that may wait, whose request is checked then, or until it is over.
    fn keep_watch(
        self: &Arc<Self>,
        watch: &mut Watch,
        has_turn: bool,
        hands: &mut Hands,
    ) -> io::Result<Next> {
        let channel = self.channel.get();
        let period = self.spin.ticks(LOOK_AROUND);
        // Who sleeps has seen nothing; who is new may have been woken for what is there already.
        protocol::start_looking(&channel.watch);
        loop {
            if let Some(slot) = watch.take_posted(channel) {
                if self.take(watch, slot, &mut hands.checked) {
                    if !self.is_for_me(watch, &hands.checked) && self.has_follower() {
                        return Ok(Next::Call(slot));
                    }
                    // If no thread can be had: better late than never.
                    self.complete(slot, self.performer.perform(&hands.checked, &mut hands.bounce));
                }
                if sys::ticks().wrapping_sub(watch.looked_around_at) < period {
                    continue;
                }
            } else if !watch.was_woken {
                let may_spin = self.active.load(SeqCst) < self.cpus;
                // Mostly it has not, and the line stays as it is.
                let kicked = &self.has_kicked;
                let has_kicked = kicked.load(Ordering::Relaxed) && kicked.swap(false, Ordering::Relaxed);
                let spin = if has_kicked { self.spin.longer() } else { self.spin };
                if may_spin && spin.until(|| watch::has_posted(channel)) {
                    continue;
                }
                let may_sleep = protocol::stop_looking(&channel.watch, &channel.posted);
                if may_sleep && !has_turn && watch.is_calm() {
                    return Ok(Next::Nothing);
                }
                if may_sleep && watch.sleep(&self.bell, self.door.fd())? == Woken::Late {
                    self.note_late();
                }
                // A nudge that was on its way when this thread took the watch is meant for it as well.
                self.bell.calm();
                protocol::start_looking(&channel.watch);
                // Requests come first: somebody waits for these.
                watch.was_woken = true;
                continue;
            }
            watch.was_woken = false;
            watch.looked_around_at = sys::ticks();
            if let Some(outcome) = self.look_around(watch)? {
                return Ok(Next::End(outcome));
            }
        }
    }

    /// Looks after all but requests.
    fn look_around(&self, watch: &mut Watch) -> io::Result<Option<Outcome>> {
        // Fails if the isle is gone, as the status will say.
        let insisted = watch.pass_signals(&self.bell, |signal| drop(self.door.signal(signal)));
        if insisted.is_some() {
            return Ok(insisted);
        }
        let status = self.door.status()?;
        match status.state {
            door::state::ENDED => return Ok(Some(Outcome::Ended(status.exit_status))),
            door::state::ISLE_STOPPED => return Ok(Some(Outcome::IsleStopped)),
            door::state::ISLE_CRASHED => return Ok(Some(Outcome::IsleCrashed)),
            _ => {}
        }
        watch.interrupt(|slot| {
            let slot = self.slots.get(slot).filter(|slot| slot.busy.load(SeqCst));
            if let Some(slot) = slot {
                slot.worker.interrupt();
            }
            slot.is_some()
        });
        Ok(watch.note_untaken(status.untaken_signals))
    }

    /// Should the thread that watches make this call itself? Not if it may wait, nor if others could be made meanwhile.
    fn is_for_me(&self, watch: &Watch, checked: &Checked) -> bool {
        let has_cpu = || self.active.load(SeqCst).saturating_add(1) < self.cpus;
        let has_more = || watch.has_taken() || watch::has_posted(self.channel.get());
        self.performer.is_quick(checked) && !(has_more() && has_cpu())
    }

    /// Sees to it that there is a thread for the watch.
    fn has_follower(self: &Arc<Self>) -> bool {
        self.idle.load(SeqCst) > 0 || self.spawn().is_ok()
    }

    /// Takes a request whose bit was set. False: there is none, or it has been answered already.
    fn take(&self, watch: &mut Watch, slot: usize, checked: &mut Checked) -> bool {
        let (Some(own), Some(request)) = (self.slots.get(slot), self.channel.get().requests.get(slot)) else {
            return false;
        };
        let wants_end = || request.cancel.load(SeqCst) != 0;
        if own.busy.load(SeqCst) {
            // If the isle says that it is free: it isn't.
            if wants_end() {
                watch.cancel(slot);
                own.worker.interrupt();
            }
            return false;
        }
        if !protocol::take(&request.state) {
            return false;
        }
        own.busy.store(true, SeqCst);
        let snapshot = Snapshot::of(request);
        if let Err(refusal) = self.performer.check(&snapshot, checked) {
            self.complete(slot, self.refuse(&snapshot, refusal));
            return false;
        }
        // Posted and cancelled before its bit was taken.
        if wants_end() {
            watch.cancel(slot);
        }
        true
    }

    /// Makes a call that may wait.
    fn work(&self, slot: usize, hands: &mut Hands) -> i64 {
        let Hands { me, checked, bounce } = hands;
        let (Some(own), Some(request)) = (self.slots.get(slot), self.channel.get().requests.get(slot)) else {
            return -i64::from(libc::EINVAL);
        };
        own.worker.begin(*me);
        let result = loop {
            let result = self.performer.perform(checked, bounce);
            // Somebody else's signal, say to stop and go on (signal(7)): the application isn't meant.
            if result != -i64::from(libc::EINTR) || request.cancel.load(SeqCst) != 0 {
                break result;
            }
        };
        own.worker.end(*me);
        if request.cancel.load(SeqCst) != 0 {
            // Any system call: an interruption that was sent is taken here, not by the next call.
            sys::thread_id();
        }
        result
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

    /// It is over: says so to the threads that stand by, and to who waits for the outcome.
    fn finish(&self, mut guard: MutexGuard<'_, Option<Watch>>, outcome: io::Result<Outcome>) {
        let watch = guard.take();
        drop(guard);
        self.bell.nudge();
        if let Some(watch) = watch {
            watch.tell(outcome);
        }
    }

    /// Gives the answer and wakes who waits for it.
    fn complete(&self, slot: usize, result: i64) {
        let Some(request) = self.channel.get().requests.get(slot) else { return };
        // First: once it is complete, the isle may post it again.
        if let Some(own) = self.slots.get(slot) {
            own.busy.store(false, SeqCst);
        }
        let Request { state, sleeping, result: place, .. } = request;
        if let Some(cpu) = protocol::complete(state, sleeping, place, result) {
            // Fails if the isle is gone, as the status will say, or has named a CPU that it hasn't.
            let _ = self.door.kick(cpu);
            self.has_kicked.store(true, Ordering::Relaxed);
        }
    }
}

/// What a thread that makes calls needs for one.
struct Hands {
    me: i32,
    checked: Checked,
    bounce: Bounce,
}
