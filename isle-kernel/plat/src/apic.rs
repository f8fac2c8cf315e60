// SPDX-License-Identifier: MIT OR Apache-2.0

//! The local APIC, in the mode that Linux left it in (SDM vol. 3, chapter 10).

use crate::{cpu, info, paging};
use core::sync::atomic::Ordering;
use hermit_abi::control::{vector, NO_DOORBELL};

const IA32_APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
/// Register `n` of xAPIC at offset `16 * n` is MSR `X2APIC + n`.
const X2APIC: u32 = 0x800;
const EOI: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const ERROR_STATUS: u32 = 0x28;
const COMMAND_LOW: u32 = 0x30;
const COMMAND_HIGH: u32 = 0x31;
const TASK_PRIORITY: u32 = 0x08;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const ASSERT: u32 = 1 << 14;
const PENDING: u32 = 1 << 12;

fn is_x2apic() -> bool {
    cpu::read_msr(IA32_APIC_BASE) & X2APIC_ENABLED != 0
}

fn read(register: u32) -> u32 {
    // SAFETY: `init` has mapped the page; registers are 16 bytes apart.
    unsafe { paging::LOCAL_APIC.cast::<u32>().add(register as usize * 4).read_volatile() }
}

fn write(register: u32, value: u32) {
    if is_x2apic() {
        cpu::write_msr(X2APIC + register, value.into());
    } else {
        // SAFETY: As in `read`.
        unsafe { paging::LOCAL_APIC.cast::<u32>().add(register as usize * 4).write_volatile(value) };
    }
}

/// Enables this CPU's APIC: INIT has disabled it in software and masked all its own interrupts.
pub(crate) fn init() {
    let base = cpu::read_msr(IA32_APIC_BASE);
    if base & X2APIC_ENABLED == 0 {
        paging::map_local_apic(base & 0x000f_ffff_ffff_f000);
    }
    write(TASK_PRIORITY, 0);
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(vector::SPURIOUS));
    write(ERROR_STATUS, 0);
}

pub(crate) fn end_of_interrupt() {
    write(EOI, 0);
}

/// Interrupts one CPU, named by its APIC id. Never by shorthand: Linux's CPUs are on the same bus.
pub fn send(apic_id: u32, vector: u8) {
    let command = ASSERT | u32::from(vector);
    if is_x2apic() {
        // The write is not ordered after earlier stores to memory (SDM vol. 3, 10.12.3).
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: Serialises; no side effects.
        unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) };
        cpu::write_msr(X2APIC + COMMAND_LOW, u64::from(apic_id) << 32 | u64::from(command));
    } else {
        wait_until_sent();
        write(COMMAND_HIGH, apic_id << 24);
        write(COMMAND_LOW, command);
        wait_until_sent();
    }
}

/// Until the last interrupt has left, but not for ever.
fn wait_until_sent() {
    for _ in 0..100_000 {
        if read(COMMAND_LOW) & PENDING == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

/// Rings Linux's doorbell. Several rings may be heard as one.
pub fn ring_doorbell() {
    let control = info::control();
    let apic_id = control.doorbell.load(Ordering::Acquire);
    let vector = control.doorbell_vector.load(Ordering::Acquire);
    if apic_id != NO_DOORBELL && (32..256).contains(&vector) {
        send(apic_id, vector as u8);
    }
}
