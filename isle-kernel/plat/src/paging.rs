// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables of applications: the lower half is theirs, the upper half the kernel's (SDM vol. 3, 4.5).
//!
//! A [`PageTable`] owns the frames that it maps. An entry that is not zero but not present keeps its
//! frame while nothing may access it (PROT_NONE).

use crate::frames::{self, Size};
use crate::info;
use alloc::boxed::Box;
use hermit_abi::boot::DIRECT_MAP;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;
use x86_64::PhysAddr;

/// End of what an application can map: one page short of the lower half, as under Linux.
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Where an xAPIC is mapped, in a part of the upper half that nothing else uses.
pub(crate) const LOCAL_APIC: *mut u8 = 0xffff_fe00_0000_0000 as *mut u8;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
/// Free for software: the entry has a frame.
const OWNED: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What an application may do with a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
}

impl Access {
    pub const NONE: Self = Self { read: false, write: false, execute: false };
    pub const READ_WRITE: Self = Self { read: true, write: true, execute: false };

    /// Whether `self` allows all that `other` needs.
    pub fn allows(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write) && (self.execute || !other.execute)
    }

    fn bits(self) -> u64 {
        let mut bits = OWNED | USER;
        if self != Self::NONE {
            bits |= PRESENT;
        }
        if self.write {
            bits |= WRITABLE;
        }
        if !self.execute {
            bits |= NO_EXECUTE;
        }
        bits
    }

    fn of(entry: u64) -> Self {
        if entry & PRESENT == 0 {
            return Self::NONE;
        }
        Self { read: true, write: entry & WRITABLE != 0, execute: entry & NO_EXECUTE == 0 }
    }
}

/// A page that has a frame.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Physical address of the byte asked for.
    pub address: u64,
    /// Bytes from there to the end of the page.
    pub rest: u64,
    pub access: Access,
    pub size: Size,
}

#[repr(C, align(4096))]
struct Table([u64; 512]);

impl Table {
    fn new() -> Box<Self> {
        Box::new(Self([0; 512]))
    }
}

fn index(virt: u64, level: u32) -> usize {
    (virt >> (12 + 9 * level)) as usize & 0x1ff
}

fn table_at<'a>(entry: u64) -> &'a mut Table {
    // SAFETY: Only called for entries of tables in use that point to a table, which lives as long as the
    // entry; callers hold the `PageTable` exclusively, or CPU 0 is alone.
    unsafe { &mut *info::direct(entry & ADDRESS).cast::<Table>() }
}

fn physical(table: &Table) -> u64 {
    core::ptr::from_ref(table) as u64 - DIRECT_MAP
}

/// The address space of one application.
pub struct PageTable {
    root: Box<Table>,
}

impl PageTable {
    /// An empty lower half under the kernel's upper half.
    pub fn new() -> Self {
        let mut root = Table::new();
        let kernel = table_at(info::boot_info().page_table);
        root.0[256..].copy_from_slice(&kernel.0[256..]);
        Self { root }
    }

    /// Makes this the address space of this CPU until [`deactivate`].
    pub fn activate(&self) {
        load(physical(&self.root));
    }

    /// The entry that maps `virt`, its level (0: 4 KiB, 1: 2 MiB), or the lowest one where a table is missing.
    fn entry(&mut self, virt: u64) -> (&mut u64, u32) {
        let mut table: &mut Table = &mut self.root;
        let mut level = 3;
        loop {
            let entry = &mut table.0[index(virt, level)];
            if level == 0 || *entry == 0 || *entry & LARGE != 0 {
                return (entry, level);
            }
            table = table_at(*entry);
            level -= 1;
        }
    }

    /// The page at an address, if it has a frame.
    pub fn lookup(&mut self, virt: u64) -> Option<Page> {
        if virt >= USER_END {
            return None;
        }
        let (entry, level) = self.entry(virt);
        let entry = *entry;
        if entry == 0 {
            return None;
        }
        let size = if level == 1 { Size::Large } else { Size::Small };
        let inside = virt & (size.bytes() - 1);
        let frame = entry & ADDRESS & !(size.bytes() - 1);
        Some(Page { address: frame + inside, rest: size.bytes() - inside, access: Access::of(entry), size })
    }

    /// Gives an address that has no page a zeroed frame. Returns whether there was one left.
    pub fn populate(&mut self, virt: u64, size: Size, access: Access) -> bool {
        if virt >= USER_END {
            return false;
        }
        let Some(frame) = frames::alloc(size) else { return false };
        if self.map(virt, frame, size, access) {
            return true;
        }
        frames::free(frame, size);
        false
    }

    /// Maps a frame where there is nothing.
    fn map(&mut self, virt: u64, frame: u64, size: Size, access: Access) -> bool {
        let (want, large) = match size {
            Size::Small => (0, 0),
            Size::Large => (1, LARGE),
        };
        loop {
            let (entry, level) = self.entry(virt);
            if *entry != 0 || level < want {
                return false;
            }
            if level == want {
                *entry = frame | access.bits() | large;
                return true;
            }
            let table = Box::leak(Table::new());
            *entry = physical(table) | PRESENT | WRITABLE | USER;
        }
    }

    /// Whether a large page fits at an address: nothing is mapped in its 2 MiB, not even by a table.
    pub fn has_room_for_large(&mut self, virt: u64) -> bool {
        let (entry, level) = self.entry(virt);
        *entry == 0 && level >= 1
    }

    /// Makes 512 small pages of a large one.
    fn split(&mut self, virt: u64) {
        let (entry, level) = self.entry(virt);
        if level != 1 || *entry & LARGE == 0 {
            return;
        }
        let table = Box::leak(Table::new());
        let flags = *entry & !ADDRESS & !LARGE;
        let frame = *entry & ADDRESS & !(Size::Large.bytes() - 1);
        for (i, small) in table.0.iter_mut().enumerate() {
            *small = (frame + i as u64 * Size::Small.bytes()) | flags;
        }
        *entry = physical(table) | PRESENT | WRITABLE | USER;
    }

    /// Calls `f` for every page in a range; large ones that are only partly in it are split before.
    /// `f` may change the entry. Page aligned.
    fn for_each(&mut self, start: u64, end: u64, mut f: impl FnMut(u64, &mut u64, Size)) {
        let mut virt = start;
        while virt < end {
            let (entry, level) = self.entry(virt);
            let span = 1u64 << (12 + 9 * level);
            let next = (virt & !(span - 1)).saturating_add(span);
            if *entry == 0 {
                virt = next;
                continue;
            }
            if level == 1 && (virt & (span - 1) != 0 || next > end) {
                self.split(virt);
                continue;
            }
            f(virt, entry, if level == 1 { Size::Large } else { Size::Small });
            virt = next;
        }
    }

    /// Takes all pages in a range away and frees their frames. Page aligned.
    pub fn unmap(&mut self, start: u64, end: u64) {
        self.for_each(start, end, |_, entry, size| {
            let frame = *entry & ADDRESS & !(size.bytes() - 1);
            *entry = 0;
            frames::free(frame, size);
        });
        self.flush();
    }

    /// Changes what may be done with the pages in a range. Page aligned.
    pub fn protect(&mut self, start: u64, end: u64, access: Access) {
        self.for_each(start, end, |_, entry, size| {
            let large = if size == Size::Large { LARGE } else { 0 };
            *entry = (*entry & ADDRESS) | access.bits() | large;
        });
        self.flush();
    }

    /// Moves all pages of a range to where nothing is mapped. Page aligned, not overlapping.
    pub fn move_pages(&mut self, from: u64, to: u64, len: u64) {
        let mut virt = from;
        while virt < from + len {
            // By small pages: the target may be aligned in another way.
            self.split(virt);
            let (entry, level) = self.entry(virt);
            if level == 0 && *entry != 0 {
                let (frame, access) = (*entry & ADDRESS, Access::of(*entry));
                *entry = 0;
                if !self.map(to + (virt - from), frame, Size::Small, access) {
                    frames::free(frame, Size::Small);
                }
            }
            virt += Size::Small.bytes();
        }
        self.flush();
    }

    fn flush(&self) {
        let (current, _) = Cr3::read();
        if current.start_address().as_u64() == physical(&self.root) {
            load(physical(&self.root));
        }
    }

    fn free_tables(table: &mut Table, level: u32, entries: usize) {
        for entry in &mut table.0[..entries] {
            if *entry == 0 {
                continue;
            }
            if level == 0 || *entry & LARGE != 0 {
                let size = if level == 0 { Size::Small } else { Size::Large };
                frames::free(*entry & ADDRESS & !(size.bytes() - 1), size);
            } else {
                let lower = table_at(*entry);
                Self::free_tables(lower, level - 1, 512);
                // SAFETY: Made by `Box::leak` in this file, and this was the only entry that points to it.
                drop(unsafe { Box::from_raw(lower) });
            }
            *entry = 0;
        }
    }
}

impl Default for PageTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        let (current, _) = Cr3::read();
        if current.start_address().as_u64() == physical(&self.root) {
            deactivate();
        }
        Self::free_tables(&mut self.root, 3, 256);
    }
}

/// Leaves any application's address space.
pub fn deactivate() {
    load(info::boot_info().page_table);
}

fn load(root: u64) {
    let frame = PhysFrame::containing_address(PhysAddr::new(root));
    // SAFETY: All roots map the kernel in the same way in their upper half.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// Maps the local APIC's registers, uncached. Before there are applications.
pub(crate) fn map_local_apic(address: u64) {
    let mut table = table_at(info::boot_info().page_table);
    let virt = LOCAL_APIC as u64;
    for level in [3, 2, 1] {
        let entry = &mut table.0[index(virt, level)];
        if *entry == 0 {
            *entry = physical(Box::leak(Table::new())) | PRESENT | WRITABLE;
        }
        table = table_at(*entry);
    }
    table.0[index(virt, 0)] = address | PRESENT | WRITABLE | WRITE_THROUGH | CACHE_DISABLE | NO_EXECUTE;
}
