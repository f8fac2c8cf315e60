// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an application begins with: its program in memory, its stack, its first registers.
//!
//! All of it comes from the other side, or from a file: nothing is trusted.

use crate::app::App;
use crate::offload;
use crate::space::{Result, PAGE};
use alloc::vec::Vec;
use elf::abi::{EI_NIDENT, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_PHDR};
use elf::endian::LittleEndian;
use elf::file::{parse_ident, Class, FileHeader};
use elf::segment::{ProgramHeader, SegmentTable};
use hermit_abi::offload::{special, StartBlock};
use hermit_plat::paging::{Access, USER_END};
use hermit_plat::{cpu, log_line};
use linux_raw_sys::auxvec as at;
use linux_raw_sys::errno::{E2BIG, EINVAL, EIO, ENOEXEC, ENOSYS};
use zerocopy::FromBytes;

/// Where a position-independent program goes.
const PIE_BASE: u64 = 0x5555_5555_4000;
/// Top of the stack.
const STACK_TOP: u64 = 0x7fff_ffff_e000;
/// Most bytes of arguments and environment.
const MAX_BLOCK: u64 = 16 << 20;
const MAX_HEADERS: usize = 128;

/// How the proxy says that an application begins.
pub struct Start {
    pub block: StartBlock,
    args: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    path: Vec<u8>,
}

/// A program in memory.
struct Program {
    entry: u64,
    headers_at: u64,
    header_count: u64,
}

#[derive(FromBytes)]
#[repr(C)]
struct RawBlock {
    words: [u32; 4],
    exe_size: u64,
    ids: [u32; 6],
    random: [u8; 16],
}

/// Asks the proxy how to begin.
pub fn ask(app: &mut App) -> Result<Start> {
    let call = hermit_abi::offload::find(special::STARTUP, 0).ok_or(ENOSYS)?;
    let mut size = 64 << 10;
    loop {
        let buffer = app.space.map_anywhere(size, Access::READ_WRITE)?;
        let result = offload::perform(app, &call, [buffer, size, 0, 0, 0, 0]);
        let bytes = match result {
            Ok(len) => {
                let mut bytes = alloc::vec![0; len as usize];
                app.space.read(buffer, &mut bytes)?;
                Ok(bytes)
            }
            Err(e) => Err(e),
        };
        app.space.unmap(buffer, size)?;
        match bytes {
            Ok(bytes) => return parse(&bytes).ok_or(EIO),
            Err(E2BIG) if size < MAX_BLOCK => size *= 2,
            Err(e) => return Err(e),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Start> {
    let (raw, rest) = RawBlock::read_from_prefix(bytes).ok()?;
    let [len, argc, envc, exe_fd] = raw.words;
    let [pid, ppid, uid, euid, gid, egid] = raw.ids;
    if len as usize != bytes.len() {
        return None;
    }
    let mut strings = rest.strip_suffix(&[0])?.split(|&b| b == 0).map(<[u8]>::to_vec);
    let args: Vec<_> = strings.by_ref().take(argc as usize).collect();
    let environment: Vec<_> = strings.by_ref().take(envc as usize).collect();
    let path = strings.next()?;
    if args.len() != argc as usize || environment.len() != envc as usize || strings.next().is_some() {
        return None;
    }
    let block = StartBlock {
        len,
        argc,
        envc,
        exe_fd,
        exe_size: raw.exe_size,
        pid,
        ppid,
        uid,
        euid,
        gid,
        egid,
        random: raw.random,
    };
    Some(Start { block, args, environment, path })
}

/// Reads a part of the program's file into the application's memory.
fn read_file(app: &mut App, fd: u32, offset: u64, len: u64, to: u64) -> Result {
    let call = hermit_abi::offload::find(17, 0).ok_or(ENOSYS)?;
    let mut done = 0;
    while done < len {
        let n = offload::perform(app, &call, [fd.into(), to + done, len - done, offset + done, 0, 0])?;
        if n == 0 {
            return Err(ENOEXEC);
        }
        done += n;
    }
    Ok(())
}

/// Loads the program and makes its first stack. Returns its entry point and stack pointer.
pub fn load(app: &mut App, start: &Start) -> Result<(u64, u64)> {
    let program = load_program(app, &start.block)?;
    let stack = make_stack(app, start, &program)?;
    Ok((program.entry, stack))
}

fn load_program(app: &mut App, block: &StartBlock) -> Result<Program> {
    let scratch = app.space.map_anywhere(PAGE * 4, Access::READ_WRITE)?;
    let head_len = block.exe_size.min(PAGE * 4);
    read_file(app, block.exe_fd, 0, head_len, scratch)?;
    let mut head = alloc::vec![0; head_len as usize];
    app.space.read(scratch, &mut head)?;
    app.space.unmap(scratch, PAGE * 4)?;

    let (header, headers) = parse_headers(&head).ok_or(ENOEXEC)?;
    if header.e_machine != elf::abi::EM_X86_64 || headers.iter().any(|h| h.p_type == PT_INTERP) {
        log_line!("dynamically linked programs do not run yet; link it with -static");
        return Err(ENOEXEC);
    }
    let base = match header.e_type {
        ET_EXEC => 0,
        ET_DYN => PIE_BASE,
        _ => return Err(ENOEXEC),
    };
    let mut end = 0;
    for segment in headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_memsz > 0) {
        let (start, last) = load_segment(app, block, segment, base)?;
        if start < end {
            return Err(ENOEXEC);
        }
        end = last;
    }
    app.space.set_brk_start(end);
    let headers_at = headers
        .iter()
        .find(|h| h.p_type == PT_PHDR)
        .map(|h| base.wrapping_add(h.p_vaddr))
        .or_else(|| {
            let holds = |h: &&ProgramHeader| {
                h.p_type == PT_LOAD && (h.p_offset..h.p_offset.saturating_add(h.p_filesz)).contains(&header.e_phoff)
            };
            headers.iter().find(holds).map(|h| base.wrapping_add(h.p_vaddr).wrapping_add(header.e_phoff - h.p_offset))
        })
        .unwrap_or(0);
    Ok(Program { entry: base.wrapping_add(header.e_entry), headers_at, header_count: headers.len() as u64 })
}

/// The ELF header and the program headers. Both have to be in the first pages of the file.
fn parse_headers(head: &[u8]) -> Option<(FileHeader<LittleEndian>, Vec<ProgramHeader>)> {
    let ident = parse_ident::<LittleEndian>(head).ok()?;
    let header = FileHeader::parse_tail(ident, head.get(EI_NIDENT..64)?).ok()?;
    if header.class != Class::ELF64 || usize::from(header.e_phentsize) != 56 {
        return None;
    }
    let start = usize::try_from(header.e_phoff).ok()?;
    let count = usize::from(header.e_phnum).min(MAX_HEADERS);
    let table = head.get(start..start.checked_add(count * 56)?)?;
    Some((header, SegmentTable::new(LittleEndian, Class::ELF64, table).iter().collect()))
}

/// Loads one segment; returns the pages it takes.
fn load_segment(app: &mut App, block: &StartBlock, segment: &ProgramHeader, base: u64) -> Result<(u64, u64)> {
    let address = base.checked_add(segment.p_vaddr).ok_or(ENOEXEC)?;
    let last = address.checked_add(segment.p_memsz).filter(|&end| end <= USER_END).ok_or(ENOEXEC)?;
    let in_file = segment.p_offset.checked_add(segment.p_filesz).ok_or(ENOEXEC)?;
    if segment.p_filesz > segment.p_memsz || in_file > block.exe_size {
        return Err(ENOEXEC);
    }
    let first = address & !(PAGE - 1);
    let access = Access {
        read: segment.p_flags & PF_R != 0,
        write: segment.p_flags & PF_W != 0,
        execute: segment.p_flags & PF_X != 0,
    };
    // The file may have two segments in one page; then the second may not take the first one's part away.
    if !app.space.is_free(first, last - first) {
        return Err(ENOEXEC);
    }
    app.space.map_at(first, last - first, Access::READ_WRITE, false).map_err(|_| ENOEXEC)?;
    read_file(app, block.exe_fd, segment.p_offset, segment.p_filesz, address)?;
    app.space.protect(first, last - first, access)?;
    Ok((first, last.next_multiple_of(PAGE)))
}

/// The first stack as the psABI has it: argc, argv, envp, auxiliary vector; strings above.
fn make_stack(app: &mut App, start: &Start, program: &Program) -> Result<u64> {
    let strings: usize = start.args.iter().chain(&start.environment).map(|s| s.len() + 1).sum();
    let pointers = (start.args.len() + start.environment.len() + 64) * 8;
    let needed = (strings + pointers + start.path.len() + 256) as u64;
    let size = (needed + (128 << 10)).next_multiple_of(PAGE);
    if size > crate::space::STACK_LIMIT {
        return Err(E2BIG);
    }
    app.space.map_at(STACK_TOP - size, size, Access::READ_WRITE, true)?;

    let mut top = STACK_TOP - 16;
    let mut push = |app: &mut App, bytes: &[u8]| -> Result<u64> {
        top -= bytes.len() as u64 + 1;
        app.space.write(top, bytes)?;
        Ok(top)
    };
    let path = push(app, &start.path)?;
    let platform = push(app, b"x86_64")?;
    let random = push(app, &start.block.random)?;
    let mut words = alloc::vec![start.args.len() as u64];
    let mut places = Vec::new();
    for text in start.environment.iter().rev().chain(start.args.iter().rev()) {
        places.push(push(app, text)?);
    }
    let (environment, args) = places.split_at(start.environment.len());
    words.extend(args.iter().rev());
    words.push(0);
    words.extend(environment.iter().rev());
    words.push(0);
    let (hwcap, hwcap2) = cpu::hardware_capabilities();
    let block = &start.block;
    let secure = block.uid != block.euid || block.gid != block.egid;
    for (kind, value) in [
        (at::AT_HWCAP, hwcap),
        (at::AT_PAGESZ, PAGE),
        (at::AT_CLKTCK, 100),
        (at::AT_PHDR, program.headers_at),
        (at::AT_PHENT, 56),
        (at::AT_PHNUM, program.header_count),
        (at::AT_BASE, 0),
        (at::AT_FLAGS, 0),
        (at::AT_ENTRY, program.entry),
        (at::AT_UID, block.uid.into()),
        (at::AT_EUID, block.euid.into()),
        (at::AT_GID, block.gid.into()),
        (at::AT_EGID, block.egid.into()),
        (at::AT_SECURE, secure.into()),
        (at::AT_RANDOM, random),
        (at::AT_HWCAP2, hwcap2),
        (at::AT_EXECFN, path),
        (at::AT_PLATFORM, platform),
        (at::AT_MINSIGSTKSZ, 2048 + 2696),
        (at::AT_NULL, 0),
    ] {
        words.extend([u64::from(kind), value]);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let stack = (top - bytes.len() as u64) & !15;
    if stack < STACK_TOP - size {
        return Err(EINVAL);
    }
    app.space.write(stack, &bytes)?;
    Ok(stack)
}
