/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The smallest isle kernels, for testing the module with ones that misbehave. By macro:
 *
 * (none)  comes up, and halts when asked to
 * DEAF    comes up, and never listens again
 * MUTE    never reports
 * LIAR    comes up, then its last CPU fills all that is shared with garbage, over and over. The last, for a CPU
 *         that starts later would read garbage as well, and fault with no IDT: that resets the whole machine
 *
 * Layouts are those of isle-kernel/abi.
 */

#define DIRECT_MAP	0xffff800000000000
#define BOOT_CPU_COUNT	16
#define BOOT_CONTROL	88
#define BOOT_CPUS	96
#define CPU_SIZE	128
#define CPU_STATE	64
#define CONTROL_STATE	64
#define ARGS		0xf00

	.section .text, "ax"
	.globl	trampoline
	.code16
trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	xor	%ebx, %ebx
	mov	%ax, %bx
	shl	$4, %ebx
	lea	(gdt - trampoline)(%ebx), %eax
	mov	%eax, gdtr - trampoline + 2
	lea	(long_mode - trampoline)(%ebx), %eax
	mov	%eax, target - trampoline
	lgdtl	gdtr - trampoline
	mov	ARGS, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x20, %eax
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x900, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000001, %eax
	mov	%eax, %cr0
	ljmpl	*(target - trampoline)
	.balign	8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:	.word	23
	.long	0
	.balign	4
target:	.long	0
	.word	8
	.code64
long_mode:
	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	ARGS + 8(%rbx), %rax
	mov	ARGS + 16(%rbx), %rsp
	mov	ARGS + 24(%rbx), %rdi
	mov	ARGS + 32(%rbx), %rsi
	mov	ARGS + 40(%rbx), %rdx
	jmp	*%rax
trampoline_end:

	.globl	_start
_start:
	mov	%rdx, %cr3
	mov	$DIRECT_MAP, %r8
#ifdef MUTE
1:	pause
	jmp	1b
#endif
	mov	BOOT_CPUS(%rdi), %r9
	add	%r8, %r9
	mov	%rsi, %rax
	imul	$CPU_SIZE, %rax
	lea	CPU_STATE(%r9, %rax), %r10
	movl	$1, (%r10)
	mov	BOOT_CONTROL(%rdi), %r11
	add	%r8, %r11
	lea	1(%rsi), %eax
	cmp	BOOT_CPU_COUNT(%rdi), %eax
	jne	not_last
	movl	$1, CONTROL_STATE(%r11)
#ifdef LIAR
	/* From the boot information to the pool: all that is shared lies between. */
	and	$-4096, %rdi
	mov	72(%rdi), %rcx
	add	%r8, %rcx
	mov	$0xdeadbeefcafe, %rax
3:	mov	%rdi, %rdx
4:	rol	$7, %rax
	add	%rdx, %rax
	cmp	%r11, %rdx
	je	5f
	mov	%rax, (%rdx)
5:	add	$8, %rdx
	cmp	%rcx, %rdx
	jb	4b
	add	$4096, %rdi
	cmp	%rcx, %rdi
	jb	3b
6:	pause
	jmp	6b
#endif
not_last:
#ifndef DEAF
7:	pause
	cmpl	$1, (%r11)
	jne	7b
	movl	$2, (%r10)
8:	cli
	hlt
	jmp	8b
#else
9:	pause
	jmp	9b
#endif

	.section .note.hermit, "a"
	.balign	4
	.long	7, 16, 1
	.ascii	"Hermit\0\0"
	.long	VERSION
	.long	trampoline_end - trampoline
	.quad	trampoline
