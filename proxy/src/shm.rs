// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory shared with an isle: the channel, and the memory of its application.
//!
//! The isle may write to both at any time. So the channel is only seen as atomics, and application memory
//! is only ever copied, by an instruction that the compiler can't look into.

use hermit_abi::channel::{CHANNEL_SIZE, Channel};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A shared, writable mapping, undone on drop.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: Nothing but the mapping's address is kept, which is the same in all threads.
unsafe impl Send for Mapping {}
// SAFETY: As above; the memory is accessed by atomics and by `copy` only.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: A new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, fd, offset)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Mapped in `new` with this length; references into it can't outlive `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The mapped channel.
pub struct ChannelMap(Mapping);

impl ChannelMap {
    /// Maps the channel, at offset 0 of the door.
    pub fn new(fd: impl AsFd) -> io::Result<Self> {
        Mapping::new(fd, 0, CHANNEL_SIZE).map(Self)
    }

    pub fn get(&self) -> &Channel {
        // SAFETY:
        // 1. The mapping is page-aligned and CHANNEL_SIZE bytes long, and lives as long as `self`.
        // 2. A `Channel` consists of atomic integers, for which all bit patterns are valid and which others
        //    may change.
        unsafe { self.0.start.cast().as_ref() }
    }
}

/// A range is not in application memory.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// The mapped memory of the application.
pub struct Memory(Mapping);

impl Memory {
    /// Maps `len` bytes at this offset of the door.
    pub fn new(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        Mapping::new(fd, offset, len).map(Self)
    }

    pub fn len(&self) -> u64 {
        self.0.len as u64
    }

    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The address of a range, if all of it is in the mapping.
    fn at(&self, offset: u64, len: usize) -> Result<*mut u8, OutOfRange> {
        let offset = usize::try_from(offset).map_err(|_| OutOfRange)?;
        let end = offset.checked_add(len).ok_or(OutOfRange)?;
        if end > self.0.len {
            return Err(OutOfRange);
        }
        // SAFETY: `offset` is at most the length of the mapping.
        Ok(unsafe { self.0.start.as_ptr().add(offset) })
    }

    /// Copies from application memory.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), OutOfRange> {
        let from = self.at(offset, bytes.len())?;
        // SAFETY: `at` has checked the source; the destination is borrowed for writing.
        unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies to application memory.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), OutOfRange> {
        let to = self.at(offset, bytes.len())?;
        // SAFETY: `at` has checked the destination; the source is borrowed.
        unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }
}

/// Copies bytes of which others may change one side meanwhile. An instruction rather than `memcpy`, because to
/// the compiler a race on plain memory would be undefined; to the processor it is just a mixture
/// of old and new bytes.
///
/// # Safety
///
/// Both ranges are mapped, `to` writable; they don't overlap; the local one is borrowed accordingly.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: By the contract; the direction flag is clear by the ABI (System V x86-64, 3.2.1).
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn memory(len: usize) -> Memory {
        let file = crate::program::tests::memfd(&[]);
        file.set_len(len as u64).unwrap();
        Memory::new(&file, 0, len).unwrap()
    }

    #[test]
    fn copies_both_ways_and_keeps_to_its_bounds() {
        let memory = memory(8192);
        memory.write(4090, b"0123456789").unwrap();
        let mut bytes = [0; 12];
        memory.read(4089, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\x000123456789\0");
        assert_eq!(memory.write(8190, b"abc"), Err(OutOfRange));
        assert_eq!(memory.read(u64::MAX, &mut bytes), Err(OutOfRange));
        assert_eq!(memory.read(u64::MAX - 5, &mut bytes), Err(OutOfRange));
        assert_eq!(memory.read(8192, &mut []), Ok(()));
        assert_eq!(memory.read(8193, &mut []), Err(OutOfRange));
    }

    proptest! {
        #[test]
        fn any_range_is_in_bounds_or_refused(offset in prop_oneof![0..9000u64, any::<u64>()], len in 0..9000usize) {
            let memory = memory(8192);
            let fits = u128::from(offset) + len as u128 <= 8192;
            prop_assert_eq!(memory.write(offset, &vec![7; len]).is_ok(), fits);
            prop_assert_eq!(memory.read(offset, &mut vec![0; len]).is_ok(), fits);
        }
    }
}
