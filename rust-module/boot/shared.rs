// SPDX-License-Identifier: GPL-2.0

//! The structures that a running isle shares with the module. All that is read here is untrusted.

use crate::abi::app::{self, App};
use crate::abi::channel::{Channel, CHANNEL_SIZE};
use crate::abi::clock::Clock;
use crate::abi::control::{self, doorbell, Control};
use crate::abi::cpu::Cpu;
use crate::abi::load::layout::Layout;
use crate::abi::log::LogRing;
use crate::abi::net::Net;
use crate::kapi::irq::Bell;
use crate::kapi::shm::Mapping;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::prelude::*;
use kernel::sync::Arc;

/// The kernel part of an isle, mapped, and where what is in it.
pub struct Shared {
    pub memory: Mapping,
    pub layout: Layout,
    cpus: usize,
}

impl Shared {
    pub fn new(memory: Mapping, layout: Layout, cpus: usize) -> Result<Self> {
        let this = Self { memory, layout, cpus };
        // All later accesses are to the same places, so they succeed as well.
        this.memory.get::<Control>(this.layout.control)?;
        this.memory.slice::<Cpu>(this.layout.cpus, cpus)?;
        this.memory.get::<LogRing>(this.layout.log)?;
        this.memory.slice::<App>(this.layout.apps, this.slots())?;
        this.memory.slice::<Channel>(this.layout.channels, this.slots())?;
        this.memory.get::<Clock>(this.layout.clock)?;
        this.memory.get::<Net>(this.layout.net)?;
        Ok(this)
    }

    pub fn slots(&self) -> usize {
        self.layout.slots as usize
    }

    pub fn control(&self) -> Result<&Control> {
        self.memory.get(self.layout.control)
    }

    pub fn cpus(&self) -> Result<&[Cpu]> {
        self.memory.slice(self.layout.cpus, self.cpus)
    }

    pub fn log(&self) -> Result<&LogRing> {
        self.memory.get(self.layout.log)
    }

    pub fn app(&self, slot: usize) -> Result<&App> {
        self.memory.slice(self.layout.apps, self.slots())?.get(slot).ok_or(EINVAL)
    }

    pub fn clock(&self) -> Result<&Clock> {
        self.memory.get(self.layout.clock)
    }

    pub fn net(&self) -> Result<&Net> {
        self.memory.get(self.layout.net)
    }

    /// Physical address of a slot's channel.
    pub fn channel_address(&self, slot: usize) -> u64 {
        self.layout.channels + (slot * CHANNEL_SIZE) as u64
    }

    /// Empties a slot's channel for its next user. The proxy before has no mapping any more.
    pub fn reset_channel(&self, slot: usize) -> Result {
        let address = self.channel_address(slot);
        self.memory.zero(address, CHANNEL_SIZE as u64)?;
        let channel: &Channel = self.memory.get(address)?;
        channel.version.store(crate::abi::VERSION, Ordering::Release);
        Ok(())
    }

    /// Whether every CPU is in this state.
    pub fn all_cpus_are(&self, state: u32) -> bool {
        self.cpus().is_ok_and(|cpus| cpus.iter().all(|c| c.state.load(Ordering::Acquire) == state))
    }

    /// Whether the isle kernel says that it runs.
    pub fn is_running(&self) -> bool {
        self.state() == control::state::RUNNING
    }

    /// Whether the isle kernel has given up.
    pub fn is_crashed(&self) -> bool {
        self.state() == control::state::CRASHED
    }

    fn state(&self) -> u32 {
        self.control().map_or(control::state::CRASHED, |c| c.state.load(Ordering::Acquire))
    }

    /// Calls `put` with the characters of the reason to crash, as far as they are printable.
    pub fn crash_reason(&self, mut put: impl FnMut(char)) {
        let Ok(control) = self.control() else { return };
        let len = control.reason_len.load(Ordering::Acquire) as usize;
        for byte in control.reason.iter().take(len) {
            let byte = byte.load(Ordering::Relaxed);
            put(if (b' '..=b'~').contains(&byte) { byte.into() } else { '?' });
        }
    }

    /// A slot that no application has.
    pub fn is_free(&self, slot: usize) -> bool {
        self.app(slot).is_ok_and(|a| {
            let order = a.order.load(Ordering::Relaxed);
            let state = a.state.load(Ordering::Acquire);
            order == 0 && state == 0 || state == app::word(app::generation(order), app::state::ENDED)
        })
    }
}

/// What a doorbell of an isle does.
pub struct IsleBell {
    shared: Arc<Shared>,
    ring: Arc<dyn RingListener>,
    place: Place,
}

/// Where the isle looks where to ring, see [`doorbell`].
type Place = fn(&Shared) -> Result<&AtomicU64>;

/// Somebody who wants to know that an isle rang.
pub trait RingListener: Send + Sync {
    /// Called with interrupts off. Returns the CPU at which it should ring from now on, if that is another one.
    fn rang(&self) -> Option<u32>;
}

impl IsleBell {
    pub fn new(shared: Arc<Shared>, ring: Arc<dyn RingListener>, place: Place) -> Self {
        Self { shared, ring, place }
    }
}

impl Bell for IsleBell {
    fn ring(&self) -> Option<u32> {
        self.ring.rang()
    }

    fn moved(&self, apic_id: u32, vector: u32) {
        if let Ok(place) = (self.place)(&self.shared) {
            place.store(doorbell(apic_id, vector), Ordering::Release);
        }
    }
}
