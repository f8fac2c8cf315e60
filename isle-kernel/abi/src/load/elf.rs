// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ELF file of an isle kernel, as far as loading it needs (System V ABI, chapters 4 and 5).
//!
//! Depends on nothing but the shared layouts, so it is tested and fuzzed on the host. Every number in the
//! file is untrusted.

use super::super as abi;
use super::super::image::{ImageNote, IMAGE_BASE, IMAGE_END, NOTE_NAME, NOTE_TYPE, TRAMPOLINE_ARGS};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const HEADER_LEN: usize = 64;
const PROGRAM_HEADER_LEN: usize = 56;

/// A part of the file that has a place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Virtual address, page aligned.
    pub address: u64,
    /// Bytes in memory; what `data` doesn't cover is zero.
    pub memory_len: u64,
    pub data: &'a [u8],
    pub writable: bool,
    pub executable: bool,
}

/// A file that can be booted.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    file: &'a [u8],
    headers: &'a [u8],
    /// Entry point.
    pub entry: u64,
    /// Lowest virtual address, page aligned.
    pub base: u64,
    /// Bytes from `base` to the end of the highest segment, whole pages.
    pub len: u64,
    /// The code that CPUs start with.
    pub trampoline: &'a [u8],
}

/// Why a file can't be booted: the end of "... is not an isle kernel: it ...".
pub type Problem = &'static str;

impl<'a> Elf<'a> {
    pub fn parse(file: &'a [u8]) -> Result<Self, Problem> {
        let header = file.get(..HEADER_LEN).ok_or("is too short for an ELF header")?;
        if header.get(..4) != Some(b"\x7fELF") {
            return Err("has no ELF header");
        }
        if header.get(4..7) != Some(&[2, 1, 1]) || u16_at(header, 18) != Some(62) {
            return Err("is not for x86-64");
        }
        if u16_at(header, 16) != Some(2) {
            return Err("is not an executable (ET_EXEC)");
        }
        let entry = u64_at(header, 24).unwrap_or(0);
        let offset = u64_at(header, 32).unwrap_or(0);
        let count = u16_at(header, 56).unwrap_or(0);
        if usize::from(u16_at(header, 54).unwrap_or(0)) != PROGRAM_HEADER_LEN {
            return Err("has program headers of another size");
        }
        let headers = part(file, offset, u64::from(count) * PROGRAM_HEADER_LEN as u64)
            .ok_or("is cut off in its program headers")?;
        let mut this = Self { file, headers, entry, base: 0, len: 0, trampoline: &[] };
        (this.base, this.len) = this.measure()?;
        this.trampoline = this.find_trampoline()?;
        Ok(this)
    }

    /// Where the segments begin, and how many bytes they span.
    fn measure(&self) -> Result<(u64, u64), Problem> {
        let (mut base, mut end) = (u64::MAX, 0);
        let mut entry_found = false;
        for segment in self.segments() {
            let segment = segment?;
            if segment.address < end {
                return Err("has segments that overlap or are out of order");
            }
            let last = segment.address + segment.memory_len;
            entry_found |= segment.executable && (segment.address..last).contains(&self.entry);
            base = base.min(segment.address);
            end = last.next_multiple_of(abi::PAGE_SIZE);
        }
        if !entry_found {
            return Err("has no entry point in its code");
        }
        Ok((base, end - base))
    }

    /// The segments to load, in ascending order. Those of a parsed file are all right.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'a>, Problem>> + '_ {
        self.program_headers(PT_LOAD).map(|header| self.segment(header))
    }

    fn segment(&self, header: &'a [u8]) -> Result<Segment<'a>, Problem> {
        let cut = "is cut off in its program headers";
        let flags = u32_at(header, 4).ok_or(cut)?;
        let offset = u64_at(header, 8).ok_or(cut)?;
        let address = u64_at(header, 16).ok_or(cut)?;
        let file_len = u64_at(header, 32).ok_or(cut)?;
        let memory_len = u64_at(header, 40).ok_or(cut)?;
        let end = address.checked_add(memory_len).ok_or("has a segment that is too long")?;
        if address < IMAGE_BASE || end > IMAGE_END {
            return Err("is not linked to the top 2 GiB of the address space");
        }
        if address % abi::PAGE_SIZE != 0 {
            return Err("has a segment that doesn't begin at a page");
        }
        if file_len > memory_len {
            return Err("has a segment that is longer in the file than in memory");
        }
        let (writable, executable) = (flags & 2 != 0, flags & 1 != 0);
        if writable && executable {
            return Err("has a segment that is both writable and executable");
        }
        let data = part(self.file, offset, file_len).ok_or("is cut off in a segment")?;
        Ok(Segment { address, memory_len, data, writable, executable })
    }

    fn program_headers(&self, kind: u32) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.headers.chunks_exact(PROGRAM_HEADER_LEN).filter(move |h| u32_at(h, 0) == Some(kind))
    }

    fn find_trampoline(&self) -> Result<&'a [u8], Problem> {
        let note = self.find_note().ok_or("has no Hermit note")?;
        if note.version != abi::VERSION {
            return Err("was built for another version of hermit.ko");
        }
        if note.trampoline_len == 0 || u64::from(note.trampoline_len) > TRAMPOLINE_ARGS {
            return Err("has a trampoline that doesn't fit in a page");
        }
        for segment in self.segments() {
            let segment = segment?;
            let Some(offset) = note.trampoline.checked_sub(segment.address) else { continue };
            if let Some(code) = part(segment.data, offset, note.trampoline_len.into()) {
                return Ok(code);
            }
        }
        Err("has a trampoline outside of its segments")
    }

    fn find_note(&self) -> Option<ImageNote> {
        self.program_headers(PT_NOTE).find_map(|header| {
            let mut notes = part(self.file, u64_at(header, 8)?, u64_at(header, 32)?)?;
            loop {
                let name_len = u32_at(notes, 0)? as usize;
                let data_len = u32_at(notes, 4)? as usize;
                let kind = u32_at(notes, 8)?;
                let rest = notes.get(12..)?;
                let name = rest.get(..name_len)?;
                let rest = rest.get(name_len.checked_next_multiple_of(4)?..)?;
                let data = rest.get(..data_len)?;
                if kind == NOTE_TYPE && name.strip_suffix(b"\0") == Some(NOTE_NAME) {
                    return Some(ImageNote {
                        version: u32_at(data, 0)?,
                        trampoline_len: u32_at(data, 4)?,
                        trampoline: u64_at(data, 8)?,
                    });
                }
                notes = rest.get(data_len.checked_next_multiple_of(4)?..)?;
            }
        })
    }
}

fn part(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
