// SPDX-License-Identifier: MIT OR Apache-2.0

//! A thread as the scheduler and other threads see it. What only the thread itself uses is in [`Thread`].

use crate::process::Process;
use crate::signal::Pending;
use crate::thread::Thread;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hermit_plat::flow::Flow;
use hermit_plat::{fpu, time, user};
use spin::{Mutex, MutexGuard};

/// Values of [`Task::state`].
pub mod state {
    /// On a CPU.
    pub const RUNNING: u32 = 0;
    /// In a CPU's queue.
    pub const READY: u32 = 1;
    /// Waits for somebody to wake it.
    pub const BLOCKED: u32 = 2;
}

/// Registers of ring 3 that stay in the CPU while the kernel runs.
pub struct Registers {
    pub fpu: fpu::State,
    fs_base: u64,
    gs_base: u64,
}

impl Registers {
    /// Those that a program begins with. `None` without kernel memory.
    pub fn new() -> Option<Self> {
        Some(Self { fpu: fpu::State::new()?, fs_base: 0, gs_base: 0 })
    }

    pub fn save(&mut self) {
        self.fpu.save();
        self.fs_base = user::fs_base();
        self.gs_base = user::gs_base();
    }

    pub fn restore(&self) {
        self.fpu.restore();
        // What WRFSBASE and WRGSBASE allow beyond an application's addresses is of no use, and is not kept; nor is what
        // whoever ran here before has there.
        for (set, base) in [(user::set_fs_base as fn(u64) -> bool, self.fs_base), (user::set_gs_base, self.gs_base)] {
            if !set(base) {
                set(0);
            }
        }
    }

    /// Those of a new thread, which begins with its creator's.
    pub fn for_clone(&self, tls: Option<u64>) -> Option<Self> {
        let fs_base = tls.unwrap_or(self.fs_base);
        Some(Self { fpu: self.fpu.try_clone()?, fs_base, gs_base: self.gs_base })
    }
}

/// CPUs of the isle, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuMask(Vec<u64>);

impl CpuMask {
    /// All CPUs of the isle.
    pub fn all() -> Self {
        let count = super::cpu_count();
        let mut mask = Self(alloc::vec![0; count.div_ceil(64)]);
        for cpu in 0..count {
            mask.insert(cpu);
        }
        mask
    }

    /// From an application's words; bits beyond the isle's CPUs don't count.
    pub fn from_words(words: impl Iterator<Item = u64>) -> Self {
        let mut mask = Self::all();
        let mut words = words;
        for word in &mut mask.0 {
            *word &= words.next().unwrap_or(0);
        }
        mask
    }

    pub fn words(&self) -> &[u64] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    fn insert(&mut self, cpu: usize) {
        if let Some(word) = self.0.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// The only CPU of it; `None`: there are several, or none.
    fn only(&self) -> Option<usize> {
        let (index, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        let is_only = word.is_power_of_two() && self.0.iter().skip(index + 1).all(|word| *word == 0);
        is_only.then(|| index * 64 + word.trailing_zeros() as usize)
    }

    pub fn contains(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|w| w & (1 << (cpu % 64)) != 0)
    }
}

/// A thread.
pub struct Task {
    /// Unlike the thread's number never used twice.
    serial: u64,
    pub tid: u32,
    pub process: Arc<Process>,
    pub(super) flow: Arc<Flow>,
    pub(super) state: AtomicU32,
    /// Where it runs, or ran last.
    pub(super) cpu: AtomicUsize,
    /// Where it may run.
    allowed: Mutex<CpuMask>,
    /// If that is only one CPU: which. Threads that compute are mostly pinned, and who wakes them need not look further.
    /// Written while `allowed` is locked.
    only_cpu: AtomicUsize,
    /// There may be a signal for it, or its process ends.
    attention: AtomicBool,
    /// Signals that were sent to this very thread.
    pub pending: Mutex<Pending>,
    /// Signals that wait until it wants them.
    pub blocked: AtomicU64,
    pub registers: Mutex<Registers>,
    /// The CPU that it put its registers into.
    registers_on: AtomicUsize,
    /// What it begins with; taken when it does.
    start: Mutex<Option<Box<Thread>>>,
    /// Ticks that it has run, without the present stretch; and when that began.
    ran: AtomicU64,
    since: AtomicU64,
    /// sched_setscheduler(2): policy and priority.
    pub policy: AtomicU64,
    /// Signals that it waits for in sigtimedwait(2).
    pub waits_for: AtomicU64,
    /// Woken by futex(2).
    pub futex_woken: AtomicBool,
    /// See [`Task::watch`].
    watch: AtomicU32,
}

/// In [`Task::only_cpu`]: there are several, or none.
const SEVERAL: usize = usize::MAX;

/// Values of [`Task::watch`].
const WATCHES_NOTHING: u32 = 0;
const WATCHES: u32 = 1;
const STIRRED: u32 = 2;

static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Task {
    /// A new thread, which runs once it is placed. `None` without kernel memory.
    pub fn new(
        tid: u32,
        process: Arc<Process>,
        registers: Registers,
        allowed: CpuMask,
        blocked: u64,
    ) -> Option<Arc<Self>> {
        let flow = Arc::new(Flow::new(crate::thread::begin)?);
        Some(Arc::new(Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            tid,
            process,
            flow,
            // Who wakes it before it is started must not put it into a queue; its attention keeps what it was told.
            state: AtomicU32::new(state::READY),
            cpu: AtomicUsize::new(hermit_plat::cpu::index()),
            only_cpu: AtomicUsize::new(allowed.only().unwrap_or(SEVERAL)),
            allowed: Mutex::new(allowed),
            attention: AtomicBool::new(false),
            pending: Mutex::new(Pending::default()),
            blocked: AtomicU64::new(blocked),
            registers: Mutex::new(registers),
            registers_on: AtomicUsize::new(usize::MAX),
            start: Mutex::new(None),
            ran: AtomicU64::new(0),
            since: AtomicU64::new(0),
            policy: AtomicU64::new(0),
            waits_for: AtomicU64::new(0),
            futex_woken: AtomicBool::new(false),
            watch: AtomicU32::new(WATCHES_NOTHING),
        }))
    }

    /// A number that is never used twice.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Says what the thread is to begin with.
    pub fn set_start(&self, thread: Box<Thread>) {
        *self.start.lock() = Some(thread);
    }

    /// What the thread is to begin with.
    pub fn take_start(&self) -> Option<Box<Thread>> {
        self.start.lock().take()
    }

    /// Says that its registers are in a CPU from now on; returns whether they went there the last time.
    pub(super) fn note_registers_on(&self, cpu: usize) -> bool {
        self.registers_on.swap(cpu, Ordering::Relaxed) == cpu
    }

    /// Where it may run.
    pub fn allowed(&self) -> MutexGuard<'_, CpuMask> {
        self.allowed.lock()
    }

    /// Says where it may run. It has to be told, or goes there when it comes by.
    pub fn allow(&self, cpus: CpuMask) {
        let mut allowed = self.allowed.lock();
        self.only_cpu.store(cpus.only().unwrap_or(SEVERAL), Ordering::Relaxed);
        *allowed = cpus;
    }

    /// The only CPU where it may run, if there is but one.
    pub(super) fn only_cpu(&self) -> Option<usize> {
        match self.only_cpu.load(Ordering::Relaxed) {
            SEVERAL => None,
            cpu => Some(cpu),
        }
    }

    pub fn may_run_on(&self, cpu: usize) -> bool {
        match self.only_cpu() {
            Some(only) => only == cpu,
            None => self.allowed.lock().contains(cpu),
        }
    }

    /// Makes it look at its signals, and at whether its process ends, soon.
    pub fn notify(self: &Arc<Self>) {
        self.attention.store(true, Ordering::SeqCst);
        if !super::wake(self) {
            super::kick_if_elsewhere(self);
        }
    }

    /// It waits for something that the isle keeps to be ready, or doesn't any more (see `kept`).
    pub fn watch(&self, on: bool) {
        self.watch.store(if on { WATCHES } else { WATCHES_NOTHING }, Ordering::SeqCst);
    }

    /// Something may be ready that it waits for: the wait that it is in ends as by a signal.
    pub fn stir(self: &Arc<Self>) {
        if self.watch.compare_exchange(WATCHES, STIRRED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.notify();
        }
    }

    /// True if it has been stirred since it began to watch.
    pub fn is_stirred(&self) -> bool {
        self.watch.load(Ordering::SeqCst) == STIRRED
    }

    /// True if it has to look at its signals, or its process ends.
    pub fn has_attention(&self) -> bool {
        self.attention.load(Ordering::SeqCst)
    }

    /// As [`has_attention`](Self::has_attention), which is false afterwards.
    pub fn take_attention(&self) -> bool {
        self.has_attention() && self.attention.swap(false, Ordering::SeqCst)
    }

    /// True if a wait has to end: for a signal or the end of the process.
    pub fn is_interrupted(&self) -> bool {
        if self.has_to_leave() || self.is_stirred() {
            return true;
        }
        if !self.has_attention() {
            return false;
        }
        let is_due = || self.has_to_leave() || crate::signal::has_due(self);
        // Where it has to go to another CPU it does so on its way to ring 3.
        let is_wanted = || is_due() || !self.may_run_on(hermit_plat::cpu::index());
        if !is_wanted() {
            // Another thread took the signal.
            self.attention.store(false, Ordering::SeqCst);
            // Once more: something may have come in between.
            if is_wanted() {
                self.attention.store(true, Ordering::SeqCst);
            }
        }
        is_due()
    }

    /// True if it has to end.
    pub fn has_to_leave(&self) -> bool {
        self.process.has_to_leave(self)
    }

    pub(super) fn start_clock(&self) {
        self.since.store(time::tsc(), Ordering::Relaxed);
    }

    pub(super) fn stop_clock(&self) {
        let now = time::tsc();
        let since = self.since.swap(0, Ordering::Relaxed);
        if since != 0 {
            let ran = self.ran.load(Ordering::Relaxed);
            self.ran.store(ran.wrapping_add(now.saturating_sub(since)), Ordering::Relaxed);
        }
    }

    /// Nanoseconds that it has been on a CPU.
    pub fn run_ns(&self) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        let now = if since == 0 { 0 } else { time::tsc().saturating_sub(since) };
        time::to_ns(self.ran.load(Ordering::Relaxed).wrapping_add(now))
    }
}
