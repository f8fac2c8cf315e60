// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packets: rings whose other side lies, as the module and the isle kernel read them, and frames that an isle gets.

#![no_main]

use arbitrary::Arbitrary;
use hermit_abi::net::Addresses;
use hermit_abi::ring::{Consumer, Producer, Ring, Side, MAX_PACKET, MIN_PACKET};
use hermit_fuzz::{patch, Patch, Word};
use hermit_kernel::net::nic::Nic;
use hermit_kernel::net::notice::Notice;
use hermit_kernel::net::ports::Scope;
use hermit_kernel::net::stack::Stack;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const WORDS: usize = 64;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The other side writes where it may, and where it may not.
    Producer(Word),
    Consumer(Word),
    Waits(Word),
    Word {
        at: u8,
        value: Word,
    },
    Take,
    Put(u16),
    Sleep,
    Wait,
}

#[derive(Debug, Arbitrary)]
enum Input {
    Rings(Vec<Step>),
    Frames(Vec<Frame>),
}

/// A frame that is almost right.
#[derive(Debug, Arbitrary)]
struct Frame {
    kind: u8,
    flags: u8,
    port: u8,
    seq: Word,
    ack: Word,
    window: u16,
    len: u16,
    follows: bool,
    patches: Vec<Patch>,
}

fn rings(steps: &[Step]) {
    let side = || Side { position: AtomicU64::new(0), waits: AtomicU64::new(0) };
    let (ours, theirs) = (side(), side());
    let words: Vec<_> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    let ring = Ring { producer: &ours, consumer: &theirs, words: &words };
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let mut bytes = vec![0; MAX_PACKET];
    for step in steps {
        match step {
            Step::Producer(word) => ours.position.store(word.value(), Relaxed),
            Step::Consumer(word) => theirs.position.store(word.value(), Relaxed),
            Step::Waits(word) => theirs.waits.store(word.value(), Relaxed),
            Step::Word { at, value } => words[usize::from(*at) % WORDS].store(value.value(), Relaxed),
            Step::Take => {
                if let Ok(Some(place)) = consumer.next(ring) {
                    assert!((MIN_PACKET..=MAX_PACKET).contains(&place.len) && place.len <= (WORDS - 1) * 8);
                    ring.read(place, &mut bytes[..place.len]);
                    assert_eq!(ring.header(place)[..], bytes[..MIN_PACKET]);
                    let (mut reader, mut parts) = (ring.reader(place), vec![0; place.len]);
                    let (first, second) = parts.split_at_mut(place.len / 3);
                    reader.pull(first);
                    reader.pull(second);
                    assert_eq!(parts, bytes[..place.len]);
                    let _ = consumer.release(ring, place);
                }
            }
            Step::Put(len) => {
                let len = usize::from(*len).max(MIN_PACKET);
                if let Ok(place) = producer.reserve(ring, len) {
                    assert!(len <= (WORDS - 1) * 8);
                    ring.write(place, &bytes[..len]);
                    let _ = producer.publish(ring, place);
                }
            }
            Step::Sleep => {
                let _ = consumer.sleep(ring, 1);
                consumer.look(ring);
            }
            Step::Wait => {
                let _ = producer.wait_for_room(ring, 1);
                let _ = producer.has_room(ring);
            }
        }
    }
}

/// Frames for the isle, and the last that it has sent.
#[derive(Default)]
struct Wire {
    to_isle: VecDeque<Vec<u8>>,
    sent: Vec<u8>,
}

struct Card(Arc<Mutex<Wire>>);

impl Nic for Card {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let new = self.0.lock().unwrap().to_isle.pop_front()?;
        frame[..new.len()].copy_from_slice(&new);
        Some(new.len())
    }

    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.lock().unwrap().sent = frame.to_vec();
    }

    fn has_news(&self) -> bool {
        !self.0.lock().unwrap().to_isle.is_empty()
    }

    fn sleep(&mut self, _: usize) -> bool {
        true
    }

    fn look(&mut self) {}

    fn may_interrupt(&self) -> bool {
        false
    }
}

/// A frame from 10.0.0.1, port 1000, to 10.0.0.2 (or the like of IPv6).
fn frame(frame: &Frame, last: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
    let len = usize::from(frame.len) % 2048;
    let mut transport = Vec::new();
    let is_tcp = frame.kind & 2 == 0;
    transport.extend(1000u16.to_be_bytes());
    transport.extend((80 + u16::from(frame.port % 2)).to_be_bytes());
    if is_tcp {
        let (mut seq, mut ack) = (frame.seq.value() as u32, frame.ack.value() as u32);
        let at = if frame.kind & 1 == 0 { 34 } else { 54 };
        if let (true, Some(sent)) = (frame.follows, last.get(at + 4..at + 12)) {
            // What the isle expects.
            ack = (ack % 8).wrapping_add(u32::from_be_bytes(sent[..4].try_into().unwrap()));
            seq = (seq % 8).wrapping_add(u32::from_be_bytes(sent[4..].try_into().unwrap()));
        }
        transport.extend(seq.to_be_bytes());
        transport.extend(ack.to_be_bytes());
        transport.extend([0x50, frame.flags]);
        transport.extend(frame.window.to_be_bytes());
        transport.extend([0; 4]);
    } else {
        transport.extend((8 + len as u16).to_be_bytes());
        transport.extend([0; 2]);
    }
    transport.resize(transport.len() + len, 7);
    let protocol = if is_tcp { 6 } else { 17 };
    if frame.kind & 1 == 0 {
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend((20 + transport.len() as u16).to_be_bytes());
        bytes.extend([0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    } else {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend((transport.len() as u16).to_be_bytes());
        bytes.extend([protocol, 64]);
        for last in [1, 2] {
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    }
    bytes.extend(transport);
    patch(&mut bytes, &frame.patches);
    bytes
}

fn frames(list: &[Frame]) {
    let mut ip6 = [0; 16];
    (ip6[0], ip6[15]) = (0xfd, 2);
    let addresses = Addresses {
        ip4: [10, 0, 0, 2],
        gateway4: [10, 0, 0, 1],
        ip6,
        gateway6: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        prefix4: 24,
        prefix6: 64,
    };
    let wire = Arc::new(Mutex::new(Wire::default()));
    let mut stack = Stack::new(Box::new(Card(wire.clone())), &addresses);
    let [listening, datagrams] = [(); 2].map(|()| Arc::new(Notice::default()));
    stack.listen(1, Scope::All, 80, 4, &listening);
    let datagrams_handle = stack.add_datagram(Scope::All, 80, &datagrams).unwrap();
    let mut accepted = Vec::new();
    for next in list {
        {
            let mut wire = wire.lock().unwrap();
            let bytes = frame(next, &wire.sent);
            wire.to_isle.push_back(bytes);
        }
        stack.poll();
        let notice = Arc::new(Notice::default());
        if let Some(handle) = stack.accept(1, &notice) {
            accepted.push((handle, notice));
        }
        for (handle, _) in &accepted {
            let mut bytes = [0; 100];
            let got = stack.stream(*handle).recv_slice(&mut bytes).unwrap_or(0);
            let _ = stack.stream(*handle).send_slice(&bytes[..got]);
        }
        let _ = stack.datagram(datagrams_handle).recv();
    }
    for (handle, notice) in accepted {
        stack.end_stream(handle, &notice, false);
    }
    stack.end_listening(1, &listening);
    stack.end_datagram(datagrams_handle, &datagrams);
    stack.poll();
}

fuzz_target!(|input: Input| match &input {
    Input::Rings(steps) => rings(steps),
    Input::Frames(list) => frames(list),
});
