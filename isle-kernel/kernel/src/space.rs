// SPDX-License-Identifier: MIT OR Apache-2.0

//! The address space of an application: regions, the pages behind them, and access to what it points at.
//!
//! Pages come when they are first touched, large ones where a region covers all of one.

use crate::regions::Regions;
use hermit_plat::frames::{self, Size};
use hermit_plat::paging::{Access, Page, PageTable, USER_END};
use linux_raw_sys::errno::{EFAULT, EINVAL, ENAMETOOLONG, ENOMEM};

pub type Result<T = ()> = core::result::Result<T, u32>;

pub const PAGE: u64 = hermit_abi::PAGE_SIZE;
const LARGE_PAGE: u64 = hermit_abi::LARGE_PAGE_SIZE;

/// Nothing is mapped below this, so that a null pointer faults (vm.mmap_min_addr).
pub const MIN_ADDRESS: u64 = 0x1_0000;
/// Mappings are placed downwards from here; above is the stack.
const MMAP_TOP: u64 = 0x7fff_f000_0000;
/// How far a stack may grow (RLIMIT_STACK).
pub const STACK_LIMIT: u64 = 8 << 20;

pub struct Space {
    pages: PageTable,
    regions: Regions,
    /// Where brk began, and where it is.
    brk_start: u64,
    brk: u64,
}

/// What happened at a fault.
pub enum Fault {
    /// The page is there now.
    Resolved,
    /// No region at the address.
    NoRegion,
    /// There is one, but it doesn't allow this.
    Forbidden,
    /// No memory is left.
    NoMemory,
}

impl Space {
    pub fn new() -> Self {
        Self { pages: PageTable::new(), regions: Regions::default(), brk_start: 0, brk: 0 }
    }

    pub fn activate(&self) {
        self.pages.activate();
    }

    /// Makes a fault good, if it can be.
    pub fn fault(&mut self, address: u64, need: Access) -> Fault {
        let mut found = self.regions.find(address);
        if found.is_none() {
            found = self.grow_stack(address);
        }
        let Some((start, region)) = found else { return Fault::NoRegion };
        if region.access == Access::NONE || !region.access.allows(need) {
            return Fault::Forbidden;
        }
        if let Some(page) = self.pages.lookup(address) {
            // It has a frame: the entry may lag behind only if another thread changed it.
            return if page.access.allows(need) { Fault::Resolved } else { Fault::Forbidden };
        }
        let large = address & !(LARGE_PAGE - 1);
        let fits = large >= start && large + LARGE_PAGE <= region.end && self.pages.has_room_for_large(address);
        if fits && !region.grows && self.pages.populate(large, Size::Large, region.access) {
            return Fault::Resolved;
        }
        if self.pages.populate(address & !(PAGE - 1), Size::Small, region.access) {
            Fault::Resolved
        } else {
            Fault::NoMemory
        }
    }

    fn grow_stack(&mut self, address: u64) -> Option<(u64, crate::regions::Region)> {
        let (start, region) = self.regions.next_above(address)?;
        let page = address & !(PAGE - 1);
        if !region.grows || region.end - page > STACK_LIMIT {
            return None;
        }
        self.regions.grow_down(start, page);
        self.regions.find(address)
    }

    /// The page at an address, made if it isn't there yet. EFAULT: the application may not access it so.
    pub fn page(&mut self, address: u64, need: Access) -> Result<Page> {
        if let Some(page) = self.pages.lookup(address).filter(|p| p.access.allows(need)) {
            return Ok(page);
        }
        match self.fault(address, need) {
            Fault::Resolved => self.pages.lookup(address).ok_or(EFAULT),
            _ => Err(EFAULT),
        }
    }

    /// Calls `f` for each piece of a range that is contiguous in physical memory: address and length.
    pub fn pieces(&mut self, address: u64, len: u64, need: Access, mut f: impl FnMut(u64, u64) -> Result) -> Result {
        let end = address.checked_add(len).filter(|&end| end <= USER_END).ok_or(EFAULT)?;
        let mut at = address;
        while at < end {
            let page = self.page(at, need)?;
            let n = page.rest.min(end - at);
            f(page.address, n)?;
            at += n;
        }
        Ok(())
    }

    /// Copies from the application.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result {
        let mut rest = to;
        let read = Access { read: true, ..Access::NONE };
        self.pieces(address, rest.len() as u64, read, |at, n| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(n as usize);
            rest = later;
            frames::read(at, now).ok_or(EFAULT)
        })
    }

    /// Copies to the application.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result {
        let mut rest = from;
        self.pieces(address, rest.len() as u64, Access::READ_WRITE, |at, n| {
            let (now, later) = rest.split_at(n as usize);
            rest = later;
            frames::write(at, now).ok_or(EFAULT)
        })
    }

    pub fn read_u64(&mut self, address: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Length of a string with its NUL.
    pub fn string_len(&mut self, address: u64, max: u64) -> Result<u64> {
        let mut at = address;
        let read = Access { read: true, ..Access::NONE };
        while at - address < max {
            let page = self.page(at, read)?;
            let mut buffer = [0; 256];
            let n = page.rest.min(256).min(max - (at - address)) as usize;
            let part = buffer.get_mut(..n).ok_or(EFAULT)?;
            frames::read(page.address, part).ok_or(EFAULT)?;
            if let Some(nul) = part.iter().position(|&b| b == 0) {
                return Ok(at - address + nul as u64 + 1);
            }
            at += n as u64;
            if at >= USER_END {
                return Err(EFAULT);
            }
        }
        Err(ENAMETOOLONG)
    }

    /// A new region at a fixed place. What was there goes away.
    pub fn map_at(&mut self, start: u64, len: u64, access: Access, grows: bool) -> Result {
        let (start, end) = range(start, len)?;
        if start < MIN_ADDRESS {
            return Err(EINVAL);
        }
        self.unmap(start, end - start)?;
        self.regions.insert(start, end, access, grows);
        Ok(())
    }

    /// Whether nothing is in a range.
    pub fn is_free(&self, start: u64, len: u64) -> bool {
        range(start, len).is_ok_and(|(start, end)| self.regions.is_free(start, end))
    }

    /// A new region wherever there is room.
    pub fn map_anywhere(&mut self, len: u64, access: Access) -> Result<u64> {
        let (_, len) = range(0, len)?;
        // What can hold a large page begins at one.
        let align = if len >= LARGE_PAGE { LARGE_PAGE } else { PAGE };
        let start = self.regions.find_room(len, align, MIN_ADDRESS, MMAP_TOP).ok_or(ENOMEM)?;
        self.regions.insert(start, start + len, access, false);
        Ok(start)
    }

    /// Takes a range away.
    pub fn unmap(&mut self, start: u64, len: u64) -> Result {
        let (start, end) = range(start, len)?;
        self.regions.remove(start, end);
        self.pages.unmap(start, end);
        Ok(())
    }

    /// Changes what may be done with a range. ENOMEM: parts of it are not mapped.
    pub fn protect(&mut self, start: u64, len: u64, access: Access) -> Result {
        let (start, end) = range(start, len)?;
        if !self.regions.covers(start, end) {
            return Err(ENOMEM);
        }
        self.regions.protect(start, end, access);
        self.pages.protect(start, end, access);
        Ok(())
    }

    /// Forgets the contents of a range: zero when touched again.
    pub fn discard(&mut self, start: u64, len: u64) -> Result {
        let (start, end) = range(start, len)?;
        if !self.regions.covers(start, end) {
            return Err(ENOMEM);
        }
        self.pages.unmap(start, end);
        Ok(())
    }

    /// mremap(2), for private anonymous memory.
    pub fn remap(&mut self, old: u64, old_len: u64, new_len: u64, may_move: bool) -> Result<u64> {
        let (old, old_end) = range(old, old_len)?;
        let (_, new_len) = range(0, new_len)?;
        let old_len = old_end - old;
        let (_, region) = self.regions.find(old).ok_or(EFAULT)?;
        if region.end < old_end {
            return Err(EFAULT);
        }
        if new_len <= old_len {
            if new_len < old_len {
                self.unmap(old + new_len, old_len - new_len)?;
            }
            return Ok(old);
        }
        let more = new_len - old_len;
        if old_end.checked_add(more).is_some_and(|end| end <= MMAP_TOP) && self.is_free(old_end, more) {
            self.regions.insert(old_end, old_end + more, region.access, false);
            return Ok(old);
        }
        if !may_move {
            return Err(ENOMEM);
        }
        let new = self.map_anywhere(new_len, region.access)?;
        self.pages.move_pages(old, new, old_len);
        self.regions.remove(old, old_end);
        Ok(new)
    }

    /// Where brk begins: behind the program.
    pub fn set_brk_start(&mut self, at: u64) {
        self.brk_start = at.next_multiple_of(PAGE);
        self.brk = self.brk_start;
    }

    /// brk(2): the new end, or the old one if it can't be had.
    pub fn brk(&mut self, to: u64) -> u64 {
        let (old, new) = (self.brk.next_multiple_of(PAGE), to.checked_next_multiple_of(PAGE));
        let Some(new) = new.filter(|_| to >= self.brk_start && to < MMAP_TOP) else { return self.brk };
        let done = if new > old {
            let free = self.regions.is_free(old, new);
            if free {
                self.regions.insert(old, new, Access::READ_WRITE, false);
            }
            free
        } else {
            new == old || self.unmap(new, old - new).is_ok()
        };
        if done {
            self.brk = to;
        }
        self.brk
    }
}

/// Start and end of a range of whole pages. EINVAL: not aligned, empty. ENOMEM: not in the lower half.
fn range(start: u64, len: u64) -> Result<(u64, u64)> {
    if !start.is_multiple_of(PAGE) || len == 0 {
        return Err(EINVAL);
    }
    let len = len.checked_next_multiple_of(PAGE).ok_or(ENOMEM)?;
    let end = start.checked_add(len).filter(|&end| end <= USER_END).ok_or(ENOMEM)?;
    Ok((start, end))
}
