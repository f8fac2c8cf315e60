// SPDX-License-Identifier: MIT OR Apache-2.0

//! The I/O APIC of a virtual machine, where QEMU has it: which device interrupts which CPU.

use crate::kmap;
use core::sync::atomic::Ordering;
use spin::{Mutex, Once};

const ADDRESS: u64 = 0xfec0_0000;
const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const FIRST_PIN: u32 = 0x10;

/// Where its registers are mapped. Held while one is selected.
static REGISTERS: Once<Option<Mutex<u64>>> = Once::new();

/// Has a pin interrupt a CPU, whenever it rises.
pub fn route(pin: u32, vector: u8, cpu: usize) {
    let Some(registers) = REGISTERS.call_once(|| kmap::map_device(ADDRESS, 1).map(Mutex::new)) else { return };
    let Some(cpu) = crate::shared::get().cpus.get(cpu) else { return };
    let id = cpu.apic_id.load(Ordering::Relaxed);
    let base = registers.lock();
    for (register, value) in [(FIRST_PIN + 2 * pin + 1, id << 24), (FIRST_PIN + 2 * pin, vector.into())] {
        // SAFETY: the registers of the I/O APIC, mapped uncached for good, and nobody else selects one now.
        unsafe {
            ((*base + SELECT) as *mut u32).write_volatile(register);
            ((*base + WINDOW) as *mut u32).write_volatile(value);
        }
    }
}
