// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vDSO: a shared object that the isle kernel maps into every program, so that asking for the time or the CPU
//! takes no system call (vdso(7)).
//!
//! `../build.rs` compiles this file by itself, to one object without a line of the standard library's, and links it by
//! `vdso.ld`. A panic would be an undefined symbol, so nothing here can panic.

#![no_std]

mod calls;

#[path = "../../abi/src/clock.rs"]
#[allow(dead_code)] // the writer's half
mod clock;
