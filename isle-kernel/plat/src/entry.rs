// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the trampoline to Rust: the isle's own page table and descriptor table.
//!
//! The trampoline's GDT is in memory that goes away with the low page table, so the first thing after loading the
//! isle's own page table is a GDT of the image. Its descriptors have their accessed bits set: it is read-only.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .text.isle_entry, "ax", @progbits
    .globl isle_entry
    isle_entry:
        cld
        mov cr3, rdx
        lgdt [rip + entry_gdtr]
        mov eax, 0x18
        mov ds, eax
        mov es, eax
        mov ss, eax
        xor eax, eax
        mov fs, eax
        mov gs, eax
        lldt ax
        lea rax, [rip + 2f]
        push 0x10
        push rax
        retfq
    2:
        xor ebp, ebp
        and rsp, -16
        call {start}
        ud2
    .popsection

    .pushsection .rodata.entry_gdt, "a", @progbits
    .balign 8
    entry_gdt:
        .quad 0, 0
        .quad 0x00af9b000000ffff        /* 0x10: kernel code, as in gdt.rs */
        .quad 0x00cf93000000ffff        /* 0x18: kernel data */
    entry_gdtr:
        .short 31
        .quad entry_gdt
    .popsection
    "#,
    start = sym crate::boot::start_cpu,
);
