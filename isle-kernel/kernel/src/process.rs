// SPDX-License-Identifier: MIT OR Apache-2.0

//! An application: what its threads share.

use crate::errno::End;
use crate::fd::{File, Files};
use crate::futex::Futexes;
use crate::link::Link;
use crate::mem::space::Space;
use crate::random::Random;
use crate::sched::Task;
use crate::signal::Signals;
use crate::startup::Startup;
use crate::syscall::{Limits, Settings};
use crate::timers::Timers;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use hermit_plat::time;
use hermit_plat::tlb::Root;
use linux_raw_sys::general as nr;
use spin::{Mutex, Once};

/// Threads of a process, at most.
const MAX_THREADS: usize = 16384;

/// Set in [`Process::ending`] once it is known how it ends.
const ENDS: u64 = 1 << 32;

/// Where a process is in the file system: what fork(2) copies and threads share.
#[derive(Clone, Debug, Default)]
pub struct Fs {
    /// The working directory; `None`: that of the proxy.
    pub cwd: Option<Arc<File>>,
    /// umask(2). The proxy's own is 0.
    pub umask: u32,
}

/// An application. Locks are taken in the order in which they stand here.
pub struct Process {
    /// What CPUs share that run it.
    pub root: Arc<Root>,
    pub link: Link,
    startup: Once<Startup>,
    ending: AtomicU64,
    /// The status of the thread that ended last by itself.
    last_status: AtomicU32,
    next_tid: AtomicU32,
    pub signals: Mutex<Signals>,
    threads: Mutex<BTreeMap<u32, Arc<Task>>>,
    pub futexes: Futexes,
    pub space: Mutex<Space>,
    pub files: Mutex<Files>,
    pub fs: Mutex<Fs>,
    pub timers: Mutex<Timers>,
    pub random: Mutex<Random>,
    /// setrlimit(2).
    pub limits: Mutex<Limits>,
    /// prctl(2).
    pub settings: Mutex<Settings>,
    /// setpriority(2).
    pub nice: AtomicI32,
    /// CLOCK_MONOTONIC at its start.
    pub started_ns: u64,
    /// Ticks that threads have run which are gone.
    gone_ns: AtomicU64,
}

impl Process {
    /// An empty one. `None` without kernel memory.
    pub fn new(link: Link) -> Option<Arc<Self>> {
        let space = Space::new()?;
        Some(Arc::new(Self {
            root: space.tables().root().clone(),
            files: Mutex::new(Files::standard(&link.closing)),
            fs: Mutex::new(Fs::default()),
            link,
            startup: Once::new(),
            ending: AtomicU64::new(0),
            last_status: AtomicU32::new(0),
            next_tid: AtomicU32::new(0),
            signals: Mutex::new(Signals::default()),
            threads: Mutex::new(BTreeMap::new()),
            futexes: Futexes::default(),
            space: Mutex::new(space),
            timers: Mutex::new(Timers::default()),
            random: Mutex::new(Random::new(&[0; 16])),
            limits: Mutex::new(Limits::default()),
            settings: Mutex::new(Settings::default()),
            nice: AtomicI32::new(0),
            started_ns: time::monotonic_ns(),
            gone_ns: AtomicU64::new(0),
        }))
    }

    /// What the proxy said about the program.
    ///
    /// # Panics
    ///
    /// Before it has.
    pub fn startup(&self) -> &Startup {
        self.startup.get().expect("the program is loaded first")
    }

    /// Remembers what the proxy said.
    pub fn set_startup(&self, startup: Startup) {
        *self.random.lock() = Random::new(&startup.random);
        *self.limits.lock() = startup.limits;
        self.files.lock().set_limit(startup.limits[nr::RLIMIT_NOFILE as usize][0]);
        self.fs.lock().umask = startup.umask & 0o777;
        self.startup.call_once(|| startup);
    }

    /// getpid(2). 0 before the proxy has said it.
    pub fn pid(&self) -> u32 {
        self.startup.get().map_or(0, |s| s.pid)
    }

    /// The key of the first thread; its number is that of the process.
    pub fn first_tid(&self) -> u32 {
        0
    }

    /// The number of a new thread: behind that of the process, and nobody else's.
    pub fn new_tid(&self) -> u32 {
        const LIMIT: u32 = 1 << 22;
        let threads = self.threads.lock();
        loop {
            let next = self.next_tid.fetch_add(1, Ordering::Relaxed);
            let tid = (self.pid() + 1 + next % LIMIT) % LIMIT;
            if tid > 1 && tid != self.pid() && !threads.contains_key(&tid) {
                return tid;
            }
        }
    }

    /// The number of a thread as it sees it itself.
    pub fn tid_of(&self, task: &Task) -> u32 {
        if task.tid == 0 {
            self.pid()
        } else {
            task.tid
        }
    }

    /// Adds a thread; false if there are too many, or the process ends.
    pub fn add(&self, task: &Arc<Task>) -> bool {
        let mut threads = self.threads.lock();
        let fits = threads.len() < MAX_THREADS && self.ending().is_none();
        if fits {
            threads.insert(task.tid, task.clone());
        }
        fits
    }

    /// Removes a thread that ends; true if it was the last.
    pub fn remove(&self, task: &Task) -> bool {
        self.gone_ns.fetch_add(task.run_ns(), Ordering::Relaxed);
        let mut threads = self.threads.lock();
        threads.remove(&task.tid);
        threads.is_empty()
    }

    /// How many threads it has.
    pub fn thread_count(&self) -> usize {
        self.threads.lock().len()
    }

    /// A thread by its number.
    pub fn thread(&self, tid: u32) -> Option<Arc<Task>> {
        let key = if tid == self.pid() { 0 } else { tid };
        self.threads.lock().get(&key).cloned()
    }

    /// All threads.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.threads.lock().values().cloned().collect()
    }

    /// The first thread that fits.
    pub fn find_thread(&self, fits: impl Fn(&Task) -> bool) -> Option<Arc<Task>> {
        self.threads.lock().values().find(|t| fits(t)).cloned()
    }

    /// How it ends, once it does.
    pub fn ending(&self) -> Option<End> {
        let ending = self.ending.load(Ordering::SeqCst);
        (ending != 0).then_some(End(ending as u32))
    }

    /// Ends it: all threads leave as soon as they can. The first end counts.
    pub fn end(&self, end: End) {
        let word = ENDS | u64::from(end.0);
        if self.ending.compare_exchange(0, word, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            for task in self.threads() {
                task.notify();
            }
        }
    }

    /// A thread has ended by itself: how the process ends if it was the last.
    pub fn set_last_status(&self, End(status): End) {
        self.last_status.store(status, Ordering::SeqCst);
    }

    /// How the last thread has ended.
    pub fn last_status(&self) -> End {
        End(self.last_status.load(Ordering::SeqCst))
    }

    /// Nanoseconds that its threads have been on CPUs.
    pub fn run_ns(&self) -> u64 {
        let now: u64 = self.threads.lock().values().map(|t| t.run_ns()).sum();
        now + self.gone_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
