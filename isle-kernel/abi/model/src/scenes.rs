// SPDX-License-Identifier: MIT OR Apache-2.0

//! Scenes of forwarded calls between threads of an isle and the proxy's watcher. Doorbells and kicks are what they
//! are to the protocol: news that stays until somebody waits for it.

use super::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use super::channel::watch;
use super::protocol::{self, announce_sleep, bit, complete, is_done, look, start_looking, stop_looking, take};
use loom::sync::Notify;
use loom::thread;
// Not loom's: that one can't be dropped after a deadlock.
use std::sync::Arc;

struct Request {
    state: AtomicU32,
    sleeping: AtomicU32,
    cancel: AtomicU32,
    argument: AtomicU64,
    result: AtomicI64,
    /// Interrupts the CPU that waits for this request: each has one of its own.
    kick: Notify,
}

struct Channel {
    posted: [AtomicU64; 1],
    watch: AtomicU32,
    doorbell: Notify,
    requests: Vec<Request>,
}

impl Channel {
    fn new(requests: usize) -> Arc<Self> {
        let request = || Request {
            state: AtomicU32::new(0),
            sleeping: AtomicU32::new(0),
            cancel: AtomicU32::new(0),
            argument: AtomicU64::new(0),
            result: AtomicI64::new(0),
            kick: Notify::new(),
        };
        let requests = (0..requests).map(|_| request()).collect();
        Arc::new(Self {
            posted: [AtomicU64::new(0)],
            watch: AtomicU32::new(watch::ASLEEP),
            doorbell: Notify::new(),
            requests,
        })
    }

    /// Isle: a call whose answer is its argument and one.
    fn call(&self, index: usize, argument: u64, is_cancelled: bool) {
        let request = &self.requests[index];
        request.argument.store(argument, Ordering::Relaxed);
        if protocol::post(&request.state, &self.posted, &self.watch, index) {
            self.doorbell.notify();
        }
        if is_cancelled && protocol::cancel(&request.cancel, &self.posted, &self.watch, index) {
            self.doorbell.notify();
        }
        announce_sleep(&request.sleeping, index as u32 + 1);
        while !is_done(&request.state) {
            request.kick.wait();
        }
        let answer = protocol::take_answer(&request.state, &request.sleeping, &request.result);
        assert_eq!(answer, argument as i64 + 1, "the answer isn't there yet");
    }

    /// Proxy: the watcher, until it has completed so many calls. Those that can be cancelled it completes
    /// when they are.
    fn watch(&self, mut calls: usize, only_cancelled: bool) {
        let mut held = 0;
        while calls > 0 {
            let map = look(&self.posted[0]);
            for (request, index) in self.requests.iter().zip(0..) {
                if map & bit(index) == 0 {
                    continue;
                }
                if take(&request.state) {
                    held |= bit(index);
                }
                if held & bit(index) == 0 || only_cancelled && request.cancel.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                held &= !bit(index);
                calls -= 1;
                let value = request.argument.load(Ordering::Relaxed) as i64 + 1;
                if complete(&request.state, &request.sleeping, &request.result, value).is_some() {
                    request.kick.notify();
                }
            }
            if map == 0 && stop_looking(&self.watch, &self.posted) {
                if calls > 0 {
                    self.doorbell.wait();
                }
                start_looking(&self.watch);
            }
        }
    }
}

pub fn one_call() {
    let channel = Channel::new(1);
    let isle = channel.clone();
    let isle = thread::spawn(move || isle.call(0, 5, false));
    channel.watch(1, false);
    isle.join().unwrap();
}

/// One after the other, by the same request.
pub fn two_calls() {
    let channel = Channel::new(1);
    let isle = channel.clone();
    let isle = thread::spawn(move || {
        isle.call(0, 5, false);
        isle.call(0, 7, false);
    });
    channel.watch(2, false);
    isle.join().unwrap();
}

pub fn two_callers() {
    let channel = Channel::new(2);
    let isle = [0, 1].map(|index| {
        let channel = channel.clone();
        thread::spawn(move || channel.call(index, 5, false))
    });
    channel.watch(2, false);
    isle.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A call that ends only because it is cancelled.
pub fn cancelled_call() {
    let channel = Channel::new(1);
    let isle = channel.clone();
    let isle = thread::spawn(move || isle.call(0, 5, true));
    channel.watch(1, true);
    isle.join().unwrap();
}
