// SPDX-License-Identifier: MIT OR Apache-2.0

//! A system call that harms the isle kernel, to see how it ends. Only with the feature `selftest`.

use super::Outcome;
use crate::errno::Errno;
use hermit_plat::selftest;

/// Far from Linux's numbers.
pub const NUMBER: u32 = 0x7e57;

pub fn call(what: u64) -> Outcome {
    match what {
        0 => panic!("on purpose"),
        1 => selftest::page_fault(),
        2 => selftest::invalid_opcode(),
        3 => {
            selftest::stack_overflow(0);
        }
        4 => selftest::write_code(),
        5 => selftest::nmi(),
        6 => selftest::unexpected_interrupt(),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
