// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the trampoline to the kernel's main function.

use crate::{apic, cpu, frames, heap, info, segments, time, trap};
use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_abi::boot::BootInfo;

global_asm!(
    include_str!("boot.S"),
    entry = sym entry,
    version = const hermit_abi::VERSION,
    options(att_syntax),
);

/// CPU 0 has set up what all CPUs need.
static READY: AtomicBool = AtomicBool::new(false);

/// First Rust code of every CPU: own stack, interrupts off, no IDT yet.
extern "C" fn entry(boot_info: *const BootInfo, index: usize) -> ! {
    if index == 0 {
        // SAFETY: The loader passes a pointer to the boot information, which nobody changes.
        unsafe { info::init(boot_info) };
        heap::init();
    }
    // CPUs are started one after another, so CPU 0 has come at least to READY when the next begins.
    cpu::reset_state();
    segments::init(index);
    trap::init();
    apic::init();
    if index == 0 {
        frames::init();
        time::init();
        READY.store(true, Ordering::Release);
    }
    while !READY.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // SAFETY: Defined exactly once, by `kernel_main!`.
    unsafe { crate::isle_kernel_main(index) }
}
