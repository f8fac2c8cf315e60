// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own memory: objects and page tables come from the pool in the kernel part.

use crate::info;
use buddy_system_allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{null_mut, NonNull};
use spin::Mutex;

struct LockedHeap(Mutex<Heap<40>>);

#[global_allocator]
static HEAP: LockedHeap = LockedHeap(Mutex::new(Heap::new()));

// SAFETY: The buddy allocator hands out disjoint blocks that satisfy the layout; the lock makes that one at a time.
// It is never taken in an interrupt handler.
unsafe impl GlobalAlloc for LockedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: The caller got it from `alloc` with the same layout.
            unsafe { self.0.lock().dealloc(block, layout) };
        }
    }
}

pub(crate) fn init() {
    let pool = info::boot_info().kernel_pool;
    let start = info::direct(pool.start) as usize;
    // SAFETY: The pool is ours alone and mapped; this is called once.
    unsafe { HEAP.0.lock().init(start, pool.len as usize) };
}

/// Bytes in use.
pub fn used() -> usize {
    HEAP.0.lock().stats_alloc_actual()
}
