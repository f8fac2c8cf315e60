// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads for work that may wait: as many as are waiting at a time, made when they are needed.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

const STACK: usize = 256 << 10;

/// What is done with each job, and memory to use for it.
type Work<J> = dyn Fn(J, &mut Vec<u8>) + Send + Sync;

struct State<J> {
    queue: VecDeque<J>,
    /// Threads that wait for a job.
    idle: usize,
    threads: usize,
    is_closed: bool,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    work: Box<Work<J>>,
}

/// Closed on drop; threads that still have a job end after it.
pub struct Pool<J: Send + 'static>(Arc<Shared<J>>);

impl<J> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut spare = Vec::new();
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                (self.work)(job, &mut spare);
                state = self.lock();
            } else if state.is_closed {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl<J: Send + 'static> Pool<J> {
    /// `work` gets each job, and memory that it may use and leave for the next one.
    pub fn new(work: impl Fn(J, &mut Vec<u8>) + Send + Sync + 'static) -> Self {
        let state = State { queue: VecDeque::new(), idle: 0, threads: 0, is_closed: false };
        let work = Box::new(work);
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), work }))
    }

    /// Has a job done, by a new thread if all others are busy. Without any thread the job comes back.
    pub fn submit(&self, job: J) -> Result<(), (J, io::Error)> {
        let mut state = self.0.lock();
        state.queue.push_back(job);
        if state.queue.len() > state.idle {
            let shared = self.0.clone();
            let builder = thread::Builder::new().name("proxy-call".into()).stack_size(STACK);
            match builder.spawn(move || shared.run()) {
                Ok(_) => state.threads += 1,
                Err(e) if state.threads == 0 => {
                    return match state.queue.pop_back() {
                        Some(job) => Err((job, e)),
                        None => Ok(()),
                    };
                }
                // The job waits for its turn.
                Err(_) => {}
            }
        }
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }
}

impl<J: Send + 'static> Drop for Pool<J> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc;

    #[test]
    fn all_jobs_may_wait_at_the_same_time() {
        let barrier = Arc::new(Barrier::new(65));
        let waits = barrier.clone();
        let pool = Pool::new(move |_: u32, _| {
            waits.wait();
        });
        (0..64).for_each(|job| pool.submit(job).unwrap());
        barrier.wait();
    }

    #[test]
    fn every_job_is_done_once_and_threads_are_used_again() {
        let (done, results) = mpsc::channel();
        let pool = Pool::new(move |job: u32, _| done.send((job, thread::current().id())).unwrap());
        let mut threads = std::collections::HashSet::new();
        for job in 0..1000 {
            pool.submit(job).unwrap();
            let (result, thread) = results.recv().unwrap();
            assert_eq!(result, job);
            threads.insert(thread);
        }
        assert!(threads.len() < 500, "{} threads", threads.len());
    }
}
