// SPDX-License-Identifier: MIT OR Apache-2.0

//! The processes of one application: the first one, and those that were forked from it on the isle.
//!
//! The application ends when its first process does; all others are ended with it. A process that has executed another program
//! runs that on Linux, and is only its stand-in here (see `exec.rs`).

use crate::errno::End;
use crate::futex::Futexes;
use crate::process::Process;
use crate::sched;
use crate::signal::{self, number::SIGKILL, Info};
use crate::startup::PID_LIMIT;
use crate::thread::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Mutex;

/// Processes of an application, at most.
const MAX: usize = 4096;

/// All processes of an application.
#[derive(Default)]
pub struct Family {
    /// In the order in which they began: the first is the application's.
    members: Mutex<Vec<Arc<Process>>>,
    next: AtomicU32,
    /// How the first one has ended.
    end: Mutex<Option<End>>,
    /// Those in memory that processes share.
    pub futexes: Futexes,
}

impl Family {
    /// Adds a process; false if there are too many, or the application ends.
    pub fn add(&self, process: &Arc<Process>) -> bool {
        let mut members = self.members.lock();
        let fits = members.len() < MAX && self.end.lock().is_none();
        if fits {
            members.push(process.clone());
        }
        fits
    }

    /// True if there is but one.
    pub fn is_alone(&self) -> bool {
        self.members.lock().len() <= 1
    }

    /// All of them.
    pub fn members(&self) -> Vec<Arc<Process>> {
        self.members.lock().clone()
    }

    /// The first process, while it lives.
    pub fn first(&self) -> Option<Arc<Process>> {
        self.members.lock().first().filter(|process| process.is_first()).cloned()
    }

    /// The process of a number.
    pub fn find(&self, pid: u32) -> Option<Arc<Process>> {
        self.members.lock().iter().find(|process| process.pid() == pid).cloned()
    }

    /// A number that no process or thread has, from `base` on.
    pub fn new_id(&self, base: u32) -> u32 {
        loop {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let id = (base + 1 + next % PID_LIMIT) % PID_LIMIT;
            let is_used = || self.members.lock().iter().any(|p| p.pid() == id || p.has_thread(id));
            if id > 1 && id != base && !is_used() {
                return id;
            }
        }
    }

    /// Ends all of them.
    pub fn end(&self, end: End) {
        for process in self.members() {
            process.end(end);
        }
    }

    /// True if nothing is left to be ended.
    pub fn is_ending(&self) -> bool {
        self.members.lock().iter().all(|process| process.ending().is_some())
    }

    /// A process has ended, and all that was its own is released. Returns how the application has ended, if that was the last.
    pub fn remove(&self, process: &Arc<Process>, end: End) -> Option<End> {
        let is_first = process.is_first();
        if is_first {
            *self.end.lock() = Some(end);
        }
        let is_empty = {
            let mut members = self.members.lock();
            members.retain(|member| !Arc::ptr_eq(member, process));
            members.is_empty()
        };
        if is_empty {
            return *self.end.lock();
        }
        if is_first {
            self.end(End::signal(SIGKILL));
        }
        None
    }
}

/// A child process as its parent knows it.
pub struct Child {
    pub pid: u32,
    pub process: Weak<Process>,
    /// How it has ended, once it has.
    pub status: Option<u32>,
    /// Nanoseconds that it has run.
    pub run_ns: u64,
}

/// What a process is to others.
#[derive(Default)]
pub struct Kin {
    parent: Mutex<Weak<Process>>,
    /// Those that haven't been waited for.
    pub children: Mutex<BTreeMap<u32, Child>>,
    /// What the parent is sent at the end; 0: nothing.
    exit_signal: AtomicU32,
    /// The thread of the parent that waits until this process uses its memory no longer (vfork(2)).
    lender: Mutex<Option<Arc<sched::Task>>>,
}

impl Kin {
    /// Of a child.
    pub fn of_child(parent: &Arc<Process>, exit_signal: u32, lender: Option<Arc<sched::Task>>) -> Self {
        Self {
            parent: Mutex::new(Arc::downgrade(parent)),
            children: Mutex::default(),
            exit_signal: AtomicU32::new(exit_signal),
            lender: Mutex::new(lender),
        }
    }

    pub fn parent(&self) -> Option<Arc<Process>> {
        self.parent.lock().upgrade()
    }

    /// True while a thread of the parent waits for its memory.
    pub fn is_borrower(&self) -> bool {
        self.lender.lock().is_some()
    }

    /// The memory is the parent's alone again.
    pub fn give_back(&self) {
        if let Some(lender) = self.lender.lock().take() {
            sched::wake(&lender);
        }
    }
}

/// Tells those who want to know that a process has ended.
pub fn mourn(process: &Arc<Process>, End(status): End) {
    process.kin.give_back();
    // Its own children are nobody's any more: nobody waits for them.
    for child in core::mem::take(&mut *process.kin.children.lock()).into_values() {
        if let Some(child) = child.process.upgrade() {
            *child.kin.parent.lock() = Weak::new();
        }
    }
    let Some(parent) = process.kin.parent() else { return };
    let pid = process.pid();
    let signal = process.kin.exit_signal.load(Ordering::Relaxed);
    let is_wanted = parent.signals.lock().wants_children(signal);
    {
        let mut children = parent.kin.children.lock();
        if is_wanted {
            if let Some(child) = children.get_mut(&pid) {
                child.run_ns = process.run_ns();
                child.status = Some(status);
            }
        } else {
            children.remove(&pid);
        }
    }
    if signal != 0 {
        // A queue that is full loses it, as on Linux.
        let _ = signal::send(&parent, None, Info::child(signal, pid, process.startup().uid, status));
    }
    parent.for_each_thread(|thread| {
        sched::wake(thread);
    });
}

/// Which children are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Any,
    One(u32),
}

impl Which {
    fn fits(self, pid: u32) -> bool {
        match self {
            Self::Any => true,
            Self::One(wanted) => wanted == pid,
        }
    }
}

/// What waiting for children has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Number, status, nanoseconds that it ran.
    Ended(u32, u32, u64),
    /// There are some, but they run.
    Running,
    NoChild,
}

/// Looks for a child that has ended; it is forgotten then, unless it is to be `kept`.
pub fn look(thread: &Thread, which: Which, kept: bool) -> Found {
    let mut children = thread.process.kin.children.lock();
    let mut found = Found::NoChild;
    for child in children.values().filter(|child| which.fits(child.pid)) {
        if let Some(status) = child.status {
            found = Found::Ended(child.pid, status, child.run_ns);
            break;
        }
        found = Found::Running;
    }
    if let (Found::Ended(pid, ..), false) = (found, kept) {
        children.remove(&pid);
    }
    found
}
