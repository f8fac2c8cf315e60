/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Into and out of ring 3, and interrupts while in the kernel. Assembled in Intel syntax.
 *
 * GS base is the CPU's own data (cpu.rs, Local) in the kernel and the application's in ring 3.
 * Events in ring 3 end Context::run (user.rs): registers go to the context, and run returns. Events in the
 * kernel call kernel_trap and return. NMI, double fault and machine check have stacks of their own and
 * touch no GS, since they can come between two instructions here.
 */

.set LOCAL_RSP, 0
.set LOCAL_CONTEXT, 8
.set LOCAL_SCRATCH, 16

.set C_RAX, 0
.set C_RBX, 8
.set C_RCX, 16
.set C_RDX, 24
.set C_RSI, 32
.set C_RDI, 40
.set C_RBP, 48
.set C_R8, 56
.set C_R9, 64
.set C_R10, 72
.set C_R11, 80
.set C_R12, 88
.set C_R13, 96
.set C_R14, 104
.set C_R15, 112
.set C_RSP, 120
.set C_RIP, 128
.set C_RFLAGS, 136
.set C_ERROR, 144
.set C_ADDRESS, 152

.set EXIT_SYSCALL, 256

/* Calls kernel_trap with the frame on the stack, and keeps all registers. */
.macro call_kernel_trap
	push	rax
	push	rcx
	push	rdx
	push	rsi
	push	rdi
	push	r8
	push	r9
	push	r10
	push	r11
	push	rbp
	mov	rbp, rsp
	lea	rdi, [rsp + 80]
	and	rsp, -16
	call	{kernel_trap}
	mov	rsp, rbp
	pop	rbp
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rdi
	pop	rsi
	pop	rdx
	pop	rcx
	pop	rax
.endm

.section .text.trap, "ax"

/* u64 enter_user(context: rdi, by_sysret: rsi): returns the vector, or EXIT_SYSCALL. Interrupts are off. */
.global enter_user
enter_user:
	push	rbx
	push	rbp
	push	r12
	push	r13
	push	r14
	push	r15
	mov	gs:[LOCAL_RSP], rsp
	mov	gs:[LOCAL_CONTEXT], rdi
	test	rsi, rsi
	mov	rax, [rdi + C_RAX]
	mov	rbx, [rdi + C_RBX]
	mov	rdx, [rdi + C_RDX]
	mov	rsi, [rdi + C_RSI]
	mov	rbp, [rdi + C_RBP]
	mov	r8, [rdi + C_R8]
	mov	r9, [rdi + C_R9]
	mov	r10, [rdi + C_R10]
	mov	r12, [rdi + C_R12]
	mov	r13, [rdi + C_R13]
	mov	r14, [rdi + C_R14]
	mov	r15, [rdi + C_R15]
	jz	1f
	/* The caller has made sure that RIP is in the lower half. */
	mov	rcx, [rdi + C_RIP]
	mov	r11, [rdi + C_RFLAGS]
	mov	rsp, [rdi + C_RSP]
	mov	rdi, [rdi + C_RDI]
	swapgs
	sysretq
1:	mov	rcx, [rdi + C_RCX]
	mov	r11, [rdi + C_R11]
	push	{user_data}
	push	qword ptr [rdi + C_RSP]
	push	qword ptr [rdi + C_RFLAGS]
	push	{user_code}
	push	qword ptr [rdi + C_RIP]
	mov	rdi, [rdi + C_RDI]
	swapgs
	iretq

.global syscall_entry
syscall_entry:
	swapgs
	mov	gs:[LOCAL_SCRATCH], rsp
	mov	rsp, gs:[LOCAL_CONTEXT]
	mov	[rsp + C_RAX], rax
	mov	[rsp + C_RBX], rbx
	mov	[rsp + C_RCX], rcx
	mov	[rsp + C_RDX], rdx
	mov	[rsp + C_RSI], rsi
	mov	[rsp + C_RDI], rdi
	mov	[rsp + C_RBP], rbp
	mov	[rsp + C_R8], r8
	mov	[rsp + C_R9], r9
	mov	[rsp + C_R10], r10
	mov	[rsp + C_R11], r11
	mov	[rsp + C_R12], r12
	mov	[rsp + C_R13], r13
	mov	[rsp + C_R14], r14
	mov	[rsp + C_R15], r15
	mov	[rsp + C_RIP], rcx
	mov	[rsp + C_RFLAGS], r11
	mov	rax, gs:[LOCAL_SCRATCH]
	mov	[rsp + C_RSP], rax
	mov	eax, EXIT_SYSCALL
leave_user:
	mov	rsp, gs:[LOCAL_RSP]
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbp
	pop	rbx
	/* Nothing of the application's stays where the kernel could take it for its own. */
	xor	ecx, ecx
	xor	edx, edx
	xor	esi, esi
	xor	edi, edi
	xor	r8d, r8d
	xor	r9d, r9d
	xor	r10d, r10d
	xor	r11d, r11d
	ret

/* On the stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
trap_common:
	cld
	test	byte ptr [rsp + 24], 3
	jz	2f
	swapgs
	push	rax
	mov	rax, gs:[LOCAL_CONTEXT]
	mov	[rax + C_RBX], rbx
	mov	[rax + C_RCX], rcx
	mov	[rax + C_RDX], rdx
	mov	[rax + C_RSI], rsi
	mov	[rax + C_RDI], rdi
	mov	[rax + C_RBP], rbp
	mov	[rax + C_R8], r8
	mov	[rax + C_R9], r9
	mov	[rax + C_R10], r10
	mov	[rax + C_R11], r11
	mov	[rax + C_R12], r12
	mov	[rax + C_R13], r13
	mov	[rax + C_R14], r14
	mov	[rax + C_R15], r15
	pop	rbx
	mov	[rax + C_RAX], rbx
	mov	rbx, [rsp + 8]
	mov	[rax + C_ERROR], rbx
	mov	rbx, [rsp + 16]
	mov	[rax + C_RIP], rbx
	mov	rbx, [rsp + 32]
	mov	[rax + C_RFLAGS], rbx
	mov	rbx, [rsp + 40]
	mov	[rax + C_RSP], rbx
	mov	rbx, cr2
	mov	[rax + C_ADDRESS], rbx
	mov	rax, [rsp]
	jmp	leave_user
2:	/* In the kernel, on its stack. */
trap_kernel_entry:
	call_kernel_trap
	add	rsp, 16
	iretq

/* NMI, double fault, machine check: on a stack of their own, they go back to where they came from. */
trap_own_stack:
	cld
	test	byte ptr [rsp + 24], 3
	jz	trap_kernel_entry
	swapgs
	call_kernel_trap
	swapgs
	add	rsp, 16
	iretq

/* One entry for each vector, 16 bytes apart. */
.balign 16
.global trap_entries
trap_entries:
.set vector, 0
.rept 256
	.balign 16
	/* Exceptions 8, 10 to 14, 17, 21, 29 and 30 push an error code (SDM vol. 3, table 6-1). */
	.if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
	.else
	push	0
	.endif
	push	vector
	.if (vector == 2) || (vector == 8) || (vector == 18)
	jmp	trap_own_stack
	.else
	jmp	trap_common
	.endif
	.set vector, vector + 1
.endr
