// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network card of a virtual machine: virtio-net (Virtual I/O Device 1.2, 5.1), on the PCI bus of a q35 machine or among the
//! devices of a microvm, see `abi/machine.rs`.

use super::{io_apic, pci};
use crate::kmap;
use crate::phys::to_phys;
use alloc::alloc::{alloc_zeroed, dealloc, Layout};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{fence, Ordering};
use hermit_abi::control::vector;
use hermit_abi::machine::{CARD_PIN, DEVICES, DEVICE_COUNT, DEVICE_LEN, DEVICE_PIN};
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::bus::PciRoot;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceType, SomeTransport, Transport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Frames that wait on either way, at most.
const QUEUE: usize = 128;
/// Bytes of the longest Ethernet frame with the card's header, rounded up.
const BUFFER: usize = 1536;

type Buffer = Box<[u8; BUFFER]>;

/// The kernel's memory as the card sees it: by physical address.
struct Memory;

fn pages(count: usize) -> Option<Layout> {
    Layout::from_size_align(count.checked_mul(4096)?, 4096).ok().filter(|layout| layout.size() > 0)
}

// SAFETY: the kernel pool is mapped whole in the direct map, where a buffer has the same bytes one after the other as in physical
// memory; what is allocated is the caller's alone until he gives it back.
unsafe impl Hal for Memory {
    fn dma_alloc(count: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout isn't empty.
        let memory = pages(count).and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        // Address 0 says that there is none.
        memory.map_or((0, NonNull::dangling()), |memory| (to_phys(memory.as_ptr()), memory))
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, count: usize) -> i32 {
        if let Some(layout) = pages(count) {
            // SAFETY: the caller says that it comes from `dma_alloc`, with as many pages.
            unsafe { dealloc(memory.as_ptr(), layout) }
        }
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, len: usize) -> NonNull<u8> {
        let (first, offset) = (physical & !4095, physical & 4095);
        let pages = (offset + len as u64).div_ceil(4096);
        let mapped = kmap::map_device(first, pages).and_then(|at| NonNull::new((at + offset) as *mut u8));
        mapped.expect("kernel memory to map the network card, while the kernel starts")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        to_phys(buffer.cast::<u8>().as_ptr())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// The card, if the machine has one, and its pin of the I/O APIC.
fn find() -> Option<(SomeTransport<'static>, u32)> {
    if let Some(configuration) = pci::card() {
        let transport = PciTransport::new::<Memory, _>(&mut PciRoot::new(configuration), pci::PLACE).ok()?;
        return Some((transport.into(), CARD_PIN));
    }
    let len = u64::from(DEVICE_COUNT) * DEVICE_LEN;
    let devices = kmap::map_device(DEVICES, len.div_ceil(4096))?;
    (0..DEVICE_COUNT).find_map(|index| {
        let header = NonNull::new((devices + u64::from(index) * DEVICE_LEN) as *mut _)?;
        // SAFETY: the registers of a device, mapped uncached for good; where there is none, they have another magic number.
        let transport = unsafe { MmioTransport::new(header, DEVICE_LEN as usize) }.ok()?;
        (transport.device_type() == DeviceType::Network).then(|| (transport.into(), DEVICE_PIN + index))
    })
}

/// The card. It writes to and reads from buffers that it was given only.
pub struct Card {
    raw: VirtIONetRaw<Memory, SomeTransport<'static>, QUEUE>,
    /// What it has, by token: to be filled, and to be sent.
    to_fill: Vec<Option<Buffer>>,
    to_send: Vec<Option<Buffer>>,
    free: Vec<Buffer>,
    pin: u32,
    /// The CPU that it interrupts.
    cpu: Option<usize>,
    /// It has said what makes no sense, and isn't listened to any more.
    is_broken: bool,
}

impl Card {
    /// The machine's card, if it has one and there is memory for it. Once.
    pub fn find() -> Option<Self> {
        let (transport, pin) = find()?;
        let raw = VirtIONetRaw::new(transport).ok()?;
        let none = || (0..QUEUE).map(|_| None).collect();
        let free = (0..QUEUE).map(|_| Box::new([0; BUFFER])).collect();
        let mut card = Self { raw, to_fill: none(), to_send: none(), free, pin, cpu: None, is_broken: false };
        card.raw.disable_interrupts();
        for _ in 0..QUEUE {
            card.give(Box::new([0; BUFFER]));
        }
        Some(card)
    }

    /// Its Ethernet address.
    pub fn address(&self) -> [u8; 6] {
        self.raw.mac_address()
    }

    /// Gives it a buffer to fill.
    fn give(&mut self, mut buffer: Buffer) {
        // SAFETY: nobody looks at the buffer until it comes back: it moves to where only its token leads.
        let token = unsafe { self.raw.receive_begin(&mut *buffer) };
        match token.ok().and_then(|token| self.to_fill.get_mut(usize::from(token))) {
            Some(place) => *place = Some(buffer),
            // There is a place for each; and what the card may have must not be used again.
            None => {
                core::mem::forget(buffer);
                self.is_broken = true;
            }
        }
    }

    /// Takes back what it has sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.raw.poll_transmit().filter(|_| !self.is_broken) {
            let Some(buffer) = self.to_send.get_mut(usize::from(token)).and_then(Option::take) else {
                self.is_broken = true;
                return;
            };
            // SAFETY: the buffer that was sent with this token.
            self.is_broken |= unsafe { self.raw.transmit_complete(token, &*buffer) }.is_err();
            self.free.push(buffer);
        }
    }

    /// Takes a frame, if there is one: it is at the start of `frame`, and so long.
    pub fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.reclaim();
        let token = self.raw.poll_receive().filter(|_| !self.is_broken)?;
        let Some(mut buffer) = self.to_fill.get_mut(usize::from(token)).and_then(Option::take) else {
            self.is_broken = true;
            return None;
        };
        // SAFETY: the buffer that was given with this token.
        let received = unsafe { self.raw.receive_complete(token, &mut *buffer) };
        let bytes = received.ok().and_then(|(header, len)| buffer.get(header..header.checked_add(len)?));
        let taken = bytes.and_then(|bytes| {
            frame.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        });
        self.give(buffer);
        // An empty frame is nothing to anybody.
        Some(taken.unwrap_or(0))
    }

    /// Whether a frame could be sent.
    pub fn has_room(&self) -> bool {
        !self.is_broken && self.raw.can_send() && !self.free.is_empty()
    }

    /// Sends a frame; without room for it, it is lost.
    pub fn send(&mut self, frame: &[u8]) {
        self.reclaim();
        if !self.has_room() {
            return;
        }
        let Some(mut buffer) = self.free.pop() else { return };
        let header = self.raw.fill_buffer_header(&mut *buffer).unwrap_or(0);
        let len = header + frame.len();
        let Some(to) = buffer.get_mut(header..len) else { return self.free.push(buffer) };
        to.copy_from_slice(frame);
        let Some(whole) = buffer.get(..len) else { return self.free.push(buffer) };
        // SAFETY: nobody changes the buffer until it comes back: it moves to where only its token leads.
        let token = unsafe { self.raw.transmit_begin(whole) };
        match token.ok().and_then(|token| self.to_send.get_mut(usize::from(token))) {
            Some(place) => *place = Some(buffer),
            None => self.free.push(buffer),
        }
    }

    /// True if there is a frame.
    pub fn has_news(&self) -> bool {
        !self.is_broken && self.raw.poll_receive().is_some()
    }

    /// Interrupt this CPU when there is a frame. False: there is one already.
    pub fn sleep(&mut self, cpu: usize) -> bool {
        if self.cpu.replace(cpu) != Some(cpu) {
            io_apic::route(self.pin, vector::KICK, cpu);
        }
        // So that it can rise again.
        self.raw.ack_interrupt();
        self.raw.enable_interrupts();
        // Either the card sees that, or we see what it has done before.
        fence(Ordering::SeqCst);
        !self.has_news()
    }

    /// Interrupt nobody.
    pub fn look(&mut self) {
        self.raw.disable_interrupts();
    }
}
