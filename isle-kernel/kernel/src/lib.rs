// SPDX-License-Identifier: MIT OR Apache-2.0

//! The isle kernel: applications, their memory, their system calls. No unsafe code: that is `hermit_plat`'s.
//!
//! | module | what |
//! |---|---|
//! | [`serve`] | orders from Linux: applications begin and end |
//! | [`family`], [`process`], [`thread`] | an application: its processes, what threads share, and what each has |
//! | `exec` | one program takes another one's place |
//! | [`sched`] | which thread runs where and when |
//! | [`futex`], [`signal`], [`timers`] | what threads wait for, and what interrupts them |
//! | [`load`], [`elf`], [`startup`], [`stack`] | how a program gets into memory |
//! | [`mem`], `mapped` | application memory; files that are mapped into it |
//! | [`syscall`] | the system calls |
//! | [`link`](mod@link), [`offload`] | system calls that the proxy makes |
//! | [`net`] | the network: sockets over smoltcp |
//! | [`fd`], [`kept`], `texts`, [`random`] | what an application has besides memory |

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod elf;
pub mod errno;
mod exec;
pub mod family;
pub mod fd;
pub mod futex;
pub mod kept;
pub mod link;
pub mod load;
mod logger;
mod mapped;
pub mod mem;
pub mod net;
pub mod offload;
pub mod process;
pub mod random;
pub mod sched;
pub mod serve;
pub mod signal;
pub mod stack;
pub mod startup;
pub mod syscall;
mod texts;
pub mod thread;
pub mod timers;

pub use serve::main;
