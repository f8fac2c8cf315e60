// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows of TCP where smoltcp needs help: frames are set right on their way to it and from it.
//!
//! - smoltcp ignores the acknowledgement in a segment that is outside of its window, where RFC 9293 (3.10.7.4) makes an allowance:
//!   while the window is closed all are outside that aren't empty and exactly at its start. If then both sides' windows are closed,
//!   because a program on either side waits until it can write before it reads, neither would ever learn that there is room
//!   again. So such an acknowledgement is handed over by itself first.
//! - It rounds its window down to what can be written in a frame, anew for each (RFC 7323, 2.3 and 2.4): by less than one unit the end of
//!   the window goes back, and what was sent within it before is cut off. So frames say one unit less than smoltcp will
//!   accept, whatever has come in until then.
//! - When the other side closes its window, smoltcp begins to probe it, and forgets that what is still on its way may have to be sent
//!   again. It doesn't if it has known before what has arrived: so that is handed over by itself first, as if the window were open.

use alloc::vec::Vec;
use smoltcp::wire::{EthernetFrame, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};

/// Most connections that are remembered.
const MAX: usize = 1024;

/// Of a connection: our address and port, and theirs.
type Ends = (IpAddress, u16, IpAddress, u16);

/// Where a segment of TCP is in a frame.
pub struct Found {
    pub source: IpAddress,
    pub destination: IpAddress,
    /// Of its header.
    pub at: usize,
}

/// Looks for one that is there as a whole.
pub fn find(frame: &[u8]) -> Option<Found> {
    let header = EthernetFrame::<&[u8]>::header_len();
    let packet = frame.get(header..)?;
    match frame.get(12..14)? {
        [8, 0] => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            let is_whole = !ip.more_frags() && ip.frag_offset() == 0;
            (is_whole && ip.next_header() == IpProtocol::Tcp).then(|| Found {
                source: ip.src_addr().into(),
                destination: ip.dst_addr().into(),
                at: header + usize::from(ip.header_len()),
            })
        }
        [0x86, 0xdd] => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            (ip.next_header() == IpProtocol::Tcp).then(|| Found {
                source: ip.src_addr().into(),
                destination: ip.dst_addr().into(),
                at: header + ip.header_len(),
            })
        }
        _ => None,
    }
}

/// Connections of which something is known, the eldest first.
#[derive(Default)]
struct List(Vec<(Ends, i32)>);

impl List {
    fn get(&self, ends: &Ends) -> Option<i32> {
        self.0.iter().find(|(other, _)| other == ends).map(|(_, number)| *number)
    }

    fn set(&mut self, ends: Ends, number: Option<i32>) {
        if number.is_none() && self.0.is_empty() {
            return;
        }
        self.0.retain(|(other, _)| *other != ends);
        let Some(number) = number else { return };
        if self.0.len() >= MAX {
            // It may be over.
            self.0.remove(0);
        }
        if self.0.try_reserve(1).is_ok() {
            self.0.push((ends, number));
        }
    }
}

/// What is known of windows.
pub struct Windows {
    /// Frames have checksums, which have to be right.
    has_checksums: bool,
    /// Those whose window is closed on our side, and what we expect next.
    ours: List,
    /// Those whose window is closed on the other side, and what that expects next.
    theirs: List,
}

impl Windows {
    pub fn new(has_checksums: bool) -> Self {
        Self { has_checksums, ours: List::default(), theirs: List::default() }
    }

    /// Looks at a frame that we send, and says one unit less in it.
    pub fn sent(&mut self, frame: &mut [u8]) {
        let Some(found) = find(frame) else { return };
        let Some(Ok(mut tcp)) = frame.get_mut(found.at..).map(TcpPacket::new_checked) else { return };
        let has_window = tcp.ack() && !tcp.syn() && !tcp.rst();
        if has_window {
            let less = tcp.window_len().saturating_sub(1);
            self.set_window(&mut tcp, less);
        }
        let is_closed = has_window && tcp.window_len() == 0;
        let ends = (found.source, tcp.src_port(), found.destination, tcp.dst_port());
        self.ours.set(ends, is_closed.then(|| tcp.ack_number().0));
    }

    /// Another window, and the checksum that goes with it (RFC 1624).
    fn set_window(&self, tcp: &mut TcpPacket<&mut [u8]>, window: u16) {
        let before = tcp.window_len();
        if self.has_checksums {
            let sum = u32::from(!tcp.checksum()) + u32::from(!before) + u32::from(window);
            let folded = (sum & 0xffff) + (sum >> 16);
            tcp.set_checksum(!((folded & 0xffff) + (folded >> 16)) as u16);
        }
        tcp.set_window_len(window);
    }

    /// Of a frame that has come in: one with nothing but its acknowledgement, if smoltcp has to get that first.
    pub fn acknowledgement(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let found = find(frame)?;
        let tcp = TcpPacket::new_checked(frame.get(found.at..)?).ok()?;
        let ends = (found.destination, tcp.dst_port(), found.source, tcp.src_port());
        if !tcp.ack() || tcp.syn() || tcp.rst() {
            return None;
        }
        let acknowledged = tcp.ack_number().0;
        let closes = tcp.window_len() == 0 && self.theirs.get(&ends) != Some(acknowledged);
        self.theirs.set(ends, (tcp.window_len() == 0).then_some(acknowledged));
        let next = self.ours.get(&ends).filter(|next| {
            // Not far from where it should be: half a window that is as large as can be.
            let distance = tcp.seq_number().0.wrapping_sub(*next);
            !tcp.fin() && (distance != 0 || !tcp.payload().is_empty()) && distance.unsigned_abs() <= 1 << 29
        });
        if next.is_none() && !closes {
            return None;
        }
        let len = usize::from(tcp.header_len());
        let mut copy = Vec::new();
        copy.try_reserve_exact(found.at + len).ok()?;
        copy.extend_from_slice(frame.get(..found.at + len)?);
        let (headers, segment) = copy.split_at_mut_checked(found.at)?;
        let packet = headers.get_mut(EthernetFrame::<&[u8]>::header_len()..)?;
        match found.source {
            IpAddress::Ipv4(_) => {
                let all = packet.len() + len;
                let mut ip = Ipv4Packet::new_unchecked(packet);
                ip.set_total_len(all as u16);
                ip.fill_checksum();
            }
            IpAddress::Ipv6(_) => Ipv6Packet::new_unchecked(packet).set_payload_len(len as u16),
        }
        let mut tcp = TcpPacket::new_unchecked(segment);
        tcp.set_fin(false);
        if closes {
            tcp.set_window_len(1);
        }
        if let Some(next) = next {
            tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(next));
        }
        if self.has_checksums {
            tcp.fill_checksum(&found.source, &found.destination);
        }
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of IPv4 with a segment: from, to, sequence number, acknowledgement, window, data.
    fn frame(ports: [u16; 2], seq: i32, ack: i32, window: u16, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 20 + data.len()];
        frame[12..14].copy_from_slice(&[8, 0]);
        let len = frame.len() as u16 - 14;
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
        ip.set_version(4);
        ip.set_header_len(20);
        ip.set_total_len(len);
        ip.set_next_header(IpProtocol::Tcp);
        let mut tcp = TcpPacket::new_unchecked(&mut frame[34..]);
        tcp.set_src_port(ports[0]);
        tcp.set_dst_port(ports[1]);
        tcp.set_header_len(20);
        tcp.set_ack(true);
        tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(seq));
        tcp.set_ack_number(smoltcp::wire::TcpSeqNumber(ack));
        tcp.set_window_len(window);
        frame[54..].copy_from_slice(data);
        frame
    }

    #[test]
    fn acknowledgements_come_through_while_the_window_is_closed() {
        let mut closed = Windows::new(false);
        let late = frame([80, 1000], 507, 99, 10, b"data");
        assert_eq!(closed.acknowledgement(&late), None, "it is open");
        closed.sent(&mut frame([1000, 80], 1, 500, 0, b""));
        let alone = closed.acknowledgement(&late).unwrap();
        assert_eq!(alone, {
            let mut wanted = frame([80, 1000], 500, 99, 10, b"");
            wanted.truncate(54);
            Ipv4Packet::new_unchecked(&mut wanted[14..]).fill_checksum();
            wanted
        });
        assert!(closed.acknowledgement(&frame([80, 1000], 500, 99, 10, b"x")).is_some(), "a probe");
        assert_eq!(closed.acknowledgement(&frame([80, 1000], 500, 99, 10, b"")), None, "smoltcp takes that");
        assert_eq!(closed.acknowledgement(&frame([80, 1001], 507, 99, 10, b"data")), None, "another connection");
        assert_eq!(closed.acknowledgement(&frame([80, 1000], 507 + (1 << 30), 99, 10, b"data")), None, "far away");
        for cut in 0..late.len() {
            let _ = closed.acknowledgement(&late[..cut]);
        }
        closed.sent(&mut frame([1000, 80], 1, 500, 9, b""));
        assert_eq!(closed.acknowledgement(&late), None, "it is open again");
    }

    fn window(frame: &[u8]) -> u16 {
        TcpPacket::new_unchecked(&frame[34..]).window_len()
    }

    #[test]
    fn frames_say_one_unit_less() {
        let mut windows = Windows::new(false);
        for (says, wanted) in [(10, 9), (1, 0), (0, 0)] {
            let mut sent = frame([1000, 80], 1, 500, says, b"data");
            windows.sent(&mut sent);
            assert_eq!(window(&sent), wanted);
        }
        let mut syn = frame([1000, 80], 1, 500, 10, b"");
        TcpPacket::new_unchecked(&mut syn[34..]).set_syn(true);
        windows.sent(&mut syn);
        assert_eq!(window(&syn), 10);
    }

    #[test]
    fn what_has_arrived_is_known_before_a_window_closes() {
        let mut windows = Windows::new(false);
        let closing = |acknowledged: i32| frame([80, 1000], 7, acknowledged, 0, b"data");
        let first = windows.acknowledgement(&closing(5)).unwrap();
        let tcp = TcpPacket::new_checked(&first[34..]).unwrap();
        assert_eq!((tcp.window_len(), tcp.ack_number().0, tcp.seq_number().0, tcp.payload().len()), (1, 5, 7, 0));
        assert_eq!(windows.acknowledgement(&closing(5)), None, "it has closed");
        assert!(windows.acknowledgement(&closing(6)).is_some(), "more has arrived");
        assert_eq!(windows.acknowledgement(&frame([80, 1000], 7, 6, 1, b"")), None);
        assert!(windows.acknowledgement(&closing(6)).is_some(), "it has been open");
        for port in 0..2 * MAX as u16 {
            windows.acknowledgement(&frame([80, port], 7, 6, 0, b""));
        }
        assert!(windows.theirs.0.len() <= MAX);
    }

    #[test]
    fn checksums_stay_right() {
        let mut windows = Windows::new(true);
        let ends = [IpAddress::v4(0, 0, 0, 0); 2];
        let is_right = |frame: &[u8]| TcpPacket::new_unchecked(&frame[34..]).verify_checksum(&ends[0], &ends[1]);
        for (ports, says) in [([1000, 80], 0xffff), ([1000, 80], 1), ([80, 1000], 0), ([0xffff, 0xfffe], 0x100)] {
            let mut sent = frame(ports, -1, 500, says, b"odd");
            TcpPacket::new_unchecked(&mut sent[34..]).fill_checksum(&ends[0], &ends[1]);
            windows.sent(&mut sent);
            assert!(is_right(&sent), "{ports:?} {says}");
        }
        windows.sent(&mut frame([1000, 80], 1, 500, 0, b""));
        let late = frame([80, 1000], 507, 99, 10, b"data");
        assert!(is_right(&windows.acknowledgement(&late).unwrap()));
    }
}
