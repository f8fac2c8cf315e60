// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the isle kernel parses of what a proxy writes: how an application begins, its ELF file, results of calls.

#![no_main]
#![deny(unsafe_code)]

use arbitrary::Arbitrary;
use hermit_abi::offload::{self, Arg, StartBlock, CALLS};
use hermit_fuzz::{elf, patch, Patch, Word};
use hermit_kernel::elf::{Header, Place, Program, HEADER_LEN, PROGRAM_HEADER_LEN};
use hermit_kernel::link::Call;
use hermit_kernel::mem::MAPPINGS_TOP;
use hermit_kernel::stack;
use hermit_kernel::startup::{Startup, PID_LIMIT};
use libfuzzer_sys::fuzz_target;
use std::mem::{offset_of, size_of};

#[derive(Debug, Arbitrary)]
struct Lies {
    words: Vec<Vec<u8>>,
    arg_count: u8,
    groups: Vec<u32>,
    block: Vec<Patch>,
    is_pie: bool,
    segments: Vec<([Word; 7], u8)>,
    file_len: Word,
    place: Option<Word>,
    file: Vec<Patch>,
    results: Vec<(u8, [Word; 6], Word)>,
}

fuzz_target!(|lies: Lies| {
    let startup = startup(&lies);
    let program = program(&lies);
    if let (Some(startup), Some(program)) = (startup, program) {
        const TOP: u64 = 0x7fff_ffff_f000;
        if let Ok((pointer, bytes)) = stack::build(TOP, 8 << 20, &startup, &program, lies.place.map_or(0, Word::value))
        {
            assert!(pointer % 16 == 0 && pointer + bytes.len() as u64 <= TOP);
        }
    }
    for (call, lens, result) in &lies.results {
        result_of(*call, lens, *result);
    }
});

fn startup(lies: &Lies) -> Option<Startup> {
    let mut block = Vec::new();
    let arg_count = usize::from(lies.arg_count).min(lies.words.len());
    // What follows these is the path and the host name.
    let env_count = lies.words.len().saturating_sub(arg_count + 2);
    for word in [0, arg_count as u32, env_count as u32, 3] {
        block.extend(word.to_le_bytes());
    }
    block.extend(4096u64.to_le_bytes());
    block.extend(7u32.to_le_bytes());
    block.resize(offset_of!(StartBlock, group_count), 1);
    block.extend((lies.groups.len() as u32).to_le_bytes());
    block.resize(size_of::<StartBlock>(), 1);
    lies.groups.iter().for_each(|group| block.extend(group.to_le_bytes()));
    for word in &lies.words {
        block.extend(word);
        block.push(0);
    }
    let len = block.len() as u32;
    block[..4].copy_from_slice(&len.to_le_bytes());
    patch(&mut block, &lies.block);
    let startup = Startup::parse(block)?;
    assert!((1..PID_LIMIT).contains(&startup.pid));
    assert!(startup.host_name.len() <= 4096 && !startup.host_name.contains(&0));
    assert_eq!(startup.strings().count(), startup.arg_count + startup.env_count + 1);
    assert_eq!(startup.strings().last(), Some(startup.path.as_slice()));
    Some(startup)
}

fn program(lies: &Lies) -> Option<Program> {
    let lowest = if lies.is_pie { 0 } else { 0x40_0000 };
    let mut at = 0;
    let headers: Vec<_> = lies
        .segments
        .iter()
        .take(8)
        .map(|(words, odd)| {
            // In order, load after load, but for the words that are odd.
            let mut header = [1, 5, at, lowest + at, 0, 4096, 4096, 4096];
            at += 4096;
            for (i, (word, place)) in words.iter().zip(&mut header).enumerate() {
                if odd & 1 << i != 0 {
                    *place = word.value();
                }
            }
            header
        })
        .collect();
    let mut file = elf(if lies.is_pie { 3 } else { 2 }, lowest, &headers);
    patch(&mut file, &lies.file);
    let header = Header::parse(file.first_chunk::<HEADER_LEN>()?).ok()?;
    assert_eq!(header.table_len(), usize::from(header.table_count) * PROGRAM_HEADER_LEN);
    let table = file.get(HEADER_LEN..)?;
    let table = &table[..table.len().min(header.table_len())];
    if let Ok(Some((len, align))) = header.span(table) {
        assert!(len <= MAPPINGS_TOP && len % 4096 == 0 && align >= 4096 && align.is_power_of_two());
    }
    let place = lies.place.map_or(Place::Program, |base| Place::At(base.value()));
    let program = header.program(table, lies.file_len.value(), place).ok()?;
    let mut end = 0;
    for segment in &program.segments {
        assert!(end <= segment.start && segment.start < segment.end && segment.end <= MAPPINGS_TOP);
        assert!(segment.start % 4096 == 0 && segment.end % 4096 == 0);
        if segment.data_len > 0 {
            assert!(segment.data_start >= segment.start);
            assert!(segment.data_start.checked_add(segment.data_len).is_some_and(|end| end <= segment.end));
            let data_end = segment.data_offset.checked_add(segment.data_len);
            assert!(data_end.is_some_and(|end| end <= lies.file_len.value()));
        }
        assert!((segment.start..=segment.end).contains(&segment.memory_end));
        end = segment.end;
    }
    assert!(program.interpreter.is_none_or(|(_, len)| (2..=4096).contains(&len)));
    assert!(program.end == end && program.entry < MAPPINGS_TOP);
    Some(program)
}

fn result_of(call: u8, lens: &[Word; 6], result: Word) {
    let call = &CALLS[usize::from(call) % CALLS.len()];
    let request = Call { number: call.number, lens: lens.map(Word::value), ..Call::default() };
    let Ok(value) = hermit_kernel::offload::check(call, &request, result.value() as i64) else { return };
    assert!(i64::try_from(value).is_ok());
    assert!(!call.makes_fd || i32::try_from(value).is_ok());
    // It counts what is in the first buffer that has a length.
    let mut sizes = call.args.iter().zip(request.lens).filter_map(|(arg, len)| match arg {
        Arg::In(_) | Arg::Out(_) => Some((1, len)),
        Arg::OutArray(_, size) => Some((u64::from(*size), len)),
        _ => None,
    });
    if let Some((size, len)) = sizes.next() {
        assert!(call.measures || value.checked_mul(size).is_some_and(|bytes| bytes <= len));
    }
    assert!(offload::find(call.number, 0).is_some());
}
