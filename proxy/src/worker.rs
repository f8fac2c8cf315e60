// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which thread makes the call of a request, so that it can be interrupted.

use crate::sys;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

/// Somebody is interrupting the thread.
const INTERRUPTS: i32 = i32::MIN;

/// The thread's number; 0: none.
#[derive(Default)]
pub struct Worker(AtomicI32);

impl Worker {
    /// A thread begins with the call.
    pub fn begin(&self, thread: i32) {
        self.0.store(thread, SeqCst);
    }

    /// The same thread is done with it. Afterwards it isn't interrupted any more: what was sent has arrived.
    pub fn end(&self, thread: i32) {
        while self.0.compare_exchange(thread, 0, SeqCst, SeqCst).is_err() {
            thread::yield_now();
        }
    }

    /// Interrupts the thread, if there is one.
    pub fn interrupt(&self) {
        let thread = self.0.load(SeqCst);
        if thread > 0 && self.0.compare_exchange(thread, thread | INTERRUPTS, SeqCst, SeqCst).is_ok() {
            sys::interrupt(thread);
            self.0.store(thread, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// A call is interrupted, and the one that the same thread makes afterwards never is.
    #[test]
    fn interruptions_keep_to_their_call() {
        sys::allow_interruption();
        let worker = Arc::new(Worker::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let (w, o) = (worker.clone(), is_over.clone());
        let interrupter = thread::spawn(move || {
            while !o.load(SeqCst) {
                w.interrupt();
            }
        });
        let me = sys::thread_id();
        let sleep = |us: i64| {
            let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: us * 1000 };
            rustix::event::poll(&mut [], Some(&time))
        };
        for _ in 0..300 {
            worker.begin(me);
            while sleep(1_000_000).is_ok() {}
            worker.end(me);
            // As the server does where a call was cancelled: what was sent is taken here.
            sys::thread_id();
            assert!(sleep(200).is_ok());
        }
        is_over.store(true, SeqCst);
        interrupter.join().unwrap();
    }
}
