// SPDX-License-Identifier: GPL-2.0

//! Memory that is not Linux's: mapped, bounds checked, and shared with somebody who can't be trusted.

use crate::abi;
use crate::abi::boot::Range;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use kernel::bindings;
use kernel::prelude::*;

/// Types that consist of atomics only, so that the other side may write at any time.
///
/// # Safety
///
/// All fields that are ever touched are atomics, and any bit pattern is valid.
pub unsafe trait Shared {}

// SAFETY: Atomics.
unsafe impl Shared for AtomicU64 {}
// SAFETY: Atomics.
unsafe impl Shared for AtomicU8 {}
// SAFETY: Only atomics but for padding, which is private.
unsafe impl Shared for abi::control::Control {}
// SAFETY: As above.
unsafe impl Shared for abi::cpu::Cpu {}
// SAFETY: As above.
unsafe impl Shared for abi::log::LogRing {}
// SAFETY: As above.
unsafe impl Shared for abi::app::App {}
// SAFETY: As above.
unsafe impl Shared for abi::channel::Channel {}
// SAFETY: As above.
unsafe impl Shared for abi::clock::Clock {}
// SAFETY: As above.
unsafe impl Shared for abi::net::Net {}

/// A physical range mapped write-back. While it lives, the range is also known as write-back memory to
/// whoever maps it into a process.
pub struct Mapping {
    base: NonNull<u8>,
    range: Range,
}

// SAFETY: The mapping belongs to no CPU or task; access is by atomics and plain copies of bytes
// that nobody else reads as anything but bytes.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub fn new(range: Range) -> Result<Self> {
        // SAFETY: Any range may be asked for; NULL says that it can't be had.
        let base = unsafe { bindings::memremap(range.start, range.len as usize, bindings::MEMREMAP_WB as usize) };
        let base = NonNull::new(base.cast()).ok_or(ENOMEM)?;
        Ok(Self { base, range })
    }

    fn at(&self, address: u64, len: u64) -> Result<*mut u8> {
        let offset = address.checked_sub(self.range.start).ok_or(EFAULT)?;
        let end = offset.checked_add(len).ok_or(EFAULT)?;
        if end > self.range.len {
            return Err(EFAULT);
        }
        // SAFETY: `offset` is inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(offset as usize) })
    }

    /// The `T`s at a physical address.
    pub fn slice<T: Shared>(&self, address: u64, count: usize) -> Result<&[T]> {
        let len = size_of::<T>().checked_mul(count).ok_or(EFAULT)?;
        let p: *const T = self.at(address, len as u64)?.cast();
        if p as usize % align_of::<T>() != 0 {
            return Err(EFAULT);
        }
        // SAFETY: In bounds and aligned; `T` is made of atomics; lives no longer than the mapping.
        Ok(unsafe { core::slice::from_raw_parts(p, count) })
    }

    /// The `T` at a physical address.
    pub fn get<T: Shared>(&self, address: u64) -> Result<&T> {
        self.slice(address, 1)?.first().ok_or(EFAULT)
    }

    /// Copies bytes to a physical address. Nobody else may use that part yet.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result {
        let to = self.at(address, bytes.len() as u64)?;
        // SAFETY: In bounds; the source is kernel memory, so they don't overlap.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies a value that has no padding to a physical address. Nobody else may use that part yet.
    pub fn write_value<T: Plain>(&self, address: u64, value: &T) -> Result {
        // SAFETY: `Plain` has no padding, so that all bytes are initialised.
        self.write(address, unsafe { core::slice::from_raw_parts((value as *const T).cast(), size_of::<T>()) })
    }

    /// Zeroes bytes at a physical address.
    pub fn zero(&self, address: u64, len: u64) -> Result {
        let to = self.at(address, len)?;
        // SAFETY: In bounds.
        unsafe { core::ptr::write_bytes(to, 0, len as usize) };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Mapped in `new`; references into it can't outlive `self`.
        unsafe { bindings::memunmap(self.base.as_ptr().cast()) };
    }
}

/// Types without padding and without pointers.
///
/// # Safety
///
/// Every byte of a value is initialised.
pub unsafe trait Plain {}

// SAFETY: Its size is the sum of its fields' (asserted beside it).
unsafe impl Plain for abi::boot::BootInfo {}
// SAFETY: As above.
unsafe impl Plain for abi::image::TrampolineArgs {}
// SAFETY: As above.
unsafe impl Plain for abi::door::Attachment {}
// SAFETY: As above.
unsafe impl Plain for abi::door::Status {}

impl crate::abi::load::pagetable::Tables for Mapping {
    type Error = Error;

    fn read(&self, table: u64, index: u64) -> Result<u64> {
        Ok(self.get::<AtomicU64>(table + index * 8)?.load(Ordering::Relaxed))
    }

    fn write(&self, table: u64, index: u64, entry: u64) -> Result {
        self.get::<AtomicU64>(table + index * 8)?.store(entry, Ordering::Relaxed);
        Ok(())
    }
}

/// The area below 1 MiB where CPUs start, or `None` if the kernel couldn't reserve it.
pub fn trampoline_area() -> Option<Range> {
    // SAFETY: Set once at boot.
    let start = unsafe { bindings::hermit_trampoline_base } as u64;
    (start != 0).then_some(Range { start, len: 4 * abi::PAGE_SIZE })
}
