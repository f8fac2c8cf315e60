// SPDX-License-Identifier: MIT OR Apache-2.0

//! Free and used frames of application memory, by pool offset.
//!
//! Memory comes in blocks of 2 MiB, each free, wholly used, or cut into small frames. Partly used blocks are
//! used up first, so that whole ones stay for large pages, and those of GiBs that are partly used already, so that whole
//! GiBs stay. Operations look at no block but their own; the search for a free GiB looks at each GiB once.
//!
//! Applications get zeros. A frame is dirty once it has been taken, until somebody zeroes it: idle CPUs do that with
//! free blocks ([`clean`]), and who takes a frame that is still dirty does it itself ([`Taken::zero`]).
//!
//! A frame that Linux may still write to is pinned (`pins.rs`), and held back when it is given back: because a forwarded call
//! is on its way, until that is done; because one had not come back when its application ended, until the application's slot
//! is used again: then the old proxy's mapping is gone. It stays used meanwhile, and a bit says that it is free but for that.

use super::groups::{self, Groups, Links, List};
use super::pins::{Chain, Pins};
use super::shares::{Given, Shares};
use crate::errno::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::app_memory::{self, Outside};
use hermit_plat::paging::{Size, Wanted};
use spin::{Mutex, Once};

const SMALL_PER_BLOCK: u16 = 512;

/// Frames that an idle CPU zeroes before it looks whether it has something better to do: 16 KiB.
const CLEANED_AT_ONCE: usize = 4;

/// One bit per small frame of a block.
type Bits = [u64; 8];
const NO_BITS: Bits = [0; 8];
const ALL_BITS: Bits = [u64::MAX; 8];

/// The first bits that are set without a gap, at or after a bit.
fn next_run(bits: &[u64], from: usize) -> Option<Range<usize>> {
    fn find(bits: &[u64], from: usize, invert: u64) -> Option<usize> {
        let mut mask = u64::MAX << (from % 64);
        bits.iter().enumerate().skip(from / 64).find_map(|(index, word)| {
            let found = (word ^ invert) & core::mem::replace(&mut mask, u64::MAX);
            (found != 0).then(|| index * 64 + found.trailing_zeros() as usize)
        })
    }
    let start = find(bits, from, 0)?;
    Some(start..find(bits, start, u64::MAX).unwrap_or(bits.len() * 64))
}

/// Zeroes some small frames of what begins at an offset.
fn zero_run(offset: u64, run: &Range<usize>) -> Result<(), Outside> {
    app_memory::get().zero(offset + run.start as u64 * PAGE_SIZE, run.len() as u64 * PAGE_SIZE)
}

/// Neighbouring frames that have been taken.
#[derive(Debug)]
pub struct Taken {
    /// Pool offset.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    dirty: Dirty,
}

/// Which small frames of what was taken aren't zero.
#[derive(Debug)]
enum Dirty {
    /// Of at most 64.
    Few(u64),
    /// Of a large frame: its block knows.
    Block,
}

impl Taken {
    /// Fills it with zeros, as far as it isn't.
    pub fn zero(&self) -> Result<(), Outside> {
        match &self.dirty {
            // As it mostly is.
            Dirty::Few(bits) if u64::from(bits.trailing_ones()) * PAGE_SIZE == self.len => {
                app_memory::get().zero(self.offset, self.len)
            }
            Dirty::Few(bits) => zero_runs(self.offset, core::slice::from_ref(bits)),
            Dirty::Block => {
                let bits = shared().lock().note_zeroing(self);
                zero_runs(self.offset, &bits)
            }
        }
    }
}

fn zero_runs(offset: u64, bits: &[u64]) -> Result<(), Outside> {
    let mut at = 0;
    while let Some(run) = next_run(bits, at) {
        zero_run(offset, &run)?;
        at = run.end;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Which of its frames are used.
    bits: Bits,
    /// Which are not known to be zero: all that are used are among them, once they are [`Taken::zero`]ed.
    dirty: Bits,
    /// Which of those that are used are held back.
    held: Bits,
    used: u16,
    /// An idle CPU has it.
    is_cleaned: bool,
    pub links: Links,
}

impl Block {
    pub fn is_clean(&self) -> bool {
        self.dirty == NO_BITS
    }
}

/// All frames.
#[derive(Debug)]
pub struct Frames {
    blocks: Vec<Block>,
    free: Groups,
    partial: List,
    used: u64,
    /// Free blocks that are being zeroed.
    cleaning: usize,
    /// Bytes that are held back.
    held: u64,
    pins: Pins,
    shares: Shares,
}

/// The isle's frames, shared by all CPUs.
static FRAMES: Once<Mutex<Frames>> = Once::new();

/// Takes over all application memory, once.
pub fn init(len: u64) {
    // The memory of a virtual machine is new, see `abi/machine.rs`.
    let dirty = if hermit_plat::shared::is_machine() { NO_BITS } else { ALL_BITS };
    FRAMES.call_once(|| Mutex::new(Frames::with(len, app_memory::get().aligned(Size::Huge), dirty)));
}

/// The isle's frames.
pub fn shared() -> &'static Mutex<Frames> {
    FRAMES.get().expect("CPU 0 makes it first")
}

/// Takes a large frame: the one that is wanted, if it is free, or else any.
pub fn take_large(wanted: Wanted) -> Option<Taken> {
    take(|frames| frames.take_large(wanted))
}

/// Takes small frames that are neighbours, as many as there are, up to `most`.
pub fn take_small(most: u64) -> Option<Taken> {
    take(|frames| frames.take_small(most))
}

fn take(from: impl Fn(&mut Frames) -> Option<Taken>) -> Option<Taken> {
    loop {
        let mut frames = shared().lock();
        let taken = from(&mut frames);
        if taken.is_some() || frames.cleaning == 0 {
            return taken;
        }
        // An idle CPU has the last block, or the one that is wanted, and gives it back soon.
        drop(frames);
        core::hint::spin_loop();
    }
}

/// Zeroes a free block, as long as nothing else is to be done; false if there was nothing to zero.
pub fn clean(go_on: impl Fn() -> bool) -> bool {
    let Some((index, mut dirty)) = shared().lock().take_dirty() else { return false };
    let offset = u64::from(index) * LARGE_PAGE_SIZE;
    while let Some(mut run) = next_run(&dirty, 0) {
        run.end = run.end.min(run.start + CLEANED_AT_ONCE);
        if !go_on() || zero_run(offset, &run).is_err() {
            break;
        }
        for at in run {
            dirty[at / 64] &= !(1 << (at % 64));
        }
    }
    shared().lock().give_cleaned(index, dirty);
    true
}

impl Frames {
    /// `len` bytes, all free. Pages of 1 GiB can be made of what begins at some offsets, given in ascending order.
    pub fn new(len: u64, gigabytes: impl Iterator<Item = u64>) -> Self {
        Self::with(len, gigabytes, ALL_BITS)
    }

    /// The same, where `dirty` says of each block what has to be zeroed.
    fn with(len: u64, gigabytes: impl Iterator<Item = u64>, dirty: Bits) -> Self {
        let count = u32::try_from(len / LARGE_PAGE_SIZE).unwrap_or(u32::MAX - 1);
        let block = Block { bits: NO_BITS, dirty, held: NO_BITS, used: 0, is_cleaned: false, links: Links::NONE };
        let mut blocks = alloc::vec![block; count as usize];
        Self {
            free: Groups::new(&mut blocks, gigabytes.map(|offset| (offset / LARGE_PAGE_SIZE) as u32)),
            blocks,
            partial: List::EMPTY,
            used: 0,
            cleaning: 0,
            held: 0,
            pins: Pins::new(count as usize),
            shares: Shares::new(count as usize),
        }
    }

    /// Takes a free block out that has to be zeroed: which one, and where.
    fn take_dirty(&mut self) -> Option<(u32, Bits)> {
        let index = self.free.pop_dirty(&mut self.blocks)?;
        self.cleaning += 1;
        let block = &mut self.blocks[index as usize];
        block.is_cleaned = true;
        Some((index, block.dirty))
    }

    /// Puts it back; `dirty` says what of it isn't zero yet.
    fn give_cleaned(&mut self, index: u32, dirty: Bits) {
        self.cleaning -= 1;
        let block = &mut self.blocks[index as usize];
        block.is_cleaned = false;
        block.dirty = dirty;
        self.free.give_back(&mut self.blocks, index);
    }

    /// Takes a block, if it is free.
    fn take_block(&mut self, index: u32) -> Option<u32> {
        self.blocks.get(index as usize).filter(|block| block.used == 0 && !block.is_cleaned)?;
        self.free.take(&mut self.blocks, index);
        Some(index)
    }

    /// The block that is wanted, if any is.
    fn wanted_block(&self, wanted: Wanted) -> Option<u32> {
        match wanted {
            Wanted::Anywhere => None,
            Wanted::At(offset) => u32::try_from(offset / LARGE_PAGE_SIZE).ok(),
            Wanted::Within(offset) => Some(self.free.whole().next()? + (offset / LARGE_PAGE_SIZE) as u32),
        }
    }

    /// Bytes in use, those that are held back included.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that are held back.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// From now on frames of a range are held back until [`release`](Self::release). ENOMEM: without kernel memory.
    pub fn pin(&mut self, chain: &mut Chain, start: u64, len: u64) -> Result<(), Errno> {
        self.pins.add(chain, start, len)
    }

    /// As [`pin`](Self::pin), right behind the last range.
    pub fn pin_more(&mut self, chain: &Chain, len: u64) {
        self.pins.extend(chain, len);
    }

    /// Pins a range until the slot is used again.
    pub fn leave_to(&mut self, slot: usize, start: u64, len: u64) {
        self.pins.leave_to(slot, start, len);
    }

    /// A slot is used again: nobody has what was left to it any more.
    pub fn release_slot(&mut self, slot: usize) {
        let mut chain = self.pins.of_slot(slot);
        self.release(&mut chain);
    }

    /// Gives back what was held back.
    pub fn release(&mut self, chain: &mut Chain) {
        while self.release_first(chain) {}
    }

    /// Gives back what was held back for the range that was added last; false if there is none.
    pub fn release_first(&mut self, chain: &mut Chain) -> bool {
        let Some((start, end)) = self.pins.remove(chain) else { return false };
        for index in start / LARGE_PAGE_SIZE..end.div_ceil(LARGE_PAGE_SIZE) {
            self.free_held(index, start, end);
        }
        true
    }

    /// Frees what is held back in a block from `start` to `end`, unless something else still has it pinned.
    fn free_held(&mut self, index: u64, start: u64, end: u64) {
        let held = self.blocks.get(index as usize).map_or(NO_BITS, |block| block.held);
        if held == NO_BITS {
            return;
        }
        let base = index * LARGE_PAGE_SIZE;
        let is_free = !self.pins.has(base, Size::Large);
        match held {
            ALL_BITS if is_free => self.free_again(base, Size::Large),
            _ => {
                let mut at = 0;
                while let Some(run) = next_run(&held, at) {
                    at = run.end;
                    for offset in run.map(|frame| base + frame as u64 * PAGE_SIZE) {
                        // All of it, where nothing of the block is pinned: it may have been held back as one.
                        let was_pinned = offset < end && start < offset + PAGE_SIZE;
                        if is_free || (was_pinned && !self.pins.has(offset, Size::Small)) {
                            self.free_again(offset, Size::Small);
                        }
                    }
                }
            }
        }
    }

    /// Frees a frame that was held back.
    fn free_again(&mut self, offset: u64, size: Size) {
        self.set_held(offset, size, false);
        self.free(offset, size);
    }

    /// Says of a frame that it is held back, or no longer.
    fn set_held(&mut self, offset: u64, size: Size, is_held: bool) {
        let Some(block) = self.blocks.get_mut((offset / LARGE_PAGE_SIZE) as usize) else { return };
        match size {
            Size::Small => {
                let frame = (offset % LARGE_PAGE_SIZE / PAGE_SIZE) as usize;
                let (word, bit) = (&mut block.held[frame / 64], 1 << (frame % 64));
                assert!(is_held != (*word & bit != 0), "a frame was given back twice");
                *word ^= bit;
            }
            _ => block.held = if is_held { ALL_BITS } else { NO_BITS },
        }
        if is_held {
            self.held += size.bytes();
        } else {
            self.held -= size.bytes();
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

    fn take_large(&mut self, wanted: Wanted) -> Option<Taken> {
        let wanted = self.wanted_block(wanted);
        if wanted.and_then(|index| self.blocks.get(index as usize)).is_some_and(|block| block.is_cleaned) {
            // It can be had soon.
            return None;
        }
        let index = wanted.and_then(|index| self.take_block(index)).or_else(|| self.free.pop(&mut self.blocks))?;
        let block = self.blocks.get_mut(index as usize)?;
        block.bits = ALL_BITS;
        block.used = SMALL_PER_BLOCK;
        self.used += LARGE_PAGE_SIZE;
        Some(Taken { offset: u64::from(index) * LARGE_PAGE_SIZE, len: LARGE_PAGE_SIZE, dirty: Dirty::Block })
    }

    /// What of a large frame has to be zeroed. It is dirty from now on.
    fn note_zeroing(&mut self, taken: &Taken) -> Bits {
        let index = (taken.offset / LARGE_PAGE_SIZE) as usize;
        self.blocks.get_mut(index).map_or(ALL_BITS, |block| core::mem::replace(&mut block.dirty, ALL_BITS))
    }

    fn take_small(&mut self, most: u64) -> Option<Taken> {
        let index = match self.partial.first() {
            Some(index) => index,
            None => {
                let index = self.free.pop(&mut self.blocks)?;
                self.partial.push(&mut self.blocks, index);
                index
            }
        };
        let block = self.blocks.get_mut(index as usize)?;
        let (word, bits) = block.bits.iter_mut().enumerate().find(|(_, b)| **b != u64::MAX)?;
        let bit = bits.trailing_ones();
        let count = (*bits >> bit).trailing_zeros().min(64 - bit).min(most.clamp(1, 64) as u32);
        let mask = (u64::MAX >> (64 - count)) << bit;
        *bits |= mask;
        let dirty = (block.dirty[word] & mask) >> bit;
        block.dirty[word] |= mask;
        block.used += count as u16;
        if block.used == SMALL_PER_BLOCK {
            self.partial.remove(&mut self.blocks, index);
        }
        let offset = u64::from(index) * LARGE_PAGE_SIZE + (word as u64 * 64 + u64::from(bit)) * PAGE_SIZE;
        let len = u64::from(count) * PAGE_SIZE;
        self.used += len;
        Some(Taken { offset, len, dirty: Dirty::Few(dirty) })
    }

    /// Counts one more owner of a frame that is in use: it has to be given back once more. False if that isn't possible.
    pub fn share(&mut self, offset: u64, size: Size) -> bool {
        match size {
            Size::Huge => {
                let parts = || (0..u64::from(groups::BLOCKS)).map(|at| offset + at * LARGE_PAGE_SIZE);
                let shared = parts().take_while(|at| self.shares.add(*at, Size::Large)).count();
                let all = shared == groups::BLOCKS as usize;
                if !all {
                    for at in parts().take(shared) {
                        self.shares.remove(at, Size::Large);
                    }
                }
                all
            }
            size => self.shares.add(offset, size),
        }
    }

    /// True if a frame, or a part of it, has more than one owner.
    pub fn is_shared(&self, offset: u64, size: Size) -> bool {
        match size {
            Size::Huge => {
                (0..u64::from(groups::BLOCKS)).any(|at| self.shares.has(offset + at * LARGE_PAGE_SIZE, Size::Large))
            }
            size => self.shares.has(offset, size),
        }
    }

    /// True if Linux may be writing to a part of a frame.
    pub fn is_pinned(&self, offset: u64, size: Size) -> bool {
        self.pins.has(offset, size)
    }

    /// Says that all of what was taken is overwritten, so that it need not be zeroed first.
    pub fn note_overwritten(&mut self, taken: &Taken) {
        if matches!(taken.dirty, Dirty::Block) {
            self.note_zeroing(taken);
        }
    }

    /// Gives everything back that was taken at once.
    pub fn give_all(&mut self, taken: &Taken) {
        match &taken.dirty {
            Dirty::Block => self.give(taken.offset, Size::Large),
            Dirty::Few(_) => {
                for at in (0..taken.len).step_by(PAGE_SIZE as usize) {
                    self.give(taken.offset + at, Size::Small);
                }
            }
        }
    }

    /// Gives a frame back. A large one may come back as 512 small ones, 1 GiB by 512 large ones.
    ///
    /// # Panics
    ///
    /// If it isn't in use: somebody else might get the same memory twice.
    pub fn give(&mut self, offset: u64, size: Size) {
        if size == Size::Huge {
            for at in 0..u64::from(groups::BLOCKS) {
                self.give(offset + at * LARGE_PAGE_SIZE, Size::Large);
            }
            return;
        }
        match self.shares.remove(offset, size) {
            Given::Free => {}
            Given::Kept => return,
            Given::Mixed => {
                for at in (0..LARGE_PAGE_SIZE).step_by(PAGE_SIZE as usize) {
                    self.give(offset + at, Size::Small);
                }
                return;
            }
        }
        if self.pins.has(offset, size) {
            self.set_held(offset, size, true);
            return;
        }
        self.free(offset, size);
    }

    /// Frees a small or a large frame that nobody has.
    fn free(&mut self, offset: u64, size: Size) {
        let index = (offset / LARGE_PAGE_SIZE) as u32;
        let block = &mut self.blocks[index as usize];
        let was = block.used;
        match size {
            Size::Large => {
                assert!(was == SMALL_PER_BLOCK, "a large frame was given back that wasn't taken");
                block.bits = NO_BITS;
                block.dirty = ALL_BITS;
                block.used = 0;
            }
            Size::Small => {
                let frame = (offset % LARGE_PAGE_SIZE / PAGE_SIZE) as usize;
                let (word, bit) = (&mut block.bits[frame / 64], 1 << (frame % 64));
                assert!(*word & bit != 0, "a frame was given back that wasn't taken");
                *word &= !bit;
                block.used -= 1;
            }
            Size::Huge => unreachable!("it is given back in parts"),
        }
        let now = block.used;
        if now == 0 {
            if was != SMALL_PER_BLOCK {
                self.partial.remove(&mut self.blocks, index);
            }
            self.free.free(&mut self.blocks, index);
        } else if was == SMALL_PER_BLOCK {
            self.partial.push(&mut self.blocks, index);
        }
        self.used -= size.bytes();
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
