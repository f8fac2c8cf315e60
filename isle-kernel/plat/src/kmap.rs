// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings of the kernel besides image and direct map: stacks with guard pages, and the APIC.
//!
//! They lie in one PML4 entry of their own, made on CPU 0 before other CPUs look and before there is
//! an application, so every page table shares them. Nothing is ever unmapped: no CPU has to forget anything.

use crate::phys::{to_phys, to_virt};
use alloc::alloc::{alloc_zeroed, Layout};
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

fn page() -> Option<u64> {
    let layout = Layout::from_size_align(4096, 4096).ok()?;
    // SAFETY: the layout isn't empty.
    let page = unsafe { alloc_zeroed(layout) };
    (!page.is_null()).then(|| to_phys(page))
}

/// Maps one page of the kernel's own region.
fn map(virt: u64, entry: u64) -> Option<()> {
    let _changes = CHANGES.lock();
    let mut table = root();
    for level in [39, 30, 21] {
        let slot = to_virt::<u64>(table + ((virt >> level) & 511) * 8);
        // SAFETY: tables are whole pages of the direct map, and the lock lets only one CPU change them.
        unsafe {
            if *slot & PRESENT == 0 {
                *slot = page()? | PRESENT | WRITABLE;
            }
            table = *slot & ADDRESS;
        }
    }
    // SAFETY: as above; the page was not mapped before, so nothing is to be flushed.
    unsafe { *to_virt::<u64>(table + ((virt >> 12) & 511) * 8) = entry };
    Some(())
}

fn reserve(len: u64) -> u64 {
    let whole = (len + 4096).next_multiple_of(STEP);
    NEXT.fetch_add(whole, Ordering::Relaxed)
}

/// Maps a page of device registers. Only at boot, on CPU 0.
pub fn map_device_page(physical: u64) -> Option<u64> {
    let virt = reserve(4096) + 4096;
    map(virt, physical | PRESENT | WRITABLE | NO_EXECUTE | UNCACHED | GLOBAL)?;
    Some(virt)
}

/// Maps a new stack below which and above which nothing is mapped; returns its top, which is a
/// multiple of `len` (a power of two, at most 32 KiB) above an address that is one too.
pub fn map_stack(len: u64) -> Option<u64> {
    debug_assert!(len.is_power_of_two() && len <= STEP / 2);
    let start = reserve(2 * len) + len;
    for offset in (0..len).step_by(4096) {
        map(start + offset, page()? | PRESENT | WRITABLE | NO_EXECUTE | GLOBAL)?;
    }
    Some(start + len)
}
