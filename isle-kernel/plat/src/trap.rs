// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ways into the kernel: exceptions, interrupts, system calls.
//!
//! From ring 3 all but system calls, which go on if they can, end as the return of `enter_user` in [`crate::user`]: the stack of ring 0
//! (TSS.RSP0) is the end of the application's [`Context`], so the processor and
//! the stubs push the registers right where they belong. From ring 0 they run on the current stack, which must be an
//! interrupt while idling or a bug. Debug exception, NMI, double fault and machine check
//! may come before SWAPGS; they have stacks of their own, at whose top is the CPU's [`crate::cpu::PerCpu`].

use crate::user::Context;

/// [`Context::vector`] of a system call.
pub const SYSCALL_VECTOR: u64 = 256;

/// Bytes of each interrupt stack, a power of two: the stubs find the top by rounding up.
pub const IST_STACK: u64 = 8 << 10;

#[cfg(target_os = "none")]
mod on_isle {
    use super::{Context, IST_STACK, SYSCALL_VECTOR};
    use crate::{apic, cpu, crash, gdt};
    use core::sync::atomic::Ordering;
    use hermit_abi::control::order;

    core::arch::global_asm!(
        r#"
        .pushsection .text.traps, "ax", @progbits
        .globl trap_stubs, trap_syscall, trap_early_ignore, trap_early_fatal, enter_user

        .macro push_registers
            push rdi
            push rsi
            push rdx
            push rcx
            push rax
            push r8
            push r9
            push r10
            push r11
            push rbx
            push rbp
            push r12
            push r13
            push r14
            push r15
        .endm
        .macro pop_registers
            pop r15
            pop r14
            pop r13
            pop r12
            pop rbp
            pop rbx
            pop r11
            pop r10
            pop r9
            pop r8
            pop rax
            pop rcx
            pop rdx
            pop rsi
            pop rdi
        .endm

        /* One stub per vector, 16 bytes each: an error code if the processor pushed none, the vector. */
        .balign 16
    trap_stubs:
        .set i, 0
        .rept 256
        .balign 16
        .if (i == 8) || ((i >= 10) && (i <= 14)) || (i == 17) || (i == 21) || (i == 29) || (i == 30)
        .else
            push 0
        .endif
            .byte 0x68
            .long i
        .if i == 1
            jmp trap_debug
        .elseif (i == 2) || (i == 8) || (i == 18)
            jmp trap_paranoid
        .else
            jmp trap_common
        .endif
        .set i, i + 1
        .endr

        .balign 16
    trap_common:
        test byte ptr [rsp + 24], 3
        jz 2f
        swapgs
    trap_from_user:
        push_registers
        cld
        mov rsp, gs:[8]
    trap_leave:
        xor ebp, ebp
        add rsp, 8
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        ret
    2:
        push_registers
        cld
        mov rdi, rsp
        call {kernel_trap}
        pop_registers
        add rsp, 16
        iretq

        /* A debug exception of ring 3 moves from its own stack to the context; one of ring 0 is like an NMI. */
        .balign 16
    trap_debug:
        test byte ptr [rsp + 24], 3
        jz trap_paranoid
        swapgs
        push rax
        mov rax, rsp
        mov rsp, gs:[16]
        push qword ptr [rax + 56]
        push qword ptr [rax + 48]
        push qword ptr [rax + 40]
        push qword ptr [rax + 32]
        push qword ptr [rax + 24]
        push qword ptr [rax + 16]
        push qword ptr [rax + 8]
        mov rax, [rax]
        jmp trap_from_user

        /* The GS base may be anybody's: it is set from the top of this stack, and put back. */
        .balign 16
    trap_paranoid:
        push_registers
        cld
        mov ecx, 0xc0000101
        rdmsr
        mov r12d, eax
        mov r13d, edx
        mov rdx, rsp
        or rdx, {ist_mask}
        mov rdx, [rdx - 15]
        mov eax, edx
        shr rdx, 32
        wrmsr
        mov rdi, rsp
        call {paranoid_trap}
        mov ecx, 0xc0000101
        mov eax, r12d
        mov edx, r13d
        wrmsr
        pop_registers
        add rsp, 16
        iretq

        /* Before there are stacks for them: what may be a hiccup is ignored, what is fatal is an exception. */
        .balign 16
    trap_early_ignore:
        iretq
    trap_early_fatal:
        push 0
        push 18
        jmp trap_common

        /* SYSCALL: rcx = rip, r11 = rflags, interrupts and direction flag off by FMASK. */
        .balign 16
    trap_syscall:
        swapgs
        mov gs:[24], rsp
        test r11d, {iret_flags}
        jnz 7f
        cmp eax, {quick_end}
        jae 7f
        mov eax, eax
        cmp byte ptr [rax + {quick_table}], 0
        je 7f
        /* A quick one, unless it turns out that it isn't: only what a C function may change is kept. */
        mov rsp, gs:[8]
        push rcx
        push r11
        push rdi
        push rsi
        push rdx
        push r8
        push r9
        push r10
        mov rdi, [rsp + 64]
        mov esi, eax
        call {quick_entry}
        test dl, dl
        pop r10
        pop r9
        pop r8
        pop rdx
        pop rsi
        pop rdi
        pop r11
        pop rcx
        jz 7f
        mov rsp, gs:[24]
        swapgs
        sysretq
        /* Any other one is made right here as well; whatever happens meanwhile, r12 knows the stack. */
    7:
        mov rsp, gs:[16]
        push {user_data}
        push qword ptr gs:[24]
        push r11
        push {user_code}
        push rcx
        push 0
        push {syscall_vector}
        push_registers
        mov rbx, rsp
        mov rdi, rsp
        mov r12, gs:[8]
        mov rsp, r12
        mov rsi, [r12]
        xor ebp, ebp
        call {syscall_entry}
        test al, al
        jz 4f
        mov rsp, rbx
        pop_registers
        mov rsp, [rsp + 40]
        swapgs
        sysretq
    4:
        mov rsp, r12
        jmp trap_leave

        /* enter_user(rdi: context, rsi: by SYSRET?, rdx: for syscall_entry) */
        .balign 16
    enter_user:
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        push rdx
        mov gs:[8], rsp
        lea rax, [rdi + {context_len}]
        mov gs:[16], rax
        mov rcx, gs:[32]
        mov [rcx], rax
        mov rsp, rdi
        test rsi, rsi
        jnz 3f
        pop_registers
        add rsp, 16
        swapgs
        iretq
    3:
        pop_registers
        mov rsp, [rsp + 40]
        swapgs
        sysretq
        .popsection
        "#,
        kernel_trap = sym kernel_trap,
        paranoid_trap = sym paranoid_trap,
        ist_mask = const IST_STACK - 1,
        user_data = const gdt::USER_DATA,
        user_code = const gdt::USER_CODE,
        syscall_vector = const SYSCALL_VECTOR,
        context_len = const core::mem::size_of::<Context>(),
        syscall_entry = sym crate::user::syscall_entry,
        iret_flags = const crate::user::IRET_FLAGS,
        quick_end = const crate::user::QUICK_END,
        quick_table = sym crate::user::QUICK,
        quick_entry = sym crate::user::quick_entry,
    );

    extern "C" {
        static trap_stubs: u8;
        static trap_syscall: u8;
        static trap_early_ignore: u8;
        static trap_early_fatal: u8;
        /// Runs ring 3 until it comes back for good. With `sysret` RCX and R11 must equal RIP and RFLAGS.
        pub fn enter_user(context: *mut Context, sysret: u64, calls: *mut ());
    }

    /// Address of the stub of a vector.
    pub fn stub_address(vector: usize) -> u64 {
        &raw const trap_stubs as u64 + vector as u64 * 16
    }

    /// Address of the stub of a vector before there is a TSS.
    pub fn early_stub_address(vector: usize) -> u64 {
        match vector {
            1 | 2 => &raw const trap_early_ignore as u64,
            8 | 18 => &raw const trap_early_fatal as u64,
            _ => stub_address(vector),
        }
    }

    /// Address of the system-call entry.
    pub fn syscall_entry_address() -> u64 {
        &raw const trap_syscall as u64
    }

    /// An interrupt while idling, or a bug.
    extern "C" fn kernel_trap(frame: &mut Context) {
        match frame.vector {
            0..=31 => crash::fault(frame),
            vector => apic::interrupt(vector as u8),
        }
    }

    /// Debug exception, NMI, double fault, machine check.
    extern "C" fn paranoid_trap(frame: &mut Context) {
        match frame.vector {
            // A single step that ring 3 began, seen behind its SYSCALL; nothing else makes one here.
            1 => {
                frame.rflags &= !(1 << 8);
                clear_dr6();
            }
            2 => nmi(),
            _ => crash::fault(frame),
        }
    }

    /// Reads and clears the reason of a debug exception.
    pub fn clear_dr6() {
        // SAFETY: no breakpoint is ever set, so nobody else looks at the register.
        unsafe { core::arch::asm!("mov dr6, {}", in(reg) 0xffff_0ff0_u64, options(nomem, nostack)) }
    }

    fn nmi() {
        let cpu = cpu::current();
        cpu::count(&cpu.shared().interrupts);
        if crash::crashed() {
            cpu::halt();
        }
        let stop = crate::shared::try_get().is_some_and(|s| s.control.order.load(Ordering::Relaxed) == order::STOP);
        if stop {
            cpu::halt();
        }
        cpu::count(&cpu.shared().unexpected);
    }
}

#[cfg(target_os = "none")]
pub use on_isle::*;

#[cfg(not(target_os = "none"))]
mod on_host {
    /// There is no ring 3 to enter.
    ///
    /// # Safety
    ///
    /// None needed.
    pub unsafe fn enter_user(_: *mut super::Context, _: u64, _: *mut ()) {
        unimplemented!("ring 3 on the host")
    }

    /// Nothing to clear.
    pub fn clear_dr6() {}
}

#[cfg(not(target_os = "none"))]
pub use on_host::*;
