// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn header(kind: u16, count: u16) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, 16, &kind.to_le_bytes());
    put(&mut bytes, 18, &62u16.to_le_bytes());
    put(&mut bytes, 20, &1u32.to_le_bytes());
    put(&mut bytes, 24, &0x40_1000u64.to_le_bytes());
    put(&mut bytes, 32, &64u64.to_le_bytes());
    put(&mut bytes, 54, &56u16.to_le_bytes());
    put(&mut bytes, 56, &count.to_le_bytes());
    bytes
}

fn load(flags: u32, offset: u64, address: u64, file: u64, memory: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    for field in [offset, address, address, file, memory, 0x1000] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

fn parse(kind: u16, table: &[Vec<u8>]) -> Result<Program, Problem> {
    Header::parse(&header(kind, table.len() as u16))?.program(&table.concat(), 0x10_0000, Place::Program)
}

fn parse_long(kind: u16, table: &[Vec<u8>]) -> Result<Program, Problem> {
    Header::parse(&header(kind, table.len() as u16))?.program(&table.concat(), 8 << 20, Place::Program)
}

#[test]
fn an_executable_goes_where_it_says() {
    let program = parse(2, &[load(4, 0, 0x40_0000, 0x800, 0x800), load(6, 0x1e10, 0x40_2e10, 0x300, 0x2000)]).unwrap();
    assert_eq!((program.bias, program.entry, program.headers), (0, 0x40_1000, 0x40_0040));
    let [text, data] = program.segments[..] else { panic!() };
    assert_eq!((text.start, text.end, text.data_offset, text.data_len), (0x40_0000, 0x40_1000, 0, 0x800));
    assert_eq!((data.start, data.end, data.data_start), (0x40_2000, 0x40_5000, 0x40_2000));
    assert_eq!((data.data_offset, data.data_len), (0x1000, 0xe10 + 0x300));
    assert!(data.prot.write && !data.prot.exec && !text.prot.write);
    assert_eq!(program.end, 0x40_5000);
}

#[test]
fn a_static_pie_is_moved() {
    let mut table = [load(5, 0, 0, 0x800, 0x800)];
    let program = parse(3, &table).unwrap();
    assert_eq!((program.bias, program.segments[0].start), (PIE_BASE, PIE_BASE));
    put(&mut table[0], 48, &(2u64 << 20).to_le_bytes());
    assert_eq!(parse(3, &table).unwrap().bias % (2 << 20), 0);
    put(&mut table[0], 48, &(3u64).to_le_bytes());
    // Less than a page is a page.
    assert_eq!(parse(3, &table).unwrap().bias, PIE_BASE);
}

#[test]
fn a_program_may_name_its_interpreter() {
    let text = load(5, 0, 0, 0x800, 0x800);
    let mut interpreter = load(4, 0x318, 0x318, 28, 28);
    interpreter[0] = 3;
    let table = [interpreter, text];
    assert_eq!(parse(3, &table).unwrap().interpreter, Some((0x318, 28)));
    let header = Header::parse(&header(3, 2)).unwrap();
    assert_eq!(header.span(&table.concat()).unwrap(), Some((0x1000, 0x1000)));
    let moved = header.program(&table.concat(), 0x10_0000, Place::At(0x7000_1000)).unwrap();
    assert_eq!(moved.bias, 0x7000_1000);
}

#[test]
fn much_text_is_put_on_large_pages() {
    let program = parse_long(3, &[load(5, 0, 0, 4 << 20, 4 << 20)]);
    assert_eq!(program.unwrap().bias % LARGE_PAGE_SIZE, 0);
    assert_eq!(parse_long(3, &[load(6, 0, 0, 4 << 20, 4 << 20)]).unwrap().bias, PIE_BASE);
}

#[test]
fn what_is_wrong_is_said() {
    let good = load(5, 0, 0x40_0000, 0x800, 0x800);
    let cases: &[(Vec<Vec<u8>>, &str)] = &[
        (vec![load(5, 0, 0x1000, 1, 1)], "out of reach"),
        (vec![load(5, 0, u64::MAX - 5, 1, 1)], "out of reach"),
        (vec![load(5, 0, 0x40_0000, 1, u64::MAX)], "out of reach"),
        (vec![load(5, 0, 0xffff_8000_0000_0000, 1, 1)], "out of reach"),
        (vec![load(5, 0, 0x40_0000, 2, 1)], "longer in the file"),
        (vec![load(5, 0xf_ffff, 0x40_0fff, 2, 2)], "cut off"),
        (vec![load(5, u64::MAX, 0x40_0fff, 2, 2)], "cut off"),
        (vec![load(5, 1, 0x40_0000, 1, 1)], "shifted"),
        (vec![good.clone(), good.clone()], "overlap"),
        (vec![load(5, 0, 0x40_0000, 0, 0)], "nothing to load"),
        (
            vec![good.clone(), {
                let mut h = good.clone();
                h[0] = 3;
                put(&mut h, 32, &5000u64.to_le_bytes());
                h
            }],
            "names its interpreter badly",
        ),
    ];
    for (table, problem) in cases {
        let found = parse(2, table).unwrap_err();
        assert!(found.contains(problem), "{found} / {problem}");
    }
    let mut bytes = header(2, 1);
    bytes[4] = 1;
    assert!(Header::parse(&bytes).unwrap_err().contains("32-bit"));
    assert!(Header::parse(&header(1, 1)).unwrap_err().contains("executable"));
    assert!(Header::parse(&header(2, 0)).is_err());
    assert!(Header::parse(&[0; HEADER_LEN]).unwrap_err().contains("ELF"));
}

proptest! {
    /// Whatever is accepted lies in the application's part of the address space and in the file.
    #[test]
    fn garbage_is_harmless(
        kind in 2..4u16,
        entry in any::<u64>(),
        loads in prop::collection::vec((0..8u32, 0..0x20_0000u64, any::<u64>(), any::<u32>(), any::<u64>(), 0..64u32), 1..4),
        small in any::<bool>(),
    ) {
        let table: Vec<_> = loads.iter().map(|(flags, offset, address, file, memory, align)| {
            let mask = if small { 0xff_ffff } else { u64::MAX };
            let mut h = load(*flags, *offset, address & mask, u64::from(*file) & mask, memory & mask);
            put(&mut h, 48, &(1u64 << align).to_le_bytes());
            h
        }).collect();
        let mut bytes = header(kind, table.len() as u16);
        put(&mut bytes, 24, &entry.to_le_bytes());
        if let Ok(program) = Header::parse(&bytes).unwrap().program(&table.concat(), 0x10_0000, Place::Program) {
            let mut at = LOWEST;
            for s in &program.segments {
                prop_assert!(at <= s.start && s.start < s.end && s.end <= MAPPINGS_TOP);
                prop_assert!(s.data_start >= s.start && s.data_len <= s.end - s.data_start);
                prop_assert!(s.data_offset + s.data_len <= 0x10_0000);
                at = s.end;
            }
        }
    }
}
