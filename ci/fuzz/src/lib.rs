// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the fuzzers share: input that is almost right gets further than noise.

#![deny(unsafe_code)]

use arbitrary::Arbitrary;

/// A value as a liar would choose it.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Word {
    Small(u8),
    Medium(u16),
    Any(u64),
    Power { shift: u8, less: u8 },
    Negative(u8),
}

impl Word {
    pub fn value(self) -> u64 {
        match self {
            Word::Small(value) => value.into(),
            Word::Medium(value) => value.into(),
            Word::Any(value) => value,
            Word::Power { shift, less } => 1u64.wrapping_shl(shift.into()).wrapping_sub(less.into()),
            Word::Negative(value) => u64::from(value).wrapping_neg(),
        }
    }
}

/// A change of some bytes.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Patch {
    at: u16,
    len: u8,
    value: Word,
}

/// Changes bytes, where they are.
pub fn patch(bytes: &mut [u8], patches: &[Patch]) {
    for patch in patches {
        let value = patch.value.value().to_le_bytes();
        for (place, byte) in bytes.iter_mut().skip(patch.at.into()).zip(value).take(usize::from(patch.len % 9)) {
            *place = byte;
        }
    }
}

/// The header of an ELF file for x86-64 of this type, then program headers of which each is made of eight numbers: type,
/// flags, offset, address, physical address, length in the file, length in memory, alignment.
pub fn elf(kind: u16, entry: u64, headers: &[[u64; 8]]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(kind.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64, 56, headers.len() as u16, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for [kind, flags, rest @ ..] in headers {
        file.extend((*kind as u32).to_le_bytes());
        file.extend((*flags as u32).to_le_bytes());
        for word in rest {
            file.extend(word.to_le_bytes());
        }
    }
    file
}
