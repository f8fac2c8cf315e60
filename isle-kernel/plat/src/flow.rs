// SPDX-License-Identifier: MIT OR Apache-2.0

//! Flows of control within the kernel: each has a stack, and a CPU goes on with one after another.
//!
//! The stack pointer of a flow that doesn't run is kept in the flow; 0 says that some CPU runs it. A CPU writes it with
//! the very last access to the stack it leaves, so whoever reads another value may take the stack over at once. Only
//! after that it waits for the other flow to be left: two CPUs may be about to take over each other's.

#[cfg(target_os = "none")]
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// A flow of control.
pub struct Flow {
    sp: AtomicU64,
    /// Top of its stack; 0: the stack that a CPU began with, which is never given back.
    top: u64,
}

impl Flow {
    /// What this CPU runs at the moment, on the stack that it began with.
    pub const fn running() -> Self {
        Self { sp: AtomicU64::new(0), top: 0 }
    }
}

#[cfg(target_os = "none")]
mod on_isle {
    use super::{Arc, AtomicU64, Flow, Ordering};
    use crate::{cpu, kmap};
    use alloc::vec::Vec;
    use core::ptr::null_mut;
    use spin::Mutex;

    /// Bytes of a flow's stack.
    const STACK: u64 = 16 << 10;

    /// Tops of stacks that nobody uses.
    static FREE: Mutex<Vec<u64>> = Mutex::new(Vec::new());

    core::arch::global_asm!(
        r#"
        .pushsection .text.flow, "ax", @progbits
        .globl flow_switch, flow_begin

        /* flow_switch(rdi: where to leave the stack pointer, rsi: where the other one is, or will be) */
        .balign 16
    flow_switch:
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        mov [rdi], rsp
        /* The stack may be another CPU's from here on. */
    2:
        xor eax, eax
        xchg [rsi], rax
        test rax, rax
        jnz 4f
    3:
        pause
        cmp qword ptr [rsi], 0
        je 3b
        jmp 2b
    4:
        mov rsp, rax
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        ret

        /* Where a new flow arrives; r12: what it is to do. */
        .balign 16
    flow_begin:
        mov rdi, r12
        xor ebp, ebp
        call {begin}
        ud2
        .popsection
        "#,
        begin = sym begin,
    );

    extern "C" {
        fn flow_switch(from: *mut u64, to: *mut u64);
        static flow_begin: u8;
    }

    // Only the assembly above calls it, with what it found in a register.
    #[allow(improper_ctypes_definitions)]
    extern "C" fn begin(entry: fn() -> !) -> ! {
        arrive();
        entry()
    }

    /// Frees the flow that was just left for good, if there is one.
    fn arrive() {
        let finished = cpu::current().finished.swap(null_mut(), Ordering::Relaxed);
        if !finished.is_null() {
            // SAFETY: `finish` has put a reference there, which nobody else has taken.
            drop(unsafe { Arc::from_raw(finished.cast_const()) });
        }
    }

    impl Flow {
        /// A flow that begins with `entry`. `None` without kernel memory.
        pub fn new(entry: fn() -> !) -> Option<Self> {
            let free = FREE.lock().pop();
            let top = match free {
                Some(top) => top,
                None => kmap::map_stack(STACK)?,
            };
            // As `flow_switch` pops them: r15, r14, r13, r12, rbp, rbx, return address. What is above is where
            // the stack pointer is then, a multiple of 16 as before any call.
            let words = [0, 0, 0, entry as usize as u64, 0, 0, &raw const flow_begin as u64];
            let sp = top - 16 - 8 * words.len() as u64;
            // SAFETY: within a mapped stack that nobody else uses.
            unsafe { (sp as *mut [u64; 7]).write(words) };
            Some(Self { sp: AtomicU64::new(sp), top })
        }
    }

    /// Leaves the current flow, which must be `from`, for another one, of which this CPU keeps a reference elsewhere than
    /// in `from`: that may go on, on another CPU, before the other flow is there. Returns when somebody switches back.
    ///
    /// # Panics
    ///
    /// If `from` isn't a flow that runs.
    pub fn switch(from: &Flow, to: &Flow) {
        assert!(from.sp.load(Ordering::Relaxed) == 0, "only a flow that runs can be left");
        // SAFETY:
        // 1. what is in `to` was left by `new` or by this function, and the exchange gives it to this CPU alone;
        // 2. `from` lives on: whoever borrows it here is on its very stack;
        // 3. `to` lives on: it is this CPU's idle flow, which is for good, or its thread's, which can't end before it is here;
        // 4. `flow_switch` keeps what the C calling convention says.
        unsafe { flow_switch(from.sp.as_ptr(), to.sp.as_ptr()) }
        arrive();
    }

    /// Leaves the current flow, which must be `from`, for good. What is on its stack is never dropped.
    pub fn finish(from: Arc<Flow>, to: Arc<Flow>) -> ! {
        let sp = to.sp.as_ptr();
        drop(to);
        let from = Arc::into_raw(from).cast_mut();
        cpu::current().finished.store(from, Ordering::Relaxed);
        // SAFETY: as for `switch`; `finished` keeps the flow until its stack is left.
        unsafe { flow_switch((*from).sp.as_ptr(), sp) }
        unreachable!("nobody goes on with a flow that has finished")
    }

    impl Drop for Flow {
        fn drop(&mut self) {
            // One that runs keeps its stack, come what may.
            if self.top != 0 && *self.sp.get_mut() != 0 {
                let mut free = FREE.lock();
                if free.try_reserve(1).is_ok() {
                    free.push(self.top);
                }
            }
        }
    }
}

#[cfg(target_os = "none")]
pub use on_isle::{finish, switch};

#[cfg(not(target_os = "none"))]
impl Flow {
    /// Never begins on the host.
    pub fn new(_: fn() -> !) -> Option<Self> {
        Some(Self { sp: AtomicU64::new(1), top: 0 })
    }
}

/// There is nothing to switch to on the host.
#[cfg(not(target_os = "none"))]
pub fn switch(from: &Flow, to: &Flow) {
    let _ = (from.top, to.top, from.sp.load(Ordering::Relaxed));
    std::thread::yield_now();
}

/// There is nothing to finish on the host.
#[cfg(not(target_os = "none"))]
pub fn finish(_: std::sync::Arc<Flow>, _: std::sync::Arc<Flow>) -> ! {
    unreachable!("flows don't begin on the host")
}
