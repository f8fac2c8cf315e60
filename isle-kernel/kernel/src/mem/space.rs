// SPDX-License-Identifier: MIT OR Apache-2.0

//! The address space of an application: areas, page tables, and the frames behind them.
//!
//! Memory is given on the first touch, in large pages where an area covers one, and given back when the area goes or the
//! application ends. Where an area covers 1 GiB, its large pages come from one GiB of memory, as long as there is one, so that
//! they become one page as soon as all have been touched.

use super::areas::{Area, Areas, Kind};
use super::frames::{self, Frames, Taken};
use super::{is_scarce, page_down, LOWEST, MAPPINGS_TOP};
use crate::errno::Errno;
use hermit_plat::abi::clock::Clock;
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::paging::{AddressSpace, MapError, Page, Prot, Size, Wanted};
use hermit_plat::user;
use spin::Mutex;

/// At most so many bytes of small pages come with one fault.
const AHEAD: u64 = 64 << 10;

/// Frames that are given back before others get at the rest.
const GIVEN_AT_ONCE: u32 = 256;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there.
    NotMapped,
    /// Not in this way.
    NotAllowed,
    /// Nothing is left.
    NoMemory,
}

/// An address space.
pub struct Space {
    pub areas: Areas,
    tables: AddressSpace,
    frames: &'static Mutex<Frames>,
    /// Bytes taken from `frames`.
    resident: u64,
    /// Most bytes ever.
    peak: u64,
    /// The heap: where it begins, and the program break.
    pub heap_start: u64,
    pub brk: u64,
}

impl Space {
    /// An empty one; `None` without kernel memory.
    pub fn new() -> Option<Self> {
        Some(Self {
            areas: Areas::default(),
            tables: AddressSpace::new()?,
            frames: frames::shared(),
            resident: 0,
            peak: 0,
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

    /// As [`fault`](Self::fault), for a space that other threads use as well: while memory is zeroed, they may go on.
    pub fn fault_in(space: &Mutex<Self>, address: u64, access: Access) -> Result<(), Fault> {
        let large = Size::Large.down(address);
        let wanted = {
            let mut this = space.lock();
            let area = this.areas.find(address).ok_or(Fault::NotMapped)?;
            let fits = area.covers(address, Size::Large);
            let untouched = fits && this.tables.next_page(large, large + LARGE_PAGE_SIZE).is_none();
            if !untouched || !access.is_allowed(area.prot) {
                return this.fault_within(address, access, &area);
            }
            match this.wanted(large, &area) {
                // The first of its GiB: the next ones look where it is.
                Wanted::Within(_) => return this.fault_within(address, access, &area),
                wanted => wanted,
            }
        };
        let Some(taken) = frames::take_large(wanted) else {
            return space.lock().fault(address, access);
        };
        let zeroed = taken.zero();
        let mut this = space.lock();
        // All may be different by now.
        let area = this.areas.find(address).filter(|area| area.covers(address, Size::Large));
        let mapped = match area {
            Some(area) if zeroed.is_ok() && access.is_allowed(area.prot) => {
                this.tables.map(large, taken.offset, Size::Large, area.prot).is_ok()
            }
            _ => false,
        };
        if mapped {
            this.count(LARGE_PAGE_SIZE);
            return Ok(());
        }
        this.frames.lock().give(taken.offset, Size::Large);
        this.fault(address, access)
    }

    fn count(&mut self, len: u64) {
        self.resident += len;
        self.peak = self.peak.max(self.resident);
    }

    /// Makes an address accessible if it may be.
    pub fn fault(&mut self, address: u64, access: Access) -> Result<(), Fault> {
        let area = self.areas.find(address).ok_or(Fault::NotMapped)?;
        self.fault_within(address, access, &area)
    }

    fn fault_within(&mut self, address: u64, access: Access, area: &Area) -> Result<(), Fault> {
        // The clock page is there for programs, not for the kernel.
        if !access.is_allowed(area.prot) || area.kind == Kind::Clock {
            return Err(Fault::NotAllowed);
        }
        if let Some(page) = self.tables.lookup(address) {
            // There already: then the page table says what the area says.
            return if access.is_allowed(page.prot) { Ok(()) } else { Err(Fault::NotAllowed) };
        }
        self.give_page(address, area)
    }

    /// Puts memory at an address of an area, where there is none yet.
    fn give_page(&mut self, address: u64, area: &Area) -> Result<(), Fault> {
        if area.covers(address, Size::Large) {
            match self.give_large(Size::Large.down(address), area) {
                // Small pages are there already, or no whole block is left.
                Err(MapError::Busy | MapError::NoMemory) => {}
                other => return other.map(|_| ()).map_err(|_| Fault::NoMemory),
            }
        }
        let page = page_down(address);
        let end = area.end.min(page + self.ahead(page, area));
        let mut at = page;
        while at < end {
            let free = self.tables.free_run(at, end);
            // A page that is there already is left out; memory that isn't there can be done without, but for the first.
            match self.give_small(at, free, area.prot) {
                Err(_) if at == page => return Err(Fault::NoMemory),
                Err(_) => break,
                Ok(len) => at += len.max(PAGE_SIZE),
            }
        }
        Ok(())
    }

    /// How many bytes from a page on get memory at once, which saves faults: twice as many each time that memory is
    /// touched in ascending order.
    fn ahead(&self, page: u64, area: &Area) -> u64 {
        let mut len = PAGE_SIZE;
        while len < AHEAD && page - area.start >= len && self.tables.lookup(page - len).is_some() {
            len *= 2;
        }
        len
    }

    /// Puts memory behind small pages, as many of `len` bytes as can be had at once; returns how many bytes.
    fn give_small(&mut self, virt: u64, len: u64, prot: Prot) -> Result<u64, MapError> {
        if len == 0 {
            return Ok(0);
        }
        let taken = frames::take_small(len / PAGE_SIZE).ok_or(MapError::NoMemory)?;
        self.map_taken(virt, &taken, Size::Small, prot)
    }

    fn give_large(&mut self, virt: u64, area: &Area) -> Result<u64, MapError> {
        let taken = frames::take_large(self.wanted(virt, area)).ok_or(MapError::NoMemory)?;
        self.map_taken(virt, &taken, Size::Large, area.prot)
    }

    /// Where memory for a large page of an area should come from.
    fn wanted(&self, virt: u64, area: &Area) -> Wanted {
        if area.covers(virt, Size::Huge) {
            self.tables.wanted(virt)
        } else {
            Wanted::Anywhere
        }
    }

    fn map_taken(&mut self, virt: u64, taken: &Taken, size: Size, prot: Prot) -> Result<u64, MapError> {
        let zeroed = taken.zero().map_err(|_| MapError::Invalid);
        let count = taken.len / size.bytes();
        match zeroed.and_then(|()| self.tables.map_run(virt, taken.offset, count, size, prot)) {
            Ok(()) => {
                self.count(taken.len);
                Ok(taken.len)
            }
            Err(error) => {
                self.frames.lock().give_all(taken);
                Err(error)
            }
        }
    }

    /// Puts memory behind all of a range that an area covers, as far as there is memory.
    pub fn populate(&mut self, start: u64, end: u64) -> Result<(), Fault> {
        let mut at = start;
        while at < end {
            if self.tables.lookup(at).is_none() {
                let area = self.areas.find(at).ok_or(Fault::NotMapped)?;
                self.give_page(at, &area)?;
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
        self.areas.insert(Area { start: at, end: at + PAGE_SIZE, prot, kind: Kind::Clock })
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
        let within = |at: u64| self.areas.find(at).is_some_and(|a| a.start < at);
        within(start) || within(end)
    }

    /// Gives the memory of a range back, but not the range: it reads as zeros afterwards.
    pub fn discard(&mut self, start: u64, end: u64) -> Result<(), Errno> {
        let (all, resident) = (self.frames, &mut self.resident);
        // Locked once for many pages, but not for as many as there may be.
        let mut frames = None;
        let mut count = 0;
        let mut give = |page: Page| {
            *resident -= page.size.bytes();
            count += 1;
            if count % GIVEN_AT_ONCE == 0 {
                frames = None;
            }
            frames.get_or_insert_with(|| all.lock()).give(page.offset, page.size);
        };
        self.tables.unmap(start, end, &mut give).map_err(|_| Errno::ENOMEM)
    }

    /// Changes permissions. Where a part isn't mapped, those of what is before it, with ENOMEM.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), Errno> {
        let covered = self.areas.covered_until(start, end);
        if is_scarce(0) && self.cuts(start, covered) {
            return Err(Errno::ENOMEM);
        }
        if self.areas.overlapping(start, covered).any(|a| a.kind == Kind::Clock) {
            return Err(Errno::EACCES);
        }
        if start < covered {
            self.areas.protect(start, covered, prot)?;
            self.tables.protect(start, covered, prot).map_err(|_| Errno::ENOMEM)?;
        }
        if covered < end {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Moves the memory of a range to where nothing is mapped. Both are covered by areas of the same permissions.
    pub fn move_pages(&mut self, from: u64, to: u64, len: u64) -> Result<(), Errno> {
        let (mut at, end) = (from, from + len);
        while let Some((virt, page)) = self.tables.next_page(at, end) {
            let target = virt.wrapping_sub(from).wrapping_add(to);
            let whole = virt >= from && virt + page.size.bytes() <= end;
            if page.size != Size::Small && !(whole && target % page.size.bytes() == 0) {
                self.tables.split(virt).map_err(|_| Errno::ENOMEM)?;
                at = virt.max(from);
                continue;
            }
            let next = virt + page.size.bytes();
            // Map first, since that may fail: for a moment the page is at both places.
            match self.tables.map(target, page.offset, page.size, page.prot) {
                Ok(()) => {}
                Err(MapError::Busy) if page.size != Size::Small => {
                    self.tables.split(virt).map_err(|_| Errno::ENOMEM)?;
                    at = virt;
                    continue;
                }
                Err(_) => return Err(Errno::ENOMEM),
            }
            self.tables.unmap(virt, next, &mut |_| {}).map_err(|_| Errno::ENOMEM)?;
            at = next;
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
            let free = self.areas.is_free(old_end, new_end) && new_end - self.heap_start <= self.frames.lock().len();
            free && !is_scarce(0)
                && self
                    .areas
                    .insert(Area { start: old_end, end: new_end, prot: Prot::READ_WRITE, kind: Kind::Heap })
                    .is_ok()
        } else {
            self.unmap(new_end, old_end).is_ok()
        };
        if done {
            self.brk = wanted;
        }
        self.brk
    }

    /// Bytes of application memory in all: more than this can't be promised.
    pub fn limit(&self) -> u64 {
        self.frames.lock().len()
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
