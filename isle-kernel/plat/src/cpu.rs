// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a CPU knows about itself, and how it waits.

use crate::flow::Flow;
use crate::gdt;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use hermit_abi::cpu::{state, Cpu};
use x86_64::structures::tss::TaskStateSegment;

/// One CPU's own data, found through the GS base while in the kernel. The assembly in `trap.rs` knows the first fields.
#[repr(C, align(64))]
pub struct PerCpu {
    /// Offset 0: this very structure.
    pub(crate) this: *const PerCpu,
    /// Offset 8: the kernel's stack pointer while in ring 3.
    pub(crate) kernel_rsp: u64,
    /// Offset 16: one past the context that ring 3 runs in.
    pub(crate) user_top: u64,
    /// Offset 24: the application's stack pointer, for a moment.
    pub(crate) scratch: u64,
    /// Offset 32: where the TSS has the stack pointer of ring 0.
    pub(crate) rsp0: *mut u64,
    pub(crate) index: usize,
    pub(crate) shared: &'static Cpu,
    /// Physical address of the PML4 that is loaded. Only this CPU writes it.
    pub(crate) root: AtomicU64,
    /// Ring 3 runs, or is about to. Only this CPU writes it; see `tlb.rs`.
    pub(crate) in_user: AtomicBool,
    /// Up to which change of its page table this CPU has forgotten what was. Only this CPU writes it.
    pub(crate) flushed: AtomicU64,
    /// This CPU's timer has interrupted it.
    pub(crate) timer_expired: AtomicBool,
    /// A flow that this CPU has left for good and still has to free.
    pub(crate) finished: AtomicPtr<Flow>,
    pub(crate) gdt: [u64; gdt::ENTRIES],
    pub(crate) tss: TaskStateSegment,
}

const _: () = assert!(core::mem::offset_of!(PerCpu, rsp0) == 32);

impl PerCpu {
    /// This CPU's number in the isle.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Where the stack of the kernel is while in ring 3.
    #[cfg(target_os = "none")]
    pub(crate) fn kernel_rsp(&self) -> u64 {
        // SAFETY: assembly changes it on this CPU only, which is not there now.
        unsafe { (&raw const self.kernel_rsp).read_volatile() }
    }

    /// What this CPU tells Linux about itself.
    pub fn shared(&self) -> &'static Cpu {
        self.shared
    }
}

/// Adds one to a counter that only this CPU writes.
pub fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Tells Linux that this CPU is ready.
pub fn set_ready() {
    current().shared.state.store(state::READY, Ordering::Release);
}

/// The CPU this runs on.
///
/// # Panics
///
/// On the host.
#[cfg(not(target_os = "none"))]
pub fn current() -> &'static PerCpu {
    unreachable!("no CPU is an isle's")
}

/// The number of the CPU this runs on; 0 on the host.
pub fn index() -> usize {
    #[cfg(target_os = "none")]
    return current().index;
    #[cfg(not(target_os = "none"))]
    0
}

#[cfg(not(target_os = "none"))]
mod on_host {
    /// No CPU is an isle's.
    pub fn try_current() -> Option<&'static super::PerCpu> {
        None
    }

    /// Looks whether there is something to do; gives way if not.
    pub fn idle_unless(mut ready: impl FnMut() -> bool) {
        if !ready() {
            std::thread::yield_now();
        }
    }

    /// Gives way.
    pub fn take_interrupts() {
        std::thread::yield_now();
    }

    /// Ends the test's thread.
    pub fn halt() -> ! {
        panic!("halted")
    }
}

#[cfg(not(target_os = "none"))]
pub use on_host::*;

#[cfg(target_os = "none")]
mod on_isle {
    use super::{state, Ordering, PerCpu};
    use x86_64::registers::model_specific::GsBase;

    /// The CPU this runs on. Only once it is set up.
    pub fn current() -> &'static PerCpu {
        let pointer: *const PerCpu;
        // SAFETY: all but the very first code of a CPU runs with the GS base set; `PerCpu::this` never changes. Asked
        // for anew each time: a task may go on on another CPU.
        unsafe {
            core::arch::asm!("mov {}, gs:[0]", out(reg) pointer, options(nostack, preserves_flags));
            &*pointer
        }
    }

    /// The CPU this runs on; `None` before it is set up.
    pub fn try_current() -> Option<&'static PerCpu> {
        // Not by `gs:0`, which would fault before the base is set.
        let pointer = GsBase::read().as_ptr::<PerCpu>();
        // SAFETY: in the kernel the GS base is 0 or the address of a PerCpu that lives for good. Fields that change
        // are behind `Cell` or only used by assembly.
        unsafe { pointer.as_ref() }
    }

    /// Says where the kernel's stack and ring 3's context are while ring 3 runs on this CPU, as `enter_user` does.
    pub(crate) fn enter_with(kernel_rsp: u64, user_top: u64) {
        // SAFETY: for this CPU's own assembly, which runs next; nothing in Rust reads these while they are written.
        unsafe {
            core::arch::asm!(
                "mov gs:[8], {rsp}",
                "mov gs:[16], {top}",
                "mov {rsp0}, gs:[32]",
                "mov [{rsp0}], {top}",
                rsp = in(reg) kernel_rsp,
                top = in(reg) user_top,
                rsp0 = out(reg) _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Halts until an interrupt comes, unless `ready`. An interrupt after `ready` has been asked
    /// is not lost: it is held back until the very instruction that halts (SDM vol. 2, STI).
    pub fn idle_unless(mut ready: impl FnMut() -> bool) {
        if !ready() {
            // SAFETY: interrupts are taken on this stack by handlers that change counters only.
            unsafe { core::arch::asm!("sti", "hlt", "cli") }
        }
    }

    /// Takes the interrupts that are pending.
    pub fn take_interrupts() {
        // SAFETY: as for `idle_unless`.
        unsafe { core::arch::asm!("sti", "nop", "cli") }
    }

    /// Tells Linux that this CPU is done, and stops for good.
    pub fn halt() -> ! {
        x86_64::instructions::interrupts::disable();
        crate::features::end_machine_check();
        if let Some(cpu) = try_current() {
            cpu.shared.state.store(state::HALTED, Ordering::SeqCst);
        }
        loop {
            // SAFETY: interrupts are off, so nothing follows.
            unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
        }
    }
}

#[cfg(target_os = "none")]
pub use on_isle::*;
