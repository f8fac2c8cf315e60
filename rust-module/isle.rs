// SPDX-License-Identifier: GPL-2.0

//! One isle: its life, and all isles of the machine.
//!
//! Two locks, taken in this order:
//! - `lifecycle` is held during a whole start or stop, so these can't overlap. Seconds may pass.
//! - `view` is what everybody else looks at. It is held for moments only, never while memory or CPUs
//!   come or go, and never while user memory is touched (a page fault takes it).

use crate::abi::app::{self, order, state as app_state};
use crate::abi::control;
use crate::abi::cpu;
use crate::boot::image::Image;
use crate::boot::shared::{IsleBell, RingListener, Shared};
use crate::boot::start::Trampoline;
use crate::boot::{load, start};
use crate::clock::Keeper;
use crate::kapi::apic::ApicId;
use crate::kapi::chardev::AddressSpace;
use crate::kapi::cpu::this_cpu;
use crate::kapi::irq::{DomainHandle, Doorbell};
use crate::kapi::shm::Mapping;
use crate::kapi::wait::WaitQueue;
use crate::kapi::{file, memory, notifier, time};
use crate::log::Log;
use crate::mmnif::{self, Mmnif};
use crate::partition::cpus::{self, LentCpus};
use crate::partition::memory::LentMemory;
use crate::partition::size;
use crate::whereabouts::Whereabouts;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::{Arc, Mutex};

/// How long an isle may take to stop by itself, and an application to end.
const STOP_TIMEOUT_MS: u64 = 1_000;
const END_TIMEOUT_MS: u64 = 2_000;

/// What a user has set.
struct Config {
    path: Option<CString>,
    memory: u64,
}

/// A running isle. Fields are given back in this order.
pub struct Running {
    doorbell: Option<Doorbell>,
    link: Option<mmnif::Link>,
    _clock: Keeper,
    pub shared: Arc<Shared>,
    /// Application memory is mapped so that processes map it write-back too.
    _app_memory: KVec<Mapping>,
    pub cpus: LentCpus,
    pub memory: LentMemory,
}

/// Where in its life an isle is.
pub enum Life {
    Stopped,
    Starting,
    Running(Running),
    Stopping,
}

/// What everybody looks at.
pub struct View {
    pub life: Life,
    pub log: Log,
    /// Counts starts, so that a session can tell that its isle is not there any more.
    pub epoch: u64,
    /// Which slots sessions have.
    taken: KVec<bool>,
    /// Sessions that keep an isle alive which one of them has started.
    holders: usize,
    stop_with_last_holder: bool,
    /// The mappings of all open door files.
    mappings: KVec<Option<AddressSpace>>,
}

impl View {
    /// The isle, if it runs.
    pub fn running(&self) -> Option<&Running> {
        match &self.life {
            Life::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The isle, if it runs and is the one of that epoch.
    pub fn running_in(&self, epoch: u64) -> Option<&Running> {
        self.running().filter(|_| self.epoch == epoch)
    }
}

/// One isle.
#[pin_data]
pub struct Isle {
    /// NUMA node that its memory comes from, and its number.
    pub node: u32,
    trampoline: Arc<Trampoline>,
    bells: DomainHandle,
    mmnif: Arc<Mmnif>,
    #[pin]
    config: Mutex<Config>,
    #[pin]
    lifecycle: Mutex<()>,
    #[pin]
    pub view: Mutex<View>,
    bell: Arc<Waiters>,
}

/// Sessions that wait for their isle to ring.
#[pin_data]
pub struct Waiters {
    #[pin]
    pub queue: WaitQueue,
    place: Whereabouts,
}

impl RingListener for Waiters {
    fn rang(&self) -> Option<u32> {
        self.queue.wake_all();
        self.place.rang(this_cpu())
    }
}

impl Isle {
    fn new(node: u32, trampoline: Arc<Trampoline>, bells: DomainHandle, mmnif: Arc<Mmnif>) -> Result<Arc<Self>> {
        let (_, present) = memory::node_span(node);
        let memory = match memory::parameter() {
            Some(text) => size::parse(text).ok_or_else(|| {
                pr_err!("the parameter memory is not a size such as 512M\n");
                EINVAL
            })?,
            None => present / 2,
        };
        let bell =
            Arc::pin_init(pin_init!(Waiters { queue <- WaitQueue::new(), place: Whereabouts::new() }), GFP_KERNEL)?;
        let view = View {
            life: Life::Stopped,
            log: Log::new(),
            epoch: 0,
            taken: KVec::new(),
            holders: 0,
            stop_with_last_holder: false,
            mappings: KVec::new(),
        };
        Arc::pin_init(
            pin_init!(Self {
                node,
                trampoline,
                bells,
                mmnif,
                config <- new_mutex!(Config { path: None, memory }, "hermit:config"),
                lifecycle <- new_mutex!((), "hermit:lifecycle"),
                view <- new_mutex!(view, "hermit:view"),
                bell,
            }),
            GFP_KERNEL,
        )
    }

    /// Those who want to know that the isle rang.
    pub fn waiters(&self) -> &WaitQueue {
        &self.bell.queue
    }

    /// One of them has been woken, and is on this CPU.
    pub fn note_woken(&self) {
        self.bell.place.seen(Some(this_cpu()));
    }

    /// Sets the image to boot.
    pub fn set_path(&self, text: &[u8]) -> Result {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.is_empty() || text.contains(&0) {
            return Err(EINVAL);
        }
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        let path = CString::try_from_fmt(fmt!("{text}"))?;
        file::check_readable(&path)?;
        self.config.lock().path = Some(path);
        Ok(())
    }

    /// Calls `f` with the image to boot.
    pub fn with_path(&self, f: impl FnOnce(&[u8]) -> Result) -> Result {
        f(self.config.lock().path.as_ref().map_or(b"".as_slice(), |p| p.as_bytes()))
    }

    /// Sets how much memory to ask for.
    pub fn set_memory(&self, text: &[u8]) -> Result {
        let bytes = size::parse(text).ok_or_else(|| {
            pr_err!("isle{}: what was written to memory is not a size such as 512M\n", self.node);
            EINVAL
        })?;
        self.config.lock().memory = bytes;
        Ok(())
    }

    /// How much memory the isle asks for.
    pub fn memory(&self) -> u64 {
        self.config.lock().memory
    }

    /// Starts the isle on the CPUs in a list; returns its epoch.
    pub fn start(&self, list: &[u8]) -> Result<u64> {
        let numbers = cpus::parse(self.node, list)?;
        let _lifecycle = self.lifecycle.lock();
        {
            let mut view = self.view.lock();
            if !matches!(view.life, Life::Stopped) {
                pr_err!("isle{}: runs already; write -1 to cpus to stop it first\n", self.node);
                return Err(EBUSY);
            }
            view.life = Life::Starting;
            view.log.clear();
            view.epoch += 1;
            view.holders = 0;
            view.stop_with_last_holder = false;
        }
        // After it can be seen that this isle starts: either this sees that Linux goes down, or that sees this.
        let result = if LINUX_GOES.load(Ordering::SeqCst) {
            pr_err!("isle{}: can't start while Linux goes down or to sleep\n", self.node);
            Err(EBUSY)
        } else {
            self.bring_up(numbers)
        };
        let mut view = self.view.lock();
        match result {
            Ok((running, taken)) => {
                view.taken = taken;
                view.life = Life::Running(running);
                Ok(view.epoch)
            }
            Err(e) => {
                view.life = Life::Stopped;
                Err(e)
            }
        }
    }

    fn bring_up(&self, numbers: KVec<u32>) -> Result<(Running, KVec<bool>)> {
        let node = self.node;
        let image = {
            let config = self.config.lock();
            let path = config.path.as_ref().ok_or_else(|| {
                pr_err!("isle{node}: no image; write its name to /sys/hermit/isle{node}/path first\n");
                ENOENT
            })?;
            Image::read(node, path)?
        };
        let cpus = LentCpus::take(node, numbers)?;
        let memory = LentMemory::take(node, self.memory())?;
        let loaded = load::load(node, &image, &memory, &cpus)?;
        let mut app_memory = KVec::new();
        for range in loaded.shared.layout.app_memory(memory.ranges()) {
            app_memory.push(Mapping::new(range)?, GFP_KERNEL)?;
        }
        let taken = KVec::from_elem(false, loaded.shared.slots(), GFP_KERNEL)?;
        let clock = Keeper::new(loaded.shared.clone(), loaded.clock)?;
        // Nothing may return from here on without stopping the CPUs that run by then.
        let started = start::start(node, &self.trampoline, &image, &loaded, &cpus);
        let shared = loaded.shared;
        if let Err(e) = started {
            self.keep_log(&shared);
            // The CPUs must not run in memory that is about to be unmapped and given back.
            cpus.apic_ids().for_each(ApicId::send_init);
            time::sleep_us(1_000);
            return Err(e);
        }
        let mut running = Running {
            doorbell: None,
            link: None,
            _clock: clock,
            shared: shared.clone(),
            _app_memory: app_memory,
            cpus,
            memory,
        };
        if let Err(e) = self.connect(&mut running) {
            halt(&mut running);
            return Err(e);
        }
        Ok((running, taken))
    }

    /// Lets an isle that has started be heard.
    fn connect(&self, running: &mut Running) -> Result {
        let shared = &running.shared;
        running.doorbell = Some(self.make_doorbell(shared.clone())?);
        running.link = Some(self.mmnif.link(self.node, shared, running.cpus.apic_ids(), self.bells)?);
        Ok(())
    }

    fn make_doorbell(&self, shared: Arc<Shared>) -> Result<Doorbell> {
        let name = CString::try_from_fmt(fmt!("hermit-isle{}", self.node))?;
        let listener: Arc<dyn RingListener> = self.bell.clone();
        let bell = Arc::new(IsleBell::new(shared, listener, |shared| Ok(&shared.control()?.doorbell)), GFP_KERNEL)?;
        Doorbell::new(self.bells, name, bell)
    }

    /// Stops the isle. EINVAL if it doesn't run.
    pub fn stop(&self) -> Result {
        let _lifecycle = self.lifecycle.lock();
        self.stop_locked(|_| true)
    }

    /// Stops the isle if `condition` holds. The caller has the lifecycle lock.
    fn stop_locked(&self, condition: impl FnOnce(&View) -> bool) -> Result {
        let mut running = {
            let mut view = self.view.lock();
            if view.running().is_none() || !condition(&view) {
                pr_debug!("isle{}: does not run\n", self.node);
                return Err(EINVAL);
            }
            let Life::Running(running) = core::mem::replace(&mut view.life, Life::Stopping) else {
                return Err(EINVAL);
            };
            // From here on nobody maps its memory any more; take it out of where it is mapped.
            view.mappings.iter().flatten().for_each(|mapping| mapping.unmap_all());
            running
        };
        halt(&mut running);
        self.keep_log(&running.shared);
        drop(running);
        let mut view = self.view.lock();
        view.life = Life::Stopped;
        view.taken = KVec::new();
        drop(view);
        self.bell.rang();
        Ok(())
    }

    fn keep_log(&self, shared: &Shared) {
        if let Ok(ring) = shared.log() {
            // Without memory for it, its end is missing.
            let _ = self.view.lock().log.drain(ring);
        }
    }

    /// Reads from the log.
    pub fn read_log(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut view = self.view.lock();
        let View { life, log, .. } = &mut *view;
        if let Life::Running(running) = life {
            log.drain(running.shared.log()?)?;
        }
        Ok(log.read(offset, buffer))
    }

    /// A door file was opened.
    pub fn add_mapping(&self, mapping: AddressSpace) -> Result {
        let mut view = self.view.lock();
        match view.mappings.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(mapping),
            None => view.mappings.push(Some(mapping), GFP_KERNEL)?,
        }
        Ok(())
    }

    /// A door file was closed.
    pub fn remove_mapping(&self, mapping: AddressSpace) {
        let mut view = self.view.lock();
        if let Some(place) = view.mappings.iter_mut().find(|place| **place == Some(mapping)) {
            *place = None;
        }
    }

    /// Starts the isle for a session; it stops with the last session that holds it.
    pub fn start_held(&self, list: &[u8]) -> Result<u64> {
        let epoch = self.start(list)?;
        let mut view = self.view.lock();
        if view.running_in(epoch).is_none() {
            // Somebody has stopped it already.
            return Err(ENODEV);
        }
        view.holders += 1;
        view.stop_with_last_holder = true;
        Ok(view.epoch)
    }

    /// Gives a session a slot; returns it and the epoch. `holds` is the epoch that the session holds already.
    pub fn attach(&self, holds: Option<u64>) -> Result<(usize, u64)> {
        let mut view = self.view.lock();
        let epoch = view.epoch;
        let running = view.running().ok_or(ENODEV)?;
        let shared = running.shared.clone();
        let slot =
            view.taken.iter().enumerate().position(|(slot, taken)| !taken && shared.is_free(slot)).ok_or(EBUSY)?;
        shared.reset_channel(slot)?;
        if let Some(taken) = view.taken.get_mut(slot) {
            *taken = true;
        }
        if holds != Some(epoch) {
            view.holders += 1;
        }
        Ok((slot, epoch))
    }

    /// A session that held the isle, and maybe had a slot, ends.
    pub fn detach(&self, epoch: u64, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.end_app(epoch, slot);
        }
        let _lifecycle = self.lifecycle.lock();
        let last = {
            let mut view = self.view.lock();
            if view.epoch != epoch || view.running().is_none() {
                return;
            }
            if let Some(taken) = slot.and_then(|slot| view.taken.get_mut(slot)) {
                *taken = false;
            }
            view.holders -= 1;
            view.holders == 0 && view.stop_with_last_holder
        };
        if last {
            // It may have got a new holder meanwhile.
            let _ = self.stop_locked(|view| view.epoch == epoch && view.holders == 0);
        }
    }

    /// Ends what runs in a slot, if anything does.
    fn end_app(&self, epoch: u64, slot: usize) {
        let order_kill = || -> Option<()> {
            let view = self.view.lock();
            let running = view.running_in(epoch)?;
            let app = running.shared.app(slot).ok()?;
            let order = app.order.load(Ordering::Relaxed);
            if app::value(order) == order::RUN {
                app.order.store(app::word(app::generation(order), order::KILL), Ordering::Release);
                running.kick(slot);
            }
            Some(())
        };
        if order_kill().is_none() {
            return;
        }
        let ended = || {
            let view = self.view.lock();
            view.running_in(epoch).map_or(true, |r| r.shared.is_free(slot) || r.shared.is_crashed())
        };
        if !time::wait_until(END_TIMEOUT_MS, ended) {
            pr_err!("isle{}: an application does not end; its slot is not used again\n", self.node);
        }
    }
}

impl Running {
    /// Has the CPU of a slot look at its orders.
    /// Interrupts a CPU that a proxy names.
    pub fn kick_checked(&self, cpu: usize) -> Result {
        self.cpus.apic_id(cpu).ok_or(EINVAL)?.send_fixed(control::vector::KICK);
        Ok(())
    }

    pub fn kick(&self, slot: usize) {
        if let Some(apic_id) = self.cpus.apic_id(slot) {
            apic_id.send_fixed(control::vector::KICK);
        }
    }

    /// Tells the isle to run what is in a slot.
    pub fn run(&self, slot: usize) -> Result {
        let app = self.shared.app(slot)?;
        let generation = app::next(app::generation(app.order.load(Ordering::Relaxed)));
        app.attention.store(0, Ordering::Relaxed);
        app.signals.store(0, Ordering::Relaxed);
        app.order.store(app::word(generation, order::RUN), Ordering::Release);
        self.kick(slot);
        Ok(())
    }

    /// Whether what runs in a slot has ended, and how.
    pub fn exit_status(&self, slot: usize) -> Option<u32> {
        let app = self.shared.app(slot).ok()?;
        let order = app.order.load(Ordering::Relaxed);
        let ended = app::word(app::generation(order), app_state::ENDED);
        (app.state.load(Ordering::Acquire) == ended).then(|| app.exit_status.load(Ordering::Relaxed))
    }
}

/// Brings all CPUs of an isle to a stop: asks them, and waits for an answer, before they are forced.
fn halt(running: &mut Running) {
    // Nobody sends it packets any more, or interrupts its CPUs for them.
    running.link = None;
    let shared = &running.shared;
    if let Ok(control) = shared.control() {
        // Doorbells would go to nobody.
        control.doorbell.store(control::NO_DOORBELL.into(), Ordering::Relaxed);
        control.order.store(control::order::STOP, Ordering::Release);
        for apic_id in running.cpus.apic_ids() {
            apic_id.send_fixed(control::vector::KICK);
        }
        let halted = || shared.all_cpus_are(cpu::state::HALTED) || shared.is_crashed();
        if !time::wait_until(STOP_TIMEOUT_MS, halted) {
            pr_info!("the isle did not stop when asked; its CPUs are reset\n");
        }
    }
    // Even a halted CPU could be woken by an NMI, in memory that is somebody else's by then.
    running.cpus.apic_ids().for_each(ApicId::send_init);
    time::sleep_us(1_000);
}

/// Linux goes down or to sleep: no isle starts any more.
static LINUX_GOES: AtomicBool = AtomicBool::new(false);

/// All isles: one for each node that has memory.
#[derive(Clone)]
pub struct Isles(Arc<KVec<Arc<Isle>>>);

impl Isles {
    pub fn new(trampoline: &Arc<Trampoline>, bells: DomainHandle, mmnif: &Arc<Mmnif>) -> Result<Self> {
        let mut isles = KVec::new();
        for node in memory::nodes_with_memory() {
            isles.push(Isle::new(node, trampoline.clone(), bells, mmnif.clone())?, GFP_KERNEL)?;
        }
        Ok(Self(Arc::new(isles, GFP_KERNEL)?))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Isle>> {
        self.0.iter()
    }

    fn any_runs(&self) -> bool {
        self.iter().any(|isle| !matches!(isle.view.lock().life, Life::Stopped))
    }

    fn stop_all(&self) {
        for isle in self.iter() {
            // Those which don't run have nothing to stop.
            let _ = isle.stop();
        }
    }
}

/// Stops all isles when the module goes, after everybody who could start one.
pub struct StopAll(pub Isles);

impl Drop for StopAll {
    fn drop(&mut self) {
        self.0.stop_all();
    }
}

/// Told when Linux reboots or suspends.
pub struct Notifiers {
    _registration: notifier::Registration<Isles>,
}

impl Notifiers {
    pub fn new(isles: &Isles) -> Result<Self> {
        Ok(Self { _registration: notifier::Registration::new(isles.clone())? })
    }
}

impl notifier::Listener for Isles {
    fn reboot(&self) {
        LINUX_GOES.store(true, Ordering::SeqCst);
        if self.any_runs() {
            self.stop_all();
            pr_info!("all isles are stopped for Linux to go down\n");
        }
    }

    fn may_sleep(&self) -> bool {
        LINUX_GOES.store(true, Ordering::SeqCst);
        let running = self.any_runs();
        if running {
            LINUX_GOES.store(false, Ordering::SeqCst);
            pr_err!("can't suspend or hibernate while isles run; stop them first\n");
        }
        !running
    }

    fn awake(&self) {
        LINUX_GOES.store(false, Ordering::SeqCst);
    }
}
