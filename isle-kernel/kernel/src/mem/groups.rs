// SPDX-License-Identifier: MIT OR Apache-2.0

//! Free blocks of 2 MiB, grouped by the page of 1 GiB that they can be part of.
//!
//! A page of 1 GiB needs a group all of whose blocks are free. What isn't wanted anywhere in particular comes from other
//! groups as long as they have as good a block, so that such groups stay.

use super::frames::Block;
use alloc::vec::Vec;
use hermit_plat::abi::LARGE_PAGE_SIZE;
use hermit_plat::paging::Size;

const NONE: u32 = u32::MAX;

/// Blocks of a page of 1 GiB.
pub const BLOCKS: u32 = (Size::Huge.bytes() / LARGE_PAGE_SIZE) as u32;

/// A list of blocks, linked by their indices.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u32,
}

/// Where a block is in its list.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    previous: u32,
    next: u32,
}

/// The blocks of a page of 1 GiB, or all those that can't be part of any.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: u32,
    /// How many of them are free.
    free: u32,
    /// Those of them in no other hands: they are zero, or they aren't.
    clean: List,
    dirty: List,
}

/// Groups that have a block of a kind.
#[derive(Debug)]
struct Set(Vec<u64>);

/// All free blocks.
#[derive(Debug)]
pub struct Groups {
    /// Ascending; what can't be part of a page of 1 GiB is the last.
    groups: Vec<Group>,
    /// In the order in which they are used: broken groups come first, clean blocks before all.
    clean: [Set; 2],
    dirty: [Set; 2],
}

impl List {
    pub const EMPTY: Self = Self { first: NONE };

    /// The block that was added last.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub fn push(&mut self, blocks: &mut [Block], index: u32) {
        blocks[index as usize].links = Links { previous: NONE, next: self.first };
        if let Some(first) = blocks.get_mut(self.first as usize) {
            first.links.previous = index;
        }
        self.first = index;
    }

    pub fn remove(&mut self, blocks: &mut [Block], index: u32) {
        let Links { previous, next } = blocks[index as usize].links;
        match blocks.get_mut(previous as usize) {
            Some(block) => block.links.next = next,
            None => self.first = next,
        }
        if let Some(block) = blocks.get_mut(next as usize) {
            block.links.previous = previous;
        }
    }

    fn pop(&mut self, blocks: &mut [Block]) -> Option<u32> {
        self.first().inspect(|index| self.remove(blocks, *index))
    }
}

impl Links {
    pub const NONE: Self = Self { previous: NONE, next: NONE };
}

impl Set {
    fn set(&mut self, group: usize, is_in: bool) {
        let (word, bit) = (&mut self.0[group / 64], 1 << (group % 64));
        *word = if is_in { *word | bit } else { *word & !bit };
    }

    fn lowest(&self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(word * 64 + self.0[word].trailing_zeros() as usize)
    }
}

impl Groups {
    /// All blocks, none of which is zero. Pages of 1 GiB begin at some of them, ascending.
    pub fn new(blocks: &mut [Block], gigabytes: impl Iterator<Item = u32>) -> Self {
        let group = |first| Group { first, free: 0, clean: List::EMPTY, dirty: List::EMPTY };
        let groups: Vec<_> = gigabytes.chain([NONE]).map(group).collect();
        let set = || Set(alloc::vec![0; groups.len().div_ceil(64)]);
        let mut this = Self { clean: [set(), set()], dirty: [set(), set()], groups };
        // The lowest comes first.
        for index in (0..blocks.len() as u32).rev() {
            this.free(blocks, index);
        }
        this
    }

    fn of(&self, index: u32) -> usize {
        let after = self.groups.partition_point(|group| group.first <= index);
        let around = after.checked_sub(1).filter(|at| index - self.groups[*at].first < BLOCKS);
        around.unwrap_or(self.groups.len() - 1)
    }

    /// Brings the sets up to date after a group has changed.
    fn note(&mut self, at: usize) {
        let Group { free, clean, dirty, .. } = self.groups[at];
        let is_whole = free == BLOCKS && at != self.groups.len() - 1;
        for (list, sets) in [(clean, &mut self.clean), (dirty, &mut self.dirty)] {
            for (set, of_whole) in sets.iter_mut().zip([false, true]) {
                set.set(at, list.first().is_some() && is_whole == of_whole);
            }
        }
    }

    fn lowest(sets: &[Set; 2]) -> Option<usize> {
        sets.iter().find_map(Set::lowest)
    }

    fn list_of(&mut self, at: usize, is_clean: bool) -> &mut List {
        let group = &mut self.groups[at];
        if is_clean {
            &mut group.clean
        } else {
            &mut group.dirty
        }
    }

    /// Adds a block that isn't used any more.
    pub fn free(&mut self, blocks: &mut [Block], index: u32) {
        let at = self.of(index);
        self.groups[at].free += 1;
        self.give_back(blocks, index);
    }

    /// Takes any block for use.
    pub fn pop(&mut self, blocks: &mut [Block]) -> Option<u32> {
        let (at, is_clean) = match Self::lowest(&self.clean) {
            Some(at) => (at, true),
            None => (Self::lowest(&self.dirty)?, false),
        };
        let index = self.list_of(at, is_clean).pop(blocks)?;
        self.groups[at].free -= 1;
        self.note(at);
        Some(index)
    }

    /// Takes a block for use that is free and in nobody's hands.
    pub fn take(&mut self, blocks: &mut [Block], index: u32) {
        let at = self.of(index);
        let is_clean = blocks[index as usize].is_clean();
        self.list_of(at, is_clean).remove(blocks, index);
        self.groups[at].free -= 1;
        self.note(at);
    }

    /// Takes a block to zero it. It stays free, until it is [given back](Self::give_back) nobody can have it.
    pub fn pop_dirty(&mut self, blocks: &mut [Block]) -> Option<u32> {
        let at = Self::lowest(&self.dirty)?;
        let index = self.groups[at].dirty.pop(blocks)?;
        self.note(at);
        Some(index)
    }

    /// The other end of [`pop_dirty`](Self::pop_dirty).
    pub fn give_back(&mut self, blocks: &mut [Block], index: u32) {
        let at = self.of(index);
        let is_clean = blocks[index as usize].is_clean();
        self.list_of(at, is_clean).push(blocks, index);
        self.note(at);
    }

    /// The first blocks of pages of 1 GiB that are all free: from the top, as what isn't wanted anywhere comes from below.
    pub fn whole(&self) -> impl Iterator<Item = u32> + '_ {
        let (_, gigabytes) = self.groups.split_last().expect("the last is always there");
        gigabytes.iter().rev().filter(|group| group.free == BLOCKS).map(|group| group.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_finds_the_lowest() {
        let mut set = Set(alloc::vec![0; 3]);
        assert_eq!(set.lowest(), None);
        for at in [130, 64, 63] {
            set.set(at, true);
            assert_eq!(set.lowest(), Some(at));
        }
        set.set(63, false);
        set.set(62, false);
        assert_eq!(set.lowest(), Some(64));
    }
}
