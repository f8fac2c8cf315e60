// SPDX-License-Identifier: MIT OR Apache-2.0

//! What carries frames: the rings of `mmnif`, towards Linux, or the card of a virtual machine.

use core::sync::atomic::Ordering;
use hermit_plat::abi::net::{ethernet_address, flag, Net};
use hermit_plat::abi::ring::{Consumer, Producer, MAX_PACKET};
use hermit_plat::apic;

/// What a card is to the stack.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What programs call its interface.
    pub name: &'static str,
    /// Bytes of the longest IP packet.
    pub mtu: u16,
    /// TCP's and UDP's checksums are computed and looked at: frames leave memory.
    pub has_checksums: bool,
}

/// The rings, see `abi/net.rs`. The longest segments of TCP are what the other side says.
const RINGS: Kind = Kind { name: "mmnif", mtu: 65535, has_checksums: false };

/// A network card.
pub trait Nic: Send {
    fn kind(&self) -> Kind {
        RINGS
    }
    /// Its Ethernet address.
    fn address(&self) -> [u8; 6];
    /// Takes a frame, if there is one, of [`MAX_PACKET`] bytes at most: it is at the start of `frame`, and so long.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;
    /// Whether the longest frame could be sent.
    fn has_room(&self) -> bool;
    /// Sends a frame; without room for it, it is lost.
    fn send(&mut self, frame: &[u8]);
    /// True if there may be a frame.
    fn has_news(&self) -> bool;
    /// Interrupt this CPU when there is a frame. False: there is one already.
    fn sleep(&mut self, cpu: usize) -> bool;
    /// Interrupt nobody.
    fn look(&mut self);
    /// Whether a CPU is to be interrupted for frames although it computes.
    fn may_interrupt(&self) -> bool;
}

/// The rings. What Linux writes there is checked in `abi/ring.rs`; if it makes no sense, the isle is off the network.
pub struct Rings {
    net: &'static Net,
    isle: u32,
    consumer: Consumer,
    producer: Producer,
    is_broken: bool,
}

impl Rings {
    pub fn new(net: &'static Net, isle: u32) -> Self {
        Self { net, isle, consumer: Consumer::default(), producer: Producer::default(), is_broken: false }
    }

    fn broken(&mut self) {
        if !self.is_broken {
            self.is_broken = true;
            super::switch_off();
            log::error!("Linux has written nonsense to the packet rings; this isle is off the network");
        }
    }
}

impl Nic for Rings {
    fn address(&self) -> [u8; 6] {
        ethernet_address(Some(self.isle))
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        if self.is_broken {
            return None;
        }
        let ring = self.net.to_isle.ring();
        match self.consumer.next(ring) {
            Ok(None) => None,
            Ok(Some(place)) => {
                if let Some(to) = frame.get_mut(..place.len) {
                    ring.read(place, to);
                }
                if self.consumer.release(ring, place).is_some() {
                    apic::ring_net_doorbell();
                }
                Some(place.len)
            }
            Err(_) => {
                self.broken();
                None
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.is_broken && self.producer.reserve(self.net.to_linux.ring(), MAX_PACKET).is_ok()
    }

    fn send(&mut self, frame: &[u8]) {
        let ring = self.net.to_linux.ring();
        if self.is_broken || frame.len() > MAX_PACKET {
            return;
        }
        if let Ok(place) = self.producer.reserve(ring, frame.len()) {
            ring.write(place, frame);
            if self.producer.publish(ring, place).is_some() {
                apic::ring_net_doorbell();
            }
        }
    }

    fn has_news(&self) -> bool {
        !self.is_broken && self.consumer.has_news(self.net.to_isle.ring())
    }

    fn sleep(&mut self, cpu: usize) -> bool {
        self.consumer.sleep(self.net.to_isle.ring(), cpu as u32 + 1) || self.is_broken
    }

    fn look(&mut self) {
        self.consumer.look(self.net.to_isle.ring());
    }

    fn may_interrupt(&self) -> bool {
        self.net.flags.load(Ordering::Relaxed) & flag::INTERRUPTS != 0
    }
}

#[cfg(target_os = "none")]
impl Nic for hermit_plat::card::Card {
    fn kind(&self) -> Kind {
        const ETHERNET: Kind = Kind { name: "eth0", mtu: 1500, has_checksums: true };
        ETHERNET
    }

    fn address(&self) -> [u8; 6] {
        self.address()
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.receive(frame)
    }

    fn has_room(&self) -> bool {
        self.has_room()
    }

    fn send(&mut self, frame: &[u8]) {
        self.send(frame);
    }

    fn has_news(&self) -> bool {
        self.has_news()
    }

    fn sleep(&mut self, cpu: usize) -> bool {
        self.sleep(cpu)
    }

    fn look(&mut self) {
        self.look();
    }

    fn may_interrupt(&self) -> bool {
        false
    }
}
