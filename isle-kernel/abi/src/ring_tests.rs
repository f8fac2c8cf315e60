// SPDX-License-Identifier: MIT OR Apache-2.0

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::ring::*;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::vec::Vec;

struct Memory {
    producer: Side,
    consumer: Side,
    words: Vec<AtomicU64>,
}

impl Memory {
    fn new(words: usize) -> Self {
        let side = || Side { position: AtomicU64::new(0), waits: AtomicU64::new(0) };
        Self { producer: side(), consumer: side(), words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn ring(&self) -> Ring<'_> {
        Ring { producer: &self.producer, consumer: &self.consumer, words: &self.words }
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn send(ring: Ring<'_>, producer: &mut Producer, bytes: &[u8]) -> Result<Option<u32>, Refused> {
    let place = producer.reserve(ring, bytes.len())?;
    ring.write(place, bytes);
    Ok(producer.publish(ring, place))
}

fn receive(ring: Ring<'_>, consumer: &mut Consumer) -> Option<(Vec<u8>, Option<u32>)> {
    let place = consumer.next(ring).unwrap()?;
    let mut bytes = vec![0; place.len];
    ring.read(place, &mut bytes);
    let rung = consumer.release(ring, place);
    Some((bytes, rung))
}

#[test]
fn packets_of_all_lengths_arrive_in_order() {
    let memory = Memory::new(1 << 14);
    let ring = memory.ring();
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let mut numbers = Numbers(42);
    let mut sent: VecDeque<Vec<u8>> = VecDeque::new();
    let mut refused = 0;
    for round in 0..20_000 {
        let n = numbers.next();
        let most = if n & 1 == 0 { 100 } else { MAX_PACKET };
        let len = MIN_PACKET + (n >> 8) as usize % (most - MIN_PACKET + 1);
        if n & 6 != 0 {
            let bytes: Vec<u8> = (0..len).map(|at| (at as u64 ^ round) as u8).collect();
            match send(ring, &mut producer, &bytes) {
                Ok(_) => sent.push_back(bytes),
                Err(e) => {
                    assert_eq!(e, Refused::Full);
                    refused += 1;
                    let used: usize = sent.iter().map(|p| 1 + p.len().div_ceil(8)).sum();
                    assert!(used + 1 + len.div_ceil(8) > memory.words.len(), "refused though there is room");
                }
            }
        }
        if n & 0x30 != 0 {
            assert_eq!(receive(ring, &mut consumer).map(|r| r.0), sent.pop_front());
        }
    }
    assert!(refused > 100);
}

#[test]
fn packets_are_copied_in_parts() {
    let memory = Memory::new(16);
    let ring = memory.ring();
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let mut numbers = Numbers(7);
    for round in 0..2000 {
        let bytes: Vec<u8> = (0..14 + round % 100).map(|n| (n * 7 + round) as u8).collect();
        let mut cut = |len: usize| numbers.next() as usize % (len + 1);
        let place = producer.reserve(ring, bytes.len()).unwrap();
        let mut writer = ring.writer(place);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cut(rest.len()));
            writer.push(now);
            rest = later;
        }
        writer.finish();
        assert_eq!(producer.publish(ring, place), None);
        let place = consumer.next(ring).unwrap().unwrap();
        let mut got = vec![0; bytes.len()];
        let mut reader = ring.reader(place);
        let mut rest = &mut got[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(cut(rest.len()));
            reader.pull(now);
            rest = later;
        }
        assert_eq!(got, bytes);
        assert_eq!(consumer.release(ring, place), None);
    }
}

#[test]
fn what_is_too_much_for_a_packet_is_left_out() {
    let memory = Memory::new(8);
    let ring = memory.ring();
    let place = Producer::default().reserve(ring, 14).unwrap();
    for start in 0..9 {
        let mut writer = ring.writer(place);
        writer.push(&[1; 9][..start]);
        writer.push(&[2; 40]);
        writer.finish();
        let words: Vec<_> = memory.words.iter().map(|w| w.load(Ordering::Relaxed)).collect();
        assert!(words[1] != 0 && words[2] != 0 && words[0] == 0 && words[3..].iter().all(|w| *w == 0), "{words:?}");
    }
}

#[test]
fn packets_go_from_ring_to_ring() {
    let (from, to) = (Memory::new(16), Memory::new(8));
    let (mut out, mut through) = (Producer::default(), Consumer::default());
    let (mut again, mut into) = (Producer::default(), Consumer::default());
    for number in 0..20 {
        let bytes: Vec<u8> = (number..number + 45).collect();
        assert_eq!(send(from.ring(), &mut out, &bytes), Ok(None));
        let place = through.next(from.ring()).unwrap().unwrap();
        assert_eq!(from.ring().header(place)[..], bytes[..MIN_PACKET]);
        let new = again.reserve(to.ring(), place.len).unwrap();
        to.ring().copy(new, from.ring(), place);
        assert_eq!((through.release(from.ring(), place), again.publish(to.ring(), new)), (None, None));
        assert_eq!(receive(to.ring(), &mut into).unwrap().0, bytes);
    }
}

#[test]
fn only_who_sleeps_is_rung_and_only_once() {
    let memory = Memory::new(64);
    let ring = memory.ring();
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    assert_eq!(send(ring, &mut producer, &[1; 14]), Ok(None), "it looks");
    assert!(!consumer.sleep(ring, 7), "there is a packet");
    receive(ring, &mut consumer).unwrap();
    assert!(consumer.sleep(ring, 7));
    assert_eq!(send(ring, &mut producer, &[1; 14]), Ok(Some(7)));
    assert_eq!(send(ring, &mut producer, &[1; 14]), Ok(None), "it was rung");
    consumer.look(ring);
    while receive(ring, &mut consumer).is_some() {}
    assert_eq!(send(ring, &mut producer, &[1; 14]), Ok(None), "it looks");
    receive(ring, &mut consumer).unwrap();
    assert!(consumer.sleep(ring, 7));
    assert_eq!(send(ring, &mut producer, &[1; 14]), Ok(Some(7)), "it sleeps again");
}

#[test]
fn who_waits_for_room_is_rung_when_half_is_free() {
    let memory = Memory::new(64);
    let ring = memory.ring();
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    assert!(!producer.wait_for_room(ring, 1), "there is room");
    while send(ring, &mut producer, &[1; 40]).is_ok() {}
    assert!(producer.wait_for_room(ring, 1));
    let mut left = 10;
    while let Some((_, rung)) = receive(ring, &mut consumer) {
        left -= 1;
        assert_eq!(rung, (left * 6 <= 32 && (left + 1) * 6 > 32).then_some(1), "{left} left");
    }
    assert_eq!(left, 0);
    assert!(producer.has_room(ring));
}

#[test]
fn nonsense_is_found_out() {
    let memory = Memory::new(64);
    let ring = memory.ring();
    let consumer = Consumer::default();
    for (head, len) in [(65, 14), (1, 14), (3, 17), (60, 13), (60, 0), (u64::MAX, 14), (64, 65_550), (64, u64::MAX)] {
        memory.producer.position.store(head, Ordering::Relaxed);
        memory.words[0].store(len, Ordering::Relaxed);
        assert_eq!(consumer.next(ring), Err(Broken), "{head} {len}");
    }
    let mut producer = Producer::default();
    for tail in [1, 65, u64::MAX - 64, 1 << 63] {
        memory.consumer.position.store(tail, Ordering::Relaxed);
        assert_eq!(producer.reserve(ring, 14), Err(Refused::Broken), "{tail}");
        assert!(!producer.wait_for_room(ring, 1) && producer.has_room(ring), "nobody waits for a broken ring");
    }
}

#[test]
fn addresses_name_isles() {
    use crate::net::{ethernet_address, isle_of};
    for isle in [0, 1, 254, 255, 1000] {
        assert_eq!(isle_of(ethernet_address(Some(isle))), Some(isle));
    }
    assert_eq!(isle_of(ethernet_address(None)), None);
    assert_eq!(isle_of([0xff; 6]), None);
}
