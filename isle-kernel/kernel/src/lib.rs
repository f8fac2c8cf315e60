// SPDX-License-Identifier: MIT OR Apache-2.0

//! The isle kernel: applications, their memory, their system calls. No unsafe code: that is `hermit_plat`'s.
//!
//! | module | what |
//! |---|---|
//! | [`serve`] | a CPU's life: its slot, orders, waiting |
//! | [`process`] | an application from start to end |
//! | [`load`], [`elf`], [`startup`], [`stack`] | how a program gets into memory |
//! | [`mem`] | application memory |
//! | [`syscall`] | the system calls |
//! | [`link`](mod@link), [`offload`] | system calls that the proxy makes |
//! | [`fd`], [`signal`], [`random`] | what an application has besides memory |

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod elf;
pub mod errno;
pub mod fd;
pub mod link;
pub mod load;
mod logger;
pub mod mem;
pub mod offload;
pub mod process;
pub mod random;
pub mod serve;
pub mod signal;
pub mod stack;
pub mod startup;
pub mod syscall;

pub use serve::main;
