// SPDX-License-Identifier: MIT OR Apache-2.0

//! The isle kernel: runs Linux programs on lent CPUs.
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | what every CPU does: wait for an application, run it |
//! | `app.rs` | one application, from its first byte to its exit status |
//! | `start.rs` | what an application begins with: its file, stack, auxiliary vector |
//! | `space.rs`, `regions.rs` | its address space |
//! | `syscall/` | system calls, by subject |
//! | `offload.rs` | system calls that Linux performs, by the proxy |
//! | `files.rs` | its descriptors |
//! | `signals.rs` | signals |

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod app;
mod files;
mod offload;
mod regions;
mod signals;
mod space;
mod start;
mod syscall;

use core::panic::PanicInfo;
use core::sync::atomic::Ordering;
use hermit_abi::{app as slot, control, cpu as cpu_state};
use hermit_plat::{apic, cpu, crash, info, log_line};

hermit_plat::kernel_main!(main);

/// What every CPU does once it is set up.
fn main(index: usize) -> ! {
    cpu::this().state.store(cpu_state::state::READY, Ordering::Release);
    if index == 0 {
        announce();
    }
    loop {
        if must_stop() {
            stop();
        }
        match info::apps().get(index) {
            Some(slot) if has_order(slot) => serve(index, slot),
            other => cpu::wait_unless(|| must_stop() || other.is_some_and(has_order)),
        }
    }
}

/// Waits for the other CPUs, then tells Linux that the isle runs.
fn announce() {
    let ready = |c: &hermit_abi::cpu::Cpu| c.state.load(Ordering::Acquire) == cpu_state::state::READY;
    while !info::cpus().iter().all(ready) {
        // Linux starts them one after another. If one never comes, it stops this one too.
        core::hint::spin_loop();
    }
    let memory: u64 = info::app_memory().iter().map(|r| r.len).sum();
    let boot = info::boot_info();
    log_line!("isle {}: {} CPUs, {} MiB for applications, ready", boot.isle, boot.cpu_count, memory >> 20);
    info::control().state.store(control::state::RUNNING, Ordering::Release);
}

/// Whether this CPU has to leave whatever it does.
fn must_stop() -> bool {
    crash::is_crashed() || info::control().order.load(Ordering::Acquire) == control::order::STOP
}

fn stop() -> ! {
    cpu::this().state.store(cpu_state::state::HALTED, Ordering::Release);
    cpu::stop_forever()
}

/// An order to run, in a generation that hasn't been answered.
fn has_order(app: &slot::App) -> bool {
    let order = app.order.load(Ordering::Acquire);
    let answered = app.state.load(Ordering::Relaxed);
    slot::value(order) != slot::order::NONE && slot::generation(order) != slot::generation(answered)
}

/// Runs what is in a slot, and answers.
fn serve(index: usize, slot: &'static slot::App) {
    let generation = slot::generation(slot.order.load(Ordering::Acquire));
    slot.state.store(slot::word(generation, slot::state::RUNNING), Ordering::Release);
    let status = app::run(index, slot);
    slot.exit_status.store(status, Ordering::Relaxed);
    slot.state.store(slot::word(generation, slot::state::ENDED), Ordering::Release);
    slot.attention.store(1, Ordering::SeqCst);
    apic::ring_doorbell();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => crash::die(format_args!("panic at {}:{}: {}", at.file(), at.line(), info.message())),
        None => crash::die(format_args!("panic: {}", info.message())),
    }
}
