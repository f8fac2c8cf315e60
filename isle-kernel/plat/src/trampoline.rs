// SPDX-License-Identifier: MIT OR Apache-2.0

//! The code that a lent CPU runs first, and the ELF note that tells the loader where it is.
//!
//! `hermit_abi::image` says how it is called. It is copied to some page below 1 MiB, so it finds itself by CS (SDM
//! vol. 3, 10.4.4: a SIPI with vector `v` starts at `CS:IP = v00h:0`, CS base `v000h`). All CR0 and CR4 bits
//! that matter are set again in `cpu.rs`; here only what long mode needs. The stack for the one far return is
//! the end of the page, behind the arguments.

use core::arch::global_asm;
use hermit_abi::image::{ImageNote, NOTE_TYPE, TRAMPOLINE_ARGS};

global_asm!(
    r#"
    .pushsection .rodata.trampoline, "a", @progbits
    .balign 16
    .code16
    .globl trampoline_start
    .globl trampoline_end
    trampoline_start:
        cli
        cld
        movw %cs, %ax
        movw %ax, %ds
        movzwl %ax, %ebx
        shll $4, %ebx
        leal (trampoline_gdt - trampoline_start)(%ebx), %eax
        movl %eax, (trampoline_gdtr - trampoline_start + 2)
        leal (trampoline_32 - trampoline_start)(%ebx), %eax
        movl %eax, (trampoline_far - trampoline_start)
        lgdtl (trampoline_gdtr - trampoline_start)
        movl $0x11, %eax                /* PE, ET; clears CD and NW, which INIT sets */
        movl %eax, %cr0
        ljmpl *(trampoline_far - trampoline_start)
    .code32
    trampoline_32:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        leal 0x1000(%ebx), %esp
        movl $0x20, %eax                /* CR4.PAE */
        movl %eax, %cr4
        movl {args}(%ebx), %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx          /* EFER: LME, NXE */
        movl $0x900, %eax
        xorl %edx, %edx
        wrmsr
        movl $0x80010011, %eax          /* PG, WP, ET, PE */
        movl %eax, %cr0
        leal (trampoline_64 - trampoline_start)(%ebx), %eax
        pushl $0x18
        pushl %eax
        lretl
    .code64
    trampoline_64:
        movl %ebx, %ebx                 /* the upper half is undefined after the switch */
        movq ({args} + 16)(%rbx), %rsp
        movq ({args} + 24)(%rbx), %rdi
        movq ({args} + 32)(%rbx), %rsi
        movq ({args} + 40)(%rbx), %rdx
        movq ({args} + 8)(%rbx), %rax
        jmpq *%rax
    .balign 8
    trampoline_gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        /* 0x08: 32-bit code */
        .quad 0x00cf93000000ffff        /* 0x10: data */
        .quad 0x00af9b000000ffff        /* 0x18: 64-bit code */
    trampoline_gdtr:
        .short 31
        .long 0
    .balign 4
    trampoline_far:
        .long 0
        .short 0x08
    trampoline_end:
    .popsection

    .pushsection .note.hermit, "a", @note
    .balign 4
        .long 7, {note_len}, {note_type}
        .asciz "Hermit"
    .balign 4
        .long {version}
        .long trampoline_end - trampoline_start
        .quad trampoline_start
    .popsection
    "#,
    args = const TRAMPOLINE_ARGS,
    note_len = const core::mem::size_of::<ImageNote>(),
    note_type = const NOTE_TYPE,
    version = const hermit_abi::VERSION,
    options(att_syntax)
);
