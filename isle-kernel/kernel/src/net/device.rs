// SPDX-License-Identifier: MIT OR Apache-2.0

//! The network card as smoltcp sees it. Frames for the isle itself never leave it.

use super::nic::Nic;
use super::windows::Windows;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hermit_plat::abi::ring::MAX_PACKET;
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::IpAddress;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Most frames to the isle itself that wait.
const MAX_LOOPED: usize = 64;

/// The device, and the frame that smoltcp gets next.
pub struct Device {
    pub nic: Box<dyn Nic>,
    /// The isle's own addresses.
    own: Vec<IpAddress>,
    /// The frame, at the start of this, and whether smoltcp has yet to get it.
    frame: Vec<u8>,
    frame_len: usize,
    is_staged: bool,
    /// Where smoltcp makes one.
    out: Vec<u8>,
    looped: VecDeque<Vec<u8>>,
    windows: Windows,
    /// A frame that comes after what was staged.
    held: Option<Vec<u8>>,
    /// Something could not be sent for want of room.
    pub was_full: bool,
}

impl Device {
    pub fn new(nic: Box<dyn Nic>, own: Vec<IpAddress>) -> Self {
        Self {
            windows: Windows::new(nic.kind().has_checksums),
            nic,
            own,
            // As long as any can be, so that none has to be zeroed first.
            frame: alloc::vec![0; MAX_PACKET],
            frame_len: 0,
            is_staged: false,
            out: alloc::vec![0; MAX_PACKET],
            looped: VecDeque::new(),
            held: None,
            was_full: false,
        }
    }

    /// The isle's addresses are others from now on.
    pub fn set_own(&mut self, own: Vec<IpAddress>) {
        self.own = own;
    }

    /// The next frame, if there is one: smoltcp gets it next.
    pub fn stage(&mut self) -> Option<&[u8]> {
        if let Some(frame) = self.held.take() {
            self.put(&frame);
        } else {
            if let Some(frame) = self.looped.pop_front() {
                self.put(&frame);
            } else {
                self.frame_len = self.nic.receive(&mut self.frame)?;
            }
            let frame = self.frame.get(..self.frame_len)?;
            if let Some(first) = self.windows.acknowledgement(frame) {
                self.held = Some(frame.to_vec());
                self.put(&first);
            }
        }
        self.is_staged = true;
        self.frame.get(..self.frame_len)
    }

    fn put(&mut self, frame: &[u8]) {
        if let Some(place) = self.frame.get_mut(..frame.len()) {
            place.copy_from_slice(frame);
            self.frame_len = frame.len();
        }
    }

    /// Drops the frame that was staged.
    pub fn unstage(&mut self) {
        self.is_staged = false;
    }

    /// True if the isle has frames for itself.
    pub fn has_looped(&self) -> bool {
        !self.looped.is_empty() || self.held.is_some()
    }
}

/// Whether a frame is for the isle itself: by its address, or as it asks who has one of the isle's own.
fn is_own(frame: &[u8], address: [u8; 6], own: &[IpAddress]) -> bool {
    let part = |at: usize, len: usize| frame.get(at..at + len).unwrap_or_default();
    if frame.starts_with(&address) {
        return true;
    }
    match part(12, 2) {
        // ARP, a request: its target.
        [8, 6] if part(20, 2) == [0, 1] => {
            own.iter().any(|a| matches!(a, IpAddress::Ipv4(a) if part(38, 4) == a.octets()))
        }
        // ICMPv6, a neighbour solicitation.
        [0x86, 0xdd] if part(20, 1) == [58] && part(54, 1) == [135] => {
            own.iter().any(|a| matches!(a, IpAddress::Ipv6(a) if part(62, 16) == a.octets()))
        }
        _ => false,
    }
}

pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub struct TxToken<'a> {
    nic: &'a mut dyn Nic,
    own: &'a [IpAddress],
    out: &'a mut [u8],
    looped: &'a mut VecDeque<Vec<u8>>,
    windows: &'a mut Windows,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // There is room for the longest frame that there may be, so for this one; else nobody hears of it.
        let Some(frame) = self.out.get_mut(..len) else { return f(&mut alloc::vec![0; len]) };
        let result = f(frame);
        self.windows.sent(frame);
        if !is_own(frame, self.nic.address(), self.own) {
            self.nic.send(frame);
        } else if self.looped.len() < MAX_LOOPED {
            self.looped.push_back(frame.to_vec());
        }
        result
    }
}

impl phy::Device for Device {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    /// Never waits for room to send: an answer for which there is none is lost.
    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        if !core::mem::take(&mut self.is_staged) {
            return None;
        }
        let Self { nic, own, frame, frame_len, out, looped, windows, .. } = self;
        let frame = frame.get(..*frame_len)?;
        Some((RxToken(frame), TxToken { nic: &mut **nic, own, out, looped, windows }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        if !self.nic.has_room() || self.looped.len() >= MAX_LOOPED {
            self.was_full = true;
            return None;
        }
        let Self { nic, own, out, looped, windows, .. } = self;
        Some(TxToken { nic: &mut **nic, own, out, looped, windows })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let kind = self.nic.kind();
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = HEADER + usize::from(kind.mtu);
        if !kind.has_checksums {
            let mut checksum = ChecksumCapabilities::ignored();
            checksum.ipv4 = Checksum::Tx;
            checksum.icmpv4 = Checksum::Both;
            checksum.icmpv6 = Checksum::Both;
            capabilities.checksum = checksum;
        }
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_for_the_isle_itself_are_told() {
        let own = [IpAddress::v4(127, 0, 0, 1), IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1)];
        let address = [2, 0, 0, 0, 0, 1];
        let mut arp = [0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        arp[20..22].copy_from_slice(&[0, 1]);
        assert!(!is_own(&arp, address, &own));
        arp[38..42].copy_from_slice(&[127, 0, 0, 1]);
        assert!(is_own(&arp, address, &own));
        assert!(!is_own(&arp[..41], address, &own));
        let mut solicitation = [0; 86];
        solicitation[12..14].copy_from_slice(&[0x86, 0xdd]);
        (solicitation[20], solicitation[54], solicitation[77]) = (58, 135, 1);
        assert!(is_own(&solicitation, address, &own));
        solicitation[77] = 2;
        assert!(!is_own(&solicitation, address, &own));
        solicitation[..6].copy_from_slice(&address);
        assert!(is_own(&solicitation, address, &own) && is_own(&address, address, &own) && !is_own(&[], address, &own));
    }
}
