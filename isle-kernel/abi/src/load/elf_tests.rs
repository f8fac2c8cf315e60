// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;

const CODE: u64 = IMAGE_BASE + 0x20_0000;
const DATA: u64 = CODE + 0x1000;

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn program_header(kind: u32, flags: u32, offset: u64, address: u64, file_len: u64, memory_len: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(kind.to_le_bytes());
    header.extend(flags.to_le_bytes());
    for field in [offset, address, address, file_len, memory_len, 0x1000] {
        header.extend(field.to_le_bytes());
    }
    header
}

/// A file that is all right: code with the trampoline in it, data with room behind it, a note.
fn good() -> Vec<u8> {
    let mut file = vec![0; 0x3000];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &2u16.to_le_bytes());
    put(&mut file, 18, &62u16.to_le_bytes());
    put(&mut file, 24, &(CODE + 0x10).to_le_bytes());
    put(&mut file, 32, &64u64.to_le_bytes());
    put(&mut file, 54, &56u16.to_le_bytes());
    put(&mut file, 56, &3u16.to_le_bytes());
    put(&mut file, 64, &program_header(1, 5, 0x1000, CODE, 0x1000, 0x1000));
    put(&mut file, 120, &program_header(1, 6, 0x2000, DATA, 0x800, 0x2800));
    put(&mut file, 176, &program_header(4, 4, 0x2800, 0, 36, 36));
    put(&mut file, 0x2800, &7u32.to_le_bytes());
    put(&mut file, 0x2804, &16u32.to_le_bytes());
    put(&mut file, 0x2808, &NOTE_TYPE.to_le_bytes());
    put(&mut file, 0x280c, b"Hermit\0");
    put(&mut file, 0x2814, &abi::VERSION.to_le_bytes());
    put(&mut file, 0x2818, &0x40u32.to_le_bytes());
    put(&mut file, 0x281c, &(CODE + 0x100).to_le_bytes());
    file
}

#[test]
fn a_good_file_is_measured() {
    let mut file = good();
    put(&mut file, 0x1100, &[0xfa; 0x40]);
    let elf = Elf::parse(&file).unwrap();
    assert_eq!((elf.base, elf.len, elf.entry), (CODE, 0x4000, CODE + 0x10));
    assert_eq!(elf.trampoline, [0xfa; 0x40]);
    let segments: Vec<_> = elf.segments().map(Result::unwrap).collect();
    assert_eq!(segments.len(), 2);
    assert_eq!((segments[1].memory_len, segments[1].data.len()), (0x2800, 0x800));
    assert!(segments[0].executable && !segments[0].writable);
}

#[test]
fn every_truncation_is_refused() {
    let file = good();
    for len in 0..0x2824 {
        assert!(Elf::parse(&file[..len]).is_err(), "{len:#x}");
    }
    assert!(Elf::parse(&file[..0x2824]).is_ok());
}

#[test]
fn wrong_fields_are_refused() {
    let cases: &[(usize, &[u8], &str)] = &[
        (0, b"\x7fELG", "no ELF header"),
        (4, &[1], "not for x86-64"),
        (18, &[3], "not for x86-64"),
        (16, &[3], "ET_EXEC"),
        (24, &[0; 8], "no entry point"),
        (54, &[32], "another size"),
        (56, &[0xff, 0xff], "cut off"),
        (68, &[7], "both writable and executable"),
        (80, &[0; 8], "top 2 GiB"),
        (80, &[0x10], "begin at a page"),
        (104, &[0xff; 8], "too long"),
        (136, &(CODE).to_le_bytes(), "overlap"),
        (0x2814, &[99], "another version"),
        (0x2818, &[0, 0x10], "doesn't fit in a page"),
        (0x281c, &[0; 8], "outside of its segments"),
        (0x280c, b"Hermot", "no Hermit note"),
    ];
    for (at, bytes, problem) in cases {
        let mut file = good();
        put(&mut file, *at, bytes);
        let found = Elf::parse(&file).err();
        assert!(found.is_some_and(|p| p.contains(problem)), "{at:#x}: {found:?}");
    }
}

proptest! {
    /// Whatever the bytes are, parsing ends, and what it accepts stays inside the file and the image's range.
    #[test]
    fn garbage_is_harmless(changes in prop::collection::vec((0..0x2830usize, any::<u8>()), 1..40)) {
        let mut file = good();
        for (at, byte) in changes {
            file[at] = byte;
        }
        if let Ok(elf) = Elf::parse(&file) {
            prop_assert!(elf.base >= IMAGE_BASE && elf.base + elf.len <= IMAGE_END);
            for segment in elf.segments() {
                let segment = segment.unwrap();
                prop_assert!(segment.address - elf.base + segment.memory_len <= elf.len);
                prop_assert!(segment.data.len() as u64 <= segment.memory_len);
            }
        }
    }
}
