// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own memory: a buddy allocator over the kernel pool, for page tables too.
//!
//! A small part is kept back for when the rest is so full, or in such small pieces, that it has nothing to offer: what
//! can't be refused comes from there. What can be, asks [`left`] first, which then says that nothing is left.
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

/// A part of the pool.
///
/// Locks with interrupts off only: the kernel takes interrupts nowhere else but where it idles.
struct Part {
    heap: Mutex<Heap<44>>,
    /// Bytes in it that are free and that are used, so that nobody needs the lock to know. Who has the lock writes them.
    free: AtomicUsize,
    used: AtomicUsize,
}

impl Part {
    const fn empty() -> Self {
        Self { heap: Mutex::new(Heap::empty()), free: AtomicUsize::new(0), used: AtomicUsize::new(0) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Heap<44>) -> T) -> T {
        let mut heap = self.heap.lock();
        let result = change(&mut heap);
        let used = heap.stats_alloc_actual();
        self.used.store(used, Ordering::Relaxed);
        self.free.store(heap.stats_total_bytes() - used, Ordering::Relaxed);
        result
    }
}

/// The kernel's allocator.
struct KernelHeap(Part);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(Part::empty());

/// What is kept back.
static RESERVE: Part = Part::empty();
const RESERVE_LEN: usize = 2 << 20;
const RESERVE_PART: usize = 32;
/// Where that begins: the rest is below.
static RESERVE_START: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: all work is done by the buddy allocator, under a lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let first = self.0.with(|heap| heap.alloc(layout));
        first.or_else(|_| RESERVE.with(|heap| heap.alloc(layout))).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            let reserve = pointer.as_ptr() as usize >= RESERVE_START.load(Ordering::Relaxed);
            let part = if reserve { &RESERVE } else { &self.0 };
            // SAFETY: the caller got `pointer` from `alloc` with the same layout, which took it from this part.
            part.with(|heap| unsafe { heap.dealloc(pointer, layout) });
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
        HEAP.0.with(|heap| heap.init(start, len - reserve));
        RESERVE.with(|heap| heap.init(start + len - reserve, reserve));
    }
}

/// Bytes that are left, without what is kept back. They may be in pieces, and others may take them.
pub fn left() -> usize {
    match RESERVE.used.load(Ordering::Relaxed) {
        0 => HEAP.0.free.load(Ordering::Relaxed),
        _ => 0,
    }
}

/// Bytes in all, likewise.
pub fn size() -> usize {
    HEAP.0.free.load(Ordering::Relaxed) + HEAP.0.used.load(Ordering::Relaxed)
}
