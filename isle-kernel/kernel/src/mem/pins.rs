// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ranges of application memory that Linux may be writing to: the buffers of calls that are on their way.
//!
//! Each call has a chain of them, by which they go again at once. How many there are in a block of 2 MiB is counted, so that
//! they need not be looked through for the many frames that are nowhere near one.

use crate::errno::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use hermit_plat::abi::LARGE_PAGE_SIZE;
use hermit_plat::paging::Size;

const NONE: u32 = u32::MAX;

/// A range, or a place for one.
#[derive(Clone, Copy, Debug)]
struct Pin {
    start: u64,
    /// Where this is the start, the place is free.
    end: u64,
    /// The next one of its chain.
    next: u32,
}

/// Some pins; whoever has it gives them back.
#[derive(Debug)]
#[must_use]
pub struct Chain {
    first: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE }
    }
}

impl Chain {
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Pins {
    all: Vec<Pin>,
    free: Chain,
    /// How many are in a block.
    counts: Vec<u32>,
    /// What was left to the proxies of slots.
    slots: Vec<Chain>,
}

/// The blocks of a range.
fn blocks(start: u64, end: u64) -> Range<usize> {
    (start / LARGE_PAGE_SIZE) as usize..end.div_ceil(LARGE_PAGE_SIZE) as usize
}

impl Pins {
    /// None, for memory of so many blocks.
    pub fn new(blocks: usize) -> Self {
        Self { all: Vec::new(), free: Chain::default(), counts: alloc::vec![0; blocks], slots: Vec::new() }
    }

    fn count(&mut self, blocks: Range<usize>, by: i32) {
        for count in self.counts.get_mut(blocks).into_iter().flatten() {
            *count = count.saturating_add_signed(by);
        }
    }

    /// Adds a range to the front of a chain.
    pub fn add(&mut self, chain: &mut Chain, start: u64, len: u64) -> Result<(), Errno> {
        let end = start.saturating_add(len);
        let is_inside = len > 0 && end.div_ceil(LARGE_PAGE_SIZE) <= self.counts.len() as u64;
        if !is_inside {
            return Err(Errno::EFAULT);
        }
        if self.free.is_empty() {
            super::reserve(&mut self.all, 1)?;
            self.add_place();
        }
        let index = self.free.first;
        let Some(pin) = self.all.get_mut(index as usize) else { return Err(Errno::ENOMEM) };
        self.free.first = pin.next;
        *pin = Pin { start, end, next: chain.first };
        chain.first = index;
        self.count(blocks(start, end), 1);
        Ok(())
    }

    /// Makes the range at the front of a chain longer.
    pub fn extend(&mut self, chain: &Chain, len: u64) {
        let Some(pin) = self.all.get_mut(chain.first as usize) else { return };
        let (start, end) = (pin.start, pin.end);
        pin.end = end.saturating_add(len);
        let (before, after) = (blocks(start, end), blocks(start, end.saturating_add(len)));
        self.count(before.end..after.end.min(self.counts.len()), 1);
    }

    /// Removes the range at the front of a chain; returns its limits.
    pub fn remove(&mut self, chain: &mut Chain) -> Option<(u64, u64)> {
        let index = chain.first;
        let pin = self.all.get_mut(index as usize)?;
        let (start, end) = (pin.start, pin.end);
        chain.first = pin.next;
        *pin = Pin { start, end: start, next: self.free.first };
        self.free.first = index;
        self.count(blocks(start, end), -1);
        Some((start, end))
    }

    /// Adds a range to what is left to the proxy of a slot: without kernel memory a wider one takes the place of another.
    pub fn leave_to(&mut self, slot: usize, start: u64, len: u64) {
        while self.slots.len() <= slot {
            // As many as there are CPUs, at most.
            self.slots.push(Chain::default());
        }
        let mut chain = self.of_slot(slot);
        if self.add(&mut chain, start, len).is_err() {
            let (low, high) = match self.remove(&mut chain) {
                Some(other) => other,
                None => {
                    self.add_place();
                    (start, start)
                }
            };
            let (low, high) = (low.min(start), high.max(start.saturating_add(len)));
            let added = self.add(&mut chain, low, high - low);
            debug_assert!(added.is_ok(), "there is a place, and both ranges are application memory");
        }
        if let Some(left) = self.slots.get_mut(slot) {
            *left = chain;
        }
    }

    /// A free place more.
    fn add_place(&mut self) {
        self.all.push(Pin { start: 0, end: 0, next: self.free.first });
        self.free.first = (self.all.len() - 1) as u32;
    }

    /// Takes what was left to a slot.
    pub fn of_slot(&mut self, slot: usize) -> Chain {
        self.slots.get_mut(slot).map(core::mem::take).unwrap_or_default()
    }

    /// True if something of a frame is pinned.
    pub fn has(&self, offset: u64, size: Size) -> bool {
        let end = offset + size.bytes();
        let is_near = self.counts.get(blocks(offset, end)).is_some_and(|counts| counts.iter().any(|count| *count > 0));
        is_near && self.all.iter().any(|pin| pin.start < end && offset < pin.end && pin.start < pin.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hermit_plat::abi::PAGE_SIZE;
    use hermit_plat::scarcity::Scarcity;

    #[test]
    fn pins_are_found_and_go_by_their_chain() {
        let mut pins = Pins::new(4);
        let (mut a, mut b) = (Chain::default(), Chain::default());
        pins.add(&mut a, 100, 10).unwrap();
        pins.add(&mut b, LARGE_PAGE_SIZE - 1, 2).unwrap();
        pins.add(&mut a, 3 * LARGE_PAGE_SIZE, 1).unwrap();
        assert_eq!(pins.counts, [2, 1, 0, 1]);
        assert!(
            pins.has(0, Size::Small) && !pins.has(PAGE_SIZE, Size::Small) && pins.has(LARGE_PAGE_SIZE, Size::Large)
        );
        assert_eq!(pins.remove(&mut a), Some((3 * LARGE_PAGE_SIZE, 3 * LARGE_PAGE_SIZE + 1)));
        assert_eq!((pins.remove(&mut a), pins.remove(&mut a)), (Some((100, 110)), None));
        assert!(!pins.has(0, Size::Small) && pins.has(0, Size::Large));
        // Places are used again.
        pins.add(&mut a, 0, 1).unwrap();
        pins.extend(&a, 2 * LARGE_PAGE_SIZE);
        assert_eq!((pins.all.len(), pins.counts.as_slice()), (3, [2, 2, 1, 0].as_slice()));
        for bad in [(4 * LARGE_PAGE_SIZE, 1), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(pins.add(&mut a, bad.0, bad.1), Err(Errno::EFAULT));
        }
        assert!(pins.remove(&mut a).is_some() && pins.remove(&mut b).is_some());
        assert_eq!(pins.counts, [0; 4]);
    }

    #[test]
    fn without_kernel_memory_calls_are_refused_but_nothing_that_is_left_is_forgotten() {
        let mut pins = Pins::new(4);
        let mut a = Chain::default();
        let scarcity = Scarcity::begin();
        assert_eq!(pins.add(&mut a, 0, 1), Err(Errno::ENOMEM));
        for start in [LARGE_PAGE_SIZE, 3 * LARGE_PAGE_SIZE] {
            pins.leave_to(2, start, 5);
            assert!(pins.has(start, Size::Small));
            // What room came along goes to others.
            while pins.add(&mut a, 0, 1).is_ok() {}
        }
        drop(scarcity);
        assert!(pins.has(2 * LARGE_PAGE_SIZE, Size::Large), "a little more than was said");
        while pins.remove(&mut a).is_some() {}
        assert_eq!(pins.counts, [0, 1, 1, 1]);
        let mut left = pins.of_slot(2);
        assert!(pins.remove(&mut left).is_some() && pins.of_slot(2).is_empty());
        assert_eq!(pins.counts, [0; 4]);
    }
}
