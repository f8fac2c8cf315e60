// SPDX-License-Identifier: MIT OR Apache-2.0

//! Application memory: which frames are free, and access to them.
//!
//! No object of the kernel is ever in application memory, so reading and writing bytes there is safe
//! whatever they are; what is checked is that an access stays inside.

use crate::info;
use buddy_system_allocator::FrameAllocator;
use core::ptr;
use hermit_abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use spin::Mutex;

/// Free frames by number (physical address / 4096).
static FREE: Mutex<FrameAllocator<40>> = Mutex::new(FrameAllocator::new());

/// The size of a page or of the frame behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Large,
}

impl Size {
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => PAGE_SIZE,
            Self::Large => LARGE_PAGE_SIZE,
        }
    }

    const fn frames(self) -> usize {
        (self.bytes() / PAGE_SIZE) as usize
    }
}

pub(crate) fn init() {
    let mut free = FREE.lock();
    for range in info::app_memory() {
        free.add_frame((range.start / PAGE_SIZE) as usize, ((range.start + range.len) / PAGE_SIZE) as usize);
    }
}

/// A zeroed frame, or `None` if there is none.
pub(crate) fn alloc(size: Size) -> Option<u64> {
    let frame = FREE.lock().alloc(size.frames())?;
    let address = frame as u64 * PAGE_SIZE;
    // SAFETY: The frame is application memory that nobody has.
    unsafe { ptr::write_bytes(info::direct(address), 0, size.bytes() as usize) };
    Some(address)
}

/// Takes a frame back. A large one may come back in small parts.
pub(crate) fn free(address: u64, size: Size) {
    FREE.lock().dealloc((address / PAGE_SIZE) as usize, size.frames());
}

/// Offset of a physical address into all application memory, and how much of it follows without a gap.
pub fn pool_offset(address: u64) -> Option<(u64, u64)> {
    let mut before = 0;
    for range in info::app_memory() {
        if let Some(inside) = address.checked_sub(range.start).filter(|&inside| inside < range.len) {
            return Some((before + inside, range.len - inside));
        }
        before += range.len;
    }
    None
}

fn checked(address: u64, len: usize) -> Option<*mut u8> {
    let (_, room) = pool_offset(address)?;
    (len as u64 <= room).then(|| info::direct(address))
}

/// Copies from application memory. `None`: not all of it is.
pub fn read(address: u64, to: &mut [u8]) -> Option<()> {
    let from = checked(address, to.len())?;
    // SAFETY: Inside application memory, which `to` isn't.
    unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
    Some(())
}

/// Copies to application memory. `None`: not all of it is.
pub fn write(address: u64, from: &[u8]) -> Option<()> {
    let to = checked(address, from.len())?;
    // SAFETY: Inside application memory, which `from` isn't.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    Some(())
}

/// Zeroes application memory. `None`: not all of it is.
pub fn zero(address: u64, len: usize) -> Option<()> {
    let to = checked(address, len)?;
    // SAFETY: Inside application memory.
    unsafe { ptr::write_bytes(to, 0, len) };
    Some(())
}
