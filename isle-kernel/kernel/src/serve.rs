// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a CPU does all its life: serve its slot, or wait.

use crate::errno::End;
use crate::link::Link;
use crate::mem::frames;
use crate::process::Process;
use crate::signal::number::SIGKILL;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use hermit_plat::abi::app::{self, App};
use hermit_plat::abi::control::{self, Control};
use hermit_plat::abi::cpu::state as cpu_state;
use hermit_plat::shared::{self, Shared};
use hermit_plat::{apic, cpu};

/// The isle kernel's main function on each CPU.
pub fn main(index: usize) -> ! {
    let shared = shared::get();
    if index == 0 {
        crate::logger::init();
        frames::init(hermit_plat::app_memory::get().len());
        READY.store(true, Ordering::Release);
    }
    while !READY.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    cpu::set_ready();
    if index == 0 {
        announce(shared);
    }
    loop {
        if shared.control.order.load(Ordering::Acquire) == control::order::STOP {
            cpu::halt();
        }
        if let Some(app) = shared.apps.get(index) {
            if let Some(order) = new_order(app) {
                serve(shared, index, app, order);
                continue;
            }
        }
        cpu::idle_unless(|| {
            shared.control.order.load(Ordering::Acquire) != control::order::RUN
                || shared.apps.get(index).and_then(new_order).is_some()
        });
    }
}

/// Set when CPU 0 has made what all CPUs use.
static READY: AtomicBool = AtomicBool::new(false);

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

/// An order that hasn't been answered yet.
fn new_order(app: &App) -> Option<u32> {
    let order = app.order.load(Ordering::Acquire);
    let answered = app.state.load(Ordering::Relaxed);
    (order != 0 && app::generation(order) != app::generation(answered)).then_some(order)
}

/// Applications that run now, on all CPUs.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

fn serve(shared: &Shared, slot: usize, app: &App, order: u32) {
    let generation = app::generation(order);
    app.state.store(app::word(generation, app::state::RUNNING), Ordering::Release);
    RUNNING.fetch_add(1, Ordering::SeqCst);
    // The proxy before this one has gone, and so has its mapping of application memory.
    frames::shared().lock().release(slot);
    let End(status) = Link::new(*shared, slot, generation).map_or(End::signal(SIGKILL), run);
    if RUNNING.fetch_sub(1, Ordering::SeqCst) == 1 {
        check_balance();
    }
    app.signals.store(0, Ordering::Relaxed);
    app.exit_status.store(status, Ordering::Relaxed);
    app.state.store(app::word(generation, app::state::ENDED), Ordering::Release);
    app.attention.store(1, Ordering::Release);
    apic::ring_doorbell();
}

/// Runs an application; all that belonged to it is released when this returns.
fn run(link: Link) -> End {
    match Process::start(link) {
        Ok(mut process) => process.run(),
        Err(end) => end,
    }
}

/// With no application on the isle, all application memory is free.
fn check_balance() {
    let used = {
        let frames = frames::shared().lock();
        frames.used() - frames.held()
    };
    if used != 0 && RUNNING.load(Ordering::SeqCst) == 0 {
        log::error!("{used} bytes of application memory are in use by nobody");
    }
}
