// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults made on purpose, to see how the isle kernel ends. Only with the feature `selftest`, which no
//! isle that is for use has.

use crate::apic;
use crate::cpu;
use core::sync::atomic::Ordering;

/// Reads where nothing is mapped.
pub fn page_fault() {
    // SAFETY: it isn't, which is the point.
    unsafe { (0xffff_c0ff_0000_0000_u64 as *const u64).read_volatile() };
}

/// Executes no instruction.
pub fn invalid_opcode() {
    // SAFETY: as above.
    unsafe { core::arch::asm!("ud2") }
}

/// Runs off the kernel's stack.
#[expect(unconditional_recursion)]
pub fn stack_overflow(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    core::hint::black_box(stack_overflow(depth + 1)) + frame[(depth % 64) as usize]
}

/// Writes to the kernel's own code.
pub fn write_code() {
    // SAFETY: as above.
    unsafe { (page_fault as *mut u8).write_volatile(0xc3) };
}

fn me() -> u32 {
    cpu::current().shared().apic_id.load(Ordering::Relaxed)
}

/// Sends itself an NMI, which is nothing to worry about.
pub fn nmi() {
    apic::send_nmi(me());
}

/// Sends itself an interrupt that nobody has asked for.
pub fn unexpected_interrupt() {
    apic::send(me(), 0x4000 | 0x55);
}
