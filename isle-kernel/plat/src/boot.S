/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where CPUs begin: the trampoline, which the loader copies to a page below 1 MiB, and the entry point
 * that it jumps to. See abi/src/image.rs for the contract. AT&T syntax, which can say "a - b" in an address.
 */

.set ARGS, 0xf00

.section .text.trampoline, "ax"
.balign 16
.global trampoline_start
.code16
trampoline_start:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds
	xorl	%ebx, %ebx
	mov	%ax, %bx
	shll	$4, %ebx			/* where this page is */
	leal	(tramp_gdt - trampoline_start)(%ebx), %eax
	movl	%eax, tramp_gdtr - trampoline_start + 2
	leal	(tramp_long - trampoline_start)(%ebx), %eax
	movl	%eax, tramp_target - trampoline_start
	lgdtl	tramp_gdtr - trampoline_start
	movl	ARGS, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE */
	movl	%eax, %cr4
	movl	$0xc0000080, %ecx		/* EFER: LME, NXE */
	rdmsr
	orl	$0x900, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax		/* caches on: INIT leaves CD and NW set */
	orl	$0x80000001, %eax		/* PG and PE at once: straight to long mode */
	movl	%eax, %cr0
	ljmpl	*(tramp_target - trampoline_start)
.balign 8
tramp_gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
tramp_gdtr:
	.word	23
	.long	0
.balign 4
tramp_target:
	.long	0
	.word	8
.code64
tramp_long:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	ARGS + 8(%rbx), %rax
	movq	ARGS + 16(%rbx), %rsp
	movq	ARGS + 24(%rbx), %rdi
	movq	ARGS + 32(%rbx), %rsi
	movq	ARGS + 40(%rbx), %rdx
	jmp	*%rax
.global trampoline_end
trampoline_end:

.section .text.entry, "ax"
.global _start
_start:
	movq	%rdx, %cr3
	xorl	%ebp, %ebp
	pushq	%rbp
	call	{entry}
	ud2

.section .note.hermit, "a", @note
.balign 4
	.long	7, 16, 1
	.ascii	"Hermit\0\0"
	.long	{version}
	.long	trampoline_end - trampoline_start
	.quad	trampoline_start
