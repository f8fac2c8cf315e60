// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames that belong to several owners: how many there are beside the first. Counted for small frames; a large
//! one is 512 of them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::paging::Size;

const PER_BLOCK: usize = (LARGE_PAGE_SIZE / PAGE_SIZE) as usize;

/// The counts of a block of 2 MiB, and their sum.
#[derive(Debug)]
struct Counts {
    more: [u16; PER_BLOCK],
    sum: u32,
}

/// What becomes of a frame that an owner gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// That was its last owner.
    Free,
    /// Others have it.
    Kept,
    /// Of a large one: small frames are to be given back one by one.
    Mixed,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Shares {
    /// By block; made when they are needed.
    blocks: Vec<Option<Box<Counts>>>,
    /// Sum of all.
    sum: u64,
}

/// The block of a frame, and which of its small frames belong to it.
fn place(offset: u64, size: Size) -> (usize, core::ops::Range<usize>) {
    let first = (offset % LARGE_PAGE_SIZE / PAGE_SIZE) as usize;
    let count = match size {
        Size::Small => 1,
        _ => PER_BLOCK,
    };
    ((offset / LARGE_PAGE_SIZE) as usize, first..(first + count).min(PER_BLOCK))
}

impl Shares {
    /// For so many blocks.
    pub fn new(blocks: usize) -> Self {
        Self { blocks: core::iter::repeat_with(|| None).take(blocks).collect(), sum: 0 }
    }

    fn counts(&self, offset: u64, size: Size) -> Option<&[u16]> {
        let (block, frames) = place(offset, size);
        self.blocks.get(block)?.as_ref()?.more.get(frames)
    }

    /// Counts one more owner of a frame of 4 KiB or 2 MiB; false if that isn't possible.
    pub fn add(&mut self, offset: u64, size: Size) -> bool {
        if self.counts(offset, size).is_some_and(|counts| counts.contains(&u16::MAX)) {
            return false;
        }
        let (block, frames) = place(offset, size);
        let Some(counts) = self.blocks.get_mut(block) else { return false };
        if counts.is_none() {
            if super::is_scarce(size_of::<Counts>()) {
                return false;
            }
            *counts = Some(Box::new(Counts { more: [0; PER_BLOCK], sum: 0 }));
        }
        let Some(counts) = counts else { return false };
        let Some(more) = counts.more.get_mut(frames) else { return false };
        let added = more.len() as u32;
        more.iter_mut().for_each(|count| *count += 1);
        counts.sum += added;
        self.sum += u64::from(added);
        true
    }

    /// True if a frame, or any part of it, has more than one owner.
    pub fn has(&self, offset: u64, size: Size) -> bool {
        self.sum > 0 && self.counts(offset, size).is_some_and(|counts| counts.iter().any(|count| *count > 0))
    }

    /// Counts one owner less of a frame of 4 KiB or 2 MiB.
    pub fn remove(&mut self, offset: u64, size: Size) -> Given {
        if self.sum == 0 {
            return Given::Free;
        }
        let Some(counts) = self.counts(offset, size) else { return Given::Free };
        let shared = counts.iter().filter(|count| **count > 0).count();
        match shared {
            0 => return Given::Free,
            shared if shared < counts.len() => return Given::Mixed,
            _ => {}
        }
        let (block, frames) = place(offset, size);
        if let Some(place) = self.blocks.get_mut(block) {
            if let Some(counts) = place {
                counts.more.get_mut(frames).into_iter().flatten().for_each(|count| *count -= 1);
                counts.sum -= shared as u32;
            }
            if place.as_ref().is_some_and(|counts| counts.sum == 0) {
                *place = None;
            }
        }
        self.sum -= shared as u64;
        Given::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_counted() {
        let mut shares = Shares::new(2);
        assert_eq!(shares.remove(0, Size::Small), Given::Free);
        assert!(shares.add(PAGE_SIZE, Size::Small) && shares.add(PAGE_SIZE, Size::Small));
        assert!(shares.has(PAGE_SIZE, Size::Small) && shares.has(0, Size::Large) && !shares.has(0, Size::Small));
        assert_eq!(shares.remove(0, Size::Large), Given::Mixed);
        assert_eq!([(); 3].map(|()| shares.remove(PAGE_SIZE, Size::Small)), [Given::Kept, Given::Kept, Given::Free]);
        assert!(shares.blocks.iter().all(Option::is_none) && shares.sum == 0);
        assert!(!shares.add(2 * LARGE_PAGE_SIZE, Size::Small), "there is no such block");
    }

    #[test]
    fn a_large_frame_is_its_small_ones() {
        let mut shares = Shares::new(2);
        assert!(shares.add(LARGE_PAGE_SIZE, Size::Large));
        assert_eq!(shares.remove(LARGE_PAGE_SIZE + 5 * PAGE_SIZE, Size::Small), Given::Kept);
        assert_eq!(shares.remove(LARGE_PAGE_SIZE, Size::Large), Given::Mixed);
        assert!(shares.add(LARGE_PAGE_SIZE + 5 * PAGE_SIZE, Size::Small));
        assert_eq!(shares.remove(LARGE_PAGE_SIZE, Size::Large), Given::Kept);
        assert_eq!(shares.remove(LARGE_PAGE_SIZE, Size::Large), Given::Free);
    }

    #[test]
    fn there_is_a_limit() {
        let mut shares = Shares::new(1);
        for _ in 0..u16::MAX {
            assert!(shares.add(0, Size::Small));
        }
        assert!(!shares.add(0, Size::Small) && !shares.add(0, Size::Large));
    }
}
