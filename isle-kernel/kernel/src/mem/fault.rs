// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page faults: memory for what is touched first, and copies of what several own for who writes to it.
//!
//! A page table entry allows writing only if the area does, and if nobody else has the frame (a private area) or the object
//! knows that its file has to be written (a shared one). So the first write to such a page comes here.

use super::areas::{Area, Backing, Kind};
use super::frames::{self, Taken};
use super::object::{Found, Missing, PER_LARGE};
use super::space::{Access, Fault, Space};
use super::{is_scarce, page_down};
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::app_memory;
use hermit_plat::paging::{MapError, Page, Prot, Size, Wanted};
use spin::Mutex;

/// At most so many bytes of small pages come with one fault.
const AHEAD: u64 = 64 << 10;

impl Space {
    /// As [`fault`](Self::fault), for a space that other threads use as well: while memory is zeroed, they may go on.
    pub fn fault_in(space: &Mutex<Self>, address: u64, access: Access) -> Result<(), Fault> {
        let large = Size::Large.down(address);
        let wanted = {
            let mut this = space.lock();
            let area = this.areas.find(address).ok_or(Fault::NotMapped)?;
            let fits = area.backing.is_none() && area.wants_large(address);
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
        let area = this.areas.find(address).filter(|area| area.backing.is_none() && area.wants_large(address));
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
        match self.tables.lookup(address) {
            Some(page) if access.is_allowed(page.prot) => Ok(()),
            Some(page) => self.make_writable(address, &page, area),
            None => self.give_page(address, access, area),
        }
    }

    /// Puts memory at an address of an area, where there is none yet.
    fn give_page(&mut self, address: u64, access: Access, area: &Area) -> Result<(), Fault> {
        if let Some(backing) = &area.backing {
            return self.show(address, access, area, backing);
        }
        if area.wants_large(address) {
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
            // Of the first page it is known.
            let free = if end - page == PAGE_SIZE { PAGE_SIZE } else { self.tables.free_run(at, end) };
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

    /// Puts what an object has at an address where there is nothing yet.
    fn show(&mut self, address: u64, access: Access, area: &Area, backing: &Backing) -> Result<(), Fault> {
        let page = page_down(address);
        let number = |at: u64| backing.first + (at - area.start) / PAGE_SIZE;
        let index = number(page);
        let start = Size::Large.down(page);
        let fits = area.covers(page, Size::Large) && number(start).is_multiple_of(PER_LARGE);
        let is_free = |this: &Self| this.tables.next_page(start, start + LARGE_PAGE_SIZE).is_none();
        let pages = backing.object.pages();
        let found = match pages.find(index) {
            Some(found) => found,
            None => {
                let large = fits && is_free(self);
                drop(pages);
                if backing.object.source().is_some() {
                    return Err(Fault::Missing(Missing { object: backing.object.clone(), index, large }));
                }
                self.make_zeros(index, backing, large)?;
                // It is there now.
                return self.show(address, access, area, backing);
            }
        };
        drop(pages);
        if !backing.shared && access == Access::Write {
            return self.copy_small(page, found.offset, area.prot, false);
        }
        if backing.shared && access == Access::Write {
            backing.object.pages().set_dirty(index);
        }
        if found.held.size == Size::Large && fits && is_free(self) {
            let prot = prot_of(area, backing, &found, access == Access::Write);
            // There may be a page table, though nothing is in it.
            if self.map_shared(start, found.held.offset, Size::Large, prot).is_ok() {
                return Ok(());
            }
        }
        let low = area.start.max(page & !(AHEAD - 1));
        let high = area.end.min((page & !(AHEAD - 1)) + AHEAD);
        let prot = prot_of(area, backing, &found, access == Access::Write);
        self.map_shared(page, found.offset, Size::Small, prot).map_err(|_| Fault::NoMemory)?;
        // What lies around it and is in memory comes along.
        for at in (low..high).step_by(PAGE_SIZE as usize).filter(|at| *at != page) {
            if self.tables.lookup(at).is_some() {
                continue;
            }
            let Some(found) = backing.object.pages().find(number(at)) else { continue };
            let prot = prot_of(area, backing, &found, false);
            if self.map_shared(at, found.offset, Size::Small, prot).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Adds zeros to an object that has no file.
    fn make_zeros(&mut self, index: u64, backing: &Backing, large: bool) -> Result<(), Fault> {
        if is_scarce(0) {
            return Err(Fault::NoMemory);
        }
        let first = index - index % PER_LARGE;
        if large && backing.object.pages().are_missing(first, PER_LARGE) {
            if let Some(taken) = frames::take_large(Wanted::Anywhere) {
                let added = taken.zero().is_ok() && backing.object.pages().insert(first, taken.offset, Size::Large);
                if !added {
                    self.frames.lock().give_all(&taken);
                }
                // If another process was faster, it is there as well.
                return Ok(());
            }
        }
        let taken = frames::take_small(1).ok_or(Fault::NoMemory)?;
        if taken.zero().is_err() || !backing.object.pages().insert(index, taken.offset, Size::Small) {
            self.frames.lock().give_all(&taken);
        }
        Ok(())
    }

    /// Maps a frame that somebody else has as well.
    pub(super) fn map_shared(&mut self, virt: u64, offset: u64, size: Size, prot: Prot) -> Result<(), MapError> {
        if !self.frames.lock().share(offset, size) {
            return Err(MapError::NoMemory);
        }
        let mapped = self.tables.map(virt, offset, size, prot);
        match mapped {
            Ok(()) => self.count(size.bytes()),
            Err(_) => self.frames.lock().give(offset, size),
        }
        mapped
    }

    /// Copies a page for who writes to it: into a new frame, which takes the place of the old one if that is mapped.
    fn copy_small(&mut self, page: u64, source: u64, prot: Prot, is_mapped: bool) -> Result<(), Fault> {
        let taken = frames::take_small(1).ok_or(Fault::NoMemory)?;
        self.copy(page, source, &taken, Size::Small, prot, is_mapped)
    }

    fn copy(
        &mut self,
        virt: u64,
        source: u64,
        taken: &Taken,
        size: Size,
        prot: Prot,
        is_mapped: bool,
    ) -> Result<(), Fault> {
        self.frames.lock().note_overwritten(taken);
        let copied = app_memory::get().copy(source, taken.offset, size.bytes());
        let old = match copied {
            Err(_) => Err(MapError::Invalid),
            Ok(()) if is_mapped => self.tables.exchange(virt, taken.offset, prot).map(Some),
            Ok(()) => self.tables.map(virt, taken.offset, size, prot).map(|()| None),
        };
        match old {
            Ok(Some(old)) => self.frames.lock().give(old.offset, old.size),
            Ok(None) => self.count(size.bytes()),
            Err(_) => {
                self.frames.lock().give_all(taken);
                return Err(Fault::NoMemory);
            }
        }
        Ok(())
    }

    /// Lets a page be written that the area allows to be written but the page table doesn't.
    fn make_writable(&mut self, address: u64, page: &Page, area: &Area) -> Result<(), Fault> {
        if let Some(backing) = area.backing.as_ref().filter(|backing| backing.shared) {
            let index = backing.first + (page_down(address) - area.start) / PAGE_SIZE;
            backing.object.pages().set_dirty(index);
            return self.allow(address, page, area.prot);
        }
        if !self.frames.lock().is_shared(page.offset, page.size) {
            return self.allow(address, page, area.prot);
        }
        let virt = page.size.down(address);
        match page.size {
            Size::Small => return self.copy_small(virt, page.offset, area.prot, true),
            Size::Large => {
                if let Some(taken) = frames::take_large(Wanted::Anywhere) {
                    return self.copy(virt, page.offset, &taken, Size::Large, area.prot, true);
                }
            }
            Size::Huge => {}
        }
        // In parts, for which there may be enough memory.
        self.tables.split(virt).map_err(|_| Fault::NoMemory)?;
        let part = self.tables.lookup(address).ok_or(Fault::NoMemory)?;
        self.make_writable(address, &part, area)
    }

    fn allow(&mut self, address: u64, page: &Page, prot: Prot) -> Result<(), Fault> {
        self.tables.exchange(address, page.offset, prot).map(|_| ()).map_err(|_| Fault::NoMemory)
    }
}

/// What the page table allows of a page that an object has.
fn prot_of(area: &Area, backing: &Backing, found: &Found, is_dirty: bool) -> Prot {
    let knows = backing.object.source().is_none() || found.held.dirty || is_dirty;
    Prot { write: area.prot.write && backing.shared && knows, ..area.prot }
}
