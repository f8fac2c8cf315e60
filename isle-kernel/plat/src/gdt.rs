// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segments. The selectors are those of Linux, so programs that look at them find what they know.
//!
//! There is no 32-bit code segment: compatibility mode, with its own ways into the kernel, can't be entered.

/// Kernel code.
pub const KERNEL_CODE: u16 = 0x10;
/// SYSRET's base selector: CS = base + 16, SS = base + 8 (SDM vol. 2, SYSRET).
pub const USER_BASE: u16 = 0x23;
/// Data of applications.
pub const USER_DATA: u16 = 0x2b;
/// Code of applications.
pub const USER_CODE: u16 = 0x33;
/// Task state segment (takes two entries).
pub const TASK: u16 = 0x40;

/// Entries of a GDT.
pub const ENTRIES: usize = 10;

/// The descriptors, with a TSS at `tss` (SDM vol. 3, 3.4.5 and 8.2.3). All have their accessed bit set.
pub const fn descriptors(tss: u64, tss_len: u64) -> [u64; ENTRIES] {
    let limit = tss_len - 1;
    let low = (limit & 0xffff)
        | ((tss & 0x00ff_ffff) << 16)
        | (0x89 << 40) // present, 64-bit TSS, available
        | (((limit >> 16) & 0xf) << 48)
        | (((tss >> 24) & 0xff) << 56);
    [
        0,
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0,
        low,
        tss >> 32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_descriptor_holds_its_base() {
        let d = descriptors(0xffff_c123_4567_89ab, 104);
        assert_eq!(d[9], 0xffff_c123);
        assert_eq!(d[8], 0x4500_8967_89ab_0067);
    }
}
