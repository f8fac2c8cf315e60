// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers for what the `kernel` crate of Linux 6.12 doesn't offer yet.
//!
//! The only place in the module with `unsafe` and `bindings`. Wrappers are named after what they
//! wrap, so that each can be deleted once upstream has one.

#![allow(unsafe_code)]

pub mod apic;
pub mod chardev;
pub mod cpu;
pub mod file;
pub mod irq;
pub mod kthread;
pub mod memory;
pub mod net;
pub mod notifier;
pub mod shm;
pub mod skb;
pub mod sysfs;
pub mod text;
pub mod time;
pub mod timekeeper;
pub mod wait;
pub mod work;
