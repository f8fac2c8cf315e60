// SPDX-License-Identifier: MIT OR Apache-2.0

//! Scenes of a ring of packets between two sides that sleep whenever they can.

use super::atomic::AtomicU64;
use super::ring::{Consumer, Producer, Refused, Ring, Side, MIN_PACKET};
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;

struct Memory {
    producer: Side,
    consumer: Side,
    words: [AtomicU64; 8],
    packets: Notify,
    room: Notify,
}

impl Memory {
    fn new() -> Arc<Self> {
        let side = || Side { position: AtomicU64::new(0), waits: AtomicU64::new(0) };
        Arc::new(Self {
            producer: side(),
            consumer: side(),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            packets: Notify::new(),
            room: Notify::new(),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring { producer: &self.producer, consumer: &self.consumer, words: &self.words }
    }

    fn send(&self, count: u8) {
        let mut producer = Producer::default();
        for number in 1..=count {
            let place = loop {
                match producer.reserve(self.ring(), MIN_PACKET) {
                    Ok(place) => break place,
                    Err(Refused::Full) if producer.wait_for_room(self.ring(), 1) => self.room.wait(),
                    Err(Refused::Full) => {}
                    Err(Refused::Broken) => panic!("a broken ring"),
                }
                // As after any ring: it may have been for the sleep before.
                let _ = producer.has_room(self.ring());
            };
            self.ring().write(place, &[number; MIN_PACKET]);
            if producer.publish(self.ring(), place).is_some() {
                self.packets.notify();
            }
        }
    }

    fn receive(&self, count: u8) {
        let mut consumer = Consumer::default();
        for number in 1..=count {
            let place = loop {
                match consumer.next(self.ring()).expect("the packet isn't there yet") {
                    Some(place) => break place,
                    None if consumer.sleep(self.ring(), 1) => self.packets.wait(),
                    None => {}
                }
                consumer.look(self.ring());
            };
            let mut bytes = [0; MIN_PACKET];
            self.ring().read(place, &mut bytes);
            assert_eq!(bytes, [number; MIN_PACKET], "the packet isn't there yet");
            if consumer.release(self.ring(), place).is_some() {
                self.room.notify();
            }
        }
    }
}

fn play(count: u8) {
    let memory = Memory::new();
    let other = memory.clone();
    let sender = thread::spawn(move || other.send(count));
    memory.receive(count);
    sender.join().unwrap();
}

/// As many as fit.
pub fn two_packets() {
    play(2);
}

/// One more than fits.
pub fn three_packets() {
    play(3);
}
