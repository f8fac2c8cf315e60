// SPDX-License-Identifier: MIT OR Apache-2.0

//! A ring of packets in shared memory: one side puts them in, the other takes them out.
//!
//! A ring is a power of two of words. Positions count words since the ring was made; the word at position `p` is word `p` modulo
//! the ring's length. A packet is a word with its length in bytes and as many words as that takes, so it may go on
//! at the ring's start.
//!
//! Each side has its own [`Side`], which the other only reads, and keeps its own position to itself as well: what it reads back
//! from shared memory is the other side's word alone, and that is checked. One that makes no sense is [`Broken`]: the ring is
//! of no use any more, and whoever finds out stops to use it.
//!
//! Who wants to sleep says so in its `waits`, then looks once more; who has news writes its position, then looks at the
//! other's `waits`: all SeqCst, so one of them sees the other. `waits` has a new number each time (a *ticket*), so
//! that nobody is rung for twice for the same sleep, and says nothing while its writer looks by itself.
//!
//! | who sleeps | until | who rings |
//! |---|---|---|
//! | the consumer | there is a packet | the producer, in [`Producer::publish`] |
//! | the producer, as the ring was full | half of the ring is free | the consumer, in [`Consumer::release`] |
//!
//! `isle-kernel/abi/model` includes this very file with loom's atomics and tries the interleavings.

use super::atomic::{AtomicU64, Ordering};

/// Longest packet: an Ethernet header and 65535 bytes.
pub const MAX_PACKET: usize = 14 + 65535;
/// Shortest packet: an Ethernet header.
pub const MIN_PACKET: usize = 14;

/// What one side writes and the other reads. Two cache lines, since processors fetch pairs of them.
#[repr(C, align(128))]
pub struct Side {
    /// Words that this side is through with: filled by the producer, emptied by the consumer.
    pub position: AtomicU64,
    /// A ticket in the upper half; in the lower half 0 while this side looks by itself, else whom to ring (its own numbers).
    pub waits: AtomicU64,
}

/// The other side has written nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Why a packet can't be put into a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    Broken,
}

/// A ring as both sides see it.
#[derive(Clone, Copy)]
pub struct Ring<'a> {
    pub producer: &'a Side,
    pub consumer: &'a Side,
    /// A power of two.
    pub words: &'a [AtomicU64],
}

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of its first word, behind the length.
    start: u64,
    /// Its length in bytes.
    pub len: usize,
}

/// Words that the bytes of a packet take.
const fn data_words(len: usize) -> u64 {
    (len as u64).div_ceil(8)
}

/// Words that a packet takes.
const fn words_of(len: usize) -> u64 {
    data_words(len).saturating_add(1)
}

impl Ring<'_> {
    fn len(&self) -> u64 {
        self.words.len() as u64
    }

    fn word(&self, position: u64) -> Option<&AtomicU64> {
        self.words.get((position & self.len().wrapping_sub(1)) as usize)
    }

    /// The words from a position on: those up to the ring's end, then from its start.
    fn parts(&self, position: u64) -> [&[AtomicU64]; 2] {
        let start = (position & self.len().wrapping_sub(1)) as usize;
        [self.words.get(start..).unwrap_or(&[]), self.words]
    }

    /// Copies a packet out. `to` has its length.
    pub fn read(&self, place: Place, to: &mut [u8]) {
        self.reader(place).pull(to);
    }

    /// Copies a packet in. `from` has its length.
    pub fn write(&self, place: Place, from: &[u8]) {
        let mut writer = self.writer(place);
        writer.push(from);
        writer.finish();
    }
}

impl<'a> Ring<'a> {
    /// For a packet that is copied out in parts.
    pub fn reader(&self, place: Place) -> Reader<'a> {
        Reader { ring: *self, position: place.start, rest: [0; 8], left: 0 }
    }

    /// For a packet that is copied in, in parts.
    pub fn writer(&self, place: Place) -> Writer<'a> {
        Writer { ring: *self, position: place.start, left: data_words(place.len) as usize, partial: 0, bits: 0 }
    }
}

/// Copies a packet out of a ring, from its first byte on.
pub struct Reader<'a> {
    ring: Ring<'a>,
    /// Of the next word.
    position: u64,
    /// The last `left` of these are bytes of the word before.
    rest: [u8; 8],
    left: usize,
}

impl Reader<'_> {
    /// Copies the next bytes out.
    pub fn pull(&mut self, to: &mut [u8]) {
        let (first, to) = to.split_at_mut(self.left.min(to.len()));
        let begin = 8usize.saturating_sub(self.left);
        for (to, from) in first.iter_mut().zip(self.rest.iter().skip(begin)) {
            *to = *from;
        }
        self.left = self.left.saturating_sub(first.len());
        let mut chunks = to.chunks_exact_mut(8);
        for part in self.ring.parts(self.position) {
            let mut count = 0u64;
            for (word, chunk) in part.iter().zip(&mut chunks) {
                chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
                count = count.wrapping_add(1);
            }
            self.position = self.position.wrapping_add(count);
        }
        let last = chunks.into_remainder();
        if !last.is_empty() {
            let word = self.ring.word(self.position).map_or(0, |w| w.load(Ordering::Relaxed));
            self.position = self.position.wrapping_add(1);
            self.rest = word.to_le_bytes();
            self.left = 8usize.saturating_sub(last.len());
            for (to, from) in last.iter_mut().zip(self.rest) {
                *to = from;
            }
        }
    }
}

/// Copies a packet into a ring, from its first byte on. What is too much for it is left out.
pub struct Writer<'a> {
    ring: Ring<'a>,
    /// Of the next word, and how many there are.
    position: u64,
    left: usize,
    /// Bits that don't fill a word yet, and how many.
    partial: u64,
    bits: u32,
}

impl Writer<'_> {
    /// Copies eight bytes for each word, of which the lowest comes first.
    pub fn words(&mut self, words: impl Iterator<Item = u64>) {
        let (bits, mut partial, mut left) = (self.bits, self.partial, self.left);
        let mut words = words;
        for part in self.ring.parts(self.position) {
            let before = left;
            for (word, new) in part.get(..left).unwrap_or(part).iter().zip(&mut words) {
                word.store(partial | new.wrapping_shl(bits), Ordering::Relaxed);
                partial = new.checked_shr(64u32.wrapping_sub(bits)).unwrap_or(0);
                left = left.wrapping_sub(1);
            }
            self.position = self.position.wrapping_add(before.wrapping_sub(left) as u64);
        }
        (self.partial, self.left) = (partial, left);
    }

    pub fn byte(&mut self, byte: u8) {
        self.partial |= u64::from(byte).wrapping_shl(self.bits);
        self.bits = self.bits.wrapping_add(8);
        if self.bits == 64 {
            self.store();
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let chunks = bytes.chunks_exact(8);
        let last = chunks.remainder();
        self.words(chunks.map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default())));
        last.iter().for_each(|byte| self.byte(*byte));
    }

    /// Stores what doesn't fill a word.
    pub fn finish(mut self) {
        if self.bits > 0 {
            self.store();
        }
    }

    fn store(&mut self) {
        if let (Some(word), Some(left)) = (self.ring.word(self.position), self.left.checked_sub(1)) {
            word.store(self.partial, Ordering::Relaxed);
            self.left = left;
        }
        self.position = self.position.wrapping_add(1);
        (self.partial, self.bits) = (0, 0);
    }
}

impl Ring<'_> {
    /// The Ethernet header of a packet.
    pub fn header(&self, place: Place) -> [u8; MIN_PACKET] {
        let mut header = [0; MIN_PACKET];
        self.read(Place { len: MIN_PACKET, ..place }, &mut header);
        header
    }

    /// Copies a packet in that is in another ring and has the same length.
    pub fn copy(&self, place: Place, from: Ring<'_>, from_place: Place) {
        for offset in 0..data_words(place.len) {
            let word = from.word(from_place.start.wrapping_add(offset)).map_or(0, |w| w.load(Ordering::Relaxed));
            if let Some(to) = self.word(place.start.wrapping_add(offset)) {
                to.store(word, Ordering::Relaxed);
            }
        }
    }
}

/// How one side sleeps and rings.
#[derive(Debug, Default)]
struct Bell {
    /// Tickets that it has used for its own sleeps.
    tickets: u32,
    /// The other's ticket that it has rung for.
    rung: u64,
}

impl Bell {
    /// From now on this side has to be rung at `whom` (not 0).
    fn sleep(&mut self, own: &Side, whom: u32) {
        self.tickets = self.tickets.wrapping_add(1);
        own.waits.store(u64::from(self.tickets) << 32 | u64::from(whom), Ordering::SeqCst);
    }

    /// From now on this side looks by itself.
    fn look(own: &Side) {
        if own.waits.load(Ordering::Relaxed) as u32 != 0 {
            own.waits.store(0, Ordering::Relaxed);
        }
    }

    /// Whom to ring, after this side has written its position.
    fn whom(&mut self, other: &Side) -> Option<u32> {
        let waits = other.waits.load(Ordering::SeqCst);
        if waits as u32 == 0 || waits == self.rung {
            return None;
        }
        self.rung = waits;
        Some(waits as u32)
    }
}

/// The side that puts packets in. One for each ring.
#[derive(Debug, Default)]
pub struct Producer {
    head: u64,
    bell: Bell,
}

impl Producer {
    /// Words that are free.
    fn room(&self, ring: Ring<'_>) -> Result<u64, Broken> {
        let used = self.head.wrapping_sub(ring.consumer.position.load(Ordering::SeqCst));
        ring.len().checked_sub(used).ok_or(Broken)
    }

    /// Room for a packet, which is put there before it is published. Nothing else is reserved meanwhile.
    pub fn reserve(&self, ring: Ring<'_>, len: usize) -> Result<Place, Refused> {
        let room = self.room(ring).map_err(|Broken| Refused::Broken)?;
        if words_of(len) > room {
            return Err(Refused::Full);
        }
        Ok(Place { start: self.head.wrapping_add(1), len })
    }

    /// Hands a packet over. Returns whom to ring.
    #[must_use]
    pub fn publish(&mut self, ring: Ring<'_>, place: Place) -> Option<u32> {
        if let Some(word) = ring.word(self.head) {
            word.store(place.len as u64, Ordering::Relaxed);
        }
        self.head = self.head.wrapping_add(words_of(place.len));
        ring.producer.position.store(self.head, Ordering::SeqCst);
        self.bell.whom(ring.consumer)
    }

    /// Asks to be rung at `whom` (not 0) when half of the ring is free. False: it is, or the ring is broken, go on.
    #[must_use]
    pub fn wait_for_room(&mut self, ring: Ring<'_>, whom: u32) -> bool {
        self.bell.sleep(ring.producer, whom);
        let waits = self.room(ring).is_ok_and(|room| room < ring.len() / 2);
        if !waits {
            Bell::look(ring.producer);
        }
        waits
    }

    /// Whether half of the ring is free; then it doesn't wait for that any more.
    pub fn has_room(&self, ring: Ring<'_>) -> bool {
        let has = !self.room(ring).is_ok_and(|room| room < ring.len() / 2);
        if has {
            Bell::look(ring.producer);
        }
        has
    }
}

/// The side that takes packets out. One for each ring.
#[derive(Debug, Default)]
pub struct Consumer {
    tail: u64,
    bell: Bell,
}

impl Consumer {
    /// The next packet, if there is one.
    pub fn next(&self, ring: Ring<'_>) -> Result<Option<Place>, Broken> {
        let there = ring.producer.position.load(Ordering::SeqCst).wrapping_sub(self.tail);
        if there == 0 {
            return Ok(None);
        }
        let len = ring.word(self.tail).map_or(0, |w| w.load(Ordering::Relaxed));
        if there > ring.len() || len < MIN_PACKET as u64 || len > MAX_PACKET as u64 || words_of(len as usize) > there {
            return Err(Broken);
        }
        Ok(Some(Place { start: self.tail.wrapping_add(1), len: len as usize }))
    }

    /// Gives back the room of the packet that was next. Returns whom to ring.
    #[must_use]
    pub fn release(&mut self, ring: Ring<'_>, place: Place) -> Option<u32> {
        self.tail = place.start.wrapping_add(data_words(place.len));
        ring.consumer.position.store(self.tail, Ordering::SeqCst);
        let left = ring.producer.position.load(Ordering::Relaxed).wrapping_sub(self.tail);
        if left > ring.len() / 2 {
            return None;
        }
        self.bell.whom(ring.producer)
    }

    /// Asks to be rung at `whom` (not 0) when there is a packet. True: there is none yet, it may sleep; else it must look first.
    #[must_use]
    pub fn sleep(&mut self, ring: Ring<'_>, whom: u32) -> bool {
        self.bell.sleep(ring.consumer, whom);
        ring.producer.position.load(Ordering::SeqCst) == self.tail
    }

    /// From now on packets come without a ring.
    pub fn look(&self, ring: Ring<'_>) {
        Bell::look(ring.consumer);
    }

    /// Whether there is something to look at, maybe nonsense.
    pub fn has_news(&self, ring: Ring<'_>) -> bool {
        ring.producer.position.load(Ordering::Relaxed) != self.tail
    }
}
