// SPDX-License-Identifier: MIT OR Apache-2.0

//! What whoever loads an isle kernel does alike: `hermit.ko` on an isle, the proxy in a virtual machine.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod elf;
pub mod layout;
pub mod pagetable;
