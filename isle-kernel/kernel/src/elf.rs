// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a program's ELF file says about loading it. Every number in it is untrusted.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::mem::{page_down, page_up, LOWEST, MAPPINGS_TOP};
use alloc::vec::Vec;
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{parse_ident, Class, FileHeader};
use elf::segment::{ProgramHeader, SegmentTable};
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::paging::Prot;

/// Bytes of the file header.
pub const HEADER_LEN: usize = 64;
/// Bytes of a program header.
pub const PROGRAM_HEADER_LEN: usize = 56;
/// Most program headers: as many as Linux reads (64 KiB).
const MAX_PROGRAM_HEADERS: u16 = 1170;
/// Where position-independent programs go, as on Linux without address-space randomisation.
const PIE_BASE: u64 = 0x5555_5555_4000;

/// Longest path, with its NUL.
const MAX_PATH: u64 = 4096;

/// Why a file isn't run: the end of "… can't run: it …".
pub type Problem = &'static str;

/// What the file header says.
#[derive(Debug)]
pub struct Header {
    pub entry: u64,
    /// Where the program headers are.
    pub table_offset: u64,
    pub table_count: u16,
    position_independent: bool,
    raw: FileHeader<LittleEndian>,
}

/// A part of the file with its place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First page.
    pub start: u64,
    /// One past the last page.
    pub end: u64,
    /// What is read from the file: at this address,
    pub data_start: u64,
    /// from this offset,
    pub data_offset: u64,
    /// so many bytes.
    pub data_len: u64,
    /// One past its last byte.
    pub memory_end: u64,
    pub prot: Prot,
}

/// What the file of a program asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    pub segments: Vec<Segment>,
    pub entry: u64,
    /// Address of the program headers, or 0.
    pub headers: u64,
    pub header_count: u16,
    /// What is added to the addresses in the file.
    pub bias: u64,
    /// One past the highest segment.
    pub end: u64,
    pub executable_stack: bool,
    /// The program that is to load it (PT_INTERP): where in the file its path is, and how long with its NUL.
    pub interpreter: Option<(u64, u64)>,
}

/// Where a position-independent file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where programs go.
    Program,
    /// At this address or a little above it, where there is room.
    At(u64),
}

impl Header {
    /// Reads the first bytes of the file.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, Problem> {
        const NOT_ELF: Problem = "is not an ELF file";
        let (ident, tail) = bytes.split_at(abi::EI_NIDENT);
        let ident = parse_ident::<LittleEndian>(ident).map_err(|_| NOT_ELF)?;
        if ident.1 != Class::ELF64 {
            return Err("is a 32-bit program");
        }
        let raw = FileHeader::parse_tail(ident, tail).map_err(|_| NOT_ELF)?;
        if raw.e_machine != abi::EM_X86_64 {
            return Err("is not for x86-64");
        }
        let position_independent = match raw.e_type {
            abi::ET_EXEC => false,
            abi::ET_DYN => true,
            _ => return Err("is not an executable"),
        };
        if usize::from(raw.e_phentsize) != PROGRAM_HEADER_LEN {
            return Err("has program headers of another size");
        }
        if raw.e_phnum == 0 || raw.e_phnum > MAX_PROGRAM_HEADERS {
            return Err("has no program headers, or too many");
        }
        Ok(Self { entry: raw.e_entry, table_offset: raw.e_phoff, table_count: raw.e_phnum, position_independent, raw })
    }

    /// Bytes of the program headers.
    pub fn table_len(&self) -> usize {
        usize::from(self.table_count).saturating_mul(PROGRAM_HEADER_LEN)
    }

    /// From the lowest address to the highest of what is to be loaded, and how it has to be aligned, if it may go anywhere.
    pub fn span(&self, table: &[u8]) -> Result<Option<(u64, u64)>, Problem> {
        let table = SegmentTable::new(LittleEndian, self.raw.class, table);
        if !self.position_independent {
            return Ok(None);
        }
        let loads = || table.iter().filter(|h| h.p_type == abi::PT_LOAD);
        let low = loads().map(|h| page_down(h.p_vaddr)).min().unwrap_or(0);
        let high = loads().map(|h| h.p_vaddr.saturating_add(h.p_memsz)).max().unwrap_or(0);
        let len = page_up(high.saturating_sub(low)).filter(|len| *len < MAPPINGS_TOP).ok_or(OUT_OF_REACH)?;
        Ok(Some((len, alignment(&table)?)))
    }

    /// Reads the program headers.
    pub fn program(&self, table: &[u8], file_len: u64, place: Place) -> Result<Program, Problem> {
        let table = SegmentTable::new(LittleEndian, self.raw.class, table);
        let bias = if self.position_independent { bias(&table, place)? } else { 0 };
        let mut program = Program {
            segments: Vec::new(),
            entry: self.entry.checked_add(bias).ok_or("has its entry point out of reach")?,
            headers: 0,
            header_count: self.table_count,
            bias,
            end: 0,
            executable_stack: false,
            interpreter: None,
        };
        for header in table.iter() {
            match header.p_type {
                abi::PT_LOAD if header.p_memsz > 0 => {
                    let segment = segment(&header, bias, file_len)?;
                    if segment.start < program.end {
                        return Err("has segments that overlap or are out of order");
                    }
                    program.end = segment.end;
                    program.headers = program.headers.max(self.headers_in(&header, bias));
                    program.segments.push(segment);
                }
                abi::PT_INTERP => {
                    if !(2..=MAX_PATH).contains(&header.p_filesz) {
                        return Err("names its interpreter badly");
                    }
                    program.interpreter = Some((header.p_offset, header.p_filesz));
                }
                abi::PT_GNU_STACK => program.executable_stack = header.p_flags & abi::PF_X != 0,
                _ => {}
            }
        }
        if program.segments.is_empty() {
            return Err("has nothing to load");
        }
        if program.entry >= MAPPINGS_TOP {
            return Err("has its entry point out of reach");
        }
        Ok(program)
    }

    /// The address of the program headers, if a segment holds them.
    fn headers_in(&self, header: &ProgramHeader, bias: u64) -> u64 {
        let inside = || {
            let within = self.table_offset.checked_sub(header.p_offset)?;
            let end = within.checked_add(self.table_len() as u64)?;
            (end <= header.p_filesz).then_some(header.p_vaddr.wrapping_add(bias).wrapping_add(within))
        };
        inside().unwrap_or(0)
    }
}

const OUT_OF_REACH: Problem = "has a segment out of reach";
const BAD_ALIGNMENT: Problem = "asks for an alignment that can't be";

/// The alignment that the most demanding segment wants: 2 MiB where one has a whole large page of text, so that it can be one.
fn alignment(table: &SegmentTable<'_, LittleEndian>) -> Result<u64, Problem> {
    let loads = || table.iter().filter(|h| h.p_type == abi::PT_LOAD);
    let align = loads().map(|h| h.p_align).max().unwrap_or(0).max(PAGE_SIZE);
    if !align.is_power_of_two() || align > 1 << 30 {
        return Err(BAD_ALIGNMENT);
    }
    let is_large = loads().any(|h| h.p_flags & abi::PF_X != 0 && h.p_filesz >= 2 * LARGE_PAGE_SIZE);
    Ok(if is_large { align.max(LARGE_PAGE_SIZE) } else { align })
}

/// What is added to the addresses of a position-independent file.
fn bias(table: &SegmentTable<'_, LittleEndian>, place: Place) -> Result<u64, Problem> {
    let align = alignment(table)?;
    let lowest = table.iter().filter(|h| h.p_type == abi::PT_LOAD).map(|h| h.p_vaddr).min().unwrap_or(0);
    let base = match place {
        Place::Program => PIE_BASE,
        Place::At(base) => base,
    };
    let base = base.checked_next_multiple_of(align).ok_or(BAD_ALIGNMENT)?;
    // Down to a multiple of a power of two.
    base.checked_sub(lowest & align.wrapping_neg()).ok_or(BAD_ALIGNMENT)
}

fn segment(header: &ProgramHeader, bias: u64, file_len: u64) -> Result<Segment, Problem> {
    let address = header.p_vaddr.checked_add(bias).ok_or(OUT_OF_REACH)?;
    let last = address.checked_add(header.p_memsz).ok_or(OUT_OF_REACH)?;
    let (start, end) = (page_down(address), page_up(last).ok_or(OUT_OF_REACH)?);
    if start < LOWEST || end > MAPPINGS_TOP {
        return Err(OUT_OF_REACH);
    }
    if header.p_filesz > header.p_memsz {
        return Err("has a segment that is longer in the file than in memory");
    }
    if header.p_offset.checked_add(header.p_filesz).is_none_or(|end| end > file_len) {
        return Err("is cut off in a segment");
    }
    // As Linux does, map the page's beginning too, which may hold what belongs to the segment before.
    let within = address.wrapping_sub(start);
    if header.p_filesz > 0 && header.p_offset.wrapping_sub(within) % 4096 != 0 {
        return Err("has a segment that is shifted against its pages");
    }
    let (data_offset, data_len) = match header.p_offset.checked_sub(within) {
        Some(offset) if header.p_filesz > 0 => (offset, header.p_filesz.saturating_add(within)),
        _ => (0, 0),
    };
    let write = header.p_flags & abi::PF_W != 0;
    let exec = header.p_flags & abi::PF_X != 0;
    let prot = Prot { read: write || exec || header.p_flags & abi::PF_R != 0, write, exec };
    Ok(Segment { start, end, data_start: start, data_offset, data_len, memory_end: last, prot })
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
