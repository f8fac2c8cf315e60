// SPDX-License-Identifier: MIT OR Apache-2.0

//! Orders to and state of one application slot.
//!
//! The module gives orders, the isle answers; each side writes one word that also carries a
//! generation, so that an answer can't be taken for one to an earlier order:
//!
//! - To run an application the module writes `order = word(generation + 1, RUN)` and kicks the slot's CPU.
//! - The isle answers with `state = word(generation, RUNNING)`, and `word(generation, ENDED)` when all that
//!   belonged to the application is released; `exit_status` is written before.
//! - To end it early the module writes `order = word(same generation, KILL)` and kicks.
//! - The slot is free while `order` and `state` have the same generation and the state is ENDED,
//!   or no order was ever given (both words 0).

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Low byte of [`App::order`].
pub mod order {
    pub const NONE: u32 = 0;
    pub const RUN: u32 = 1;
    pub const KILL: u32 = 2;
}

/// Low byte of [`App::state`].
pub mod state {
    pub const NONE: u32 = 0;
    pub const RUNNING: u32 = 1;
    pub const ENDED: u32 = 2;
}

/// A generation (24 bits, wraps) and a value (8 bits) in one word.
pub const fn word(generation: u32, value: u32) -> u32 {
    (generation << 8) | (value & 0xff)
}

/// The generation of a [`word`].
pub const fn generation(word: u32) -> u32 {
    word >> 8
}

/// The value of a [`word`].
pub const fn value(word: u32) -> u32 {
    word & 0xff
}

/// The generation that follows `generation`.
pub const fn next(generation: u32) -> u32 {
    generation.wrapping_add(1) & 0x00ff_ffff
}

/// One slot. Two cache lines, one for each writer.
#[repr(C, align(128))]
pub struct App {
    /// Module: generation and order.
    pub order: AtomicU32,
    _pad0: u32,
    /// Module sets bits, isle clears those it has taken: pending signals, bit `n - 1` for signal `n`.
    pub signals: AtomicU64,
    _pad1: [u64; 6],
    /// Isle: generation and state.
    pub state: AtomicU32,
    /// Isle: wait status as of wait(2): `code << 8`, or the number of the deadly signal.
    pub exit_status: AtomicU32,
    /// Isle sets it to 1 before a doorbell, module clears it: the proxy should look at its channel.
    pub attention: AtomicU32,
    _pad2: [u32; 13],
}

const _: () = assert!(core::mem::size_of::<App>() == 128);
const _: () = assert!(core::mem::offset_of!(App, state) == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_generation_and_value() {
        let w = word(0x00ab_cdef, order::KILL);
        assert_eq!((generation(w), value(w)), (0x00ab_cdef, order::KILL));
        assert_eq!(next(0x00ff_ffff), 0);
    }
}
