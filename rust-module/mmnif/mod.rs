// SPDX-License-Identifier: GPL-2.0

//! `mmnif`: the network between Linux and the isles. One device, with a pair of queues for each isle; a frame goes to the isle
//! whose Ethernet address it has, from Linux or from another isle, and to all if it is for many.

mod addresses;
mod port;

use crate::abi::net::{flag, isle_of};
use crate::boot::shared::{IsleBell, RingListener, Shared};
use crate::kapi::apic::ApicId;
use crate::kapi::irq::{DomainHandle, Doorbell};
use crate::kapi::net::{self, Ports, Queue, Registration, Sent, Totals};
use crate::kapi::skb::Packet;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use port::{Outcome, Port, COUNTERS};

pub use addresses::of_isle as addresses;

/// The ports of all isles, by queue.
pub struct Switch {
    ports: KVec<Arc<Port>>,
    /// Packets of Linux's for an address that nobody has.
    nobody: AtomicU64,
}

impl Switch {
    fn port_at(&self, address: [u8; 6]) -> Option<&Arc<Port>> {
        let isle = isle_of(address)?;
        self.ports.iter().find(|port| port.isle == isle)
    }
}

/// Whether an Ethernet address is for more than one.
fn is_for_many(address: [u8; 6]) -> bool {
    address[0] & 1 != 0
}

/// The addresses in an Ethernet header: destination and source.
fn ends(header: [u8; 14]) -> ([u8; 6], [u8; 6]) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = header;
    ([a, b, c, d, e, f], [g, h, i, j, k, l])
}

impl Ports for Switch {
    fn queue_of(&self, destination: [u8; 6]) -> u16 {
        let isle = isle_of(destination);
        // What is for many goes by a queue of its own, which never stops.
        self.ports.iter().position(|port| Some(port.isle) == isle).unwrap_or(self.ports.len()) as u16
    }

    fn transmit(&self, queue: &Queue, packet: &Packet<'_>) -> Sent {
        let destination = packet.destination();
        packet.stamp();
        if is_for_many(destination) {
            for port in self.ports.iter() {
                // One that has no room for it doesn't get it.
                port.send(None, packet.len(), |ring, place| packet.copy_to(ring, place));
            }
            return Sent::Done;
        }
        let Some(port) = self.port_at(destination) else {
            self.nobody.fetch_add(1, Ordering::Relaxed);
            return Sent::Done;
        };
        // What somebody has put into another's queue doesn't stop that one.
        let own = (queue.number() == self.queue_of(destination).into()).then_some(queue);
        match port.send(own, packet.len(), |ring, place| packet.copy_to(ring, place)) {
            Outcome::Full if own.is_some() => Sent::Busy,
            _ => Sent::Done,
        }
    }

    fn receive(&self, queue: &Queue, budget: usize) -> usize {
        let Some(port) = self.ports.get(queue.number()) else { return 0 };
        port.receive(queue, budget, &|header, ring, place| {
            let (destination, _) = ends(header);
            let send = |to: &Port| to.send(None, place.len, |new_ring, new| new_ring.copy(new, ring, place));
            if is_for_many(destination) {
                for other in self.ports.iter().filter(|other| other.isle != port.isle) {
                    send(other);
                }
                return false;
            }
            match self.port_at(destination) {
                Some(other) => {
                    send(other);
                    true
                }
                None => false,
            }
        })
    }

    fn may_sleep(&self, queue: &Queue) -> bool {
        self.ports.get(queue.number()).map_or(true, |port| port.may_sleep())
    }

    fn totals(&self) -> Totals {
        let mut all = Totals { tx_dropped: self.nobody.load(Ordering::Relaxed), ..Totals::default() };
        for port in self.ports.iter() {
            port.add_to(&mut all);
        }
        all
    }

    fn counters(&self, put: &mut dyn FnMut(Arguments<'_>, u64)) {
        for port in self.ports.iter() {
            port.counters(put);
        }
    }

    fn counter_count(&self) -> usize {
        self.ports.len() * COUNTERS
    }
}

/// The device.
pub struct Mmnif {
    registration: Registration<Switch>,
    switch: Arc<Switch>,
    linked: AtomicUsize,
}

impl Mmnif {
    /// A device for these isles.
    pub fn new(isles: impl Iterator<Item = u32>) -> Result<Arc<Self>> {
        addresses::check()?;
        let mut ports = KVec::new();
        for isle in isles {
            ports.push(Port::new(isle)?, GFP_KERNEL)?;
        }
        let count = ports.len() as u16 + 1;
        let switch = Arc::new(Switch { ports, nobody: AtomicU64::new(0) }, GFP_KERNEL)?;
        let registration = Registration::new(switch.clone(), count)?;
        Ok(Arc::new(Self { registration, switch, linked: AtomicUsize::new(0) }, GFP_KERNEL)?)
    }

    /// Brings an isle onto the network that runs on these CPUs.
    pub fn link(
        self: &Arc<Self>,
        isle: u32,
        shared: &Arc<Shared>,
        cpus: impl Iterator<Item = ApicId>,
        bells: DomainHandle,
    ) -> Result<Link> {
        let number = self.switch.ports.iter().position(|port| port.isle == isle).ok_or(ENODEV)?;
        let port = self.switch.ports.get(number).ok_or(ENODEV)?.clone();
        let queue = self.registration.queue(number).ok_or(ENODEV)?;
        let mut apic_ids = KVec::new();
        for cpu in cpus {
            apic_ids.push(cpu, GFP_KERNEL)?;
        }
        let listener = Arc::new(Poller { queue, port: port.clone() }, GFP_KERNEL)?;
        let bell = Arc::new(IsleBell::new(shared.clone(), listener, |shared| Ok(&shared.net()?.doorbell)), GFP_KERNEL)?;
        let doorbell = Doorbell::new(bells, CString::try_from_fmt(fmt!("mmnif-isle{isle}"))?, bell)?;
        let flags = if net::interrupts_parameter() { flag::INTERRUPTS } else { 0 };
        let network = shared.net()?;
        network.flags.store(flags, Ordering::Relaxed);
        net::without_bottom_halves(|| port.connect(shared.clone(), apic_ids));
        if self.linked.fetch_add(1, Ordering::SeqCst) == 0 {
            self.registration.set_carrier(true);
        }
        net::without_bottom_halves(|| queue.schedule());
        Ok(Link { _doorbell: doorbell, mmnif: self.clone(), port, queue })
    }
}

/// An isle's doorbell has packets looked for.
struct Poller {
    queue: Queue,
    port: Arc<Port>,
}

impl RingListener for Poller {
    fn rang(&self) -> Option<u32> {
        let wanted = self.port.rang();
        self.queue.schedule();
        wanted
    }
}

/// An isle is on the network, until this is dropped. Nothing touches its memory or its CPUs afterwards.
pub struct Link {
    // First: rings at the queue of a device, which is there while the next field is.
    _doorbell: Doorbell,
    mmnif: Arc<Mmnif>,
    port: Arc<Port>,
    queue: Queue,
}

impl Drop for Link {
    fn drop(&mut self) {
        net::without_bottom_halves(|| {
            self.port.disconnect();
            self.queue.wake();
        });
        if self.mmnif.linked.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.mmnif.registration.set_carrier(false);
        }
    }
}
