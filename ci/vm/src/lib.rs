// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test machine: QEMU started with a request, its streams carried, its logs read, results counted.
//!
//! `hermit-vm` is the launcher on the host, `hermit-agent` its other end in the guest.

pub mod child;
pub mod cmdline;
pub mod commands;
pub mod control;
pub mod cpio;
pub mod explained;
pub mod frames;
pub mod image;
pub mod logs;
pub mod memory;
pub mod pump;
pub mod qemu;
pub mod request;
pub mod root;
pub mod session;
pub mod shape;
pub mod suite;
pub mod terminal;
pub mod variables;
pub mod warnings;
pub mod words;
