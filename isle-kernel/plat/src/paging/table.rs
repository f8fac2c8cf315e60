// SPDX-License-Identifier: MIT OR Apache-2.0

//! One table and its entries (SDM vol. 3, 4.5).

use super::{Page, Prot, Size};
use crate::app_memory;
use crate::phys::{to_phys, to_virt};
use alloc::alloc::{alloc_zeroed, dealloc, Layout};
use core::sync::atomic::{AtomicU32, Ordering};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Accessed and dirty.
const SET_BY_PROCESSOR: u64 = 0b11 << 5;
/// It is a page and not a table.
const LARGE: u64 = 1 << 7;
/// Ignored by the processor: the page has memory but no permissions.
const PARKED: u64 = 1 << 9;
/// Ignored by the processor: the page is on its way out, see [`super::AddressSpace::unmap`].
const LEAVING: u64 = 1 << 10;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Entries of a table.
pub const ENTRIES: usize = 512;

/// Kernel memory that page tables leave for everything else.
const RESERVE: usize = 1 << 20;

const LAYOUT: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// A table: a page of kernel memory that belongs to one address space.
#[derive(Clone, Copy)]
pub struct Table(u64);

impl Table {
    /// An empty table.
    pub fn new() -> Option<Self> {
        if crate::heap_left() < RESERVE {
            return None;
        }
        // SAFETY: the layout isn't empty.
        let page = unsafe { alloc_zeroed(LAYOUT) };
        (!page.is_null()).then(|| Self(to_phys(page)))
    }

    /// Gives the memory back. The caller has removed it from its parent and doesn't use it any more.
    pub fn free(self) {
        // SAFETY: comes from `new` with the same layout; within this module's parent each table is freed once, when its
        // only entry goes, and a root by the `Root` that owns it.
        unsafe { dealloc(to_virt(self.0), LAYOUT) }
    }

    pub fn physical(self) -> u64 {
        self.0
    }

    /// Chains tables that wait to be freed: their first entry, never present, has the next one's address.
    pub fn set_next(self, next: Option<Table>) {
        self.set(0, next.map_or(0, |t| t.0));
    }

    /// The table that was chained to this one.
    pub fn next(self) -> Option<Table> {
        match self.get(0) {
            0 => None,
            next => Some(Table(next & ADDRESS)),
        }
    }

    /// The entry that points to this table.
    pub fn entry(self) -> u64 {
        self.0 | PRESENT | WRITABLE | USER
    }

    pub fn get(self, index: usize) -> u64 {
        assert!(index < ENTRIES);
        // SAFETY: within the table; the processor may set accessed and dirty bits at any time, hence volatile.
        unsafe { to_virt::<u64>(self.0).add(index).read_volatile() }
    }

    pub fn set(self, index: usize, entry: u64) {
        assert!(index < ENTRIES);
        // SAFETY: as for `get`.
        unsafe { to_virt::<u64>(self.0).add(index).write_volatile(entry) }
    }

    /// The first entry from `from` to `end` that isn't empty; `end` if there is none.
    pub fn next_used(self, from: usize, end: usize) -> usize {
        const AT_ONCE: usize = 8;
        let mut index = from;
        while index < end {
            if index.is_multiple_of(AT_ONCE) && index + AT_ONCE <= end {
                // Reads all of them, which costs less than a branch for each.
                if (0..AT_ONCE).fold(0, |all, at| all | self.get(index + at)) == 0 {
                    index += AT_ONCE;
                    continue;
                }
            }
            if self.get(index) != 0 {
                return index;
            }
            index += 1;
        }
        end
    }

    /// Takes over the kernel's half of another root.
    #[cfg(target_os = "none")]
    pub fn share_upper_half(self, root: u64) {
        for index in ENTRIES / 2..ENTRIES {
            self.set(index, Table(root).get(index));
        }
    }
}

/// Bytes that one entry covers.
pub const fn span(level: u32) -> u64 {
    4096 << (9 * level)
}

/// The index of an address in a table of a level (0 is the lowest).
pub const fn index(virt: u64, level: u32) -> usize {
    ((virt >> (12 + 9 * level)) & 511) as usize
}

const fn is_large(entry: u64) -> bool {
    entry & LARGE != 0
}

/// True if the processor uses the entry.
pub const fn is_present(entry: u64) -> bool {
    entry & PRESENT != 0
}

/// The table that an entry of level 1 to 3 points to, if it does.
pub fn child(entry: u64) -> Option<Table> {
    (entry & (PRESENT | LARGE) == PRESENT).then_some(Table(entry & ADDRESS))
}

/// The entry of a page that is on its way out: nobody can use it, but it still says which page it is.
pub const fn leaving(entry: u64) -> u64 {
    (entry & !PRESENT) | LEAVING
}

/// The entry of the page of 1 GiB that all entries of a table amount to, if they do.
pub fn merged(table: Table) -> Option<u64> {
    let first = table.get(0) & !SET_BY_PROCESSOR;
    let is_page = is_present(first) && is_large(first) && (first & ADDRESS).is_multiple_of(span(2));
    let follows = |index: usize| table.get(index) & !SET_BY_PROCESSOR == first + index as u64 * span(1);
    (is_page && (1..ENTRIES).all(follows)).then_some(first)
}

/// Reads the word at an address in the page behind an entry, if ring 3 may: it is in application memory or on a clock page.
pub fn load_u32(entry: u64, size: Size, virt: u64) -> Option<u32> {
    if !is_present(entry) || !virt.is_multiple_of(4) {
        return None;
    }
    let physical = (entry & ADDRESS) + virt % size.bytes();
    // SAFETY: entries of pages name application memory and clock pages only, which stay for good, and are not moved while
    // the address space is borrowed; the word is aligned, and all who write it are to expect that others read it.
    Some(unsafe { AtomicU32::from_ptr(to_virt(physical)) }.load(Ordering::SeqCst))
}

/// The entry for a page.
pub fn leaf(physical: u64, size: Size, prot: Prot) -> u64 {
    let mut entry = physical | USER;
    if size != Size::Small {
        entry |= LARGE;
    }
    if prot.is_none() {
        return entry | PARKED;
    }
    entry |= PRESENT;
    if prot.write {
        entry |= WRITABLE;
    }
    if !prot.exec {
        entry |= NO_EXECUTE;
    }
    entry
}

/// The page behind an entry of a level, if it is a page's.
pub fn page_of(entry: u64, level: u32) -> Option<Page> {
    let size = match (level, is_large(entry)) {
        (0, false) => Size::Small,
        (1, true) => Size::Large,
        (2, true) => Size::Huge,
        _ => return None,
    };
    let prot = match entry & (PRESENT | PARKED) {
        PRESENT => Prot { read: true, write: entry & WRITABLE != 0, exec: entry & NO_EXECUTE == 0 },
        PARKED => Prot::NONE,
        _ if entry & LEAVING != 0 => Prot::NONE,
        _ => return None,
    };
    let offset = app_memory::get().offset(entry & ADDRESS)?;
    Some(Page { offset, size, prot })
}
