// SPDX-License-Identifier: MIT OR Apache-2.0

//! The layouts that `hermit.ko`, the isle kernel and the proxy share.
//!
//! Allocates nothing and depends on nothing, and stays within the Rust 1.78 language level, because
//! the kernel module includes this very file by `#[path]` (so no `crate::` paths either). Every size
//! and offset is checked at compile time. Whoever changes a layout raises [`VERSION`].
//!
//! | file | shared between | what |
//! |---|---|---|
//! | `image.rs` | module, isle kernel | the ELF note that makes a file an isle kernel; trampoline |
//! | `load/` | module, proxy | how an isle kernel is loaded |
//! | `boot.rs` | module, isle kernel | what a starting isle is told about itself |
//! | `cpu.rs` | module, isle kernel | per CPU: identity, life sign, counters |
//! | `control.rs` | module, isle kernel | orders to the isle, its state, its reason to crash |
//! | `machine.rs` | proxy, isle kernel | a virtual machine of its own |
//! | `log.rs` | module, isle kernel | the log ring |
//! | `clock.rs` | module, isle kernel, programs | the clock page |
//! | `app.rs` | module, isle kernel | orders to and state of one application slot |
//! | `channel.rs` | isle kernel, proxy | forwarded system calls of one application |
//! | `protocol.rs` | isle kernel, proxy | the steps of a forwarded call in which memory order matters |
//! | `offload.rs` | isle kernel, proxy | which calls may be forwarded and what their arguments are |
//! | `ring.rs` | module, isle kernel | rings of packets: the steps in which memory order matters |
//! | `net.rs` | module, isle kernel | the network of an isle: its two rings |
//! | `spawn.rs` | isle kernel, proxy | commands that the application runs on Linux |
//! | `door.rs` | module, proxy | the ioctls of `/dev/hermit/isleX` |
//!
//! Shared memory is only ever touched through atomics: either side may write at any time.

// In the kernel module this file isn't the crate's root.
#![cfg_attr(not(any(test, MODULE)), no_std)]
#![deny(unsafe_code)]

pub mod app;
pub mod boot;
pub mod channel;
pub mod clock;
pub mod control;
pub mod cpu;
pub mod door;
pub mod image;
pub mod load;
pub mod log;
pub mod machine;
pub mod net;
pub mod offload;
pub mod protocol;
pub mod ring;
pub mod spawn;

#[cfg(test)]
mod ring_tests;

/// What `protocol.rs` and `ring.rs` are made of; their model has others.
mod atomic {
    pub use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
}

/// Version of all layouts together. Module, isle kernel and proxy refuse to work with another one.
pub const VERSION: u32 = 6;

/// The page size of x86-64, which every layout is aligned to.
pub const PAGE_SIZE: u64 = 4096;

/// The unit in which application memory is lent: a 2 MiB page.
pub const LARGE_PAGE_SIZE: u64 = 2 << 20;
