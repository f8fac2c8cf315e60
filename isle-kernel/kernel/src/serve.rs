// SPDX-License-Identifier: MIT OR Apache-2.0

//! Orders from Linux: to run an application, to end it, to give it a signal, to stop the isle.
//!
//! Each CPU looks after the slot that has its number; the application's threads run wherever there is room.

use crate::errno::End;
use crate::family::{self, Family};
use crate::link::Link;
use crate::mem::frames;
use crate::process::Process;
use crate::sched;
use crate::signal::number::{SIGHUP, SIGINT, SIGKILL, SIGQUIT};
use crate::signal::{self, Info};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use hermit_plat::abi::app::{self, App};
use hermit_plat::abi::control::{self, Control};
use hermit_plat::abi::cpu::state as cpu_state;
use hermit_plat::shared::{self, Shared};
use hermit_plat::{apic, cpu};
use spin::{Mutex, Once};

/// The isle kernel's main function on each CPU.
pub fn main(index: usize) -> ! {
    let shared = shared::get();
    if index == 0 {
        crate::logger::init();
        frames::init(hermit_plat::app_memory::get().len());
        sched::init();
        crate::net::init(shared);
        SLOTS.call_once(|| shared.apps.iter().map(|_| Mutex::new(None)).collect());
        READY.store(true, Ordering::Release);
    }
    while !READY.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    cpu::set_ready();
    if index == 0 {
        announce(shared);
    }
    sched::idle()
}

/// Set when CPU 0 has made what all CPUs use.
static READY: AtomicBool = AtomicBool::new(false);

/// The applications of all slots.
static SLOTS: Once<Vec<Mutex<Option<Application>>>> = Once::new();

/// An application in its slot.
#[derive(Clone)]
struct Application {
    family: Arc<Family>,
    link: Arc<Link>,
}

/// Applications that run now, and how many have ever begun.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Tells Linux, once all CPUs are there.
fn announce(shared: &Shared) {
    let ready = |c: &hermit_plat::abi::cpu::Cpu| c.state.load(Ordering::Acquire) == cpu_state::READY;
    while !shared.cpus.iter().all(ready) {
        if shared.control.order.load(Ordering::Relaxed) == control::order::STOP {
            return;
        }
        core::hint::spin_loop();
    }
    let boot = shared.boot;
    let apps = hermit_plat::app_memory::get().len();
    let mib = apps.saturating_add(boot.kernel_part.len) >> 20;
    log::info!("isle {}: {} CPUs, {mib} MiB, ready", boot.isle, shared.cpus.len());
    set_running(shared.control);
}

fn set_running(control: &Control) {
    control.state.store(control::state::RUNNING, Ordering::Release);
    apic::ring_doorbell();
}

/// What Linux wants of this CPU's slot.
fn slot() -> Option<(&'static Shared, usize, &'static App)> {
    let shared = shared::try_get()?;
    let slot = cpu::index();
    Some((shared, slot, shared.apps.get(slot)?))
}

/// An order that hasn't been answered yet.
fn new_order(app: &App) -> Option<u32> {
    let order = app.order.load(Ordering::Acquire);
    let answered = app.state.load(Ordering::Relaxed);
    (order != 0 && app::generation(order) != app::generation(answered)).then_some(order)
}

fn has_to_stop(shared: &Shared) -> bool {
    shared.control.order.load(Ordering::Relaxed) == control::order::STOP
}

/// True if an application runs in the slot that has been ordered to end, or has a signal.
fn has_news(app: &App) -> bool {
    let (order, state) = (app.order.load(Ordering::Acquire), app.state.load(Ordering::Relaxed));
    let runs = app::value(state) == app::state::RUNNING;
    runs && (app::value(order) == app::order::KILL || app.signals.load(Ordering::Relaxed) != 0)
}

/// True if there is something for [`look_at_orders`].
pub fn has_orders() -> bool {
    slot().is_some_and(|(shared, _, app)| {
        has_to_stop(shared) || new_order(app).is_some() || (has_news(app) && !is_settled(app))
    })
}

/// True if the application of this CPU's slot ends, and has been told by what order.
fn is_settled(app: &App) -> bool {
    let is_killed = app::value(app.order.load(Ordering::Acquire)) == app::order::KILL;
    application().is_none_or(|a| a.family.is_ending() && (!is_killed || a.link.is_abandoned()))
}

fn application() -> Option<Application> {
    SLOTS.get()?.get(cpu::index())?.lock().clone()
}

/// Follows the orders that concern this CPU.
pub fn look_at_orders() {
    let Some((shared, index, app)) = slot() else { return };
    if has_to_stop(shared) {
        cpu::halt();
    }
    if let Some(order) = new_order(app) {
        open(shared, index, app, app::generation(order));
    }
    if has_news(app) {
        if let Some(application) = application() {
            tell(&application, app);
        }
    }
}

/// Passes on what Linux wants of an application.
fn tell(application: &Application, app: &App) {
    let (_, generation) = application.link.slot();
    if app.order.load(Ordering::Acquire) != app::word(generation, app::order::RUN) {
        application.family.end(End::signal(SIGKILL));
        application.link.abandon();
    }
    let mut signals = app.signals.swap(0, Ordering::AcqRel);
    while signals != 0 {
        let number = signals.trailing_zeros() + 1;
        signals &= signals - 1;
        // A terminal's signals are for all processes, whose group it is.
        let for_all = matches!(number, SIGINT | SIGQUIT | SIGHUP);
        let first = application.family.first();
        let receivers = if for_all { application.family.members() } else { first.into_iter().collect() };
        for process in receivers {
            // From whoever sent it to the proxy; a queue that is full loses signals, as on Linux.
            let _ = signal::send(&process, None, Info::user(number, 0, 0, 0));
        }
    }
}

/// Begins an application.
fn open(shared: &Shared, slot: usize, app: &App, generation: u32) {
    app.signals.store(0, Ordering::Relaxed);
    app.state.store(app::word(generation, app::state::RUNNING), Ordering::Release);
    BEGUN.fetch_add(1, Ordering::SeqCst);
    RUNNING.fetch_add(1, Ordering::SeqCst);
    // The proxy before this one has gone, and so has its mapping of application memory.
    frames::shared().lock().release_slot(slot);
    let begun = Link::new(*shared, slot, generation).and_then(Process::new).and_then(|process| {
        let thread = Thread::first(&process)?;
        if let Some(place) = SLOTS.get().and_then(|s| s.get(slot)) {
            *place.lock() = Some(Application { family: process.family.clone(), link: process.link.clone() });
        }
        let task = thread.task.clone();
        process.add(&task);
        task.set_start(thread);
        sched::start(&task);
        Some(())
    });
    if begun.is_none() {
        log::error!("no kernel memory for an application");
        report(app, generation, End::signal(SIGKILL));
    }
}

/// Ends a process whose last thread is ending: all that belonged to it is released first.
pub fn close(process: &Arc<Process>) {
    let (slot, generation) = process.link.slot();
    let end = process.ending().unwrap_or(process.last_status());
    process.end(end);
    process.timers.lock().clear();
    process.release_memory();
    let last = process.family.remove(process, end);
    family::mourn(process, end);
    let Some(end) = last else { return };
    if let Some(place) = SLOTS.get().and_then(|s| s.get(slot)) {
        let application = place.lock().take();
        drop(application);
    }
    if let Some(app) = shared::try_get().and_then(|s| s.apps.get(slot)) {
        report(app, generation, end);
    }
}

fn report(app: &App, generation: u32, End(status): End) {
    if RUNNING.fetch_sub(1, Ordering::SeqCst) == 1 {
        check_balance();
    }
    app.exit_status.store(status, Ordering::Relaxed);
    app.state.store(app::word(generation, app::state::ENDED), Ordering::Release);
    app.attention.store(1, Ordering::Release);
    apic::ring_doorbell();
}

/// With no application on the isle, all application memory is free.
fn check_balance() {
    let begun = BEGUN.load(Ordering::SeqCst);
    let used = {
        let frames = frames::shared().lock();
        frames.used() - frames.held()
    };
    if used != 0 && RUNNING.load(Ordering::SeqCst) == 0 && BEGUN.load(Ordering::SeqCst) == begun {
        log::error!("{used} bytes of application memory are in use by nobody");
    }
}
