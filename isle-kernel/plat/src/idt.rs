// SPDX-License-Identifier: MIT OR Apache-2.0

//! The interrupt descriptor table: all 256 vectors, the same for all CPUs.
//!
//! There are two: an early one, good before there is a TSS, and the final one, in which exceptions that may
//! come at any moment have a stack of their own.

use core::cell::UnsafeCell;
use core::mem::size_of;
use x86_64::structures::DescriptorTablePointer;
use x86_64::VirtAddr;

/// Stacks in the TSS (entry of the interrupt stack table, counted from 1).
pub mod ist {
    pub const DEBUG: usize = 1;
    pub const NMI: usize = 2;
    pub const DOUBLE_FAULT: usize = 3;
    pub const MACHINE_CHECK: usize = 4;
    pub const COUNT: usize = 4;
}

#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Gate(u64, u64);

impl Gate {
    /// SDM vol. 3, 6.14.1.
    fn new(handler: u64, ist: usize, ring: u64) -> Self {
        let low = (handler & 0xffff)
            | (u64::from(crate::gdt::KERNEL_CODE) << 16)
            | ((ist as u64) << 32)
            | (0x8e << 40) // present, interrupt gate
            | (ring << 45)
            | ((handler & 0xffff_0000) << 32);
        Self(low, handler >> 32)
    }
}

#[repr(C, align(4096))]
struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: written by CPU 0 before other CPUs look at it.
unsafe impl Sync for Table {}

static EARLY: Table = Table(UnsafeCell::new([Gate(0, 0); 256]));
static FINAL: Table = Table(UnsafeCell::new([Gate(0, 0); 256]));

/// Fills both tables.
///
/// # Safety
///
/// Only on CPU 0, before any table is loaded.
pub unsafe fn build() {
    for vector in 0..256 {
        let handler = crate::trap::stub_address(vector);
        let stack = match vector {
            1 => ist::DEBUG,
            2 => ist::NMI,
            8 => ist::DOUBLE_FAULT,
            18 => ist::MACHINE_CHECK,
            _ => 0,
        };
        // INT3 and INTO are for everybody.
        let ring = if vector == 3 || vector == 4 { 3 } else { 0 };
        // SAFETY: the caller says that nobody else uses the tables; `vector` is in range.
        unsafe {
            (*EARLY.0.get())[vector] = Gate::new(crate::trap::early_stub_address(vector), 0, ring);
            (*FINAL.0.get())[vector] = Gate::new(handler, stack, ring);
        }
    }
}

fn load(table: &'static Table) {
    let pointer =
        DescriptorTablePointer { limit: (size_of::<Table>() - 1) as u16, base: VirtAddr::from_ptr(table.0.get()) };
    // SAFETY: the table is static and, by the order of the boot, built.
    unsafe { x86_64::instructions::tables::lidt(&pointer) }
}

/// Loads the table that needs no TSS.
pub fn load_early() {
    load(&EARLY);
}

/// Loads the table that needs a TSS.
pub fn load_final() {
    load(&FINAL);
}
