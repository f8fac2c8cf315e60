// SPDX-License-Identifier: MIT OR Apache-2.0

//! Per CPU of an isle: who it is, whether it lives, and its counters.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Values of [`Cpu::state`].
pub mod state {
    /// Not started, or not there yet.
    pub const OFF: u32 = 0;
    /// Runs the isle kernel and is ready.
    pub const READY: u32 = 1;
    /// Has obeyed the order to stop: it will not touch memory again (but may be hit by an NMI).
    pub const HALTED: u32 = 2;
}

/// One CPU. Two cache lines, one for each writer.
#[repr(C, align(128))]
pub struct Cpu {
    /// Loader, before the start: the CPU's APIC id.
    pub apic_id: AtomicU32,
    /// Loader, before the start: Linux's number of the CPU.
    pub linux_cpu: AtomicU32,
    _pad0: [u64; 7],
    /// Isle: one of [`state`].
    pub state: AtomicU32,
    _pad1: u32,
    /// Isle: interrupts taken, exceptions not included; doorbells to the isle are included.
    pub interrupts: AtomicU64,
    /// Isle: page faults and other exceptions.
    pub faults: AtomicU64,
    /// Isle: system calls of applications.
    pub syscalls: AtomicU64,
    /// Isle: system calls that were forwarded to Linux.
    pub offloads: AtomicU64,
    /// Isle: switches from one thread to another.
    pub switches: AtomicU64,
    /// Isle: interrupts that nobody on the isle asked for (part of `interrupts`).
    pub unexpected: AtomicU64,
    _pad2: u64,
}

const _: () = assert!(core::mem::size_of::<Cpu>() == 128);
const _: () = assert!(core::mem::offset_of!(Cpu, state) == 64);
