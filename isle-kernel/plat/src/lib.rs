// SPDX-License-Identifier: MIT OR Apache-2.0

//! The architecture layer of the isle kernel: the only room for `unsafe`. What it offers is safe.
//!
//! | file | what |
//! |---|---|
//! | `boot.rs`, `boot.S` | from the trampoline to [`KernelMain`] |
//! | `info.rs` | checked access to the boot information and what is shared with the module |
//! | `cpu.rs` | one CPU: registers after INIT, its own data, halting |
//! | `segments.rs` | GDT, TSS, stacks for faults that can't trust the current one |
//! | `trap.rs`, `trap.S` | interrupts, exceptions, system-call entry |
//! | `user.rs` | ring 3: run until something happens |
//! | `apic.rs` | the local APIC in either mode |
//! | `heap.rs` | the kernel's own memory |
//! | `frames.rs` | application memory: allocation, and access that can't reach anything else |
//! | `paging.rs` | page tables of applications |
//! | `log.rs` | lines into the log ring |

#![no_std]

extern crate alloc;

pub mod apic;
mod boot;
pub mod cpu;
pub mod crash;
pub mod frames;
pub mod heap;
pub mod info;
pub mod log;
pub mod paging;
mod segments;
pub mod time;
mod trap;
pub mod user;

pub use hermit_abi as abi;

extern "Rust" {
    /// Defined by the kernel with [`kernel_main!`]: what every CPU does, with interrupts off.
    fn isle_kernel_main(cpu: usize) -> !;
}

/// Names the function that every CPU runs once the platform is set up.
#[macro_export]
macro_rules! kernel_main {
    ($main:path) => {
        #[export_name = "isle_kernel_main"]
        fn isle_kernel_main(cpu: usize) -> ! {
            let main: fn(usize) -> ! = $main;
            main(cpu)
        }
    };
}
