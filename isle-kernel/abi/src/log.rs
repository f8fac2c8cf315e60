// SPDX-License-Identifier: MIT OR Apache-2.0

//! The log ring: lines of text from the isle kernel to Linux.
//!
//! `written` counts the bytes ever written; byte `n` is at `n % CAPACITY`. The isle kernel
//! writes a whole line under its own lock: first the bytes, then `written` (release). It may
//! overwrite what nobody has read; the reader notices, because after copying it reads
//! `written` again, and then starts at the first whole line that is left.
//! Each line is `[seconds.microseconds] cpuN: text\n`, seconds since the isle started.

use core::sync::atomic::{AtomicU64, AtomicU8};

/// Bytes in the ring (a power of two).
pub const CAPACITY: usize = 64 << 10;

/// Longest line, with its newline; longer ones are cut.
pub const MAX_LINE: usize = 512;

#[repr(C, align(64))]
pub struct LogRing {
    /// Isle: bytes written since the start.
    pub written: AtomicU64,
    _pad: [u64; 7],
    /// Isle: the text.
    pub bytes: [AtomicU8; CAPACITY],
}

const _: () = assert!(CAPACITY.is_power_of_two());
const _: () = assert!(core::mem::size_of::<LogRing>() == CAPACITY + 64);
