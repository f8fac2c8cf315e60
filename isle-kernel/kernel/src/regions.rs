// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which parts of an address space are in use, and how they may be accessed. Pure bookkeeping.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use hermit_plat::paging::Access;

/// A part of an address space in which everything is alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub end: u64,
    pub access: Access,
    /// Grows downwards when the page below is touched (a stack).
    pub grows: bool,
}

/// All regions of an address space, by where they begin. They don't overlap.
#[derive(Default)]
pub struct Regions(BTreeMap<u64, Region>);

impl Regions {
    /// The region at an address.
    pub fn find(&self, address: u64) -> Option<(u64, Region)> {
        let (&start, &region) = self.0.range(..=address).next_back()?;
        (address < region.end).then_some((start, region))
    }

    /// The first region that begins above an address.
    pub fn next_above(&self, address: u64) -> Option<(u64, Region)> {
        self.0.range(address.saturating_add(1)..).next().map(|(&s, &r)| (s, r))
    }

    /// Whether a range is wholly covered by regions.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        while at < end {
            match self.find(at) {
                Some((_, region)) => at = region.end,
                None => return false,
            }
        }
        true
    }

    /// Whether nothing is in a range.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.0.range(..end).next_back().is_none_or(|(_, region)| region.end <= start)
    }

    /// Cuts regions at an address, so that none lies across it.
    fn cut(&mut self, at: u64) {
        if let Some((start, region)) = self.find(at) {
            if start != at {
                self.0.insert(start, Region { end: at, ..region });
                self.0.insert(at, region);
            }
        }
    }

    /// Takes everything in a range away.
    pub fn remove(&mut self, start: u64, end: u64) {
        self.cut(start);
        self.cut(end);
        let inside: Vec<u64> = self.0.range(start..end).map(|(&s, _)| s).collect();
        for start in inside {
            self.0.remove(&start);
        }
    }

    /// Puts a region where nothing is, joined with neighbours that are alike.
    pub fn insert(&mut self, start: u64, end: u64, access: Access, grows: bool) {
        let (mut start, mut end) = (start, end);
        if let Some((s, r)) = start.checked_sub(1).and_then(|below| self.find(below)) {
            if r.access == access && !r.grows && !grows {
                start = s;
            }
        }
        if let Some(&r) = self.0.get(&end) {
            if r.access == access && !r.grows && !grows {
                self.0.remove(&end);
                end = r.end;
            }
        }
        self.0.insert(start, Region { end, access, grows });
    }

    /// Changes the access of all regions in a range.
    pub fn protect(&mut self, start: u64, end: u64, access: Access) {
        self.cut(start);
        self.cut(end);
        for (_, region) in self.0.range_mut(start..end) {
            region.access = access;
        }
    }

    /// Lets the region that begins at `start` begin lower.
    pub fn grow_down(&mut self, start: u64, to: u64) {
        if let Some(region) = self.0.remove(&start) {
            self.0.insert(to, region);
        }
    }

    /// The highest free place for `len` bytes below `top`, aligned, with nothing below `bottom`.
    pub fn find_room(&self, len: u64, align: u64, bottom: u64, top: u64) -> Option<u64> {
        let mut ceiling = top;
        for (&start, region) in self.0.range(..top).rev() {
            if region.end < ceiling {
                if let Some(place) = fit(region.end.max(bottom), ceiling, len, align) {
                    return Some(place);
                }
            }
            ceiling = ceiling.min(start);
            if ceiling <= bottom {
                return None;
            }
        }
        fit(bottom, ceiling, len, align)
    }
}

fn fit(floor: u64, ceiling: u64, len: u64, align: u64) -> Option<u64> {
    let place = ceiling.checked_sub(len)? & !(align - 1);
    (place >= floor).then_some(place)
}
