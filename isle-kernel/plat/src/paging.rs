// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables of applications: 4 levels, pages of 4 KiB and 2 MiB.
//!
//! Whatever is asked for, the lower half of an [`AddressSpace`] maps application memory, for ring 3, and the clock page,
//! which can only be read; the upper half is the kernel's. Entries never name other memory, so
//! every operation here is safe. A page without any permission keeps its memory: its entry
//! is not present but holds the address ("parked").

mod table;

use crate::app_memory;
use crate::phys::to_phys;
use crate::tlb::{self, Root, Stale};
use crate::user::END;
use alloc::sync::Arc;
use core::ops::Range;
use hermit_abi::clock::Clock;
use table::{leaf, page_of, span, Table, ENTRIES};

/// A page's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Large,
}

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => 4 << 10,
            Self::Large => 2 << 20,
        }
    }
}

/// What ring 3 may do. Writable or executable pages are always readable on x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prot {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

impl Prot {
    pub const NONE: Self = Self { read: false, write: false, exec: false };
    pub const READ_WRITE: Self = Self { read: true, write: true, exec: false };

    /// True if nothing is allowed.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// A mapped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Pool offset of its first byte.
    pub offset: u64,
    pub size: Size,
    pub prot: Prot,
}

/// Why something could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No kernel memory for page tables.
    NoMemory,
    /// Something is mapped there (for a large page: also page tables).
    Busy,
    /// Not aligned, or not an application's address, or not application memory.
    Invalid,
}

/// A page table for ring 3.
pub struct AddressSpace {
    root: Table,
    shared: Arc<Root>,
    tables: usize,
    /// Tables that some CPU may still remember, chained.
    retired: Option<Table>,
}

impl AddressSpace {
    /// An empty one; `None` without kernel memory.
    pub fn new() -> Option<Self> {
        let root = Table::new()?;
        #[cfg(target_os = "none")]
        root.share_upper_half(crate::kmap::root());
        Some(Self { root, shared: Arc::new(Root::new(root.physical())), tables: 1, retired: None })
    }

    /// What CPUs that run on it share.
    pub fn root(&self) -> &Arc<Root> {
        &self.shared
    }

    /// Page tables in use.
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// Maps a page where nothing is mapped.
    pub fn map(&mut self, virt: u64, offset: u64, size: Size, prot: Prot) -> Result<(), MapError> {
        self.map_run(virt, offset, 1, size, prot)
    }

    /// Maps pages that are neighbours here as there, and in one table, where nothing is mapped: all or none.
    pub fn map_run(&mut self, virt: u64, offset: u64, count: u64, size: Size, prot: Prot) -> Result<(), MapError> {
        let bytes = size.bytes();
        let (physical, contiguous) = app_memory::get().physical(offset).ok_or(MapError::Invalid)?;
        let aligned = virt.is_multiple_of(bytes) && physical.is_multiple_of(bytes);
        let in_one_table = count <= ENTRIES as u64 && virt / bytes % (ENTRIES as u64) + count <= ENTRIES as u64;
        if !aligned || !in_one_table || contiguous < count * bytes || virt >= END || END - virt < count * bytes {
            return Err(MapError::Invalid);
        }
        let (table, first) = self.make_table(virt, size)?;
        let all = first..first + count as usize;
        if all.clone().any(|index| table.get(index) != 0) {
            return Err(MapError::Busy);
        }
        for (page, index) in all.enumerate() {
            table.set(index, leaf(physical + page as u64 * bytes, size, prot));
        }
        Ok(())
    }

    /// How many bytes from a page on could be mapped as small pages of one table, since nothing is mapped there.
    pub fn free_run(&self, virt: u64, end: u64) -> u64 {
        let end = end.min((virt | (Size::Large.bytes() - 1)) + 1);
        let table = match self.look(virt) {
            Found::Nothing => return end.saturating_sub(virt),
            Found::Large => return 0,
            Found::Small(table) => table,
        };
        let pages = (virt..end).step_by(Size::Small.bytes() as usize);
        let free = pages.take_while(|at| table.get(table::index(*at, 0)) == 0);
        free.count() as u64 * Size::Small.bytes()
    }

    /// Maps a clock page, for reading, where nothing is mapped. To all other operations it is no page, but
    /// [`unmap`](Self::unmap) removes it.
    pub fn map_clock(&mut self, virt: u64, clock: &'static Clock) -> Result<(), MapError> {
        if !virt.is_multiple_of(Size::Small.bytes()) || virt >= END {
            return Err(MapError::Invalid);
        }
        let prot = Prot { read: true, ..Prot::NONE };
        let (table, index) = self.make_table(virt, Size::Small)?;
        if table.get(index) != 0 {
            return Err(MapError::Busy);
        }
        table.set(index, leaf(to_phys(core::ptr::from_ref(clock)), Size::Small, prot));
        Ok(())
    }

    /// The table that has the entry of a page of a size, and which one it is. Makes tables as needed.
    fn make_table(&mut self, virt: u64, size: Size) -> Result<(Table, usize), MapError> {
        let bottom = if size == Size::Large { 1 } else { 0 };
        let mut table = self.root;
        for level in (bottom + 1..4).rev() {
            let index = table::index(virt, level);
            let entry = table.get(index);
            table = match table::child(entry) {
                Some(child) => child,
                None if entry == 0 => {
                    let child = Table::new().ok_or(MapError::NoMemory)?;
                    self.tables += 1;
                    table.set(index, child.entry());
                    child
                }
                None => return Err(MapError::Busy),
            };
        }
        Ok((table, table::index(virt, bottom)))
    }

    /// The page at an address.
    pub fn lookup(&self, virt: u64) -> Option<Page> {
        if virt >= END {
            return None;
        }
        let mut table = self.root;
        for level in (0..4).rev() {
            let entry = table.get(table::index(virt, level));
            match table::child(entry) {
                Some(child) if level > 0 => table = child,
                _ => return page_of(entry, level),
            }
        }
        None
    }

    /// The first address at or above `virt` and below `end` where a page is, and the page.
    pub fn next_page(&self, mut virt: u64, end: u64) -> Option<(u64, Page)> {
        let end = end.min(END);
        'scan: while virt < end {
            let mut table = self.root;
            for level in (0..4).rev() {
                let entry = table.get(table::index(virt, level));
                match table::child(entry) {
                    Some(child) if level > 0 => table = child,
                    _ => {
                        if let Some(page) = page_of(entry, level) {
                            return Some((virt & !(span(level) - 1), page));
                        }
                        virt = (virt & !(span(level) - 1)) + span(level);
                        continue 'scan;
                    }
                }
            }
        }
        None
    }

    /// Unmaps all pages from `start` to `end` and hands each of them to `freed`, when no CPU can use it any more.
    /// Needs memory only where a range begins or ends within a large page.
    pub fn unmap(&mut self, start: u64, end: u64, freed: &mut dyn FnMut(Page)) -> Result<(), MapError> {
        check_range(start, end)?;
        self.split_edges(start, end)?;
        let mut stale = Stale::nothing();
        if self.shared.is_shared() {
            let mut at = start;
            while let Some((virt, page)) = self.next_page(at, end) {
                if !page.prot.is_none() {
                    stale.add(virt);
                }
                self.update(virt, page.size, table::leaving);
                at = virt + page.size.bytes();
            }
            self.flush(&stale);
            stale = Stale::nothing();
        }
        self.clear_all(start, end, &mut stale, freed);
        // Where all CPUs have forgotten the pages, they may still remember tables.
        self.flush(&stale);
        self.reap();
        Ok(())
    }

    /// Changes what ring 3 may do with the pages from `start` to `end`.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), MapError> {
        check_range(start, end)?;
        self.split_edges(start, end)?;
        let mut stale = Stale::nothing();
        let mut at = start;
        while let Some((virt, page)) = self.next_page(at, end) {
            if page.prot != prot {
                if !page.prot.is_none() {
                    stale.add(virt);
                }
                self.replace(virt, page, prot);
            }
            at = virt + page.size.bytes();
        }
        self.flush(&stale);
        Ok(())
    }

    /// Makes small pages of a large one.
    pub fn split(&mut self, virt: u64) -> Result<(), MapError> {
        let Some(Page { size: Size::Large, offset, prot }) = self.lookup(virt) else {
            return Ok(());
        };
        let (physical, _) = app_memory::get().physical(offset).ok_or(MapError::Invalid)?;
        let child = Table::new().ok_or(MapError::NoMemory)?;
        self.tables += 1;
        for index in 0..ENTRIES {
            child.set(index, leaf(physical + index as u64 * 4096, Size::Small, prot));
        }
        self.directory(virt).set(table::index(virt, 1), child.entry());
        let mut stale = Stale::nothing();
        stale.add(virt);
        self.flush(&stale);
        Ok(())
    }

    /// What there is in the 2 MiB around an address.
    fn look(&self, virt: u64) -> Found {
        let mut table = self.root;
        for level in [3, 2, 1] {
            let entry = table.get(table::index(virt, level));
            table = match table::child(entry) {
                Some(child) => child,
                None if entry == 0 => return Found::Nothing,
                None => return Found::Large,
            };
        }
        Found::Small(table)
    }

    /// Clears what is within a range, of which no large page is but a part.
    fn clear_all(&mut self, start: u64, end: u64, stale: &mut Stale, freed: &mut dyn FnMut(Page)) {
        let mut at = start;
        while at < end {
            // What is less than a table of small pages, at the edges, is found at once.
            let base = at & !(span(1) - 1);
            let stop = end.min(base + span(1));
            if stop - at == span(1) {
                break;
            }
            match self.look(at) {
                Found::Nothing => {}
                Found::Small(table) => self.clear(table, 0, base, at..stop, stale, freed),
                Found::Large => break,
            }
            at = stop;
        }
        if at < end {
            self.clear(self.root, 3, 0, at..end, stale, freed);
        }
    }

    /// Splits the large pages that a range begins or ends in.
    fn split_edges(&mut self, start: u64, end: u64) -> Result<(), MapError> {
        for edge in [start, end] {
            if edge % Size::Large.bytes() != 0 && matches!(self.look(edge), Found::Large) {
                self.split(edge)?;
            }
        }
        Ok(())
    }

    /// The page directory of an address at which a page is mapped.
    fn directory(&self, virt: u64) -> Table {
        let mut table = self.root;
        for level in [3, 2] {
            match table::child(table.get(table::index(virt, level))) {
                Some(child) => table = child,
                None => unreachable!("a mapped page has a directory"),
            }
        }
        table
    }

    fn replace(&mut self, virt: u64, page: Page, prot: Prot) {
        if let Some((physical, _)) = app_memory::get().physical(page.offset) {
            self.update(virt, page.size, |_| leaf(physical, page.size, prot));
        }
    }

    /// Changes the entry of a page that is mapped.
    fn update(&mut self, virt: u64, size: Size, new: impl Fn(u64) -> u64) {
        let directory = self.directory(virt);
        let (table, level) = match size {
            Size::Large => (Some(directory), 1),
            Size::Small => (table::child(directory.get(table::index(virt, 1))), 0),
        };
        if let Some(table) = table {
            let index = table::index(virt, level);
            table.set(index, new(table.get(index)));
        }
    }

    /// Frees tables that no CPU can remember.
    fn reap(&mut self) {
        if self.retired.is_some() && self.shared.is_settled() {
            while let Some(table) = self.retired {
                self.retired = table.next();
                table.free();
            }
        }
    }

    /// Clears what is within the range below one table; retires tables whose whole span is cleared.
    fn clear(
        &mut self,
        table: Table,
        level: u32,
        base: u64,
        range: Range<u64>,
        stale: &mut Stale,
        freed: &mut dyn FnMut(Page),
    ) {
        let first = (range.start.saturating_sub(base) / span(level)) as usize;
        let last = (range.end - base).div_ceil(span(level)).min(ENTRIES as u64) as usize;
        let mut next = first;
        loop {
            let index = table.next_used(next, last);
            if index >= last {
                break;
            }
            next = index + 1;
            let low = base + index as u64 * span(level);
            let high = low + span(level);
            let entry = table.get(index);
            if let Some(child) = table::child(entry).filter(|_| level > 0) {
                self.clear(child, level - 1, low, range.clone(), stale, freed);
                if range.start <= low && high <= range.end {
                    table.set(index, 0);
                    child.set_next(self.retired);
                    self.retired = Some(child);
                    self.tables -= 1;
                    stale.add(low);
                }
                continue;
            }
            table.set(index, 0);
            if table::is_present(entry) {
                stale.add(low);
            }
            // It is the clock page otherwise.
            if let Some(page) = page_of(entry, level) {
                freed(page);
            }
        }
    }

    /// Makes CPUs forget what is stale.
    fn flush(&self, stale: &Stale) {
        if !stale.is_empty() {
            self.shared.changed(stale);
        }
    }
}

/// What there is in the span of a large page.
enum Found {
    Nothing,
    Small(Table),
    Large,
}

fn check_range(start: u64, end: u64) -> Result<(), MapError> {
    let aligned = start.is_multiple_of(4096) && end.is_multiple_of(4096);
    if aligned && start <= end && end <= END {
        Ok(())
    } else {
        Err(MapError::Invalid)
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        tlb::leave();
        self.shared.wait_until_unused();
        let root = self.root;
        // END isn't a multiple of a table's span; 1 << 47 is.
        self.clear(root, 3, 0, 0..1 << 47, &mut Stale::nothing(), &mut |_| {});
        self.reap();
        self.root.free();
    }
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
