// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use std::collections::VecDeque;
use std::sync::{Arc as StdArc, Mutex};

/// Frames on their way to either of two isles.
#[derive(Default)]
struct Wire([Mutex<VecDeque<Vec<u8>>>; 2]);

/// The card of an isle, by its number, which may have a break after each frame.
struct Card(StdArc<Wire>, usize, Option<bool>);

impl Nic for Card {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.1 as u8]
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        if self.2.as_mut().is_some_and(|pauses| std::mem::replace(pauses, !*pauses)) {
            return None;
        }
        let new = self.0 .0[self.1].lock().unwrap().pop_front()?;
        frame[..new.len()].copy_from_slice(&new);
        Some(new.len())
    }

    fn has_room(&self) -> bool {
        self.0 .0[1 - self.1].lock().unwrap().len() < 32
    }

    fn send(&mut self, frame: &[u8]) {
        self.0 .0[1 - self.1].lock().unwrap().push_back(frame.to_vec());
    }

    fn has_news(&self) -> bool {
        !self.0 .0[self.1].lock().unwrap().is_empty()
    }

    fn sleep(&mut self, _: usize) -> bool {
        !self.has_news()
    }

    fn look(&mut self) {}

    fn may_interrupt(&self) -> bool {
        false
    }
}

fn pair() -> [Stack; 2] {
    pair_with(None)
}

fn pair_with(breaks: Option<bool>) -> [Stack; 2] {
    let wire = StdArc::new(Wire::default());
    [0, 1].map(|number| {
        let ip6 = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        let addresses = Addresses {
            ip4: [10, 0, 0, 2 + number as u8],
            gateway4: [10, 0, 0, 1],
            ip6: ip6(2 + number as u8),
            gateway6: ip6(1),
            prefix4: 24,
            prefix6: 64,
        };
        Stack::new(Box::new(Card(wire.clone(), number, breaks)), &addresses)
    })
}

fn settle(stacks: &mut [Stack; 2]) {
    for _ in 0..20 {
        for stack in stacks.iter_mut() {
            stack.poll();
        }
    }
}

/// A connection between the two: handles of both ends.
fn connection(stacks: &mut [Stack; 2], to: IpAddress, from: IpAddress) -> [(SocketHandle, Arc<Notice>); 2] {
    let notices: [Arc<Notice>; 3] = Default::default();
    stacks[1].listen(1, Scope::All, 80, 4, &notices[0]);
    let client = stacks[0].connect(IpEndpoint::new(from, 1000), IpEndpoint::new(to, 80), &notices[1]).unwrap();
    settle(stacks);
    assert!(notices[0].edges() > 0 && notices[1].edges() > 0, "whoever waits is told");
    assert!(stacks[1].can_accept(1));
    let server = stacks[1].accept(1, &notices[2]).unwrap();
    assert_eq!(stacks[0].stream(client).state(), tcp::State::Established);
    [(client, notices[1].clone()), (server, notices[2].clone())]
}

#[test]
fn both_sides_may_write_before_they_read() {
    for ends in [["10.0.0.3", "10.0.0.2"], ["fd00::3", "fd00::2"]] {
        let mut stacks = pair();
        let [to, from] = ends.map(|text| text.parse().unwrap());
        let handles = connection(&mut stacks, to, from);
        let data: Vec<u8> = (0..3_000_001u32).map(|n| (n / 7) as u8).collect();
        let mut sent = [0; 2];
        let mut got: [Vec<u8>; 2] = Default::default();
        let mut rounds = 0;
        while got.iter().any(|got| got.len() < data.len()) {
            for side in 0..2 {
                let socket = stacks[side].stream(handles[side].0);
                let now = socket.send_slice(&data[sent[side]..]).unwrap();
                sent[side] += now;
                // Like a program that waits until it can write.
                if now == 0 || sent[side] == data.len() {
                    let mut bytes = vec![0; 77_777];
                    let now = socket.recv_slice(&mut bytes).unwrap();
                    got[side].extend(&bytes[..now]);
                }
                stacks[side].poll();
            }
            rounds += 1;
            assert!(rounds < 10_000, "stuck at {sent:?}");
        }
        assert!(got.iter().all(|got| *got == data));
        for side in 0..2 {
            stacks[side].end_stream(handles[side].0, &handles[side].1, false);
            settle(&mut stacks);
        }
        // One is late, and stays; the other is gone.
        assert_eq!(stacks.iter().map(|s| s.orphans.len()).sum::<usize>(), 1);
    }
}

/// Nothing has to be sent twice when a window is filled to its last byte: time stands still here, so that would be never.
#[test]
fn windows_are_filled_to_the_last_byte() {
    // Each frame is answered before the next is taken, while others are on their way.
    let mut stacks = pair_with(Some(false));
    let [to, from] = ["10.0.0.3", "10.0.0.2"].map(|text| text.parse().unwrap());
    let [(client, _), (server, _)] = connection(&mut stacks, to, from);
    for (stack, handle) in stacks.iter_mut().zip([client, server]) {
        stack.stream(handle).set_ack_delay(None);
        stack.stream(handle).set_nagle_enabled(false);
    }
    let len = stacks[1].stream(server).recv_capacity();
    // Odd lengths, so that the window is no multiple of its scale again and again.
    for parts in [&[len][..], &[len], &[3, len - 3], &[len - 1, 1], &[333_333; 5], &[1, 2, 3, 65_537, len], &[7; 100]] {
        let total: usize = parts.iter().sum();
        let mut parts = parts.iter().copied();
        let (mut left, mut got, mut rounds) = (0, 0, 0);
        while got < total {
            if left == 0 {
                left = parts.next().unwrap_or(0);
            }
            left -= stacks[0].stream(client).send_slice(&vec![1; left]).unwrap();
            settle(&mut stacks);
            // Only when nothing more comes.
            got += stacks[1].stream(server).recv_slice(&mut vec![0; len]).unwrap();
            rounds += 1;
            assert!(rounds < 1000, "stuck at {got} of {total}");
        }
        settle(&mut stacks);
    }
}

#[test]
fn who_listens_nowhere_refuses() {
    let mut stacks = pair();
    let notice = Arc::<Notice>::default();
    let ends = [("10.0.0.2", 1000), ("10.0.0.3", 81)].map(|(a, p)| IpEndpoint::new(a.parse().unwrap(), p));
    let handle = stacks[0].connect(ends[0], ends[1], &notice).unwrap();
    settle(&mut stacks);
    assert_eq!(stacks[0].stream(handle).state(), tcp::State::Closed);
    assert!(notice.edges() > 0);
}

#[test]
fn a_flood_of_connections_takes_no_more_than_the_backlog() {
    let mut stacks = pair();
    let listening = Arc::<Notice>::default();
    stacks[1].listen(1, Scope::All, 80, 4, &listening);
    let to = IpEndpoint::new("10.0.0.3".parse().unwrap(), 80);
    let clients: Vec<_> = (0..20)
        .map(|n| {
            let from = IpEndpoint::new("10.0.0.2".parse().unwrap(), 1000 + n);
            stacks[0].connect(from, to, &Arc::default()).unwrap()
        })
        .collect();
    settle(&mut stacks);
    assert_eq!(stacks[1].sockets.iter().count(), 4);
    let mut accepted = 0;
    while stacks[1].accept(1, &Arc::default()).is_some() {
        accepted += 1;
    }
    assert_eq!(accepted, 4);
    let is_there = |h: &&SocketHandle| is_established(stacks[0].sockets.get(**h));
    assert_eq!(clients.iter().filter(is_there).count(), 4, "the others try again");
    stacks[1].end_listening(1, &listening);
    assert!(!stacks[1].can_accept(1));
}

#[test]
fn the_isle_talks_to_itself() {
    for address in ["127.0.0.1", "::1", "10.0.0.2", "fd00::2"] {
        let [mut stack, _] = pair();
        let address: IpAddress = address.parse().unwrap();
        let notices: [Arc<Notice>; 2] = Default::default();
        let server = stack.add_datagram(Scope::One(address), 53, &notices[0]).unwrap();
        let client = stack.add_datagram(Scope::All, 1000, &notices[1]).unwrap();
        let to = udp::UdpMetadata::from(IpEndpoint::new(address, 53));
        stack.datagram(client).send_slice(&[7; 60_000], to).unwrap();
        for _ in 0..5 {
            stack.poll();
        }
        let (bytes, from) = stack.datagram(server).recv().unwrap_or_else(|e| panic!("{address}: {e:?}"));
        assert_eq!((bytes, from.endpoint), ([7; 60_000].as_slice(), IpEndpoint::new(address, 1000)));
    }
}
