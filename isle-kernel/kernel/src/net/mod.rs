// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network of the isle.
//!
//! Network work is done by whichever CPU asks for it: by a system call, or as it idles. The *watcher* is an idle CPU that Linux
//! interrupts for frames, and that keeps the time for all; when it has something else to do, another that idles takes over. While
//! all compute, nobody is interrupted (but see `flag::INTERRUPTS`).

pub mod address;
mod device;
mod lease;
pub mod nic;
pub mod notice;
pub mod ports;
pub mod socket;
pub mod stack;
mod windows;

use crate::sched::{self, Task, Woken};
use alloc::boxed::Box;
use alloc::sync::Arc;
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
    let nic: Option<Box<dyn nic::Nic>> = if hermit_plat::shared::is_machine() {
        card()
    } else {
        // Without an address there is no network.
        (addresses.prefix4 != 0).then(|| Box::new(nic::Rings::new(shared.net, shared.boot.isle)) as _)
    };
    let Some(nic) = nic else { return };
    STACK.call_once(|| Mutex::new(Stack::new(nic, addresses)));
    // It may have to ask for its address.
    DEADLINE.store(0, Ordering::SeqCst);
}

/// A virtual machine's card.
fn card() -> Option<Box<dyn nic::Nic>> {
    #[cfg(target_os = "none")]
    return Some(Box::new(hermit_plat::card::Card::find()?));
    #[cfg(not(target_os = "none"))]
    None
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

/// True if there are frames, as far as can be told without waiting for anybody.
fn has_frames(shared: &Shared) -> bool {
    if hermit_plat::shared::is_machine() {
        return STACK.get().and_then(Mutex::try_lock).is_some_and(|stack| stack.device.nic.has_news());
    }
    let ring = &shared.net.to_isle;
    ring.producer.position.load(Ordering::SeqCst) != ring.consumer.position.load(Ordering::Relaxed)
}

/// True if there is something to do. On an isle it looks at no more than two words of memory.
pub fn has_work() -> bool {
    let Some(shared) = hermit_plat::shared::try_get() else { return false };
    if STACK.get().is_none() || IS_OFF.load(Ordering::Relaxed) {
        return false;
    }
    if has_frames(shared) {
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
    if !stack.device.nic.sleep(cpu) {
        // What has come already is work, which keeps the CPU from halting.
        DEADLINE.store(0, Ordering::SeqCst);
    }
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

/// How long an application waits for the isle's address, from the kernel's start on.
const PATIENCE_NS: u64 = 3_000_000_000;

/// Waits until the isle has an address, if it has to ask for one; but not for ever.
pub fn wait_for_address(task: &Arc<Task>) {
    loop {
        let awaited = lock().and_then(|stack| {
            let (notice, began) = stack.lease.as_ref()?.awaited()?;
            // Nobody tells as long as the stack is locked.
            Some((notice.edges(), notice, began))
        });
        let Some((edges, notice, began)) = awaited else { return };
        notice.add(task);
        let woken = sched::wait(task, Some(began.saturating_add(PATIENCE_NS)), &|| notice.edges() != edges);
        notice.remove(task);
        if !matches!(woken, Woken::Ready) {
            return;
        }
    }
}
