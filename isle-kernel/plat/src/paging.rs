// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables of applications: 4 levels, pages of 4 KiB, 2 MiB and 1 GiB.
//!
//! Whatever is asked for, the lower half of an [`AddressSpace`] maps application memory, for ring 3, and the clock page,
//! which can only be read; the upper half is the kernel's. Entries never name other memory, so
//! every operation here is safe. A page without any permission keeps its memory: its entry
//! is not present but holds the address ("parked").

pub(crate) mod table;

use crate::app_memory;
use crate::features;
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
    Huge,
}

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => 4 << 10,
            Self::Large => 2 << 20,
            Self::Huge => 1 << 30,
        }
    }

    /// Where the page of this size around an address begins.
    pub const fn down(self, address: u64) -> u64 {
        address & !(self.bytes() - 1)
    }

    /// The level of the tables whose entries are such pages.
    const fn level(self) -> u32 {
        match self {
            Self::Small => 0,
            Self::Large => 1,
            Self::Huge => 2,
        }
    }

    /// The next smaller one.
    const fn part(self) -> Option<Self> {
        match self {
            Self::Small => None,
            Self::Large => Some(Self::Small),
            Self::Huge => Some(Self::Large),
        }
    }
}

/// Where the memory of 2 MiB should come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Anywhere,
    /// From this pool offset: then it continues what is mapped beside it.
    At(u64),
    /// From this many bytes behind a multiple of 1 GiB in physical memory: then a page of 1 GiB may come of it.
    Within(u64),
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
        Some(Self { root, shared: Arc::new(Root::new(root)), tables: 1, retired: None })
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
        if size == Size::Large {
            self.merge(table, virt);
        }
        Ok(())
    }

    /// How many bytes from a page on could be mapped as small pages of one table, since nothing is mapped there.
    pub fn free_run(&self, virt: u64, end: u64) -> u64 {
        let end = end.min((virt | (Size::Large.bytes() - 1)) + 1);
        let table = match self.look(virt) {
            Found::Nothing => return end.saturating_sub(virt),
            Found::Page(..) => return 0,
            Found::Small(table) => table,
        };
        let pages = (virt..end).step_by(Size::Small.bytes() as usize);
        let free = pages.take_while(|at| table.get(table::index(*at, 0)) == 0);
        free.count() as u64 * Size::Small.bytes()
    }

    /// Maps a clock page, for reading, where nothing is mapped. To all other operations it is no page, but
    /// [`unmap`](Self::unmap) removes it, and [`load_u32`](Self::load_u32) reads it.
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
        let bottom = size.level();
        if let (Size::Small, Found::Small(table)) = (size, self.look(virt)) {
            return Ok((table, table::index(virt, bottom)));
        }
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
        match self.look(virt) {
            Found::Nothing => None,
            Found::Small(table) => match table.get(table::index(virt, 0)) {
                0 => None,
                entry => page_of(entry, 0),
            },
            Found::Page(size, entry) => page_of(entry, size.level()),
        }
    }

    /// Reads a word that ring 3 may read, at once; `None` if it may not, or if it isn't aligned.
    pub fn load_u32(&self, virt: u64) -> Option<u32> {
        if virt >= END {
            return None;
        }
        match self.look(virt) {
            Found::Nothing => None,
            Found::Small(table) => table::load_u32(table.get(table::index(virt, 0)), Size::Small, virt),
            Found::Page(size, entry) => table::load_u32(entry, size, virt),
        }
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
    /// Needs memory only where a range begins or ends within a large page. `freed` is dropped, with what locks it may hold,
    /// before other CPUs are waited for.
    pub fn unmap(&mut self, start: u64, end: u64, mut freed: impl FnMut(Page)) -> Result<(), MapError> {
        let edges = self.split_edges(start, end)?;
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
        self.clear_all(start, end, edges, &mut stale, &mut freed);
        drop(freed);
        // Where all CPUs have forgotten the pages, they may still remember tables.
        self.flush(&stale);
        self.reap();
        Ok(())
    }

    /// Changes what ring 3 may do with the pages from `start` to `end`.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<(), MapError> {
        self.protect_each(start, end, &mut |_| prot)
    }

    /// As [`protect`](Self::protect); says for each page what is allowed from now on.
    pub fn protect_each(&mut self, start: u64, end: u64, prot: &mut dyn FnMut(&Page) -> Prot) -> Result<(), MapError> {
        self.split_edges(start, end)?;
        let mut stale = Stale::nothing();
        let mut at = start;
        while let Some((virt, page)) = self.next_page(at, end) {
            let prot = prot(&page);
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

    /// Puts other memory, or the same, behind the page that is mapped at an address. Returns what it was; no CPU can use
    /// that any more.
    pub fn exchange(&mut self, virt: u64, offset: u64, prot: Prot) -> Result<Page, MapError> {
        let page = self.lookup(virt).ok_or(MapError::Invalid)?;
        let bytes = page.size.bytes();
        let (physical, contiguous) = app_memory::get().physical(offset).ok_or(MapError::Invalid)?;
        if !physical.is_multiple_of(bytes) || contiguous < bytes {
            return Err(MapError::Invalid);
        }
        self.update(virt, page.size, |_| leaf(physical, page.size, prot));
        if !page.prot.is_none() {
            let mut stale = Stale::nothing();
            stale.add(page.size.down(virt));
            self.flush(&stale);
        }
        Ok(page)
    }

    /// Makes pages of the next smaller size of the one at an address, if it isn't small.
    pub fn split(&mut self, virt: u64) -> Result<(), MapError> {
        let Some((page, part)) = self.lookup(virt).and_then(|page| Some((page, page.size.part()?))) else {
            return Ok(());
        };
        let (physical, _) = app_memory::get().physical(page.offset).ok_or(MapError::Invalid)?;
        let child = Table::new().ok_or(MapError::NoMemory)?;
        self.tables += 1;
        for index in 0..ENTRIES {
            child.set(index, leaf(physical + index as u64 * part.bytes(), part, page.prot));
        }
        self.update(virt, page.size, |_| child.entry());
        let mut stale = Stale::nothing();
        stale.add(virt);
        self.flush(&stale);
        Ok(())
    }

    /// Makes one page of 1 GiB of the table around an address, if its entries amount to one.
    fn merge(&mut self, table: Table, virt: u64) {
        if !has_huge_pages() {
            return;
        }
        let Some(entry) = table::merged(table) else { return };
        // Blocks may be neighbours in physical memory without being any by their pool offsets, which a page's parts are.
        let start = page_of(entry, Size::Huge.level()).and_then(|page| app_memory::get().physical(page.offset));
        if start.is_none_or(|(_, contiguous)| contiguous < Size::Huge.bytes()) {
            return;
        }
        self.update(virt, Size::Huge, |_| entry);
        self.retire(table);
        let mut stale = Stale::nothing();
        stale.add(virt);
        self.flush(&stale);
        self.reap();
    }

    /// Where the memory for 2 MiB should come from so that pages of 1 GiB can be made.
    pub fn wanted(&self, virt: u64) -> Wanted {
        let within = Size::Large.down(virt) - Size::Huge.down(virt);
        if !has_huge_pages() {
            return Wanted::Anywhere;
        }
        let mut table = self.root;
        for level in [3, 2] {
            let entry = table.get(table::index(virt, level));
            table = match table::child(entry) {
                Some(child) => child,
                None => return Wanted::Within(within),
            };
        }
        let first = table.next_used(0, ENTRIES);
        if first == ENTRIES {
            return Wanted::Within(within);
        }
        let start = page_of(table.get(first), Size::Large.level()).and_then(|page| {
            let (physical, _) = app_memory::get().physical(page.offset)?;
            let start = physical.checked_sub(first as u64 * Size::Large.bytes())?;
            start.is_multiple_of(Size::Huge.bytes()).then_some(start)
        });
        match start.and_then(|start| app_memory::get().offset(start + within)) {
            Some(offset) => Wanted::At(offset),
            None => Wanted::Anywhere,
        }
    }

    /// What there is in the 2 MiB around an address. Nearly everything begins with this, so it has no loop.
    fn look(&self, virt: u64) -> Found {
        let Some(table) = table::child(self.root.get(table::index(virt, 3))) else { return Found::Nothing };
        let entry = table.get(table::index(virt, 2));
        let Some(table) = table::child(entry) else { return Found::page(entry, Size::Huge) };
        let entry = table.get(table::index(virt, 1));
        match table::child(entry) {
            Some(table) => Found::Small(table),
            None => Found::page(entry, Size::Large),
        }
    }

    /// Clears what is within a range, whose edges were split.
    fn clear_all(&mut self, start: u64, end: u64, edges: Edges, stale: &mut Stale, freed: &mut dyn FnMut(Page)) {
        let mut at = start;
        // What is less than a table of small pages, at the edges, is known by now.
        for found in [edges.first, edges.last] {
            let base = Size::Large.down(at);
            let stop = end.min(base + Size::Large.bytes());
            if at >= end || stop - at == Size::Large.bytes() {
                break;
            }
            match found {
                Found::Nothing => {}
                Found::Small(table) => self.clear(table, 0, base, at..stop, stale, freed),
                Found::Page(..) => break,
            }
            at = stop;
        }
        if at < end {
            self.clear(self.root, 3, 0, at..end, stale, freed);
        }
    }

    /// Splits the large pages that a range begins or ends in: what is done with the range afterwards needs no memory.
    pub fn split_edges(&mut self, start: u64, end: u64) -> Result<Edges, MapError> {
        check_range(start, end)?;
        let last = self.split_edge(end)?;
        let first = match Size::Large.down(start) == Size::Large.down(end) {
            // Not but a part of a large page any more, unless neither is an edge.
            true => last,
            false => self.split_edge(start)?,
        };
        Ok(Edges { first, last })
    }

    /// Splits the large page that an edge lies in; returns what there is then.
    fn split_edge(&mut self, edge: u64) -> Result<Found, MapError> {
        loop {
            match self.look(edge) {
                Found::Page(size, _) if !edge.is_multiple_of(size.bytes()) => self.split(edge)?,
                found => return Ok(found),
            }
        }
    }

    fn replace(&mut self, virt: u64, page: Page, prot: Prot) {
        if let Some((physical, _)) = app_memory::get().physical(page.offset) {
            self.update(virt, page.size, |_| leaf(physical, page.size, prot));
        }
    }

    /// Changes the entry of a page, or of the table in its place, whose table is there.
    fn update(&mut self, virt: u64, size: Size, new: impl Fn(u64) -> u64) {
        let mut table = self.root;
        for level in (size.level() + 1..4).rev() {
            match table::child(table.get(table::index(virt, level))) {
                Some(child) => table = child,
                None => unreachable!("a mapped page has a table"),
            }
        }
        let index = table::index(virt, size.level());
        table.set(index, new(table.get(index)));
    }

    /// Takes a table out that CPUs may still remember.
    fn retire(&mut self, table: Table) {
        table.set_next(self.retired);
        self.retired = Some(table);
        self.tables -= 1;
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
                    self.retire(child);
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

/// What there is where a range begins, and where it ends.
pub struct Edges {
    first: Found,
    last: Found,
}

/// What there is in the span of a large page.
#[derive(Clone, Copy)]
enum Found {
    Nothing,
    Small(Table),
    /// A page of this size, and its entry.
    Page(Size, u64),
}

impl Found {
    /// What an entry that isn't a table's says.
    fn page(entry: u64, size: Size) -> Self {
        match entry {
            0 => Self::Nothing,
            _ => Self::Page(size, entry),
        }
    }
}

fn has_huge_pages() -> bool {
    cfg!(not(target_os = "none")) || features::get().huge_pages
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
    }
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
