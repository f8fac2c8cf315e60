// SPDX-License-Identifier: MIT OR Apache-2.0

//! Orders to the isle and its answers: one per isle.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicU8};

/// Values of [`Control::order`].
pub mod order {
    pub const RUN: u32 = 0;
    /// End all applications, then halt every CPU for good ([`super::super::cpu::state::HALTED`]).
    pub const STOP: u32 = 1;
}

/// Values of [`Control::state`].
pub mod state {
    pub const STARTING: u32 = 0;
    /// Every CPU is ready.
    pub const RUNNING: u32 = 1;
    /// The isle kernel has given up; [`super::Control::reason`] says why.
    pub const CRASHED: u32 = 2;
}

/// The APIC id while Linux takes no doorbells.
pub const NO_DOORBELL: u32 = u32::MAX;

/// Where doorbells go: an APIC id (physical), or [`NO_DOORBELL`], and a vector. In one word, since it moves while the isle looks.
pub const fn doorbell(apic_id: u32, vector: u32) -> u64 {
    (vector as u64) << 32 | apic_id as u64
}

/// The other way round.
pub const fn doorbell_parts(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// Interrupt vectors on isle CPUs that Linux sends.
pub mod vector {
    /// Look at the orders: a slot, a completed request, [`super::Control::order`].
    pub const KICK: u8 = 0xf0;
    /// Spurious interrupt vector of the local APIC.
    pub const SPURIOUS: u8 = 0xff;
}

/// Bytes of text in [`Control::reason`].
pub const REASON_LEN: usize = 192;

/// Two parts, each with one writer.
#[repr(C, align(64))]
pub struct Control {
    /// Module: one of [`order`].
    pub order: AtomicU32,
    _pad0: AtomicU32,
    /// Module: where doorbells go, see [`doorbell`]. A doorbell is a hint: a few may coalesce into one.
    pub doorbell: AtomicU64,
    _pad: [u32; 12],
    /// Isle: one of [`state`].
    pub state: AtomicU32,
    /// Isle: length of `reason`, at most [`REASON_LEN`]; written before `state` becomes CRASHED.
    pub reason_len: AtomicU32,
    _pad1: [u32; 14],
    /// Isle: why it crashed, one line of UTF-8.
    pub reason: [AtomicU8; REASON_LEN],
}

const _: () = assert!(core::mem::size_of::<Control>() == 128 + REASON_LEN);
const _: () = assert!(core::mem::offset_of!(Control, state) == 64);
