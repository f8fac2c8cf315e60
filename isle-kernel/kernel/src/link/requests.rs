// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which requests of a channel are in use, and who waits for one.

use crate::sched::{self, Task};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use hermit_plat::abi::channel::{state, Request, REQUESTS, WORDS};
use hermit_plat::abi::protocol::{bit, is_done};
use spin::Mutex;

/// The requests of a channel, shared by all threads of its application.
pub struct Requests {
    all: &'static [Request; REQUESTS],
    /// In use, or left to the proxy, which may still be working on them: one bit each.
    busy: [AtomicU64; WORDS],
    /// Left to the proxy.
    left: [AtomicU64; WORDS],
    waiting: Mutex<VecDeque<Arc<Task>>>,
    /// Length of `waiting`.
    waiting_count: AtomicUsize,
}

/// The word and the bit of a request in a set.
fn place(index: usize) -> (usize, u64) {
    (index / 64, bit(index))
}

impl Requests {
    pub fn new(all: &'static [Request; REQUESTS]) -> Self {
        let none = || [const { AtomicU64::new(0) }; WORDS];
        Self {
            all,
            busy: none(),
            left: none(),
            waiting: Mutex::new(VecDeque::new()),
            waiting_count: AtomicUsize::new(0),
        }
    }

    /// Takes one that is free: the one at `wanted`, so that each thread mostly has its own, or any.
    pub fn take(&self, wanted: usize) -> Option<(usize, &'static Request)> {
        let wanted = wanted % REQUESTS;
        if self.try_take(wanted) {
            return Some((wanted, self.all.get(wanted)?));
        }
        self.take_any().or_else(|| {
            self.reclaim();
            self.take_any()
        })
    }

    fn try_take(&self, index: usize) -> bool {
        let (word, bit) = place(index);
        self.busy.get(word).is_some_and(|w| w.fetch_or(bit, Ordering::SeqCst) & bit == 0)
    }

    fn take_any(&self) -> Option<(usize, &'static Request)> {
        for (word, busy) in self.busy.iter().enumerate() {
            loop {
                let free = busy.load(Ordering::SeqCst).trailing_ones() as usize;
                let index = word.saturating_mul(64).saturating_add(free);
                if free == 64 || index >= REQUESTS {
                    break;
                }
                if self.try_take(index) {
                    return Some((index, self.all.get(index)?));
                }
            }
        }
        None
    }

    /// Gives one back, to who waits first.
    pub fn give(&self, index: usize) {
        let (word, bit) = place(index);
        if let Some(busy) = self.busy.get(word) {
            busy.fetch_and(!bit, Ordering::SeqCst);
        }
        // As who waits: it counts itself, then looks once more.
        if self.waiting_count.load(Ordering::SeqCst) > 0 {
            self.wake_next(&mut self.waiting.lock());
        }
    }

    /// Wakes who waits first. With the lock held, which who waits takes before it goes on: afterwards it knows whether it was
    /// woken, and isn't any more.
    fn wake_next(&self, waiting: &mut VecDeque<Arc<Task>>) {
        if let Some(task) = waiting.pop_front() {
            self.waiting_count.fetch_sub(1, Ordering::SeqCst);
            task.futex_woken.store(true, Ordering::SeqCst);
            sched::wake(&task);
        }
    }

    /// Nobody waits for its answer any more: it comes back once the proxy has given that.
    pub fn leave(&self, index: usize) {
        let (word, bit) = place(index);
        if let Some(left) = self.left.get(word) {
            left.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// True if some come back without anybody saying so.
    pub fn has_left(&self) -> bool {
        self.left.iter().any(|w| w.load(Ordering::SeqCst) != 0)
    }

    /// True if some may come back now.
    pub fn has_answered(&self) -> bool {
        self.answered().next().is_some()
    }

    /// Those that were left and that the proxy has answered.
    fn answered(&self) -> impl Iterator<Item = (usize, &'static Request)> + '_ {
        let is_left = |index: usize| {
            let (word, bit) = place(index);
            self.left.get(word).is_some_and(|w| w.load(Ordering::SeqCst) & bit != 0)
        };
        self.all.iter().enumerate().filter(move |(index, request)| is_left(*index) && is_done(&request.state))
    }

    fn reclaim(&self) {
        for (index, request) in self.answered() {
            let (word, bit) = place(index);
            if self.left.get(word).is_some_and(|w| w.fetch_and(!bit, Ordering::SeqCst) & bit != 0) {
                request.state.store(state::FREE, Ordering::SeqCst);
                self.give(index);
            }
        }
    }

    /// Has the thread's `futex_woken` set when one is given back. Look for a free one between this and waiting.
    pub fn queue(&self, me: &Arc<Task>) {
        me.futex_woken.store(false, Ordering::SeqCst);
        self.waiting.lock().push_back(me.clone());
        self.waiting_count.fetch_add(1, Ordering::SeqCst);
    }

    /// Undoes [`queue`](Self::queue).
    pub fn unqueue(&self, me: &Arc<Task>) {
        let mut waiting = self.waiting.lock();
        if let Some(at) = waiting.iter().position(|t| Arc::ptr_eq(t, me)) {
            waiting.remove(at);
            self.waiting_count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// As [`unqueue`](Self::unqueue), by a thread that doesn't want one any more: a wake-up goes to the next.
    pub fn give_up(&self, me: &Arc<Task>) {
        self.unqueue(me);
        if me.futex_woken.load(Ordering::SeqCst) {
            self.wake_next(&mut self.waiting.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use crate::mem::space::tests::world;
    use crate::process::Process;
    use crate::sched::{CpuMask, Registers};
    use hermit_plat::shared::for_test;

    #[test]
    fn a_request_that_comes_back_is_for_somebody_who_waits() {
        let _world = world();
        let shared = for_test();
        let process = Process::new(Link::new(shared, 0, 5).unwrap()).unwrap();
        let task = |tid| Task::new(tid, process.clone(), Registers::new().unwrap(), CpuMask::all(), 0).unwrap();
        let (first, second) = (task(77), task(78));
        let is_woken = |task: &Arc<Task>| task.futex_woken.load(Ordering::SeqCst);
        let requests = Requests::new(&shared.channels[0].requests);
        let (index, _) = requests.take(5).unwrap();
        requests.queue(&first);
        requests.queue(&second);
        requests.give(index);
        assert!(is_woken(&first) && !is_woken(&second));
        // A signal interrupts it meanwhile.
        requests.give_up(&first);
        assert!(is_woken(&second), "the next one has its turn");
        assert_eq!(requests.waiting_count.load(Ordering::SeqCst), 0);
        requests.queue(&second);
        requests.queue(&first);
        requests.give_up(&second);
        assert!(!is_woken(&first), "nothing has come back");
        requests.unqueue(&first);
        assert!(requests.waiting.lock().is_empty() && requests.waiting_count.load(Ordering::SeqCst) == 0);
    }
}
