// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own memory: a buddy allocator over the kernel pool, for page tables too.
//!
//! A small part is kept back for when the rest is so full, or in such small pieces, that it has nothing to offer: what
//! can't be refused comes from there. What can be, asks [`usage`] first, which then says that nothing is left.
//!
//! What can't be refused is what a thread needs to wait or to be ready: some places in queues, of about 200 bytes in all, while its
//! stack and registers, which can, take 20 KiB at least. So a part in 32 of the pool is enough for all threads that it has
//! room for.

use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{null_mut, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use hermit_abi::boot::Range;
use spin::Mutex;

/// Locks with interrupts off only: the kernel takes interrupts nowhere else but where it idles.
struct KernelHeap(Mutex<Heap<44>>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(Mutex::new(Heap::empty()));

/// What is kept back.
static RESERVE: Mutex<Heap<44>> = Mutex::new(Heap::empty());
const RESERVE_LEN: usize = 2 << 20;
const RESERVE_PART: usize = 32;
/// Where that begins: the rest is below.
static RESERVE_START: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: all work is done by the buddy allocator, under a lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let first = self.0.lock().alloc(layout);
        first.or_else(|_| RESERVE.lock().alloc(layout)).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            let reserve = pointer.as_ptr() as usize >= RESERVE_START.load(Ordering::Relaxed);
            let heap = if reserve { &RESERVE } else { &self.0 };
            // SAFETY: the caller got `pointer` from `alloc` with the same layout, which took it from this heap.
            unsafe { heap.lock().dealloc(pointer, layout) }
        }
    }
}

/// Gives the allocator the kernel pool.
///
/// # Safety
///
/// The range is mapped in the direct map, nobody else uses it, and this is the only call.
pub unsafe fn init(pool: Range) {
    let start = crate::phys::to_virt::<u8>(pool.start) as usize;
    let len = pool.len as usize;
    let reserve = RESERVE_LEN.max(len / RESERVE_PART).min(len / 4) & !0xfff;
    RESERVE_START.store(start + len - reserve, Ordering::Relaxed);
    // SAFETY: handed through to the caller; the two parts don't overlap.
    unsafe {
        HEAP.0.lock().init(start, len - reserve);
        RESERVE.lock().init(start + len - reserve, reserve);
    }
}

/// Bytes in use and in all, without what is kept back.
pub fn usage() -> (usize, usize) {
    let (used, all) = {
        let heap = HEAP.0.lock();
        (heap.stats_alloc_actual(), heap.stats_total_bytes())
    };
    if RESERVE.lock().stats_alloc_actual() > 0 {
        return (all, all);
    }
    (used, all)
}
