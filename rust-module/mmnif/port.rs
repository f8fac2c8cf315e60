// SPDX-License-Identifier: GPL-2.0

//! The two rings of one isle. What the isle writes there is checked in `abi/ring.rs`; once it makes no sense, the isle is off the
//! network until it starts again.
//!
//! All locks are taken with bottom halves off, and that of `out` last: of another isle's while this one's `in_` is held.

use crate::abi::control::vector;
use crate::abi::net::{ethernet_address, DOORBELL};
use crate::abi::ring::{Consumer, Place, Producer, Refused, Ring, MAX_PACKET, MIN_PACKET};
use crate::boot::shared::Shared;
use crate::kapi::apic::ApicId;
use crate::kapi::cpu::this_cpu;
use crate::kapi::net::{sending_cpu, Queue, Totals};
use crate::whereabouts::Whereabouts;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::{Arc, SpinLock};

/// Linux puts packets in.
struct Out {
    shared: Arc<Shared>,
    producer: Producer,
    cpus: KVec<ApicId>,
}

/// Linux takes packets out.
struct In {
    shared: Arc<Shared>,
    consumer: Consumer,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// What has been counted.
        #[derive(Default)]
        struct Counts {
            $($name: AtomicU64,)*
        }

        /// How many counters a port has.
        pub const COUNTERS: usize = [$(stringify!($name)),*].len();

        impl Counts {
            fn each(&self, mut f: impl FnMut(&'static str, u64)) {
                $(f(stringify!($name), self.$name.load(Ordering::Relaxed));)*
            }
        }
    };
}

counters! {
    // From the isle.
    rx_packets, rx_bytes, rx_no_memory, rx_spoofed, rx_doorbells,
    // To the isle; `tx_dropped` counts those for which there was no room, and no isle.
    tx_packets, tx_bytes, tx_dropped, tx_stops, tx_doorbells,
    // From isle to isle, counted where they come from.
    forwarded, broken_rings
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// What has become of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    Dropped,
    /// There is no room; the queue, if there is one, is stopped.
    Full,
}

/// The rings of one isle, if it is there.
#[pin_data]
pub struct Port {
    pub isle: u32,
    counts: Counts,
    senders: Whereabouts,
    #[pin]
    out: SpinLock<Option<Out>>,
    #[pin]
    in_: SpinLock<Option<In>>,
}

impl Port {
    pub fn new(isle: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                isle,
                counts: Counts::default(),
                senders: Whereabouts::new(),
                out <- new_spinlock!(None, "hermit:port_out"),
                in_ <- new_spinlock!(None, "hermit:port_in"),
            }),
            GFP_KERNEL,
        )
    }

    /// The isle is there. Its rings have never been used.
    pub fn connect(&self, shared: Arc<Shared>, cpus: KVec<ApicId>) {
        *self.in_.lock() = Some(In { shared: shared.clone(), consumer: Consumer::default() });
        *self.out.lock() = Some(Out { shared, producer: Producer::default(), cpus });
    }

    /// The isle goes.
    pub fn disconnect(&self) {
        let in_ = self.in_.lock().take();
        let out = self.out.lock().take();
        drop((in_, out));
    }

    /// Sends a packet of this length, which `fill` copies to its place. `queue` is stopped while
    /// there is no room.
    pub fn send(&self, queue: Option<&Queue>, len: usize, fill: impl FnOnce(Ring<'_>, Place)) -> Outcome {
        if queue.is_some() {
            self.senders.seen(sending_cpu());
        }
        let mut guard = self.out.lock();
        let outcome = match guard.as_mut() {
            Some(out) if (MIN_PACKET..=MAX_PACKET).contains(&len) => self.put(out, queue, len, fill),
            // It isn't there.
            None if queue.is_none() => return Outcome::Dropped,
            _ => Ok(Outcome::Dropped),
        };
        let outcome = outcome.unwrap_or_else(|Broken| {
            *guard = None;
            self.report();
            Outcome::Dropped
        });
        match outcome {
            Outcome::Sent => {
                add(&self.counts.tx_packets, 1);
                add(&self.counts.tx_bytes, len);
            }
            Outcome::Full if queue.is_some() => {}
            Outcome::Full | Outcome::Dropped => add(&self.counts.tx_dropped, 1),
        }
        outcome
    }

    fn put(
        &self,
        out: &mut Out,
        queue: Option<&Queue>,
        len: usize,
        fill: impl FnOnce(Ring<'_>, Place),
    ) -> Result<Outcome, Broken> {
        let Out { shared, producer, cpus } = out;
        let ring = shared.net().map_err(|_| Broken)?.to_isle.ring();
        let place = match producer.reserve(ring, len) {
            Ok(place) => place,
            Err(Refused::Full) => {
                self.stop_if_full(producer, ring, queue);
                return Ok(Outcome::Full);
            }
            Err(Refused::Broken) => return Err(Broken),
        };
        fill(ring, place);
        if let Some(whom) = producer.publish(ring, place) {
            if let Some(cpu) = (whom as usize).checked_sub(1).and_then(|index| cpus.get(index)) {
                cpu.send_fixed(vector::KICK);
                add(&self.counts.tx_doorbells, 1);
            }
        }
        // So that the next one needn't be given back, whatever its length.
        if producer.reserve(ring, MAX_PACKET) == Err(Refused::Full) {
            self.stop_if_full(producer, ring, queue);
        }
        Ok(Outcome::Sent)
    }

    /// Stops a queue until there is room again: a ring of the doorbell tells, and then [`Self::receive`] wakes it.
    fn stop_if_full(&self, producer: &mut Producer, ring: Ring<'_>, queue: Option<&Queue>) {
        let Some(queue) = queue else { return };
        queue.stop();
        if producer.wait_for_room(ring, DOORBELL) {
            add(&self.counts.tx_stops, 1);
        } else {
            queue.wake();
        }
    }

    /// Takes at most `budget` packets and hands them to Linux, but those that `forward` has sent elsewhere. Wakes the queue if
    /// there is room for packets to the isle.
    pub fn receive(
        &self,
        queue: &Queue,
        budget: usize,
        forward: &dyn Fn([u8; MIN_PACKET], Ring<'_>, Place) -> bool,
    ) -> usize {
        self.wake_if_room(queue);
        let mut done = 0;
        while done < budget {
            // Not held while Linux deals with the packet: it may answer at once.
            let mut guard = self.in_.lock();
            let Some(in_) = guard.as_mut() else { break };
            match self.take(in_, queue, forward) {
                Ok(Taken::Nothing) => break,
                Ok(Taken::Packet(packet)) => {
                    drop(guard);
                    packet.deliver();
                }
                Ok(Taken::Other) => {}
                Err(Broken) => {
                    *guard = None;
                    self.report();
                    break;
                }
            }
            done += 1;
        }
        done
    }

    fn take<'q>(
        &self,
        in_: &mut In,
        queue: &'q Queue,
        forward: &dyn Fn([u8; MIN_PACKET], Ring<'_>, Place) -> bool,
    ) -> Result<Taken<'q>, Broken> {
        let In { shared, consumer } = in_;
        let ring = shared.net().map_err(|_| Broken)?.to_linux.ring();
        consumer.look(ring);
        let Some(place) = consumer.next(ring).map_err(|_| Broken)? else { return Ok(Taken::Nothing) };
        let header = ring.header(place);
        let taken = if super::ends(header).1 != ethernet_address(Some(self.isle)) {
            add(&self.counts.rx_spoofed, 1);
            Taken::Other
        } else {
            add(&self.counts.rx_packets, 1);
            add(&self.counts.rx_bytes, place.len);
            if forward(header, ring, place) {
                add(&self.counts.forwarded, 1);
                Taken::Other
            } else if let Some(packet) = queue.packet(ring, place) {
                Taken::Packet(packet)
            } else {
                add(&self.counts.rx_no_memory, 1);
                Taken::Other
            }
        };
        // The isle looks for room by itself.
        let _ = consumer.release(ring, place);
        Ok(taken)
    }

    fn wake_if_room(&self, queue: &Queue) {
        let guard = self.out.lock();
        let has_room = match guard.as_ref().map(|out| (out, out.shared.net())) {
            Some((out, Ok(net))) => out.producer.has_room(net.to_isle.ring()),
            // What is sent is dropped then.
            _ => true,
        };
        if has_room {
            queue.wake();
        }
    }

    /// Asks for a doorbell. False: something has come already.
    pub fn may_sleep(&self) -> bool {
        match self.in_.lock().as_mut() {
            Some(In { shared, consumer }) => {
                shared.net().map_or(true, |net| consumer.sleep(net.to_linux.ring(), DOORBELL))
            }
            None => true,
        }
    }

    fn report(&self) {
        add(&self.counts.broken_rings, 1);
        pr_err!("isle{}: has written nonsense to its packet rings; it is off the network\n", self.isle);
    }

    /// The isle has rung on this CPU. Returns the one on which it should: where programs are that send to it.
    pub fn rang(&self) -> Option<u32> {
        add(&self.counts.rx_doorbells, 1);
        self.senders.rang(this_cpu())
    }

    pub fn add_to(&self, all: &mut Totals) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        all.rx_packets += get(&counts.rx_packets);
        all.rx_bytes += get(&counts.rx_bytes);
        all.rx_dropped += get(&counts.rx_no_memory);
        all.rx_errors += get(&counts.rx_spoofed) + get(&counts.broken_rings);
        all.tx_packets += get(&counts.tx_packets);
        all.tx_bytes += get(&counts.tx_bytes);
        all.tx_dropped += get(&counts.tx_dropped);
    }

    pub fn counters(&self, put: &mut dyn FnMut(Arguments<'_>, u64)) {
        self.counts.each(|name, value| put(format_args!("isle{}_{name}", self.isle), value));
    }
}

/// The rings make no sense.
struct Broken;

enum Taken<'a> {
    Nothing,
    Packet(crate::kapi::skb::Received<'a>),
    /// One that is not for Linux.
    Other,
}
