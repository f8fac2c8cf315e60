// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the machine's loader says of it: `struct hvm_start_info` (Xen, `public/arch-x86/hvm/start_info.h`).

use crate::phys::to_virt;

const MAGIC: u32 = 0x336e_c578;
/// The first version with a memory map.
const VERSION: u32 = 1;
/// Where its fields are: the address of ACPI's root pointer, or 0; the map's address, and how many entries it has.
const ROOT: u64 = 32;
const MAP: u64 = 40;
const ENTRIES: u64 = 48;
/// An entry: address, length, and what it is.
const ENTRY: u64 = 24;
const RAM: u32 = 1;
const FOUR_GIB: u64 = 1 << 32;

fn read<T: Copy>(at: u64) -> T {
    // SAFETY: integers, below 4 GiB, which the first page tables map.
    unsafe { to_virt::<T>(at).read_unaligned() }
}

/// Reads memory below 4 GiB.
pub fn read_bytes(at: u64, to: &mut [u8]) -> bool {
    let is_mapped = at.checked_add(to.len() as u64).is_some_and(|end| end <= FOUR_GIB);
    if is_mapped {
        for (byte, address) in to.iter_mut().zip(at..) {
            *byte = read(address);
        }
    }
    is_mapped
}

/// Where ACPI's root pointer is, if firmware has left one. After [`is_as_expected`].
pub fn acpi_root(info: u64) -> Option<u64> {
    Some(read::<u64>(info + ROOT)).filter(|root| *root != 0)
}

/// Whether memory below 4 GiB ends at `low_end`, or a little before, where firmware has its own.
pub fn is_as_expected(info: u64, low_end: u64) -> bool {
    if read::<u32>(info) != MAGIC || read::<u32>(info + 4) < VERSION {
        return false;
    }
    let (map, count) = (read::<u64>(info + MAP), read::<u32>(info + ENTRIES));
    let end_of_map = map.checked_add(u64::from(count) * ENTRY);
    if end_of_map.is_none_or(|end| end > FOUR_GIB) {
        return false;
    }
    let entries = (0..u64::from(count)).map(|index| map + index * ENTRY);
    let ram = entries.filter(|at| read::<u32>(at + 16) == RAM).map(|at| (read::<u64>(at), read::<u64>(at + 8)));
    let ends = ram.filter(|(start, _)| *start < FOUR_GIB).map(|(start, len)| start.saturating_add(len));
    ends.max().is_some_and(|end| end <= low_end && low_end - end <= hermit_abi::machine::FIRMWARE)
}
