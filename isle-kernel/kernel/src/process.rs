// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process: what its threads share.

use crate::errno::{End, Errno, Fail};
use crate::family::{Child, Family, Kin};
use crate::fd::{File, Files};
use crate::futex::Futexes;
use crate::link::Link;
use crate::mem::object::Objects;
use crate::mem::space::Space;
use crate::random::Random;
use crate::sched::{self, Task};
use crate::signal::Signals;
use crate::startup::Startup;
use crate::syscall::{Limits, Settings};
use crate::timers::Timers;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
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

/// What a new process does with its parent's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Both use the same.
    Shared,
    /// Each has its own from now on.
    Copied,
}

/// How a process is to be forked.
pub struct Fork {
    pub memory: Memory,
    pub shares_files: bool,
    /// All signals that are handled get their default action.
    pub resets_handlers: bool,
    /// What the parent is sent at the end.
    pub exit_signal: u32,
    /// The thread that waits until the child uses its memory no longer.
    pub lender: Option<Arc<Task>>,
}

/// A process. Locks are taken in the order in which they stand here.
pub struct Process {
    /// What CPUs share that run it.
    pub root: Arc<Root>,
    /// Shared with all processes of the application.
    pub link: Arc<Link>,
    pub family: Arc<Family>,
    pub kin: Kin,
    /// Where this is 0, the process is the application's first.
    number: u32,
    startup: Once<Startup>,
    /// What execve(2) has put in its place, but for who it is.
    executed: Mutex<Option<Arc<Startup>>>,
    ending: AtomicU64,
    /// The status of the thread that ended last by itself.
    last_status: AtomicU32,
    /// The only thread that goes on, by its serial number, since it executes another program; 0: all do.
    survivor: AtomicU64,
    pub signals: Mutex<Signals>,
    threads: Mutex<BTreeMap<u32, Arc<Task>>>,
    /// Those of all threads that share the memory.
    pub futexes: Arc<Futexes>,
    pub space: Arc<Mutex<Space>>,
    /// How many processes use that memory.
    users: Arc<AtomicUsize>,
    /// This one doesn't any more.
    is_released: AtomicBool,
    pub files: Arc<Mutex<Files>>,
    pub fs: Mutex<Fs>,
    /// Files that are mapped.
    pub objects: Arc<Objects>,
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
    /// The first of an application: empty. `None` without kernel memory.
    pub fn new(link: Link) -> Option<Arc<Self>> {
        let space = Space::new()?;
        let this = Arc::new(Self {
            root: space.tables().root().clone(),
            files: Arc::new(Mutex::new(Files::standard(&link.closing))),
            fs: Mutex::new(Fs::default()),
            link: Arc::new(link),
            family: Arc::default(),
            kin: Kin::default(),
            number: 0,
            startup: Once::new(),
            executed: Mutex::new(None),
            ending: AtomicU64::new(0),
            last_status: AtomicU32::new(0),
            survivor: AtomicU64::new(0),
            signals: Mutex::new(Signals::default()),
            threads: Mutex::new(BTreeMap::new()),
            futexes: Arc::default(),
            space: Arc::new(Mutex::new(space)),
            users: Arc::new(AtomicUsize::new(1)),
            is_released: AtomicBool::new(false),
            objects: Arc::default(),
            timers: Mutex::new(Timers::default()),
            random: Mutex::new(Random::new(&[0; 16])),
            limits: Mutex::new(Limits::default()),
            settings: Mutex::new(Settings::default()),
            nice: AtomicI32::new(0),
            started_ns: time::monotonic_ns(),
            gone_ns: AtomicU64::new(0),
        });
        this.family.add(&this);
        Some(this)
    }

    /// A child of this one. EAGAIN: there are too many processes.
    pub fn fork(self: &Arc<Self>, fork: Fork) -> Result<Arc<Self>, Errno> {
        let (space, futexes, users) = match fork.memory {
            Memory::Shared => (self.space.clone(), self.futexes.clone(), self.users.clone()),
            Memory::Copied => (Arc::new(Mutex::new(self.space.lock().fork()?)), Arc::default(), Arc::default()),
        };
        let files = match fork.shares_files {
            true => self.files.clone(),
            false => Arc::new(Mutex::new(self.files.lock().try_clone()?)),
        };
        let mut random = [0; 16];
        self.random.lock().fill(&mut random);
        let number = self.new_tid();
        let mut signals = self.signals.lock().inherited();
        if fork.resets_handlers {
            signals.reset();
        }
        let root = space.lock().tables().root().clone();
        users.fetch_add(1, Ordering::SeqCst);
        let child = Arc::new(Self {
            root,
            link: self.link.clone(),
            family: self.family.clone(),
            kin: Kin::of_child(self, fork.exit_signal, fork.lender),
            number,
            startup: Once::initialized(self.program().of_child(number, self.pid(), random)),
            executed: Mutex::new(None),
            ending: AtomicU64::new(0),
            last_status: AtomicU32::new(0),
            survivor: AtomicU64::new(0),
            signals: Mutex::new(signals),
            threads: Mutex::new(BTreeMap::new()),
            futexes,
            space,
            users,
            is_released: AtomicBool::new(false),
            files,
            fs: Mutex::new(self.fs.lock().clone()),
            objects: self.objects.clone(),
            timers: Mutex::new(Timers::default()),
            random: Mutex::new(Random::new(&random)),
            limits: Mutex::new(*self.limits.lock()),
            settings: Mutex::new(self.settings.lock().clone()),
            nice: AtomicI32::new(self.nice.load(Ordering::Relaxed)),
            started_ns: time::monotonic_ns(),
            gone_ns: AtomicU64::new(0),
        });
        if !self.family.add(&child) {
            child.release_memory();
            return Err(Errno::EAGAIN);
        }
        let born = Child { pid: number, process: Arc::downgrade(&child), status: None, run_ns: 0 };
        self.kin.children.lock().insert(number, born);
        Ok(child)
    }

    /// Takes back a child that has no thread yet.
    pub fn unfork(&self, child: &Arc<Self>) {
        self.kin.children.lock().remove(&child.number);
        self.family.remove(child, End(0));
        child.release_memory();
    }

    /// True once it uses its memory no longer.
    pub fn is_released(&self) -> bool {
        self.is_released.load(Ordering::SeqCst)
    }

    /// It uses its memory no longer: who is the last to do so gives all of it back.
    pub fn release_memory(&self) {
        if !self.is_released.swap(true, Ordering::SeqCst) && self.users.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.space.lock().clear();
        }
        self.kin.give_back();
    }

    /// True for the application's first process.
    pub fn is_first(&self) -> bool {
        self.number == 0
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

    /// The program that runs now.
    ///
    /// # Panics
    ///
    /// As [`startup`](Self::startup).
    pub fn program(&self) -> Arc<Startup> {
        self.executed.lock().clone().unwrap_or_else(|| Arc::new(self.startup().clone()))
    }

    /// From now on it is another program.
    pub fn set_program(&self, program: Startup) {
        *self.executed.lock() = Some(Arc::new(program));
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
        let base = self.family.first().map_or(0, |first| first.pid());
        self.family.new_id(base)
    }

    /// True if one of its threads but the first has this number.
    pub fn has_thread(&self, tid: u32) -> bool {
        self.threads.lock().contains_key(&tid)
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
        let fits = threads.len() < MAX_THREADS && self.ending().is_none() && self.survivor.load(Ordering::SeqCst) == 0;
        if fits {
            threads.insert(task.tid, task.clone());
        }
        fits
    }

    /// Removes a thread that ends; true if it was the last.
    pub fn remove(&self, task: &Task) -> bool {
        self.gone_ns.fetch_add(task.run_ns(), Ordering::Relaxed);
        let (is_empty, survivor) = {
            let mut threads = self.threads.lock();
            threads.remove(&task.tid);
            let survivor = self.survivor.load(Ordering::SeqCst);
            (threads.is_empty(), threads.values().find(|t| t.serial() == survivor).cloned())
        };
        if let Some(survivor) = survivor {
            sched::wake(&survivor);
        }
        is_empty
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

    /// Does something with each thread, without a lock and without a list of them, which may be long.
    pub fn for_each_thread(&self, mut each: impl FnMut(&Arc<Task>)) {
        let mut from = 0;
        loop {
            let next = self.threads.lock().range(from..).next().map(|(key, task)| (*key, task.clone()));
            let Some((key, task)) = next else { return };
            each(&task);
            from = key.saturating_add(1);
        }
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

    /// True if a thread has to leave: the process ends, or another thread executes another program.
    pub fn has_to_leave(&self, task: &Task) -> bool {
        let survivor = self.survivor.load(Ordering::SeqCst);
        self.ending().is_some() || (survivor != 0 && survivor != task.serial())
    }

    /// Has all other threads leave, and waits until they have.
    pub fn leave_alone(&self, me: &Arc<Task>) -> Result<(), Fail> {
        if self.survivor.compare_exchange(0, me.serial(), Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // Another thread is at it.
            return Err(Fail::Ended);
        }
        self.for_each_thread(Task::notify);
        let is_alone = || self.thread_count() <= 1;
        let woken = sched::wait_patiently(me, &is_alone);
        self.survivor.store(0, Ordering::SeqCst);
        match woken {
            sched::Woken::Ready => Ok(()),
            _ => Err(Fail::Ended),
        }
    }

    /// Ends it: all threads leave as soon as they can. The first end counts.
    pub fn end(&self, end: End) {
        let word = ENDS | u64::from(end.0);
        if self.ending.compare_exchange(0, word, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.for_each_thread(Task::notify);
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
