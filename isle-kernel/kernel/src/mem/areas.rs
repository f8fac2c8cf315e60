// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an application has reserved: ranges of addresses with permissions. No memory belongs to them yet.

use crate::errno::Errno;
use alloc::collections::BTreeMap;
use core::ops::Bound;
use hermit_plat::paging::Prot;

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

/// Areas that don't overlap, by address. All limits are multiples of a page.
#[derive(Debug, Default)]
pub struct Areas {
    /// By where they end: so what is at or above an address is found at once, and an area that grows downwards, as mappings
    /// do that are neighbours, stays where it is.
    by_end: BTreeMap<u64, Area>,
}

impl Areas {
    /// The area that holds an address.
    pub fn find(&self, address: u64) -> Option<Area> {
        self.ending_above(address).next().filter(|area| area.start <= address)
    }

    /// All areas that reach beyond an address, ascending.
    fn ending_above(&self, address: u64) -> impl Iterator<Item = Area> + '_ {
        self.by_end.range((Bound::Excluded(address), Bound::Unbounded)).map(|(_, area)| *area)
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.by_end.values()
    }

    /// True if no area has an address from `start` to `end`.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_none()
    }

    /// True if areas cover all addresses from `start` to `end`.
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// Areas that have an address from `start` to `end`, ascending.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = Area> + '_ {
        self.ending_above(start).take_while(move |area| area.start < end)
    }

    /// Adds an area where there is none, and joins it with neighbours of its kind.
    pub fn insert(&mut self, mut area: Area) -> Result<(), Errno> {
        debug_assert!(area.start < area.end && self.is_free(area.start, area.end));
        if self.by_end.len() >= MAX {
            return Err(Errno::ENOMEM);
        }
        let joins = |a: &Area, b: &Area| a.end == b.start && a.prot == b.prot && a.kind == b.kind;
        if let Some(before) = self.by_end.get(&area.start).copied().filter(|before| joins(before, &area)) {
            self.by_end.remove(&before.end);
            area.start = before.start;
        }
        if let Some((_, after)) = self.by_end.range_mut(area.end..).next() {
            if joins(&area, after) {
                after.start = area.start;
                return Ok(());
            }
        }
        self.by_end.insert(area.end, area);
        Ok(())
    }

    /// Removes what lies from `start` to `end`.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        // Cutting a hole into an area makes two.
        if self.by_end.len() >= MAX {
            return Err(Errno::ENOMEM);
        }
        let above_start = (Bound::Excluded(start), Bound::Unbounded);
        while let Some((_, area)) = self.by_end.range_mut(above_start).next().filter(|(_, area)| area.start < end) {
            let was = *area;
            // What is left of it above, and below.
            if was.end > end {
                area.start = end;
            } else {
                self.by_end.remove(&was.end);
            }
            if was.start < start {
                self.by_end.insert(start, Area { end: start, ..was });
            }
            if was.end >= end {
                break;
            }
        }
        Ok(())
    }

    /// Changes permissions. ENOMEM: a part isn't covered.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        if !self.is_covered(start, end) || self.by_end.len() + 2 >= MAX {
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
        for area in self.by_end.values().rev().skip_while(|area| area.start >= high) {
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
