// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an application has reserved: ranges of addresses with permissions. No memory belongs to them yet.

use super::object::Object;
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::paging::{Prot, Size};

/// Most areas of an application, as Linux's vm.max_map_count.
const MAX: usize = 65530;

/// What an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Program,
    Heap,
    Stack,
    /// Of another thread than the first (MAP_STACK).
    ThreadStack,
    Mapping,
    /// The contents of a file.
    File,
    /// The clock page, which is Linux's.
    Clock,
    /// The vDSO.
    Vdso,
}

/// What an area shows.
#[derive(Clone, Debug)]
pub struct Backing {
    pub object: Arc<Object>,
    /// Number of the object's page that is at the area's start.
    pub first: u64,
    /// What is written goes to the object (MAP_SHARED).
    pub shared: bool,
    /// It may be made writable: a shared file is open for writing.
    pub may_write: bool,
}

impl Backing {
    /// True if what is written there belongs to a file.
    pub fn is_shared_file(&self) -> bool {
        self.shared && self.object.source().is_some()
    }

    /// What an area shows that begins so many pages further on.
    fn further(&self, pages: u64) -> Self {
        Self { first: self.first + pages, ..self.clone() }
    }
}

impl PartialEq for Backing {
    fn eq(&self, other: &Self) -> bool {
        let Self { object, first, shared, may_write } = self;
        Arc::ptr_eq(object, &other.object)
            && (*first, *shared, *may_write) == (other.first, other.shared, other.may_write)
    }
}

impl Eq for Backing {}

/// A range of addresses with the same permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub start: u64,
    pub end: u64,
    pub prot: Prot,
    pub kind: Kind,
    /// `None`: memory of the process's own, zeros at first, as most is. The rest is elsewhere: areas are copied and moved a lot.
    pub backing: Option<Arc<Backing>>,
}

impl Area {
    /// Memory of the process's own.
    pub fn private(start: u64, end: u64, prot: Prot, kind: Kind) -> Self {
        Self { start, end, prot, kind, backing: None }
    }

    /// True if a page of this size around an address would lie in it.
    pub fn covers(&self, address: u64, size: Size) -> bool {
        let start = size.down(address);
        self.start <= start && self.end - start >= size.bytes()
    }

    /// True if memory of its own around an address should be a large page. Where a thread's stack begins, it isn't: each thread
    /// needs a few KiB there, and few need more (Linux has no large pages for MAP_STACK at all, since 6.7).
    pub fn wants_large(&self, address: u64) -> bool {
        let begins = self.kind == Kind::ThreadStack && self.end - Size::Large.down(address) < 2 * Size::Large.bytes();
        self.covers(address, Size::Large) && !begins
    }

    /// The part of it from `start` to `end`, which lies in it.
    pub fn part(&self, start: u64, end: u64) -> Self {
        let mut part = Self { start, end, ..self.clone() };
        if let Some(backing) = part.backing.as_mut().filter(|_| start != self.start) {
            *backing = Arc::new(backing.further((start - self.start) / PAGE_SIZE));
        }
        part
    }

    /// True if `next` continues it.
    fn joins(&self, next: &Self) -> bool {
        if self.end != next.start || self.prot != next.prot || self.kind != next.kind {
            return false;
        }
        match (&self.backing, &next.backing) {
            (None, None) => true,
            (Some(mine), Some(next)) => **next == mine.further((self.end - self.start) / PAGE_SIZE),
            _ => false,
        }
    }
}

/// What an area shows of a file that may have to be written.
pub struct Dirty {
    pub object: Arc<Object>,
    /// Numbers of its first page, and the one behind the last.
    pub first: u64,
    pub end: u64,
    /// The address where to go on.
    pub next: u64,
}

/// Areas that don't overlap, by address. All limits are multiples of a page.
///
/// A list is found through faster than a tree, and most changes are near its end, where there is little to move: new
/// mappings are placed as high as possible.
#[derive(Debug, Default)]
pub struct Areas {
    list: Vec<Area>,
    /// There is, or was, a shared mapping of a file: what most programs never have need not be looked for.
    has_shared_files: bool,
    /// Which area was looked for last, more or less: most often the next one is the same or beside it.
    recent: Cell<usize>,
}

impl Areas {
    /// The area that holds an address.
    pub fn find(&self, address: u64) -> Option<Area> {
        self.at(address).cloned()
    }

    /// The area that holds an address, as it stands in the list.
    pub fn at(&self, address: u64) -> Option<&Area> {
        self.above(address).first().filter(|area| area.start <= address)
    }

    /// How many areas lie below an address with all they have.
    fn count_below(&self, address: u64) -> usize {
        let begins_at = |index: usize| {
            let is_below = |index: usize| self.list.get(index).is_none_or(|area| area.end <= address);
            !is_below(index) && index.checked_sub(1).is_none_or(is_below)
        };
        let recent = self.recent.get();
        if begins_at(recent) {
            return recent;
        }
        let count = self.list.partition_point(|area| area.end <= address);
        self.recent.set(count);
        count
    }

    /// All areas that reach beyond an address, ascending.
    fn above(&self, address: u64) -> &[Area] {
        self.list.get(self.count_below(address)..).unwrap_or_default()
    }

    /// As [`overlapping`](Self::overlapping), as they stand in the list.
    pub fn within(&self, start: u64, end: u64) -> impl Iterator<Item = &Area> {
        self.above(start).iter().take_while(move |area| area.start < end)
    }

    /// The first shared mapping of a file from `start` to `end` that may have to be written to that file.
    pub fn first_dirty(&self, start: u64, end: u64) -> Option<Dirty> {
        if !self.has_shared_files {
            return None;
        }
        self.within(start, end).find_map(|area| {
            let backing = area.backing.as_ref().filter(|backing| backing.is_shared_file())?;
            let number = |at: u64| backing.first + (at - area.start) / PAGE_SIZE;
            let (first, last) = (number(area.start.max(start)), number(area.end.min(end)));
            backing.object.next_dirty(first, last)?;
            Some(Dirty { object: backing.object.clone(), first, end: last, next: area.end })
        })
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.list.iter()
    }

    /// True if no area has an address from `start` to `end`.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.above(start).first().is_none_or(|area| area.start >= end)
    }

    /// True if areas cover all addresses from `start` to `end`.
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        self.covered_until(start, end) == end
    }

    /// Up to where areas cover addresses from `start` on without a hole, `end` at most.
    pub fn covered_until(&self, start: u64, end: u64) -> u64 {
        let mut at = start;
        for area in self.within(start, end) {
            if area.start > at {
                break;
            }
            at = area.end;
        }
        at.min(end)
    }

    /// Areas that have an address from `start` to `end`, ascending.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = Area> + '_ {
        self.within(start, end).cloned()
    }

    /// Makes room for one more.
    fn reserve(&mut self) -> Result<(), Errno> {
        let has_room = self.list.len() < MAX && self.list.try_reserve(1).is_ok();
        has_room.then_some(()).ok_or(Errno::ENOMEM)
    }

    /// Adds an area where there is none, and joins it with neighbours of its kind.
    pub fn insert(&mut self, area: Area) -> Result<(), Errno> {
        debug_assert!(area.start < area.end && self.is_free(area.start, area.end));
        self.reserve()?;
        self.has_shared_files |= area.backing.as_ref().is_some_and(|backing| backing.is_shared_file());
        let at = self.count_below(area.start);
        let joins_after = self.list.get(at).is_some_and(|after| area.joins(after));
        let before = at.checked_sub(1).and_then(|at| self.list.get_mut(at)).filter(|before| before.joins(&area));
        match before {
            Some(_) if joins_after => {
                let end = self.list.get(at).map_or(area.end, |after| after.end);
                self.set(at - 1, |before| before.end = end);
                self.list.remove(at);
            }
            Some(before) => before.end = area.end,
            None if joins_after => self.set(at, |after| *after = Area { end: after.end, ..area }),
            None => self.list.insert(at, area),
        }
        Ok(())
    }

    fn set(&mut self, at: usize, change: impl FnOnce(&mut Area)) {
        if let Some(area) = self.list.get_mut(at) {
            change(area);
        }
    }

    /// Removes what lies from `start` to `end`.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        let mut first = self.count_below(start);
        if let Some(area) = self.list.get(first).filter(|area| area.start < start) {
            if area.end > end {
                // A hole in an area makes two.
                let rest = area.part(end, area.end);
                self.reserve()?;
                self.list.insert(first + 1, rest);
            }
            self.set(first, |area| area.end = start);
            first += 1;
        }
        let gone = self.list.get(first..).unwrap_or_default().iter().take_while(|area| area.end <= end).count();
        self.set(first + gone, |area| {
            if area.start < end {
                *area = area.part(end, area.end);
            }
        });
        if gone == 1 {
            self.list.remove(first);
        } else {
            self.list.drain(first..first + gone);
        }
        Ok(())
    }

    /// Changes permissions, in one pass: there may be many areas. ENOMEM: a part isn't covered.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        // Two areas more where the range begins and ends within one.
        let has_room = self.list.len() + 2 < MAX && self.list.try_reserve(2).is_ok();
        if !self.is_covered(start, end) || !has_room {
            return Err(Errno::ENOMEM);
        }
        self.cut(start);
        self.cut(end);
        let (first, last) = (self.count_below(start), self.count_below(end));
        for area in self.list.get_mut(first..last).unwrap_or_default() {
            area.prot = prot;
        }
        self.join(first.saturating_sub(1), last.saturating_add(1));
        Ok(())
    }

    /// Makes two areas of one that an address lies in. There has to be room.
    fn cut(&mut self, at: u64) {
        let index = self.count_below(at);
        if let Some(area) = self.list.get_mut(index).filter(|area| area.start < at) {
            let rest = area.part(at, area.end);
            area.end = at;
            self.list.insert(index + 1, rest);
        }
    }

    /// Joins neighbours of a kind, from the area of one index to before that of another.
    fn join(&mut self, from: usize, to: usize) {
        let to = to.min(self.list.len());
        // The last one that stays.
        let mut kept = from;
        for index in from + 1..to {
            let Some((before, [area, ..])) = self.list.split_at_mut_checked(index) else { break };
            let Some(last) = before.get_mut(kept) else { break };
            if last.joins(area) {
                last.end = area.end;
            } else {
                kept += 1;
                self.list.swap(kept, index);
            }
        }
        if from < to {
            self.list.drain(kept + 1..to);
        }
    }

    /// The highest free range of `len` bytes between `low` and `high` that starts at a multiple of `align`.
    pub fn find_gap(&self, len: u64, align: u64, low: u64, high: u64) -> Option<u64> {
        let fits = |bottom: u64, top: u64| {
            let start = top.checked_sub(len)? & !(align - 1);
            (start >= bottom).then_some(start)
        };
        let mut top = high;
        for area in self.list.iter().rev().skip_while(|area| area.start >= high) {
            if let Some(start) = fits(area.end.max(low), top) {
                return Some(start);
            }
            top = top.min(area.start);
            if top < low {
                return None;
            }
        }
        fits(low, top)
    }
}

#[cfg(test)]
#[path = "areas_tests.rs"]
mod tests;
