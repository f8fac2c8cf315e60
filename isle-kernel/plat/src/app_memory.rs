// SPDX-License-Identifier: MIT OR Apache-2.0

//! Application memory, addressed by pool offset (see `hermit_abi::channel`).
//!
//! Applications and the proxy may write it at any time, so there are never references to it: bytes are copied by
//! assembly, which the compiler knows nothing about. Any offset is safe to pass; one outside gives an error.

use crate::paging::Size;
use crate::phys::to_virt;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use hermit_abi::boot::Range;
use spin::Once;

/// An offset outside of application memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside;

/// One physical range and the pool offset it begins at.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    range: Range,
}

/// All ranges, joined in order.
#[derive(Debug, Default)]
pub struct AppMemory {
    parts: Vec<Part>,
    len: u64,
}

static APP_MEMORY: Once<AppMemory> = Once::new();

/// Application memory of this isle.
///
/// # Panics
///
/// Before boot has found it.
pub fn get() -> &'static AppMemory {
    APP_MEMORY.get().expect("application memory is found first")
}

/// Takes over the ranges that the loader names.
#[cfg(target_os = "none")]
pub(crate) fn init(boot: &hermit_abi::boot::BootInfo) {
    APP_MEMORY.call_once(|| AppMemory::new(boot.app_memory.iter().take(boot.range_count as usize).copied()));
}

/// Takes over ordinary memory of a test.
#[cfg(not(target_os = "none"))]
pub fn init_for_test(len: usize) -> &'static AppMemory {
    // As much as is asked for is used; that far, it costs nothing.
    const ALIGN: usize = 1 << 30;
    let layout = std::alloc::Layout::from_size_align(len, ALIGN).expect("a sane length");
    APP_MEMORY.call_once(|| {
        // SAFETY: the layout isn't empty; the memory is never given back.
        let start = unsafe { std::alloc::alloc(layout) } as u64;
        let half = (len as u64 / 2) & !((2 << 20) - 1);
        // Two ranges, so that offset and address differ by different amounts.
        AppMemory::new([Range { start: start + half, len: len as u64 - half }, Range { start, len: half }].into_iter())
    })
}

impl AppMemory {
    fn new(ranges: impl Iterator<Item = Range>) -> Self {
        let mut this = Self::default();
        for range in ranges {
            if range.len > 0 && range.end().is_some() {
                this.parts.push(Part { offset: this.len, range });
                this.len = this.len.saturating_add(range.len);
            }
        }
        this
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The physical address at an offset, and how many bytes follow it without a gap.
    pub(crate) fn physical(&self, offset: u64) -> Option<(u64, u64)> {
        let at = self.parts.partition_point(|p| p.offset <= offset).checked_sub(1)?;
        let part = self.parts.get(at)?;
        let within = offset - part.offset;
        let left = part.range.len.checked_sub(within).filter(|left| *left > 0)?;
        Some((part.range.start + within, left))
    }

    /// The offsets of the parts of a size that begin at a multiple of it in physical memory, ascending.
    pub fn aligned(&self, size: Size) -> impl Iterator<Item = u64> + '_ {
        self.parts.iter().flat_map(move |part| {
            let skipped = part.range.start.next_multiple_of(size.bytes()) - part.range.start;
            let count = part.range.len.saturating_sub(skipped) / size.bytes();
            (0..count).map(move |index| part.offset + skipped + index * size.bytes())
        })
    }

    /// The offset of a physical address.
    pub(crate) fn offset(&self, physical: u64) -> Option<u64> {
        // Ranges are few, and not always ascending in tests.
        self.parts.iter().find_map(|p| {
            let within = physical.checked_sub(p.range.start)?;
            (within < p.range.len).then_some(p.offset + within)
        })
    }

    /// Runs `copy` on each contiguous piece: address, position, length.
    fn pieces(&self, offset: u64, len: usize, mut copy: impl FnMut(*mut u8, usize, usize)) -> Result<(), Outside> {
        let end = offset.checked_add(len as u64).ok_or(Outside)?;
        if end > self.len {
            return Err(Outside);
        }
        let mut done = 0;
        while done < len {
            let (physical, left) = self.physical(offset + done as u64).ok_or(Outside)?;
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(len - done);
            copy(to_virt(physical), done, piece);
            done += piece;
        }
        Ok(())
    }

    /// Copies out of application memory.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Outside> {
        self.pieces(offset, to.len(), |from, at, len| {
            // SAFETY: `from` is `len` bytes of application memory, `to[at..at + len]` is ours.
            unsafe { copy(to[at..at + len].as_mut_ptr(), from, len) }
        })
    }

    /// Copies into application memory.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), Outside> {
        self.pieces(offset, from.len(), |to, at, len| {
            // SAFETY: as for `read`.
            unsafe { copy(to, from[at..at + len].as_ptr(), len) }
        })
    }

    /// Copies from one place of application memory to another; they don't overlap.
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Result<(), Outside> {
        let apart = from.abs_diff(to) >= len;
        let fits = |start: u64| start.checked_add(len).is_some_and(|end| end <= self.len);
        if !apart || !fits(from) || !fits(to) {
            return Err(Outside);
        }
        let mut done = 0;
        while done < len {
            let (source, left) = self.physical(from + done).ok_or(Outside)?;
            let (target, room) = self.physical(to + done).ok_or(Outside)?;
            let piece = left.min(room).min(len - done);
            // SAFETY: both are `piece` bytes of application memory, and they are apart.
            unsafe { copy(to_virt(target), to_virt(source), piece as usize) };
            done += piece;
        }
        Ok(())
    }

    /// The word at an offset that is a multiple of 4.
    fn word(&self, offset: u64) -> Result<&AtomicU32, Outside> {
        if !offset.is_multiple_of(4) {
            return Err(Outside);
        }
        let (physical, left) = self.physical(offset).ok_or(Outside)?;
        if left < 4 {
            return Err(Outside);
        }
        // SAFETY: four bytes of application memory, aligned since ranges begin on pages; it stays for good, and whoever
        // else writes it is not a Rust program that could tell an atomic from another store.
        Ok(unsafe { AtomicU32::from_ptr(to_virt(physical)) })
    }

    /// Reads a word at once.
    pub fn load_u32(&self, offset: u64) -> Result<u32, Outside> {
        Ok(self.word(offset)?.load(Ordering::SeqCst))
    }

    /// Changes a word atomically; returns what it was.
    pub fn update_u32(&self, offset: u64, mut change: impl FnMut(u32) -> u32) -> Result<u32, Outside> {
        let word = self.word(offset)?;
        match word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(change(old))) {
            Ok(old) | Err(old) => Ok(old),
        }
    }

    /// Fills application memory with zeros.
    pub fn zero(&self, offset: u64, len: u64) -> Result<(), Outside> {
        let len = usize::try_from(len).map_err(|_| Outside)?;
        self.pieces(offset, len, |to, _, len| {
            // SAFETY: `to` is `len` bytes of application memory, which is nobody's Rust object.
            unsafe { clear(to, len) }
        })
    }
}

/// Bytes that the fast loop of [`clear`] writes at a time.
const CHUNK: usize = 256;

/// Writes zeros: by the processor's own loop where that is fast, else 16 bytes at a time.
///
/// # Safety
///
/// `to` is valid for `len` bytes.
unsafe fn clear(to: *mut u8, len: usize) {
    let chunks = if crate::features::get().erms || !(to as usize).is_multiple_of(16) { 0 } else { len / CHUNK };
    let done = chunks * CHUNK;
    // SAFETY: the caller vouches for the memory; the register belongs to ring 3 and is put back.
    unsafe {
        if chunks > 0 {
            let mut kept = [0u64; 2];
            core::arch::asm!(
                "movups [{kept}], xmm0",
                "xorps xmm0, xmm0",
                "2:",
                "movaps [{to}], xmm0",
                "movaps [{to} + 16], xmm0",
                "movaps [{to} + 32], xmm0",
                "movaps [{to} + 48], xmm0",
                "movaps [{to} + 64], xmm0",
                "movaps [{to} + 80], xmm0",
                "movaps [{to} + 96], xmm0",
                "movaps [{to} + 112], xmm0",
                "movaps [{to} + 128], xmm0",
                "movaps [{to} + 144], xmm0",
                "movaps [{to} + 160], xmm0",
                "movaps [{to} + 176], xmm0",
                "movaps [{to} + 192], xmm0",
                "movaps [{to} + 208], xmm0",
                "movaps [{to} + 224], xmm0",
                "movaps [{to} + 240], xmm0",
                "add {to}, 256",
                "dec {chunks}",
                "jnz 2b",
                "movups xmm0, [{kept}]",
                kept = in(reg) kept.as_mut_ptr(),
                to = inout(reg) to => _,
                chunks = inout(reg) chunks => _,
                options(nostack)
            );
        }
        core::arch::asm!(
            "rep stosb",
            inout("rcx") len - done => _,
            inout("rdi") to.add(done) => _,
            in("al") 0u8,
            options(nostack, preserves_flags)
        );
    }
}

/// From so many words on, the processor's own loop is worth its start.
const FEW_WORDS: usize = 16;

/// Copies bytes behind the compiler's back.
///
/// # Safety
///
/// Both are valid for `len` bytes and don't overlap.
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for both.
    unsafe {
        core::arch::asm!(
            "cmp rcx, {few}",
            "jb 3f",
            "rep movsq",
            "jmp 4f",
            "2:",
            "mov {word}, [rsi]",
            "mov [rdi], {word}",
            "add rsi, 8",
            "add rdi, 8",
            "dec rcx",
            "3:",
            "test rcx, rcx",
            "jnz 2b",
            "4:",
            "mov rcx, {rest}",
            "jmp 6f",
            "5:",
            "mov {word:l}, [rsi]",
            "mov [rdi], {word:l}",
            "inc rsi",
            "inc rdi",
            "dec rcx",
            "6:",
            "test rcx, rcx",
            "jnz 5b",
            few = const FEW_WORDS,
            word = out(reg_abcd) _,
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_parts(memory: &mut [u8]) -> AppMemory {
        let start = memory.as_mut_ptr() as u64;
        AppMemory::new([Range { start: start + 100, len: 50 }, Range { start, len: 100 }].into_iter())
    }

    #[test]
    fn offsets_run_through_all_parts() {
        let mut bytes: Vec<u8> = (0..150).collect();
        let memory = two_parts(&mut bytes);
        let mut out = [0; 4];
        memory.read(48, &mut out).unwrap();
        assert_eq!(out, [148, 149, 0, 1]);
        memory.write(49, &[7, 8]).unwrap();
        memory.zero(60, 20).unwrap();
        assert_eq!((bytes[149], bytes[0], bytes[9], bytes[10], bytes[29], bytes[30]), (7, 8, 9, 0, 0, 30));
    }

    #[test]
    fn copies_across_parts() {
        let mut bytes: Vec<u8> = (0..150).collect();
        let memory = two_parts(&mut bytes);
        memory.copy(48, 90, 10).unwrap();
        assert_eq!(bytes[40..50], [148, 149, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(memory.copy(0, 5, 10), Err(Outside), "they overlap");
        assert_eq!(memory.copy(0, 145, 10), Err(Outside));
        assert_eq!(memory.copy(u64::MAX, 0, 10), Err(Outside));
    }

    #[test]
    fn outside_is_an_error() {
        let mut bytes = [1; 150];
        let memory = two_parts(&mut bytes);
        assert_eq!(memory.read(147, &mut [0; 4]), Err(Outside));
        assert_eq!(memory.write(u64::MAX, &[0]), Err(Outside));
        assert_eq!(memory.zero(0, 151), Err(Outside));
        assert_eq!(memory.zero(0, 150), Ok(()));
        assert_eq!(memory.physical(150), None);
    }

    #[test]
    fn aligned_parts_are_within_their_range() {
        let mib = 1 << 20;
        let memory = AppMemory::new(
            [
                Range { start: mib, len: 5 * mib },
                Range { start: 64 * mib, len: mib },
                Range { start: 32 * mib, len: 4 * mib },
            ]
            .into_iter(),
        );
        let offsets: Vec<_> = memory.aligned(Size::Large).map(|offset| offset / mib).collect();
        assert_eq!(offsets, [1, 3, 6, 8]);
        assert_eq!(memory.aligned(Size::Huge).count(), 0);
    }

    #[test]
    fn physical_and_offset_are_inverse() {
        let mut bytes = [0; 150];
        let memory = two_parts(&mut bytes);
        for offset in 0..150 {
            let (physical, _) = memory.physical(offset).unwrap();
            assert_eq!(memory.offset(physical), Some(offset));
        }
        assert_eq!(memory.offset(1), None);
    }
}
