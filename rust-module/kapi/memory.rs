// SPDX-License-Identifier: GPL-2.0

//! Memory blocks: taking them from Linux and giving them back.
//!
//! C headers: `linux/memory_hotplug.h`, `linux/ioport.h`.

use crate::abi::boot::Range;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;

extern "C" {
    fn hermit_helper_node_has_memory(node: i32) -> bool;
    fn hermit_helper_max_node() -> i32;
    fn hermit_helper_node_span(node: i32, start: *mut usize, spanned: *mut usize, present: *mut usize);
    fn hermit_helper_page_zone(pfn: usize, node: i32) -> i32;
    fn hermit_helper_has_unmovable_page(pfn: usize, count: usize) -> bool;
}

const PAGE_SIZE: u64 = crate::abi::PAGE_SIZE;

/// What a block is used for while Linux has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// ZONE_MOVABLE: only movable pages, so it can usually be emptied.
    Movable,
    /// Any zone that the kernel itself uses.
    Kernel,
}

/// The nodes that have memory.
pub fn nodes_with_memory() -> impl Iterator<Item = u32> {
    // SAFETY: Reads a constant and a bitmap.
    (0..unsafe { hermit_helper_max_node() }).filter(|&n| unsafe { hermit_helper_node_has_memory(n) }).map(|n| n as u32)
}

/// The unit in which memory comes and goes, in bytes.
pub fn block_size() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::memory_block_size_bytes() as u64 }
}

/// The range of a node with all its holes, and the bytes in it that are there.
pub fn node_span(node: u32) -> (Range, u64) {
    let (mut start, mut spanned, mut present) = (0, 0, 0);
    // SAFETY: `node` comes from `nodes_with_memory`; node data is never freed.
    unsafe { hermit_helper_node_span(node as i32, &mut start, &mut spanned, &mut present) };
    let bytes = |pages: usize| pages as u64 * PAGE_SIZE;
    (Range { start: bytes(start), len: bytes(spanned) }, bytes(present))
}

/// The zone of a block, or `None` if it isn't wholly on line on this node.
pub fn zone_of(node: u32, block: Range) -> Option<Zone> {
    let zone = |address: u64| {
        // SAFETY: Looks up any page frame number, whether there is memory or not.
        match unsafe { hermit_helper_page_zone((address / PAGE_SIZE) as usize, node as i32) } {
            1 => Some(Zone::Movable),
            0 => Some(Zone::Kernel),
            _ => None,
        }
    };
    let first = zone(block.start)?;
    (zone(block.start + block.len - PAGE_SIZE)? == first).then_some(first)
}

/// Whether a block can't go, as far as a look at its pages tells: it has holes, or pages of the kernel's.
/// Trying it all the same would fail, and dump such a page to the kernel log.
pub fn is_pinned_down(block: Range) -> bool {
    let (pfn, count) = (block.start / PAGE_SIZE, block.len / PAGE_SIZE);
    // SAFETY: Looks up any page frame number, whether there is memory or not.
    unsafe { hermit_helper_has_unmovable_page(pfn as usize, count as usize) }
}

/// Takes a block from Linux. May take for ever if pages are pinned; a signal ends it with EINTR.
pub fn offline_and_remove(block: Range) -> Result {
    // SAFETY: Process context; the callee checks the range and undoes what it did if it fails.
    to_result(unsafe { bindings::offline_and_remove_memory(block.start, block.len) })
}

/// Gives a block back to Linux, on line in `zone`.
pub fn add(node: u32, block: Range, zone: Zone) -> Result {
    let online = match zone {
        Zone::Movable => bindings::MHP_ONLINE_MOVABLE,
        Zone::Kernel => bindings::MHP_ONLINE_KERNEL,
    };
    let flags = online | bindings::MHP_MERGE_RESOURCE;
    // SAFETY: Process context; the callee checks the range.
    to_result(unsafe { bindings::add_memory(node as i32, block.start, block.len, flags as _) })
}

/// A named, busy range in /proc/iomem, which also keeps others from adding it as memory.
pub struct Region(Range);

impl Region {
    pub fn request(range: Range, name: &'static CStr) -> Result<Self> {
        // SAFETY: `iomem_resource` is the kernel's root resource; the name is static.
        let region = unsafe {
            bindings::__request_region(
                core::ptr::addr_of_mut!(bindings::iomem_resource),
                range.start,
                range.len,
                name.as_char_ptr(),
                0,
            )
        };
        if region.is_null() {
            return Err(EBUSY);
        }
        Ok(Self(range))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: Requested in `request`.
        unsafe {
            bindings::__release_region(core::ptr::addr_of_mut!(bindings::iomem_resource), self.0.start, self.0.len)
        };
    }
}

/// The module parameter `memory`.
pub fn parameter() -> Option<&'static [u8]> {
    extern "C" {
        fn hermit_helper_memory_param() -> *const kernel::ffi::c_char;
    }
    // SAFETY: NULL or a C string that lives as long as the module and doesn't change (mode 0444).
    unsafe {
        let p = hermit_helper_memory_param();
        (!p.is_null()).then(|| CStr::from_char_ptr(p).as_bytes())
    }
}
