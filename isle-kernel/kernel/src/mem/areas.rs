// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an application has reserved: ranges of addresses with permissions. No memory belongs to them yet.

use crate::errno::Errno;
use alloc::vec::Vec;
use hermit_plat::paging::{Prot, Size};

/// Most areas of an application, as Linux's vm.max_map_count.
const MAX: usize = 65530;

/// What an area is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Program,
    Heap,
    Stack,
    Mapping,
    /// The contents of a file.
    File,
    /// The clock page, which is Linux's.
    Clock,
    /// The vDSO.
    Vdso,
}

/// A range of addresses with the same permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub start: u64,
    pub end: u64,
    pub prot: Prot,
    pub kind: Kind,
}

impl Area {
    /// True if a page of this size around an address would lie in it.
    pub fn covers(&self, address: u64, size: Size) -> bool {
        let start = size.down(address);
        self.start <= start && self.end - start >= size.bytes()
    }
}

/// Areas that don't overlap, by address. All limits are multiples of a page.
///
/// A list is found through faster than a tree, and most changes are near its end, where there is little to move: new
/// mappings are placed as high as possible.
#[derive(Debug, Default)]
pub struct Areas {
    list: Vec<Area>,
}

impl Areas {
    /// The area that holds an address.
    pub fn find(&self, address: u64) -> Option<Area> {
        self.ending_above(address).next().filter(|area| area.start <= address)
    }

    /// How many areas lie below an address with all they have.
    fn count_below(&self, address: u64) -> usize {
        self.list.partition_point(|area| area.end <= address)
    }

    /// All areas that reach beyond an address, ascending.
    fn ending_above(&self, address: u64) -> impl Iterator<Item = Area> + '_ {
        self.list.get(self.count_below(address)..).unwrap_or_default().iter().copied()
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.list.iter()
    }

    /// True if no area has an address from `start` to `end`.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_none()
    }

    /// True if areas cover all addresses from `start` to `end`.
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        self.covered_until(start, end) == end
    }

    /// Up to where areas cover addresses from `start` on without a hole, `end` at most.
    pub fn covered_until(&self, start: u64, end: u64) -> u64 {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                break;
            }
            at = area.end;
        }
        at.min(end)
    }

    /// Areas that have an address from `start` to `end`, ascending.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = Area> + '_ {
        self.ending_above(start).take_while(move |area| area.start < end)
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
        let joins = |a: &Area, b: &Area| a.end == b.start && a.prot == b.prot && a.kind == b.kind;
        let at = self.count_below(area.start);
        let joins_after = self.list.get(at).is_some_and(|after| joins(&area, after));
        let before = at.checked_sub(1).and_then(|at| self.list.get_mut(at)).filter(|before| joins(before, &area));
        match before {
            Some(before) if joins_after => {
                let start = before.start;
                self.list.remove(at - 1);
                self.set(at - 1, |after| after.start = start);
            }
            Some(before) => before.end = area.end,
            None if joins_after => self.set(at, |after| after.start = area.start),
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
        // Cutting a hole into an area makes two.
        self.reserve()?;
        let mut first = self.count_below(start);
        if let Some(&area) = self.list.get(first).filter(|area| area.start < start) {
            self.set(first, |area| area.end = start);
            first += 1;
            if area.end > end {
                self.list.insert(first, Area { start: end, ..area });
                return Ok(());
            }
        }
        let last = first.max(self.count_below(end));
        self.set(last, |area| area.start = area.start.max(end));
        if last == first + 1 {
            self.list.remove(first);
        } else {
            self.list.drain(first..last);
        }
        Ok(())
    }

    /// Changes permissions. ENOMEM: a part isn't covered.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        if !self.is_covered(start, end) || self.list.len() + 2 >= MAX {
            return Err(Errno::ENOMEM);
        }
        let mut at = start;
        while at < end {
            let Some(area) = self.find(at) else { break };
            let stop = area.end.min(end);
            if area.prot != prot {
                self.remove(at, stop)?;
                self.insert(Area { start: at, end: stop, prot, kind: area.kind })?;
            }
            at = stop;
        }
        Ok(())
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
