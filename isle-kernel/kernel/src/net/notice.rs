// SPDX-License-Identifier: MIT OR Apache-2.0

//! News of a socket: whom they wake, and how those who look at edges tell that there were some.

use crate::sched::Task;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Waker;
use spin::Mutex;

/// Those that something was said of, for the stack to tell.
static TOLD: Mutex<Vec<Arc<Notice>>> = Mutex::new(Vec::new());

/// The news of one socket.
#[derive(Default)]
pub struct Notice {
    /// How often there were some.
    edges: AtomicU64,
    is_told: AtomicBool,
    waiting: Mutex<Vec<Arc<Task>>>,
}

impl core::fmt::Debug for Notice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Notice({})", self.edges.load(Ordering::Relaxed))
    }
}

impl Wake for Notice {
    /// Called by smoltcp, within the stack's lock.
    fn wake(self: Arc<Self>) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            TOLD.lock().push(self);
        }
    }
}

impl Notice {
    /// How often there were news.
    pub fn edges(&self) -> u64 {
        self.edges.load(Ordering::SeqCst)
    }

    /// For smoltcp.
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }

    /// There are news: whoever waits looks again.
    pub fn tell(&self) {
        self.edges.fetch_add(1, Ordering::SeqCst);
        for task in self.waiting.lock().iter() {
            crate::sched::wake(task);
            task.stir();
        }
    }

    /// A thread waits for news from now on.
    pub fn add(&self, task: &Arc<Task>) {
        self.waiting.lock().push(task.clone());
    }

    /// It doesn't any more.
    pub fn remove(&self, task: &Arc<Task>) {
        let mut waiting = self.waiting.lock();
        if let Some(at) = waiting.iter().position(|t| Arc::ptr_eq(t, task)) {
            let task = waiting.swap_remove(at);
            drop(waiting);
            drop(task);
        }
    }
}

/// Takes those that something was said of.
pub fn take_told() -> Vec<Arc<Notice>> {
    let told = core::mem::take(&mut *TOLD.lock());
    for notice in &told {
        notice.is_told.store(false, Ordering::Relaxed);
    }
    told
}
