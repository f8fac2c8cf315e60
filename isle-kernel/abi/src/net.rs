// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network of an isle: two rings of Ethernet frames, and what the isle has to know about it.
//!
//! Frames may be of any length up to [`super::ring::MAX_PACKET`], whatever Linux's MTU is: that is told to the isle by each
//! TCP connection. Frames have no checksums of TCP and UDP: nobody computes them for memory. Those of IP headers and ICMP are right.

use super::ring::{Ring, Side};
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Words of each ring: 2 MiB.
pub const WORDS: usize = 1 << 18;

/// Whom the consumer of `to_linux` and the producer of `to_isle` want rung: [`Net::doorbell`].
pub const DOORBELL: u32 = 1;

/// Values of [`Net::flags`].
pub mod flag {
    /// A CPU of the isle is interrupted for frames even while it computes; else only one that idles.
    pub const INTERRUPTS: u32 = 1;
}

/// The addresses of an isle, written by the loader before the first CPU starts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub ip4: [u8; 4],
    pub gateway4: [u8; 4],
    pub ip6: [u8; 16],
    pub gateway6: [u8; 16],
    pub prefix4: u32,
    pub prefix6: u32,
}

/// Ethernet address of an isle, and of Linux: locally administered, "HER", and 0 for Linux or the isle's number and 1.
pub const fn ethernet_address(isle: Option<u32>) -> [u8; 6] {
    let number = match isle {
        Some(isle) => isle.wrapping_add(1),
        None => 0,
    };
    [0x02, b'H', b'E', b'R', (number >> 8) as u8, number as u8]
}

/// The isle with an Ethernet address, as [`ethernet_address`] has it.
pub const fn isle_of(address: [u8; 6]) -> Option<u32> {
    match address {
        [0x02, b'H', b'E', b'R', high, low] => ((high as u32) << 8 | low as u32).checked_sub(1),
        _ => None,
    }
}

/// One ring: the producer's side, the consumer's, and the packets, which the producer writes.
#[repr(C, align(4096))]
pub struct RingMemory {
    pub producer: Side,
    pub consumer: Side,
    _pad: [u64; 480],
    pub words: [AtomicU64; WORDS],
}

impl RingMemory {
    pub fn ring(&self) -> Ring<'_> {
        Ring { producer: &self.producer, consumer: &self.consumer, words: &self.words }
    }
}

#[repr(C, align(4096))]
pub struct Net {
    /// Module: where doorbells about packets go, see [`doorbell`](super::control::doorbell).
    pub doorbell: AtomicU64,
    /// Module: see [`flag`].
    pub flags: AtomicU32,
    _pad0: AtomicU32,
    _pad: [u64; 510],
    /// Linux puts frames in. The isle wants a CPU of its own interrupted: its index and 1.
    pub to_isle: RingMemory,
    /// The isle puts frames in. It wants nobody interrupted when there is room again: it looks.
    pub to_linux: RingMemory,
}

const _: () = assert!(WORDS.is_power_of_two());
const _: () = assert!(core::mem::size_of::<Addresses>() == 48);
const _: () = assert!(core::mem::size_of::<Side>() == 128);
const _: () = assert!(core::mem::offset_of!(RingMemory, words) == 4096);
const _: () = assert!(core::mem::offset_of!(Net, to_isle) == 4096);
const _: () = assert!(core::mem::size_of::<Net>() == 4096 + 2 * (4096 + 8 * WORDS));
