// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segments, and stacks for events that can come when the current stack can't be trusted.

use crate::cpu::{self, Local};
use alloc::boxed::Box;
use x86_64::instructions::segmentation::{Segment, CS, DS, ES, SS};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// Interrupt stacks (IST) of the events that need one.
pub(crate) const NMI_STACK: u16 = 0;
pub(crate) const DOUBLE_FAULT_STACK: u16 = 1;
pub(crate) const MACHINE_CHECK_STACK: u16 = 2;
const STACK_SIZE: usize = 8192;

/// Selectors that ring 3 runs with; `trap.S` and STAR rely on this order in the GDT.
pub(crate) const USER_DATA: u64 = 0x18 | 3;
pub(crate) const USER_CODE: u64 = 0x20 | 3;

fn stack() -> VirtAddr {
    let stack = Box::leak(Box::new([0u128; STACK_SIZE / 16]));
    VirtAddr::from_ptr(stack.as_ptr_range().end)
}

/// Sets up this CPU's own data, GDT, TSS and system-call entry.
pub(crate) fn init(index: usize) {
    let local = Box::leak(Box::new(Local { kernel_rsp: 0, context: 0, scratch: 0, index: index as u64 }));
    let mut tss = TaskStateSegment::new();
    for place in [NMI_STACK, DOUBLE_FAULT_STACK, MACHINE_CHECK_STACK] {
        tss.interrupt_stack_table[usize::from(place)] = stack();
    }
    // Where an event in ring 3 puts its frame; `trap.S` copies it to the context at once.
    tss.privilege_stack_table[0] = stack();
    let tss = Box::leak(Box::new(tss));

    let gdt = Box::leak(Box::new(GlobalDescriptorTable::new()));
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    gdt.append(Descriptor::user_data_segment());
    gdt.append(Descriptor::user_code_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    // SAFETY: The selectors are those of the table just loaded, which lives for ever.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(SegmentSelector::new(0, PrivilegeLevel::Ring0));
        ES::set_reg(SegmentSelector::new(0, PrivilegeLevel::Ring0));
        load_tss(task);
    }
    cpu::set_local(local);
    // SYSRET adds 8 and 16 to what is in bits 63:48 to find SS and CS (SDM vol. 2, SYSRET).
    // SAFETY: Selectors as above.
    unsafe { Star::write_raw(data.0 | 3, code.0) };
    LStar::write(VirtAddr::new(crate::trap::syscall_entry_address()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::from_bits_truncate(0x3000),
    );
}
