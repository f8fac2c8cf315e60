// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory shared with an isle: the channel, and the memory of its application.
//!
//! The isle may write to both at any time. So the channel is only seen as atomics, and application memory
//! is only given to the kernel by its address, or copied, by an instruction that the compiler can't look into.

use hermit_abi::LARGE_PAGE_SIZE;
use hermit_abi::app::App;
use hermit_abi::boot::BootInfo;
use hermit_abi::channel::{CHANNEL_SIZE, Channel};
use hermit_abi::clock::Clock;
use hermit_abi::control::Control;
use hermit_abi::cpu::Cpu;
use hermit_abi::image::TrampolineArgs;
use hermit_abi::log::LogRing;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

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

    /// Parts of a file, one behind the other, at a multiple of 2 MiB, so that the kernel can map large pages. All parts but the last
    /// consist of whole pages.
    fn new_aligned(fd: impl AsFd, parts: &[(u64, usize)]) -> io::Result<Self> {
        let len = parts.iter().try_fold(0usize, |sum, (_, len)| sum.checked_add(*len));
        let len = len.ok_or(io::ErrorKind::OutOfMemory)?;
        let align = usize::try_from(LARGE_PAGE_SIZE).unwrap_or(1);
        let room = Self::reserve(len.checked_add(align).ok_or(io::ErrorKind::OutOfMemory)?)?;
        let skip = room.start.align_offset(align);
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: `align_offset` is less than `align` here, so it stays in `room`.
        let start = unsafe { room.start.add(skip) };
        let mut at = start.as_ptr();
        for (offset, len) in parts {
            // SAFETY: What it replaces is part of `room`, which nobody else knows: all parts together are shorter.
            unsafe { mmap(at.cast(), *len, prot, MapFlags::SHARED | MapFlags::FIXED, &fd, *offset)? };
            at = at.wrapping_add(*len);
        }
        let end = start.as_ptr().wrapping_add(len.next_multiple_of(PAGE));
        let rest = room.end().addr().saturating_sub(end.addr());
        std::mem::forget(room);
        // SAFETY: Both are what is left of the reservation, before and after the mapping.
        unsafe {
            if skip > 0 {
                let _ = munmap(start.as_ptr().wrapping_sub(skip).cast(), skip);
            }
            if rest > 0 {
                let _ = munmap(end.cast(), rest);
            }
        }
        Ok(Self { start, len })
    }

    /// Addresses without memory.
    fn reserve(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: As in `new`.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::empty(), flags)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, len })
    }

    fn end(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.len.next_multiple_of(PAGE))
    }
}

const PAGE: usize = 4096;

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
        Self::at(fd, 0)
    }

    /// Maps it where it is in a file.
    pub fn at(fd: impl AsFd, offset: u64) -> io::Result<Self> {
        Mapping::new(fd, offset, CHANNEL_SIZE).map(Self)
    }

    pub fn get(&self) -> &Channel {
        // SAFETY:
        // 1. The mapping is page-aligned and CHANNEL_SIZE bytes long, and lives as long as `self`.
        // 2. A `Channel` consists of atomic integers, for which all bit patterns are valid and which others
        //    may change.
        unsafe { self.0.start.cast().as_ref() }
    }
}

/// A structure of atomic integers only.
///
/// # Safety
///
/// It has nothing else, for all bit patterns are valid and may be written by others.
pub unsafe trait Shared {}

// SAFETY: Atomic integers only.
unsafe impl Shared for App {}
// SAFETY: As above.
unsafe impl Shared for Clock {}
// SAFETY: As above.
unsafe impl Shared for Control {}
// SAFETY: As above.
unsafe impl Shared for Cpu {}
// SAFETY: As above.
unsafe impl Shared for LogRing {}
// SAFETY: As above.
unsafe impl Shared for AtomicU64 {}

/// A structure that may be copied byte by byte.
///
/// # Safety
///
/// It has no padding.
pub unsafe trait Plain {}

// SAFETY: Its size is the sum of those of its fields, as `hermit_abi` checks.
unsafe impl Plain for BootInfo {}
// SAFETY: As above.
unsafe impl Plain for TrampolineArgs {}
// SAFETY: An integer.
unsafe impl Plain for u64 {}

/// A range is not in application memory.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// The mapped memory of the application.
pub struct Memory(Mapping);

impl Memory {
    /// Maps `len` bytes at this offset of the door.
    pub fn new(fd: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        Mapping::new_aligned(fd, &[(offset, len)]).map(Self)
    }

    /// Maps parts of a file, one behind the other.
    pub fn of_parts(fd: impl AsFd, parts: &[(u64, usize)]) -> io::Result<Self> {
        Mapping::new_aligned(fd, parts).map(Self)
    }

    /// A structure that the isle may look at and change at any time.
    pub fn view<T: Shared>(&self, offset: u64) -> Result<&T, OutOfRange> {
        let start: *const T = self.at(offset, size_of::<T>())?.cast();
        if !start.is_aligned() {
            return Err(OutOfRange);
        }
        // SAFETY: In the mapping, which lives as long as `self`; for the rest the trait vouches.
        Ok(unsafe { &*start })
    }

    /// Copies a structure to application memory.
    pub fn put<T: Plain>(&self, offset: u64, value: &T) -> Result<(), OutOfRange> {
        // SAFETY: All bytes of the structure are initialised, as the trait says.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) };
        self.write(offset, bytes)
    }

    /// A part of it, for the kernel.
    pub fn region(&self, offset: u64, len: u64) -> Result<Region<'_>, OutOfRange> {
        let len = usize::try_from(len).map_err(|_| OutOfRange)?;
        let iov_base = self.at(offset, len)?.cast();
        Ok(Region(libc::iovec { iov_base, iov_len: len }, PhantomData))
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

/// A part of application memory, as the kernel wants it. The proxy itself never looks into it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Region<'a>(libc::iovec, PhantomData<&'a Memory>);

impl Region<'_> {
    /// Of nothing.
    pub const fn empty() -> Self {
        Self(libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }, PhantomData)
    }

    pub fn address(&self) -> u64 {
        self.0.iov_base.addr() as u64
    }

    pub fn len(&self) -> u64 {
        self.0.iov_len as u64
    }

    pub fn is_empty(&self) -> bool {
        self.0.iov_len == 0
    }
}

/// The proxy's own memory for what can't be done in place, made when it is needed.
#[derive(Default)]
pub struct Bounce(Option<Mapping>);

impl Bounce {
    /// Most bytes that it holds.
    pub const LEN: usize = 1 << 20;

    /// `len` bytes that begin where a buffer of the application does in its page: with O_DIRECT that matters.
    pub fn bytes(&mut self, like: u64, len: usize) -> io::Result<&mut [u8]> {
        let mapping = match self.0.take() {
            Some(mapping) => self.0.insert(mapping),
            None => {
                let prot = ProtFlags::READ | ProtFlags::WRITE;
                let len = Self::LEN + PAGE;
                // SAFETY: A new mapping at an address of the kernel's choice overlaps nothing.
                let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, MapFlags::PRIVATE)? };
                let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
                self.0.insert(Mapping { start, len })
            }
        };
        let within = usize::try_from(like % PAGE as u64).unwrap_or(0);
        // SAFETY: Private memory, initialised by the kernel, that is borrowed along with `self`.
        let all = unsafe { std::slice::from_raw_parts_mut(mapping.start.as_ptr(), mapping.len) };
        all.get_mut(within..within.saturating_add(len)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
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

    #[test]
    fn large_memory_begins_at_a_large_page() {
        for len in [4096, (2 << 20) + 4096, 6 << 20] {
            let memory = memory(len);
            assert_eq!(memory.region(0, 1).unwrap().address() % LARGE_PAGE_SIZE, 0);
            memory.write(len as u64 - 1, b"x").unwrap();
        }
    }

    #[test]
    fn bounces_begin_as_the_buffer_does() {
        let mut bounce = Bounce::default();
        for (like, len) in [(0, 1), (5000, Bounce::LEN), (u64::MAX, 7)] {
            let bytes = bounce.bytes(like, len).unwrap();
            assert_eq!((bytes.as_ptr().addr() as u64 % 4096, bytes.len()), (like % 4096, len));
            bytes.fill(1);
        }
        assert!(bounce.bytes(1, Bounce::LEN + 4096).is_err());
    }

    proptest! {
        #[test]
        fn any_range_is_in_bounds_or_refused(offset in prop_oneof![0..9000u64, any::<u64>()], len in 0..9000usize) {
            let memory = memory(8192);
            let fits = u128::from(offset) + len as u128 <= 8192;
            prop_assert_eq!(memory.write(offset, &vec![7; len]).is_ok(), fits);
            prop_assert_eq!(memory.read(offset, &mut vec![0; len]).is_ok(), fits);
            let base = memory.region(0, 0).unwrap().address();
            match memory.region(offset, len as u64) {
                Ok(region) => prop_assert!(fits && (region.address() - base, region.len()) == (offset, len as u64)),
                Err(OutOfRange) => prop_assert!(!fits),
            }
        }
    }
}
