// SPDX-License-Identifier: MIT OR Apache-2.0

//! Free and used frames of application memory, by pool offset.
//!
//! Memory comes in blocks of 2 MiB, each free, wholly used, or cut into small frames. Partly used blocks are
//! used up first, so that whole ones stay for large pages. All operations take constant time.
//!
//! A frame that Linux may still write to is held back when it is given back: because a forwarded call is on its way, until
//! that is done; because one had not come back when its application ended, until the application's slot is used again:
//! then the old proxy's mapping is gone.

use alloc::vec::Vec;
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::paging::Size;
use spin::{Mutex, Once};

const NONE: u32 = u32::MAX;
const SMALL_PER_BLOCK: u16 = 512;

#[derive(Clone, Copy, Debug)]
struct Block {
    /// One bit per small frame: used.
    bits: [u64; 8],
    used: u16,
    previous: u32,
    next: u32,
}

/// A list of blocks, linked by their indices.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
}

/// All frames.
#[derive(Debug)]
pub struct Frames {
    blocks: Vec<Block>,
    free: List,
    partial: List,
    used: u64,
    pinned: Vec<Pin>,
    held: Vec<Held>,
}

/// For whom a range is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinner {
    /// The proxy of a slot may still write to it.
    Slot(usize),
    /// The proxy works on a call of the thread with this serial number.
    Call(u64),
}

#[derive(Clone, Copy, Debug)]
struct Pin {
    by: Pinner,
    start: u64,
    end: u64,
}

/// A frame that was given back while it was pinned.
#[derive(Clone, Copy, Debug)]
struct Held {
    by: Pinner,
    offset: u64,
    size: Size,
}

/// The isle's frames, shared by all CPUs.
static FRAMES: Once<Mutex<Frames>> = Once::new();

/// Takes over all application memory, once.
pub fn init(len: u64) {
    FRAMES.call_once(|| Mutex::new(Frames::new(len)));
}

/// The isle's frames.
pub fn shared() -> &'static Mutex<Frames> {
    FRAMES.get().expect("CPU 0 makes it first")
}

impl Frames {
    /// `len` bytes, all free.
    pub fn new(len: u64) -> Self {
        let count = u32::try_from(len / LARGE_PAGE_SIZE).unwrap_or(NONE - 1);
        let block = Block { bits: [0; 8], used: 0, previous: NONE, next: NONE };
        let mut this = Self {
            blocks: alloc::vec![block; count as usize],
            free: List { first: NONE },
            partial: List { first: NONE },
            used: 0,
            pinned: Vec::new(),
            held: Vec::new(),
        };
        // The lowest comes first.
        for index in (0..count).rev() {
            this.free.push(&mut this.blocks, index);
        }
        this
    }

    /// Bytes in use, those that are held back included.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that are held back.
    pub fn held(&self) -> u64 {
        self.held.iter().map(|h| h.size.bytes()).sum()
    }

    /// From now on frames of a range are held back until [`release`](Self::release).
    pub fn pin(&mut self, by: Pinner, start: u64, len: u64) {
        self.pinned.push(Pin { by, start, end: start.saturating_add(len) });
    }

    /// Gives back what was held back for somebody.
    pub fn release(&mut self, by: Pinner) {
        self.pinned.retain(|p| p.by != by);
        for held in core::mem::take(&mut self.held) {
            if held.by == by {
                self.give(held.offset, held.size);
            } else {
                self.held.push(held);
            }
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.blocks.len() as u64 * LARGE_PAGE_SIZE
    }

    /// True if there is no memory at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes a frame; its contents are whatever they were.
    pub fn take(&mut self, size: Size) -> Option<u64> {
        let offset = match size {
            Size::Large => self.take_large(),
            Size::Small => self.take_small(),
        }?;
        self.used += size.bytes();
        Some(offset)
    }

    fn take_large(&mut self) -> Option<u64> {
        let index = self.free.pop(&mut self.blocks)?;
        let block = self.blocks.get_mut(index as usize)?;
        block.bits = [u64::MAX; 8];
        block.used = SMALL_PER_BLOCK;
        Some(u64::from(index) * LARGE_PAGE_SIZE)
    }

    fn take_small(&mut self) -> Option<u64> {
        if self.partial.first == NONE {
            let index = self.free.pop(&mut self.blocks)?;
            self.partial.push(&mut self.blocks, index);
        }
        let index = self.partial.first;
        let block = self.blocks.get_mut(index as usize)?;
        let (word, bits) = block.bits.iter_mut().enumerate().find(|(_, b)| **b != u64::MAX)?;
        let bit = bits.trailing_ones();
        *bits |= 1 << bit;
        block.used += 1;
        if block.used == SMALL_PER_BLOCK {
            self.partial.remove(&mut self.blocks, index);
        }
        Some(u64::from(index) * LARGE_PAGE_SIZE + (word as u64 * 64 + u64::from(bit)) * PAGE_SIZE)
    }

    /// Gives a frame back. A large one may come back as 512 small ones.
    ///
    /// # Panics
    ///
    /// If it isn't in use: somebody else might get the same memory twice.
    pub fn give(&mut self, offset: u64, size: Size) {
        let end = offset + size.bytes();
        if let Some(pin) = self.pinned.iter().find(|p| p.start < end && offset < p.end) {
            self.held.push(Held { by: pin.by, offset, size });
            return;
        }
        let index = (offset / LARGE_PAGE_SIZE) as u32;
        let block = &mut self.blocks[index as usize];
        let was = block.used;
        match size {
            Size::Large => {
                assert!(was == SMALL_PER_BLOCK, "a large frame was given back that wasn't taken");
                block.bits = [0; 8];
                block.used = 0;
            }
            Size::Small => {
                let frame = (offset % LARGE_PAGE_SIZE / PAGE_SIZE) as usize;
                let (word, bit) = (&mut block.bits[frame / 64], 1 << (frame % 64));
                assert!(*word & bit != 0, "a frame was given back that wasn't taken");
                *word &= !bit;
                block.used -= 1;
            }
        }
        let now = block.used;
        if now == 0 {
            if was != SMALL_PER_BLOCK {
                self.partial.remove(&mut self.blocks, index);
            }
            self.free.push(&mut self.blocks, index);
        } else if was == SMALL_PER_BLOCK {
            self.partial.push(&mut self.blocks, index);
        }
        self.used -= size.bytes();
    }
}

impl List {
    fn push(&mut self, blocks: &mut [Block], index: u32) {
        blocks[index as usize].previous = NONE;
        blocks[index as usize].next = self.first;
        if let Some(first) = blocks.get_mut(self.first as usize) {
            first.previous = index;
        }
        self.first = index;
    }

    fn remove(&mut self, blocks: &mut [Block], index: u32) {
        let Block { previous, next, .. } = blocks[index as usize];
        match blocks.get_mut(previous as usize) {
            Some(block) => block.next = next,
            None => self.first = next,
        }
        if let Some(block) = blocks.get_mut(next as usize) {
            block.previous = previous;
        }
    }

    fn pop(&mut self, blocks: &mut [Block]) -> Option<u32> {
        let index = self.first;
        (index != NONE).then(|| {
            self.remove(blocks, index);
            index
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const BLOCKS: u64 = 4;

    #[test]
    fn small_frames_fill_one_block_first() {
        let mut frames = Frames::new(BLOCKS * LARGE_PAGE_SIZE);
        let all: BTreeSet<_> = (0..512).map(|_| frames.take(Size::Small).unwrap()).collect();
        assert_eq!(all.len(), 512);
        assert!(all.iter().all(|o| *o < LARGE_PAGE_SIZE));
        for _ in 1..BLOCKS {
            assert!(frames.take(Size::Large).is_some());
        }
        assert_eq!(frames.take(Size::Small), None);
        assert_eq!(frames.used(), frames.len());
    }

    #[test]
    #[should_panic(expected = "wasn't taken")]
    fn nothing_is_given_back_twice() {
        let mut frames = Frames::new(BLOCKS * LARGE_PAGE_SIZE);
        let a = frames.take(Size::Small).unwrap();
        frames.take(Size::Small).unwrap();
        frames.give(a, Size::Small);
        frames.give(a, Size::Small);
    }

    #[test]
    fn pinned_frames_wait_for_their_slot() {
        let mut frames = Frames::new(BLOCKS * LARGE_PAGE_SIZE);
        let (a, b) = (frames.take(Size::Small).unwrap(), frames.take(Size::Small).unwrap());
        let large = frames.take(Size::Large).unwrap();
        frames.pin(Pinner::Slot(3), b + 100, 10);
        frames.pin(Pinner::Call(4), large + LARGE_PAGE_SIZE - 1, 5);
        for offset in [a, b] {
            frames.give(offset, Size::Small);
        }
        frames.give(large, Size::Large);
        assert_eq!((frames.held(), frames.used()), (LARGE_PAGE_SIZE + PAGE_SIZE, LARGE_PAGE_SIZE + PAGE_SIZE));
        assert_eq!(frames.take(Size::Small), Some(a));
        assert_ne!(frames.take(Size::Small), Some(b), "not while its proxy lives");
        frames.release(Pinner::Slot(3));
        assert_eq!(frames.held(), LARGE_PAGE_SIZE);
        frames.release(Pinner::Call(4));
        assert_eq!((frames.held(), frames.used()), (0, 2 * PAGE_SIZE));
    }

    proptest! {
        #[test]
        fn frames_never_overlap(steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..3000)) {
            let mut frames = Frames::new(BLOCKS * LARGE_PAGE_SIZE);
            let mut large: Vec<u64> = Vec::new();
            let mut small: Vec<u64> = Vec::new();
            for (step, index) in steps {
                match step {
                    0 => large.extend(frames.take(Size::Large)),
                    1 => small.extend(frames.take(Size::Small)),
                    2 if !large.is_empty() => {
                        let offset = large.swap_remove(index.index(large.len()));
                        if index.index(2) == 0 {
                            frames.give(offset, Size::Large);
                        } else {
                            // Split, as an unmapping in its middle does.
                            small.extend((0..512).map(|i| offset + i * PAGE_SIZE));
                        }
                    }
                    3 if !small.is_empty() => {
                        frames.give(small.swap_remove(index.index(small.len())), Size::Small);
                    }
                    _ => {}
                }
                let used = large.len() as u64 * LARGE_PAGE_SIZE + small.len() as u64 * PAGE_SIZE;
                prop_assert_eq!(frames.used(), used);
            }
            let mut pages = BTreeSet::new();
            for page in large.iter().flat_map(|o| (0..512).map(move |i| o + i * PAGE_SIZE)).chain(small.iter().copied()) {
                prop_assert!(pages.insert(page) && page < frames.len());
            }
            for offset in large {
                frames.give(offset, Size::Large);
            }
            for offset in small {
                frames.give(offset, Size::Small);
            }
            prop_assert_eq!(frames.used(), 0);
            for _ in 0..BLOCKS {
                prop_assert!(frames.take(Size::Large).is_some());
            }
        }
    }
}
