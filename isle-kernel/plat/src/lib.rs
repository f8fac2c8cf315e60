// SPDX-License-Identifier: MIT OR Apache-2.0

//! The isle kernel's architecture layer: everything that needs `unsafe`, offered as safe types.
//!
//! | module | what |
//! |---|---|
//! | `trampoline`, `entry`, `boot` | from SIPI to the kernel's main function on every CPU |
//! | `machine` | the same in a virtual machine of its own |
//! | [`cpu`], `features`, `gdt`, `idt`, `trap` | per-CPU state, control registers, descriptor tables, exceptions |
//! | [`apic`] | local APIC: kicks, doorbells, end of interrupt |
//! | [`user`] | ring 3: a context that runs until a system call, an exception or an interrupt |
//! | [`fpu`] | the extended state of ring 3 |
//! | [`flow`] | kernel stacks, and going on with another one |
//! | [`tlb`] | page tables that several CPUs run on |
//! | [`paging`] | page tables of applications, made of kernel memory, mapping application memory |
//! | `kmap`, `heap`, `phys` | the kernel's own memory |
//! | [`app_memory`] | copying to and from application memory by pool offset |
//! | [`shared`], [`log`] | what Linux shares with the isle |
//! | [`crash`] | the end of an isle |
//! | [`time`], [`random`] | time stamp counter, hardware random numbers |
//!
//! Built for the host, for tests, nothing privileged is called: page tables and application memory
//! then are ordinary memory of the test.

#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod apic;
pub mod app_memory;
#[cfg(target_os = "none")]
mod boot;
pub mod cpu;
pub mod crash;
#[cfg(target_os = "none")]
mod entry;
mod features;
pub mod flow;
pub mod fpu;
// The host tests a part of it.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
mod gdt;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod idt;
#[cfg(target_os = "none")]
mod kmap;
pub mod log;
#[cfg(target_os = "none")]
mod machine;
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
mod madt;
pub mod paging;
mod phys;
pub mod random;
#[cfg(all(feature = "selftest", target_os = "none"))]
pub mod selftest;
pub mod shared;
pub mod time;
pub mod tlb;
#[cfg(target_os = "none")]
mod trampoline;
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
mod trap;
pub mod user;

pub use features::model as cpu_model;
pub use hermit_abi as abi;
#[cfg(target_os = "none")]
pub use machine::card;

#[cfg(target_os = "none")]
pub use heap::{left as heap_left, size as heap_size};

/// Kernel memory as tests on the host have it.
#[cfg(not(target_os = "none"))]
pub mod scarcity {
    use std::cell::Cell;

    std::thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// While it is there, nothing is left for the thread that has made it.
    pub struct Scarcity(());

    impl Scarcity {
        pub fn begin() -> Self {
            LEFT.set(0);
            Self(())
        }
    }

    impl Drop for Scarcity {
        fn drop(&mut self) {
            LEFT.set(usize::MAX);
        }
    }

    /// Bytes of kernel memory that are left.
    pub fn heap_left() -> usize {
        LEFT.get()
    }

    /// Bytes of it in all.
    pub fn heap_size() -> usize {
        usize::MAX
    }
}

#[cfg(not(target_os = "none"))]
pub use scarcity::{heap_left, heap_size};

/// Names the function that every CPU runs when the platform is set up: `fn(cpu: usize) -> !`.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[cfg(target_os = "none")]
        #[allow(unsafe_code)]
        const _: () = {
            // SAFETY: no other symbol has this name.
            #[unsafe(no_mangle)]
            extern "Rust" fn isle_main(cpu: usize) -> ! {
                $main(cpu)
            }
        };
    };
}
