// SPDX-License-Identifier: MIT OR Apache-2.0

//! The address space of an application: areas, page tables, and the frames behind them.
//!
//! Memory is given on the first touch, in large pages where an area covers one, and given back when the area goes or the
//! application ends. Where an area covers 1 GiB, its large pages come from one GiB of memory, as long as there is one, so that
//! they become one page as soon as all have been touched.

use super::areas::{Area, Areas, Kind};
use super::frames::{self, Frames};
use super::object::{Missing, Object};
use super::{is_scarce, page_down, LOWEST, MAPPINGS_TOP};
use crate::errno::Errno;
use alloc::sync::Arc;
use hermit_plat::abi::clock::Clock;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::paging::{AddressSpace, MapError, Page, Prot, Size};
use hermit_plat::user;
use spin::Mutex;

/// Frames that are given back before others get at the rest.
const GIVEN_AT_ONCE: u32 = 256;

/// Bytes that move to another address before CPUs are told.
const MOVED_AT_ONCE: u64 = 32 << 20;

/// What is to be done with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Execute,
}

impl Access {
    /// True if `prot` allows it.
    pub fn is_allowed(self, prot: Prot) -> bool {
        match self {
            Self::Read => prot.read,
            Self::Write => prot.write,
            Self::Execute => prot.exec,
        }
    }
}

/// Why memory can't be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there.
    NotMapped,
    /// Not in this way.
    NotAllowed,
    /// Nothing is left.
    NoMemory,
    /// It has to be read from a file first.
    Missing(Missing),
}

/// An address space.
pub struct Space {
    pub areas: Areas,
    pub(super) tables: AddressSpace,
    pub(super) frames: &'static Mutex<Frames>,
    /// What the last access failed for with [`Errno::MISSING`].
    pub missing: Option<Missing>,
    /// Bytes of frames in the page tables.
    resident: u64,
    /// Most bytes ever.
    peak: u64,
    /// Bytes of application memory in all: more than this can't be promised.
    limit: u64,
    /// The heap: where it begins, and the program break.
    pub heap_start: u64,
    pub brk: u64,
}

impl Space {
    /// An empty one; `None` without kernel memory.
    pub fn new() -> Option<Self> {
        let frames = frames::shared();
        Some(Self {
            areas: Areas::default(),
            tables: AddressSpace::new()?,
            frames,
            missing: None,
            resident: 0,
            peak: 0,
            limit: frames.lock().len(),
            heap_start: 0,
            brk: 0,
        })
    }

    /// The page tables.
    pub fn tables(&self) -> &AddressSpace {
        &self.tables
    }

    /// Bytes of memory in use, and the most there ever were.
    pub fn resident(&self) -> (u64, u64) {
        (self.resident, self.peak)
    }

    pub(super) fn count(&mut self, len: u64) {
        self.resident += len;
        self.peak = self.peak.max(self.resident);
    }

    /// Puts memory behind all of a range that an area covers, as far as there is memory.
    pub fn populate(&mut self, start: u64, end: u64, access: Access) -> Result<(), Fault> {
        let mut at = start;
        while at < end {
            if self.tables.lookup(at).is_none_or(|page| !access.is_allowed(page.prot)) {
                self.fault(at, access)?;
            }
            let page = self.tables.lookup(at).ok_or(Fault::NoMemory)?;
            at = page.size.down(at) + page.size.bytes();
        }
        Ok(())
    }

    /// Reserves a range; what was there goes.
    pub fn map(&mut self, area: Area) -> Result<(), Errno> {
        self.unmap(area.start, area.end)?;
        self.map_new(area)
    }

    /// Reserves a range where nothing is.
    pub fn map_new(&mut self, area: Area) -> Result<(), Errno> {
        if is_scarce(0) {
            return Err(Errno::ENOMEM);
        }
        self.areas.insert(area)
    }

    /// Maps the clock page, where nothing is.
    pub fn map_clock(&mut self, at: u64, clock: &'static Clock) -> Result<(), Errno> {
        self.tables.map_clock(at, clock).map_err(|_| Errno::ENOMEM)?;
        let prot = Prot { read: true, ..Prot::NONE };
        self.areas.insert(Area::private(at, at + PAGE_SIZE, prot, Kind::Clock))
    }

    /// Gives a range back.
    pub fn unmap(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        if self.areas.is_free(start, end) {
            return Ok(());
        }
        if is_scarce(0) && self.cuts(start, end) {
            return Err(Errno::ENOMEM);
        }
        // First what may fail.
        self.discard(start, end)?;
        self.areas.remove(start, end)
    }

    /// True if a range begins or ends within an area.
    fn cuts(&self, start: u64, end: u64) -> bool {
        let within = |at: u64| self.areas.at(at).is_some_and(|a| a.start < at);
        within(start) || within(end)
    }

    /// Gives the memory of a range back, but not the range: it reads as zeros afterwards.
    pub fn discard(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        let (all, resident) = (self.frames, &mut self.resident);
        // Locked once for many pages, but not for as many as there may be.
        let mut frames = None;
        let mut count = 0;
        let give = move |page: Page| {
            *resident -= page.size.bytes();
            count += 1;
            if count % GIVEN_AT_ONCE == 0 {
                frames = None;
            }
            frames.get_or_insert_with(|| all.lock()).give(page.offset, page.size);
        };
        self.tables.unmap(start, end, give).map_err(|_| Errno::ENOMEM)
    }

    /// Changes permissions. Where a part isn't mapped, those of what is before it, with ENOMEM.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        let covered = self.areas.covered_until(start, end);
        if is_scarce(0) && self.cuts(start, covered) {
            return Err(Errno::ENOMEM);
        }
        if self.areas.within(start, covered).any(|a| a.kind == Kind::Clock) {
            return Err(Errno::EACCES);
        }
        let is_locked = |a: &Area| prot.write && a.backing.as_ref().is_some_and(|b| b.shared && !b.may_write);
        if self.areas.within(start, covered).any(is_locked) {
            return Err(Errno::EACCES);
        }
        if start < covered {
            // First what may fail.
            for area in self.areas.overlapping(start, covered) {
                let (low, high) = (area.start.max(start), area.end.min(covered));
                self.tables.split_edges(low, high).map_err(|_| Errno::ENOMEM)?;
            }
            self.areas.protect(start, covered, prot)?;
            self.protect_pages(start, covered, prot)?;
        }
        if covered < end {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Has the first write to each of some pages of an object noticed again, wherever they are shown.
    pub fn watch(&mut self, object: &Arc<Object>, first: u64, end: u64) -> Result<(), Errno> {
        for area in self.areas.iter().filter(|area| area.prot.write) {
            let Some(backing) = area.backing.as_ref().filter(|b| b.shared && Arc::ptr_eq(&b.object, object)) else {
                continue;
            };
            let at = |page: u64| area.start + (page - backing.first) * PAGE_SIZE;
            let shown_end = backing.first + (area.end - area.start) / PAGE_SIZE;
            let (low, high) = (first.max(backing.first), end.min(shown_end));
            if low < high {
                let read_only = Prot { write: false, ..area.prot };
                self.tables.protect(at(low), at(high), read_only).map_err(|_| Errno::ENOMEM)?;
            }
        }
        Ok(())
    }

    /// Changes what the page table allows: no more than keeps what several own as it is.
    fn protect_pages(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        if !prot.write {
            return self.tables.protect(start, end, prot).map_err(|_| Errno::ENOMEM);
        }
        let read_only = Prot { write: false, ..prot };
        for area in self.areas.overlapping(start, end) {
            let (low, high) = (area.start.max(start), area.end.min(end));
            let done = match area.backing.as_ref().filter(|backing| backing.shared) {
                Some(backing) if backing.object.source().is_some() => self.tables.protect(low, high, read_only),
                Some(_) => self.tables.protect(low, high, prot),
                None => {
                    let frames = self.frames.lock();
                    let shared = |page: &Page| frames.is_shared(page.offset, page.size);
                    self.tables.protect_each(low, high, &mut |page| if shared(page) { read_only } else { prot })
                }
            };
            done.map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Moves the memory of a range to where nothing is mapped. Both are covered by areas of the same permissions.
    pub fn move_pages(&mut self, from: u64, to: u64, len: u64) -> Result<(), Errno> {
        let there = |virt: u64| virt.wrapping_sub(from).wrapping_add(to);
        let (mut begin, end) = (from, from + len);
        while begin < end {
            let mut at = begin;
            let mapped = self.map_again(&mut at, end, there);
            // For a moment these pages are at both places. CPUs are told once for all of them.
            let (gone, gone_end) = if mapped.is_ok() { (begin, at) } else { (there(begin), there(at)) };
            self.tables.unmap(gone, gone_end, |_| {}).map_err(|_| Errno::ENOMEM)?;
            mapped?;
            begin = at;
        }
        Ok(())
    }

    /// Maps what is mapped from `at` to `end` elsewhere as well, some of it: `at` is how far it has come then.
    fn map_again(&mut self, at: &mut u64, end: u64, there: impl Fn(u64) -> u64) -> Result<(), Errno> {
        let begin = *at;
        // Where a page of 1 GiB may have come of it nothing must fail behind that: to go back would need memory.
        let may_go_on = |at: u64| at == begin || !there(at).is_multiple_of(Size::Huge.bytes());
        while *at - begin < MOVED_AT_ONCE && may_go_on(*at) {
            let Some((virt, page)) = self.tables.next_page(*at, end) else {
                *at = end;
                break;
            };
            let next = virt + page.size.bytes();
            let whole = virt >= begin && next <= end && there(virt).is_multiple_of(page.size.bytes());
            let mapped = match whole {
                true => self.tables.map(there(virt), page.offset, page.size, page.prot),
                false => Err(MapError::Busy),
            };
            match mapped {
                Ok(()) => *at = next,
                // In parts, then.
                Err(MapError::Busy) if page.size != Size::Small => {
                    self.tables.split(virt).map_err(|_| Errno::ENOMEM)?;
                }
                Err(_) => return Err(Errno::ENOMEM),
            }
        }
        Ok(())
    }

    /// A free range for a mapping, aligned where that makes larger pages.
    pub fn find_gap(&self, len: u64) -> Option<u64> {
        let low = self.brk.max(LOWEST);
        for size in [Size::Huge, Size::Large] {
            if len >= size.bytes() {
                let aligned = self.areas.find_gap(len, size.bytes(), low, MAPPINGS_TOP);
                if aligned.is_some() {
                    return aligned;
                }
            }
        }
        self.areas.find_gap(len, PAGE_SIZE, low, MAPPINGS_TOP)
    }

    /// Sets the program break; returns what it is now.
    pub fn set_brk(&mut self, wanted: u64) -> u64 {
        let old_end = page_down(self.brk + PAGE_SIZE - 1);
        let Some(new_end) = super::page_up(wanted) else {
            return self.brk;
        };
        if wanted < self.heap_start || new_end > user::END {
            return self.brk;
        }
        let done = if new_end > old_end {
            let free = self.areas.is_free(old_end, new_end) && new_end - self.heap_start <= self.limit;
            free && !is_scarce(0)
                && self.areas.insert(Area::private(old_end, new_end, Prot::READ_WRITE, Kind::Heap)).is_ok()
        } else {
            self.unmap(new_end, old_end).is_ok()
        };
        if done {
            self.brk = wanted;
        }
        self.brk
    }

    /// Bytes that can be promised.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl Space {
    /// Gives everything back.
    pub fn clear(&mut self) {
        if self.discard(0, user::END).is_err() || self.resident != 0 {
            log::error!("{} bytes of application memory were not given back", self.resident);
        }
        self.areas = Areas::default();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
pub mod tests;
