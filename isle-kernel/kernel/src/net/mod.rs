// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network of the isle.
//!
//! Network work is done by whichever CPU asks for it: by a system call, or as it idles. The *watcher* is an idle CPU that Linux
//! interrupts for frames, and that keeps the time for all; when it has something else to do, another that idles takes over. While
//! all compute, nobody is interrupted (but see `flag::INTERRUPTS`).

pub mod address;
mod closed;
mod device;
pub mod nic;
pub mod notice;
pub mod ports;
pub mod socket;
pub mod stack;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use hermit_plat::shared::Shared;
use hermit_plat::{apic, cpu, time};
use spin::{Mutex, MutexGuard, Once};
use stack::Stack;

static STACK: Once<Mutex<Stack>> = Once::new();

const NOBODY: usize = usize::MAX;
const NEVER: u64 = u64::MAX;

/// The CPU that watches.
static WATCHER: AtomicUsize = AtomicUsize::new(NOBODY);
/// When there is something to do, as far as is known; and when the watcher looks at the latest.
static DEADLINE: AtomicU64 = AtomicU64::new(NEVER);
static WATCHED_UNTIL: AtomicU64 = AtomicU64::new(NEVER);
/// When the network was looked after last.
static LAST_WORK: AtomicU64 = AtomicU64::new(0);
/// Linux has written nonsense to the rings.
static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Makes the network. Once, on CPU 0.
pub fn init(shared: &Shared) {
    let addresses = &shared.boot.addresses;
    if addresses.prefix4 == 0 {
        return;
    }
    STACK.call_once(|| Mutex::new(Stack::new(Box::new(nic::Rings::new(shared.net, shared.boot.isle)), addresses)));
}

/// The stack, if there is one. Nothing else may be locked by who holds it but what wakes threads, and no socket be dropped.
pub fn lock() -> Option<MutexGuard<'static, Stack>> {
    Some(STACK.get()?.lock())
}

/// The isle is off the network.
fn switch_off() {
    IS_OFF.store(true, Ordering::SeqCst);
}

fn work(stack: &mut Stack) {
    let next = stack.poll().unwrap_or(NEVER);
    DEADLINE.store(next, Ordering::SeqCst);
    LAST_WORK.store(time::monotonic_ns(), Ordering::Relaxed);
    let watcher = WATCHER.load(Ordering::SeqCst);
    if watcher != NOBODY && watcher != cpu::index() && next < WATCHED_UNTIL.load(Ordering::SeqCst) {
        // It idles, and has to know.
        WATCHED_UNTIL.store(next, Ordering::SeqCst);
        apic::kick(watcher);
    }
    if watcher == NOBODY && stack.device.nic.may_interrupt() && !stack.device.nic.sleep(0) {
        // Whoever looks next sees it.
        DEADLINE.store(0, Ordering::SeqCst);
        apic::kick(0);
    }
}

/// True if there is something to do. Looks at no more than two words of memory.
pub fn has_work() -> bool {
    let Some(shared) = hermit_plat::shared::try_get() else { return false };
    if STACK.get().is_none() || IS_OFF.load(Ordering::Relaxed) {
        return false;
    }
    let ring = &shared.net.to_isle;
    if ring.producer.position.load(Ordering::SeqCst) != ring.consumer.position.load(Ordering::Relaxed) {
        return true;
    }
    let deadline = DEADLINE.load(Ordering::Relaxed);
    deadline != NEVER && time::monotonic_ns() >= deadline
}

/// Does what there is to do, unless somebody is at it.
pub fn poll() {
    if has_work() {
        if let Some(mut stack) = STACK.get().and_then(Mutex::try_lock) {
            work(&mut stack);
        }
    }
}

/// A CPU is about to halt. Returns until when it may, if it is the one that watches; `None` if not.
pub fn begin_watch(cpu: usize) -> Option<u64> {
    let stack = STACK.get()?;
    WATCHER.compare_exchange(NOBODY, cpu, Ordering::SeqCst, Ordering::SeqCst).ok()?;
    let mut stack = stack.lock();
    // What has come already has been looked at too early: it is work, which keeps the CPU from halting.
    stack.device.nic.sleep(cpu);
    let until = DEADLINE.load(Ordering::SeqCst);
    WATCHED_UNTIL.store(until, Ordering::SeqCst);
    Some(until)
}

/// The CPU that watches does so no more.
pub fn end_watch(cpu: usize) {
    if WATCHER.load(Ordering::SeqCst) != cpu {
        return;
    }
    if let Some(mut stack) = lock() {
        if stack.device.nic.may_interrupt() {
            // The first CPU is interrupted while nobody watches.
            stack.device.nic.sleep(0);
        } else {
            stack.device.nic.look();
        }
    }
    WATCHER.store(NOBODY, Ordering::SeqCst);
}

/// When the network was looked after last, in ns of CLOCK_MONOTONIC.
pub fn last_work() -> u64 {
    LAST_WORK.load(Ordering::Relaxed)
}

/// Whether nobody watches though there is a network.
pub fn is_unwatched() -> bool {
    STACK.get().is_some() && WATCHER.load(Ordering::SeqCst) == NOBODY
}
