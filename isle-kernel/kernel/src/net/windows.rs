// SPDX-License-Identifier: MIT OR Apache-2.0

//! Connections whose receive window is closed. smoltcp ignores the acknowledgement in a segment that is outside of its
//! window, where RFC 9293 (3.10.7.4) makes an allowance: while the window is closed all are outside that aren't empty and exactly at
//! its start. If then both sides' windows are closed, because a program on either side waits until it can write before it
//! reads, neither would ever learn that there is room again. So such an acknowledgement is handed over by itself first.

use alloc::vec::Vec;
use smoltcp::wire::{EthernetFrame, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};

/// Most connections that are remembered.
const MAX: usize = 1024;

/// Of a connection: our address and port, and theirs.
type Ends = (IpAddress, u16, IpAddress, u16);

/// Where a segment is in a frame.
struct Found {
    source: IpAddress,
    destination: IpAddress,
    /// Of its header.
    at: usize,
}

fn find(frame: &[u8]) -> Option<Found> {
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

/// Those connections, and what we expect next of each.
#[derive(Default)]
pub struct Closed(Vec<(Ends, i32)>);

impl Closed {
    /// Looks at a frame that we send.
    pub fn sent(&mut self, frame: &[u8]) {
        let Some(found) = find(frame) else { return };
        let Some(Ok(tcp)) = frame.get(found.at..).map(TcpPacket::new_checked) else { return };
        let is_closed = tcp.ack() && !tcp.syn() && !tcp.rst() && tcp.window_len() == 0;
        if !is_closed && self.0.is_empty() {
            return;
        }
        let ends = (found.source, tcp.src_port(), found.destination, tcp.dst_port());
        self.0.retain(|(other, _)| *other != ends);
        if is_closed && self.0.len() >= MAX {
            // It may be over.
            self.0.remove(0);
        }
        if is_closed && self.0.try_reserve(1).is_ok() {
            self.0.push((ends, tcp.ack_number().0));
        }
    }

    /// Of a frame that has come in: one with nothing but its acknowledgement, if that would be ignored.
    pub fn acknowledgement(&self, frame: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let found = find(frame)?;
        let tcp = TcpPacket::new_checked(frame.get(found.at..)?).ok()?;
        let ends = (found.destination, tcp.dst_port(), found.source, tcp.src_port());
        let (_, next) = self.0.iter().find(|(other, _)| *other == ends)?;
        let is_plain = tcp.ack() && !tcp.syn() && !tcp.fin() && !tcp.rst();
        // Not far from where it should be: half a window that is as large as can be.
        let distance = tcp.seq_number().0.wrapping_sub(*next);
        if !is_plain || distance == 0 && tcp.payload().is_empty() || distance.unsigned_abs() > 1 << 29 {
            return None;
        }
        let len = usize::from(tcp.header_len());
        let mut copy = Vec::new();
        copy.try_reserve_exact(found.at + len).ok()?;
        copy.extend_from_slice(frame.get(..found.at + len)?);
        let (headers, segment) = copy.split_at_mut_checked(found.at)?;
        TcpPacket::new_unchecked(segment).set_seq_number(smoltcp::wire::TcpSeqNumber(*next));
        let packet = headers.get_mut(EthernetFrame::<&[u8]>::header_len()..)?;
        // The checksum isn't looked at.
        match found.source {
            IpAddress::Ipv4(_) => {
                let all = packet.len() + len;
                Ipv4Packet::new_unchecked(packet).set_total_len(all as u16);
            }
            IpAddress::Ipv6(_) => Ipv6Packet::new_unchecked(packet).set_payload_len(len as u16),
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
        let mut closed = Closed::default();
        let late = frame([80, 1000], 507, 99, 10, b"data");
        assert_eq!(closed.acknowledgement(&late), None, "it is open");
        closed.sent(&frame([1000, 80], 1, 500, 0, b""));
        let alone = closed.acknowledgement(&late).unwrap();
        assert_eq!(alone, {
            let mut wanted = frame([80, 1000], 500, 99, 10, b"");
            wanted.truncate(54);
            wanted
        });
        assert!(closed.acknowledgement(&frame([80, 1000], 500, 99, 10, b"x")).is_some(), "a probe");
        assert_eq!(closed.acknowledgement(&frame([80, 1000], 500, 99, 10, b"")), None, "smoltcp takes that");
        assert_eq!(closed.acknowledgement(&frame([80, 1001], 507, 99, 10, b"data")), None, "another connection");
        assert_eq!(closed.acknowledgement(&frame([80, 1000], 507 + (1 << 30), 99, 10, b"data")), None, "far away");
        for cut in 0..late.len() {
            let _ = closed.acknowledgement(&late[..cut]);
        }
        closed.sent(&frame([1000, 80], 1, 500, 9, b""));
        assert_eq!(closed.acknowledgement(&late), None, "it is open again");
    }
}
