// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which thread runs on which CPU, and when.
//!
//! Every CPU has a queue of threads that are ready. The kernel itself is never interrupted: a thread gives way when it
//! waits, or on its way back to ring 3. There is no tick: a CPU's timer is only set while several threads want it or
//! somebody sleeps on it. An idle CPU looks around for a moment, helps itself from other queues, zeroes free memory, then
//! halts on the kernel's own page table until it is interrupted.
//!
//! No wake-up is lost: who waits says BLOCKED before it looks for the last time whether it has to; who wakes
//! changes the condition first. A thread that is woken before it has left its CPU finds itself in the queue.

pub mod task;

use crate::mem::frames;
use crate::timers::Timer;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hermit_plat::abi::protocol::is_done;
use hermit_plat::flow::{self, Flow};
use hermit_plat::{apic, cpu, shared, time, tlb};
use spin::{Mutex, Once};
use task::state;
pub use task::{CpuMask, Registers, Task};

/// How long a thread may go on while others want its CPU.
pub const SLICE_NS: u64 = 4_000_000;

/// How long an idle CPU looks around before it halts: about what an answer over the network takes, so that who asks and waits
/// needn't be woken by an interrupt.
const SPIN_NS: u64 = 100_000;

/// How long nobody looks after the network before a CPU that halts is woken to watch it instead of one that runs a thread. Who
/// has waited for the network will most often be back before that.
const WATCH_NS: u64 = 1_000_000;

/// How often a thread that spins for Linux looks before it pauses and lets interrupts in. In a virtual machine a PAUSE may take
/// longer than the answer.
const LOOKS_PER_PAUSE: u32 = 16;

const NEVER: u64 = u64::MAX;

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was waited for is there.
    Ready,
    TimedOut,
    /// There is a signal to deal with, or the process ends.
    Interrupted,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Task>>,
    /// By time and serial number.
    sleepers: BTreeMap<(u64, u64), Alarm>,
}

/// Whom a CPU wakes at some time.
enum Alarm {
    Task(Arc<Task>),
    Timer(Arc<Timer>),
    /// The CPU itself, that it may look after the network.
    Network,
}

/// A place among the sleepers of a CPU.
pub struct Bed {
    cpu: &'static Cpu,
    key: (u64, u64),
}

impl Bed {
    fn take(cpu: &'static Cpu, at: u64, serial: u64, alarm: Alarm) -> Self {
        let key = (at, serial);
        let mut queue = cpu.queue.lock();
        queue.sleepers.insert(key, alarm);
        cpu.note_first(&queue);
        Self { cpu, key }
    }

    /// Gives it up, whether the alarm has rung or not.
    pub fn leave(self) {
        let mut queue = self.cpu.queue.lock();
        let alarm = queue.sleepers.remove(&self.key);
        self.cpu.note_first(&queue);
        drop(queue);
        drop(alarm);
    }
}

/// Arranges that a timer is told of a time of CLOCK_MONOTONIC.
pub fn alarm(at: u64, timer: &Arc<Timer>) -> Option<Bed> {
    if cpus().is_empty() {
        return None;
    }
    Some(Bed::take(this(), at, timer.serial(), Alarm::Timer(timer.clone())))
}

/// A thread that waits for a word that Linux writes.
struct Waiting {
    state: &'static AtomicU32,
    task: Arc<Task>,
}

impl Waiting {
    fn is_over(&self) -> bool {
        is_done(self.state)
    }
}

/// A CPU. What has no comment is its own alone.
#[repr(align(128))]
struct Cpu {
    index: usize,
    idle: Arc<Flow>,
    current: Mutex<Option<Arc<Task>>>,
    /// Whose registers of ring 3 were last in the CPU.
    last_user: AtomicU64,
    /// When the present thread has to give way, as the time stamp counter has it; 0: nobody else wants the CPU.
    slice_end: AtomicU64,
    /// [`SLICE_NS`] in its ticks.
    slice_ticks: u64,
    /// What the timer is set to.
    armed: AtomicU64,
    /// When the first sleeper had to be woken when the timer was looked at last.
    armed_for_sleeper: AtomicU64,
    /// When another CPU has to watch the network, as long as a thread runs.
    hand_over: AtomicU64,
    /// All CPUs: whether a thread runs.
    busy: AtomicBool,
    /// All CPUs: halts, or is about to.
    halted: AtomicBool,
    /// All CPUs: length of the queue, and when the first sleeper has to be woken.
    ready: AtomicUsize,
    first_sleeper: AtomicU64,
    /// All CPUs.
    queue: Mutex<Queue>,
    /// All CPUs.
    waiting: Mutex<Vec<Waiting>>,
    /// All CPUs: how many are in `waiting`.
    waiting_count: AtomicUsize,
}

static CPUS: Once<Vec<Cpu>> = Once::new();

/// CPUs of the isle.
pub fn cpu_count() -> usize {
    shared::try_get().map_or(1, |s| s.cpus.len())
}

/// Makes what all CPUs need. Once, on CPU 0.
pub fn init() {
    CPUS.call_once(|| {
        let cpu = |index| Cpu {
            index,
            idle: Arc::new(Flow::running()),
            current: Mutex::new(None),
            last_user: AtomicU64::new(0),
            slice_end: AtomicU64::new(0),
            slice_ticks: time::from_ns(SLICE_NS),
            armed: AtomicU64::new(NEVER),
            armed_for_sleeper: AtomicU64::new(NEVER),
            hand_over: AtomicU64::new(NEVER),
            busy: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            first_sleeper: AtomicU64::new(NEVER),
            queue: Mutex::new(Queue::default()),
            waiting: Mutex::new(Vec::new()),
            waiting_count: AtomicUsize::new(0),
        };
        (0..cpu_count()).map(cpu).collect()
    });
}

fn cpus() -> &'static [Cpu] {
    CPUS.get().map_or(&[], |c| c.as_slice())
}

fn this() -> &'static Cpu {
    cpus().get(cpu::index()).expect("CPU 0 has made them")
}

/// The thread that runs on this CPU.
pub fn current() -> Option<Arc<Task>> {
    this().current.lock().clone()
}

impl Cpu {
    fn pop(&self) -> Option<Arc<Task>> {
        if self.ready.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let task = queue.ready.pop_front()?;
        self.ready.fetch_sub(1, Ordering::SeqCst);
        Some(task)
    }

    fn take(&self, fits: impl Fn(&Task) -> bool) -> Option<Arc<Task>> {
        let mut queue = self.queue.lock();
        let at = queue.ready.iter().position(|t| fits(t))?;
        let task = queue.ready.remove(at)?;
        self.ready.fetch_sub(1, Ordering::SeqCst);
        Some(task)
    }

    fn push(&self, task: Arc<Task>) -> usize {
        let mut queue = self.queue.lock();
        queue.ready.push_back(task);
        self.ready.fetch_add(1, Ordering::SeqCst)
    }

    fn load(&self) -> usize {
        self.ready.load(Ordering::Relaxed) + usize::from(self.busy.load(Ordering::Relaxed))
    }

    /// Says who runs from now on.
    fn begin(&self, next: Option<Arc<Task>>) {
        if let Some(task) = &next {
            task.state.store(state::RUNNING, Ordering::SeqCst);
            task.cpu.store(self.index, Ordering::SeqCst);
            if let Some(cpu) = cpu::try_current() {
                cpu::count(&cpu.shared().switches);
            }
        }
        self.slice_end.store(0, Ordering::Relaxed);
        self.busy.store(next.is_some(), Ordering::SeqCst);
        let before = core::mem::replace(&mut *self.current.lock(), next);
        drop(before);
    }

    /// Sets the timer to what comes next, or stops it. But where threads only take turns, it is left as it is: it comes
    /// within a slice, which it would have to be set to over and over again.
    fn arm(&self) {
        let sleeper = self.first_sleeper.load(Ordering::Relaxed);
        let same_sleeper = self.armed_for_sleeper.swap(sleeper, Ordering::Relaxed) == sleeper;
        let armed = self.armed.load(Ordering::Relaxed);
        let takes_turns = self.busy.load(Ordering::Relaxed) && self.ready.load(Ordering::Relaxed) > 0;
        if !takes_turns {
            self.slice_end.store(0, Ordering::Relaxed);
        } else if self.slice_end.load(Ordering::Relaxed) == 0 {
            self.slice_end.store(time::tsc().saturating_add(self.slice_ticks), Ordering::Relaxed);
        }
        if same_sleeper && sleeper == NEVER && (armed != NEVER || !takes_turns) {
            return;
        }
        let mut at = sleeper;
        if takes_turns {
            let left = self.slice_end.load(Ordering::Relaxed).saturating_sub(time::tsc());
            at = at.min(time::monotonic_ns().saturating_add(time::to_ns(left)));
        }
        if at == armed || (same_sleeper && armed < at) {
            return;
        }
        self.armed.store(at, Ordering::Relaxed);
        if at == NEVER {
            apic::stop_timer();
        } else {
            apic::set_timer(at.saturating_sub(time::monotonic_ns()));
        }
    }

    /// Has to be called after interrupts were taken.
    fn note_timer(&self) {
        if apic::take_timer_expired() {
            self.armed.store(NEVER, Ordering::Relaxed);
            // It may have come before the first sleeper's time.
            self.armed_for_sleeper.store(NEVER, Ordering::Relaxed);
        }
    }

    /// Wakes those whose time has come.
    fn wake_sleepers(&self) {
        if self.first_sleeper.load(Ordering::Relaxed) == NEVER {
            return;
        }
        let now = time::monotonic_ns();
        loop {
            let alarm = {
                let mut queue = self.queue.lock();
                match queue.sleepers.first_key_value() {
                    Some((&(at, _), _)) if at <= now => {}
                    _ => return,
                }
                let first = queue.sleepers.pop_first();
                self.note_first(&queue);
                first
            };
            match alarm {
                Some((_, Alarm::Task(task))) => {
                    wake(&task);
                }
                Some((_, Alarm::Timer(timer))) => timer.expire(),
                Some((_, Alarm::Network)) | None => {}
            }
        }
    }

    fn note_first(&self, queue: &Queue) {
        let first = queue.sleepers.first_key_value().map_or(NEVER, |(&(at, _), _)| at);
        self.first_sleeper.store(first, Ordering::SeqCst);
    }

    /// Wakes those that Linux has answered.
    fn wake_answered(&self) {
        if self.waiting_count.load(Ordering::SeqCst) > 0 {
            for waiting in self.waiting.lock().iter().filter(|w| w.is_over()) {
                wake(&waiting.task);
            }
        }
    }

    fn has_answer(&self) -> bool {
        self.waiting_count.load(Ordering::SeqCst) > 0 && self.waiting.lock().iter().any(Waiting::is_over)
    }
}

/// Takes a thread that waits on another CPU.
fn steal(me: &Cpu) -> Option<Arc<Task>> {
    let (before, after) = cpus().split_at_checked(me.index)?;
    let others = after.iter().skip(1).chain(before);
    others.filter(|c| c.ready.load(Ordering::Relaxed) > 0).find_map(|c| c.take(|t| t.may_run_on(me.index)))
}

/// Where a thread that is ready goes: where it was if that is idle, else to an idle CPU, else where it was.
fn choose(task: &Task) -> usize {
    if let Some(only) = task.only_cpu() {
        return only;
    }
    let last = task.cpu.load(Ordering::SeqCst);
    let allowed = task.allowed();
    let fits = |c: &&Cpu| allowed.contains(c.index);
    // One that looks for work and finds some for a thread does it itself, instead of waking another.
    let here = this();
    if fits(&here) && here.load() == 0 {
        return here.index;
    }
    let was = cpus().get(last).filter(fits);
    if let Some(was) = was {
        if was.load() == 0 {
            return last;
        }
    }
    let idle = cpus().iter().filter(fits).find(|c| c.load() == 0);
    match (idle, was) {
        (Some(idle), _) => idle.index,
        (None, Some(_)) => last,
        _ => cpus().iter().filter(fits).min_by_key(|c| c.load()).map_or(last, |c| c.index),
    }
}

/// Puts a thread that is ready into a queue.
fn place(task: &Arc<Task>, target: usize) {
    let Some(target) = cpus().get(target) else { return };
    let before = target.push(task.clone());
    let elsewhere = target.index != cpu::index();
    if elsewhere && (target.halted.load(Ordering::SeqCst) || (before == 0 && target.busy.load(Ordering::SeqCst))) {
        apic::kick(target.index);
    }
}

/// Lets a new thread run, on the CPU that has least to do.
pub fn start(task: &Arc<Task>) {
    task.state.store(state::READY, Ordering::SeqCst);
    let here = cpu::index();
    let target = {
        let allowed = task.allowed();
        let fits = cpus().iter().filter(|c| allowed.contains(c.index));
        // Of two that are equal the next one after this CPU.
        let distance = |c: &Cpu| (c.index + cpus().len() - here - 1) % cpus().len().max(1);
        fits.min_by_key(|c| (c.load(), distance(c))).map_or(here, |c| c.index)
    };
    place(task, target);
}

/// Wakes a thread if it waits; says whether it did.
pub fn wake(task: &Arc<Task>) -> bool {
    let waited = task.state.compare_exchange(state::BLOCKED, state::READY, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if waited && !cpus().is_empty() {
        place(task, choose(task));
    }
    waited
}

/// Interrupts a thread that runs on another CPU.
fn kick_if_elsewhere(task: &Task) {
    if task.state.load(Ordering::SeqCst) == state::RUNNING {
        let cpu = task.cpu.load(Ordering::SeqCst);
        if !cpus().is_empty() && cpu != cpu::index() {
            apic::kick(cpu);
        }
    }
}

/// Lets the CPU go on with others; returns when this thread is chosen again.
fn switch_away(me: &Arc<Task>) {
    let cpu = this();
    let next = cpu.pop();
    if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, me)) {
        me.state.store(state::RUNNING, Ordering::SeqCst);
        return;
    }
    me.stop_clock();
    me.registers.lock().save();
    let to = next.as_ref().map_or(&cpu.idle, |next| &next.flow).clone();
    cpu.begin(next);
    flow::switch(&me.flow, &to);
    drop(to);
    arrive(me);
}

/// What a thread does first when it is chosen.
pub fn arrive(me: &Arc<Task>) {
    let cpu = this();
    me.process.root.activate();
    // Nobody else's registers were here since, and this thread's nowhere else.
    let mine = cpu.last_user.swap(me.serial(), Ordering::Relaxed) == me.serial();
    if !(me.note_registers_on(cpu.index) && mine) {
        me.registers.lock().restore();
    }
    me.start_clock();
}

/// Ends the current thread, of which nothing may be left on its stack.
pub fn finish() -> ! {
    let cpu = this();
    let next = cpu.pop();
    let to = next.as_ref().map_or(&cpu.idle, |next| &next.flow).clone();
    let me = cpu.current.lock().take();
    let Some(me) = me else { unreachable!("a thread ends itself") };
    // Only a thread that uses the same memory keeps the page table alive.
    if !next.as_ref().is_some_and(|next| Arc::ptr_eq(&next.process.root, &me.process.root)) {
        tlb::leave();
    }
    let from = me.flow.clone();
    drop(me);
    cpu.begin(next);
    flow::finish(from, to)
}

/// True if no other thread wants this CPU.
pub fn is_alone() -> bool {
    cpus().is_empty() || this().ready.load(Ordering::Relaxed) == 0
}

/// Gives way to others that want this CPU, if there are any.
pub fn yield_now(me: &Arc<Task>) {
    if is_alone() {
        return;
    }
    me.state.store(state::READY, Ordering::SeqCst);
    this().push(me.clone());
    switch_away(me);
}

/// Goes to a CPU where it may run, if this isn't one.
pub fn migrate(me: &Arc<Task>) {
    if !cpus().is_empty() && !me.may_run_on(cpu::index()) {
        me.state.store(state::READY, Ordering::SeqCst);
        place(me, choose(me));
        switch_away(me);
    }
}

/// What a thread does on its way to ring 3 after an interrupt: gives way when its time is over.
pub fn interrupted(me: &Arc<Task>) {
    let cpu = this();
    cpu.note_timer();
    crate::serve::look_at_orders();
    crate::net::poll();
    cpu.wake_sleepers();
    cpu.wake_answered();
    if cpu.hand_over.load(Ordering::Relaxed) <= time::monotonic_ns() {
        hand_over_watch(cpu);
    }
    let end = cpu.slice_end.load(Ordering::Relaxed);
    // The timer goes by another clock, and may come a little early.
    if end != 0 && time::tsc().saturating_add(cpu.slice_ticks / 16) >= end {
        yield_now(me);
    }
}

/// What a thread does last before it enters ring 3.
pub fn before_user() {
    let cpu = this();
    let unset = || cpu.slice_end.load(Ordering::Relaxed) == 0 || cpu.armed.load(Ordering::Relaxed) == NEVER;
    let next = cpu.first_sleeper.load(Ordering::Relaxed);
    if (cpu.ready.load(Ordering::Relaxed) > 0 && unset()) || next != cpu.armed_for_sleeper.load(Ordering::Relaxed) {
        cpu.arm();
    }
    let hand_over = cpu.hand_over.load(Ordering::Relaxed);
    if cpu.armed.load(Ordering::Relaxed) > hand_over {
        cpu.armed.store(hand_over, Ordering::Relaxed);
        apic::set_timer(hand_over.saturating_sub(time::monotonic_ns()));
    }
}

/// Waits until `ready`, until a time of CLOCK_MONOTONIC, or until the thread is interrupted.
pub fn wait(me: &Arc<Task>, deadline: Option<u64>, ready: &dyn Fn() -> bool) -> Woken {
    wait_for(me, deadline, By::Signals, ready)
}

/// As [`wait`], but for nothing but the end of the process.
pub fn wait_patiently(me: &Arc<Task>, ready: &dyn Fn() -> bool) -> Woken {
    wait_for(me, None, By::End, ready)
}

/// What may interrupt a wait.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    Signals,
    /// Nothing but the end of the process.
    End,
    /// Not even that, but this; who sets it wakes the thread.
    Flag(&'a AtomicBool),
}

impl By<'_> {
    fn interrupts(self, me: &Task) -> bool {
        match self {
            By::Signals => me.is_interrupted(),
            By::End => me.has_to_leave(),
            By::Flag(flag) => flag.load(Ordering::SeqCst),
        }
    }
}

/// As [`wait`], interrupted by what the caller says.
pub fn wait_for(me: &Arc<Task>, deadline: Option<u64>, by: By, ready: &dyn Fn() -> bool) -> Woken {
    loop {
        if let Some(woken) = look(me, deadline, by, ready) {
            return woken;
        }
        if cpus().is_empty() {
            // On the host.
            cpu::take_interrupts();
            continue;
        }
        me.state.store(state::BLOCKED, Ordering::SeqCst);
        let bed = deadline.map(|at| Bed::take(this(), at, me.serial(), Alarm::Task(me.clone())));
        if look(me, deadline, by, ready).is_some() {
            let awake = me.state.compare_exchange(state::BLOCKED, state::RUNNING, Ordering::SeqCst, Ordering::SeqCst);
            if awake.is_err() {
                // Somebody has put it into a queue by now.
                switch_away(me);
            }
        } else {
            switch_away(me);
        }
        if let Some(bed) = bed {
            bed.leave();
        }
    }
}

fn look(me: &Task, deadline: Option<u64>, by: By, ready: &dyn Fn() -> bool) -> Option<Woken> {
    if ready() {
        Some(Woken::Ready)
    } else if by.interrupts(me) {
        Some(Woken::Interrupted)
    } else if deadline.is_some_and(|at| time::monotonic_ns() >= at) {
        Some(Woken::TimedOut)
    } else {
        None
    }
}

/// An answer that Linux gives to a request.
pub struct Answer<'a> {
    /// The request's.
    pub state: &'static AtomicU32,
    /// How long to wait for it before others get the CPU, or it halts.
    pub spin_ns: u64,
    /// Is told the number of the CPU that Linux is to kick.
    pub announce: &'a dyn Fn(usize),
}

/// As [`wait`], for an answer of Linux's.
pub fn wait_for_linux(me: &Arc<Task>, answer: &Answer, by: By) -> Woken {
    let &Answer { state, spin_ns, announce } = answer;
    let done = || is_done(state);
    if cpus().is_empty() {
        return wait_for(me, None, by, &done);
    }
    let cpu = this();
    let limit = time::from_ns(spin_ns);
    let began = time::tsc();
    let mut looks: u32 = 0;
    while cpu.ready.load(Ordering::Relaxed) == 0 && !me.has_attention() {
        if done() {
            return Woken::Ready;
        }
        if time::tsc().saturating_sub(began) >= limit {
            break;
        }
        looks = looks.wrapping_add(1);
        // Others may want something of this CPU, which takes no interrupts otherwise.
        if looks.is_multiple_of(LOOKS_PER_PAUSE) {
            core::hint::spin_loop();
            cpu::take_interrupts();
            cpu.note_timer();
            crate::serve::look_at_orders();
            cpu.wake_sleepers();
            cpu.wake_answered();
        }
    }
    if done() {
        return Woken::Ready;
    }
    cpu.waiting.lock().push(Waiting { state, task: me.clone() });
    cpu.waiting_count.fetch_add(1, Ordering::SeqCst);
    announce(cpu.index);
    let woken = wait_for(me, None, by, &done);
    cpu.waiting.lock().retain(|w| !Arc::ptr_eq(&w.task, me));
    cpu.waiting_count.fetch_sub(1, Ordering::SeqCst);
    woken
}

/// Whether a CPU that halts could watch the network instead of this one.
fn other_watcher(me: &Cpu) -> Option<&'static Cpu> {
    let is_free = |c: &&Cpu| c.index != me.index && c.halted.load(Ordering::SeqCst);
    crate::net::is_unwatched().then(|| cpus().iter().find(is_free))?
}

/// Has another CPU watch the network, if nobody does, nor looks after it by himself.
fn hand_over_watch(me: &Cpu) {
    let until = crate::net::last_work().saturating_add(WATCH_NS);
    if until > time::monotonic_ns() && crate::net::is_unwatched() {
        me.hand_over.store(until, Ordering::Relaxed);
        return;
    }
    me.hand_over.store(NEVER, Ordering::Relaxed);
    if let Some(other) = other_watcher(me) {
        apic::kick(other.index);
    }
}

/// What a CPU does while no thread wants it: for ever.
pub fn idle() -> ! {
    let cpu = this();
    loop {
        crate::serve::look_at_orders();
        crate::net::poll();
        cpu.wake_sleepers();
        cpu.wake_answered();
        if let Some(next) = cpu.pop().or_else(|| steal(cpu)) {
            if other_watcher(cpu).is_some() {
                cpu.hand_over.store(time::monotonic_ns().saturating_add(WATCH_NS), Ordering::Relaxed);
            }
            let to = next.flow.clone();
            cpu.begin(Some(next));
            flow::switch(&cpu.idle, &to);
            cpu.hand_over.store(NEVER, Ordering::Relaxed);
            continue;
        }
        let is_called = || cpu.ready.load(Ordering::SeqCst) > 0 || cpu.has_answer() || crate::serve::has_orders();
        let wanted = || is_called() || crate::net::has_work();
        let end = time::tsc().saturating_add(time::from_ns(SPIN_NS));
        while time::tsc() < end && !wanted() {
            core::hint::spin_loop();
        }
        if wanted() {
            continue;
        }
        // Before what may take long: somebody may wait until nobody has his page table any more.
        tlb::leave();
        if frames::clean(|| !wanted()) {
            continue;
        }
        let watch = crate::net::begin_watch(cpu.index);
        let bed = watch.filter(|at| *at != NEVER).map(|at| Bed::take(cpu, at, u64::MAX, Alarm::Network));
        cpu.arm();
        cpu.halted.store(true, Ordering::SeqCst);
        if watch.is_some() {
            hermit_plat::cpu::idle_unless(wanted);
        } else {
            // Others look after the network, unless there is nobody left.
            hermit_plat::cpu::idle_unless(|| is_called() || crate::net::is_unwatched());
        }
        cpu.halted.store(false, Ordering::SeqCst);
        cpu.note_timer();
        if let Some(bed) = bed {
            bed.leave();
        }
        if watch.is_some() {
            crate::net::end_watch(cpu.index);
        }
    }
}
