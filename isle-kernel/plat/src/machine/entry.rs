// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the loader of a virtual machine to 64-bit code: the PVH entry point (Xen, docs/misc/pvh.pandoc).
//!
//! It begins in 32-bit protected mode without paging, with `struct hvm_start_info` at EBX. The image is at its physical
//! addresses (see link.ld), while its symbols are link addresses: `{off}` is what lies between them.

use core::arch::global_asm;

/// Link address less physical address of the image, as in link.ld.
const OFFSET: u64 = 0xffff_ffff_7fe0_0000;

global_asm!(
    r#"
    .pushsection .note.pvh, "a", @note
    .balign 4
        .long 4, 8, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .quad pvh_start - {off}
    .popsection

    .pushsection .bss.machine, "aw", @nobits
    .balign 4096
    machine_root:       .skip 4096
    machine_low:        .skip 4096      /* the first 512 GiB: of 0 and of the direct map */
    machine_high:       .skip 4096      /* the last 512 GiB */
    machine_image:      .skip 4096      /* 1 GiB from the image's first byte on */
    machine_pages:      .skip 4 * 4096  /* the first 4 GiB */
    machine_stack:      .skip 32768
    machine_stack_top:
    .popsection

    .pushsection .text.machine, "ax", @progbits
    .code32
    .globl pvh_start
    pvh_start:
        cli
        cld
        movl $(machine_low - {off} + 3), %eax
        movl %eax, machine_root - {off}
        movl %eax, machine_root - {off} + 256 * 8
        movl $(machine_high - {off} + 3), %eax
        movl %eax, machine_root - {off} + 511 * 8
        movl $(machine_image - {off} + 3), %eax
        movl %eax, machine_high - {off} + 510 * 8
        movl $(machine_pages - {off} + 3), %eax
        xorl %ecx, %ecx
    1:  movl %eax, machine_low - {off}(, %ecx, 8)
        addl $4096, %eax
        incl %ecx
        cmpl $4, %ecx
        jb 1b
        movl $0x83, %eax                /* present, writable, large */
        xorl %ecx, %ecx
    2:  movl %eax, machine_pages - {off}(, %ecx, 8)
        addl $0x200000, %eax
        incl %ecx
        cmpl $2048, %ecx
        jb 2b
        movl $0x200083, %eax
        xorl %ecx, %ecx
    3:  movl %eax, machine_image - {off}(, %ecx, 8)
        addl $0x200000, %eax
        incl %ecx
        cmpl $512, %ecx
        jb 3b
        movl $0x20, %eax                /* CR4.PAE */
        movl %eax, %cr4
        movl $(machine_root - {off}), %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx          /* EFER: LME, NXE */
        movl $0x900, %eax
        xorl %edx, %edx
        wrmsr
        movl $0x80010011, %eax          /* PG, WP, ET, PE */
        movl %eax, %cr0
        lgdtl machine_gdtr - {off}
        ljmpl $0x08, $(machine_64 - {off})
    .code64
    machine_64:
        movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movabsq $machine_stack_top, %rsp
        xorl %ebp, %ebp
        movl %ebx, %edi
        movabsq ${start}, %rax
        callq *%rax
        ud2
    .popsection

    .pushsection .rodata.machine, "a", @progbits
    .balign 8
    machine_gdt:
        .quad 0
        .quad 0x00af9b000000ffff        /* 0x08: 64-bit code */
        .quad 0x00cf93000000ffff        /* 0x10: data */
    machine_gdtr:
        .short 23
        .long machine_gdt - {off}
    .popsection
    "#,
    off = const OFFSET as i64,
    start = sym super::start,
    options(att_syntax)
);
