// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings of the kernel besides image and direct map: stacks with guard pages, and the APIC.
//!
//! They lie in one PML4 entry of their own, made on CPU 0 before other CPUs look and before there is
//! an application, so every page table shares them. Nothing is ever unmapped: no CPU has to forget anything.

use crate::phys::{to_phys, to_virt};
use alloc::alloc::{alloc_zeroed, dealloc, Layout};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// PML4 entry 384.
const START: u64 = 0xffff_c000_0000_0000;
/// Each request gets a whole multiple of this, the first page of which stays unmapped.
const STEP: u64 = 64 << 10;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const NO_EXECUTE: u64 = 1 << 63;
/// PAT entry 3: uncached.
const UNCACHED: u64 = (1 << 3) | (1 << 4);
const GLOBAL: u64 = 1 << 8;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

static NEXT: AtomicU64 = AtomicU64::new(START);
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Held while the tables of the region are changed.
static CHANGES: Mutex<()> = Mutex::new(());

/// Remembers the kernel's page table.
pub fn init(root: u64) {
    ROOT.store(root, Ordering::Relaxed);
}

/// Physical address of the kernel's own PML4.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

const PAGE: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// A page that goes back unless it is [kept](Page::keep).
struct Page(*mut u8);

impl Page {
    fn new() -> Option<Self> {
        // SAFETY: the layout isn't empty.
        let page = unsafe { alloc_zeroed(PAGE) };
        (!page.is_null()).then_some(Self(page))
    }

    /// Its physical address, at which it stays for good.
    fn keep(self) -> u64 {
        let physical = to_phys(self.0);
        core::mem::forget(self);
        physical
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: comes from `new`, and nobody knows of it.
        unsafe { dealloc(self.0, PAGE) }
    }
}

/// The entry of a page of the kernel's own region, which isn't mapped yet. Makes tables as needed.
fn entry(virt: u64) -> Option<*mut u64> {
    let _changes = CHANGES.lock();
    let mut table = root();
    for level in [39, 30, 21] {
        let slot = to_virt::<u64>(table + ((virt >> level) & 511) * 8);
        // SAFETY: tables are whole pages of the direct map, and the lock lets only one CPU change them.
        unsafe {
            if *slot & PRESENT == 0 {
                *slot = Page::new()?.keep() | PRESENT | WRITABLE;
            }
            table = *slot & ADDRESS;
        }
    }
    Some(to_virt::<u64>(table + ((virt >> 12) & 511) * 8))
}

/// Maps pages from an address on of which nobody else knows.
///
/// # Safety
///
/// `entry` is that of the first one, and those of the others follow in the same table.
unsafe fn map(entry: *mut u64, entries: impl Iterator<Item = u64>) {
    for (index, value) in entries.enumerate() {
        // SAFETY: handed through to the caller. Nothing was mapped there before, so nothing is to be flushed.
        unsafe { entry.add(index).write(value) }
    }
}

fn reserve(len: u64) -> u64 {
    let whole = (len + 4096).next_multiple_of(STEP);
    NEXT.fetch_add(whole, Ordering::Relaxed)
}

/// Maps so many pages of device registers.
pub fn map_device(physical: u64, pages: u64) -> Option<u64> {
    let virt = reserve(pages * 4096) + 4096;
    let pages = (0..pages.min(STEP / 4096 - 1)).map(|page| physical + page * 4096);
    let entries = pages.map(|page| page | PRESENT | WRITABLE | NO_EXECUTE | UNCACHED | GLOBAL);
    // SAFETY: a multiple of STEP lies in one table.
    unsafe { map(entry(virt)?, entries) }
    Some(virt)
}

/// Most pages of a stack.
const STACK_PAGES: usize = (STEP / 2 / 4096) as usize;

/// Maps a new stack below which and above which nothing is mapped; returns its top, which is a
/// multiple of `len` (a power of two, at most 32 KiB) above an address that is one too. Without kernel memory nothing is
/// taken but addresses.
pub fn map_stack(len: u64) -> Option<u64> {
    debug_assert!(len.is_power_of_two() && len <= STEP / 2);
    let mut pages = [const { None }; STACK_PAGES];
    for page in pages.iter_mut().take((len / 4096) as usize) {
        *page = Some(Page::new()?);
    }
    let start = reserve(2 * len) + len;
    let first = entry(start)?;
    let entries = pages.into_iter().flatten().map(|page| page.keep() | PRESENT | WRITABLE | NO_EXECUTE | GLOBAL);
    // SAFETY: a multiple of STEP lies in one table.
    unsafe { map(first, entries) }
    Some(start + len)
}
