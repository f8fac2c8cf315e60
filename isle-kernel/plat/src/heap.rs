// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own memory: a buddy allocator over the kernel pool, for page tables too.

use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{null_mut, NonNull};
use hermit_abi::boot::Range;
use spin::Mutex;

/// Locks with interrupts off only: the kernel takes interrupts nowhere else but where it idles.
struct KernelHeap(Mutex<Heap<44>>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(Mutex::new(Heap::empty()));

// SAFETY: all work is done by the buddy allocator, under a lock.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller got `pointer` from `alloc` with the same layout.
            unsafe { self.0.lock().dealloc(pointer, layout) }
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
    // SAFETY: handed through to the caller.
    unsafe { HEAP.0.lock().init(start, pool.len as usize) }
}

/// Bytes in use and in all.
pub fn usage() -> (usize, usize) {
    let heap = HEAP.0.lock();
    (heap.stats_alloc_actual(), heap.stats_total_bytes())
}
