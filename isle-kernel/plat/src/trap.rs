// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interrupts and exceptions.

use crate::segments::{DOUBLE_FAULT_STACK, MACHINE_CHECK_STACK, NMI_STACK, USER_CODE, USER_DATA};
use crate::{apic, cpu, crash, info};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_abi::control::{order, vector};
use spin::Once;
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::VirtAddr;

global_asm!(
    include_str!("trap.S"),
    kernel_trap = sym kernel_trap,
    user_code = const USER_CODE,
    user_data = const USER_DATA,
);

extern "C" {
    fn syscall_entry();
    fn trap_entries();
}

/// Bytes between two entries in `trap.S`.
const ENTRY_SIZE: u64 = 16;

static IDT: Once<InterruptDescriptorTable> = Once::new();

pub(crate) fn syscall_entry_address() -> u64 {
    syscall_entry as *const () as u64
}

/// Loads the IDT, the same for all CPUs.
pub(crate) fn init() {
    let idt = IDT.call_once(|| {
        let mut idt = InterruptDescriptorTable::new();
        let entry = |vector: u8| VirtAddr::new(trap_entries as *const () as u64 + u64::from(vector) * ENTRY_SIZE);
        // SAFETY: Each entry in `trap.S` saves and restores what it must, for its vector's kind of
        // frame; the stacks are set in every CPU's TSS.
        unsafe {
            idt.divide_error.set_handler_addr(entry(0));
            idt.debug.set_handler_addr(entry(1));
            idt.non_maskable_interrupt.set_handler_addr(entry(2)).set_stack_index(NMI_STACK);
            idt.breakpoint.set_handler_addr(entry(3)).set_privilege_level(x86_64::PrivilegeLevel::Ring3);
            idt.overflow.set_handler_addr(entry(4));
            idt.bound_range_exceeded.set_handler_addr(entry(5));
            idt.invalid_opcode.set_handler_addr(entry(6));
            idt.device_not_available.set_handler_addr(entry(7));
            idt.double_fault.set_handler_addr(entry(8)).set_stack_index(DOUBLE_FAULT_STACK);
            idt.invalid_tss.set_handler_addr(entry(10));
            idt.segment_not_present.set_handler_addr(entry(11));
            idt.stack_segment_fault.set_handler_addr(entry(12));
            idt.general_protection_fault.set_handler_addr(entry(13));
            idt.page_fault.set_handler_addr(entry(14));
            idt.x87_floating_point.set_handler_addr(entry(16));
            idt.alignment_check.set_handler_addr(entry(17));
            idt.machine_check.set_handler_addr(entry(18)).set_stack_index(MACHINE_CHECK_STACK);
            idt.simd_floating_point.set_handler_addr(entry(19));
            idt.virtualization.set_handler_addr(entry(20));
            idt.cp_protection_exception.set_handler_addr(entry(21));
            idt.vmm_communication_exception.set_handler_addr(entry(29));
            idt.security_exception.set_handler_addr(entry(30));
            for vector in 32..=255u8 {
                idt[vector].set_handler_addr(entry(vector));
            }
        }
        idt
    });
    idt.load();
}

/// What `trap.S` leaves on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// An event while in the kernel, or one that may come anywhere.
extern "C" fn kernel_trap(frame: &Frame) {
    match frame.vector as u8 {
        2 => {
            // From Linux: kdump or late microcode, say. There is nothing to do here but to stop if told so.
            if info::control().order.load(Ordering::Acquire) == order::STOP {
                cpu::stop_forever();
            }
        }
        18 => crash::die(format_args!("machine check at {:#x}", frame.rip)),
        vector @ 0..=31 => {
            let name = exception_name(vector);
            crash::die(format_args!(
                "{name} in the isle kernel at {:#x}, error code {:#x}, address {:#x}, stack {:#x}",
                frame.rip,
                frame.error,
                x86_64::registers::control::Cr2::read_raw(),
                frame.rsp,
            ))
        }
        vector => interrupt(vector),
    }
}

/// Vectors that nobody asked for and that have been logged.
static SEEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// An interrupt, in the kernel or in ring 3. Whoever waited looks at what it waits for afterwards.
pub(crate) fn interrupt(number: u8) {
    let this = cpu::this();
    cpu::count(&this.interrupts);
    if number == vector::SPURIOUS {
        return;
    }
    apic::end_of_interrupt();
    if number != vector::KICK {
        cpu::count(&this.unexpected);
        let bit = 1 << (number % 64);
        if SEEN[usize::from(number / 64)].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            crate::log_line!("interrupt {number:#x}, which nobody on the isle asked for (told once)");
        }
    }
}

/// The name of an exception as in SDM vol. 3, table 6-1.
pub fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "BOUND range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack-segment fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        21 => "control protection exception",
        _ => "exception",
    }
}
