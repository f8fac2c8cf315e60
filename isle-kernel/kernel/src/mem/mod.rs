// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of applications.
//!
//! | file | what |
//! |---|---|
//! | `frames.rs` | which pieces of application memory are free |
//! | `groups.rs` | free blocks, so used that pages of 1 GiB can be made of what is left |
//! | `shares.rs` | which of them have several owners |
//! | `pins.rs` | which of them Linux may be writing to |
//! | `object.rs` | memory that several areas show: files, and what processes share |
//! | `areas.rs` | what an application has reserved, and with which permissions |
//! | `space.rs` | both together with the page tables: mapping, unmapping |
//! | `fault.rs` | what happens on a touch |
//! | `fork.rs` | a copy of it all for another process |
//! | `access.rs` | the kernel's own access to an application's memory |
//! | `user.rs` | the same for a thread's system calls |
//! | `scratch.rs` | memory of the kernel's own that the proxy can reach |
//!
//! An application's addresses, from low to high: the program (`0x400000`, or `0x5555…` if position independent),
//! its heap right behind it, mappings growing downwards from below the stack, the stack, clock page and vDSO.

pub mod access;
pub mod areas;
mod fault;
mod fork;
pub mod frames;
mod groups;
pub mod object;
mod pins;
pub mod scratch;
mod shares;
pub mod space;
pub mod user;

use crate::errno::Errno;
use alloc::vec::Vec;
use hermit_plat::abi::PAGE_SIZE;

/// Lowest address that can be mapped, so that null pointers fault.
pub const LOWEST: u64 = 0x1_0000;

/// One past the stack: a multiple of a large page, so that the stack is made of some.
pub const STACK_TOP: u64 = 0x7fff_ffe0_0000;

/// Bytes of stack.
pub const STACK_LEN: u64 = 8 << 20;

/// Bytes below the stack where nothing is ever put.
pub const STACK_GUARD: u64 = 1 << 20;

/// Mappings are placed below this address.
pub const MAPPINGS_TOP: u64 = STACK_TOP - STACK_LEN - STACK_GUARD;

/// The clock page; the vDSO follows it.
pub const CLOCK: u64 = STACK_TOP + (1 << 20);
pub const VDSO: u64 = CLOCK + PAGE_SIZE;
pub const VDSO_END: u64 = VDSO + hermit_vdso::LEN as u64;

/// Kernel memory that applications leave for everything else.
const RESERVE: usize = 2 << 20;

/// True if so many bytes of kernel memory can't be had for an application.
pub fn is_scarce(len: usize) -> bool {
    hermit_plat::heap_left() < RESERVE.saturating_add(len)
}

/// An empty list with room for so many; long ones may be refused, but never end the isle.
pub fn buffer<T>(len: usize) -> Result<Vec<T>, Errno> {
    let mut buffer = Vec::new();
    // The allocator rounds up to powers of two.
    if is_scarce(len.saturating_mul(2 * size_of::<T>())) || buffer.try_reserve_exact(len).is_err() {
        return Err(Errno::ENOMEM);
    }
    Ok(buffer)
}

/// Makes room for some more at the end of a list.
pub fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), Errno> {
    let room = list.capacity() - list.len();
    // Lists grow to twice their size, beside the old one.
    let wanted = list.len().saturating_add(more).saturating_mul(4 * size_of::<T>());
    if room < more && (is_scarce(wanted) || list.try_reserve(more).is_err()) {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// Appends to a list; like a buffer, it may be refused.
pub fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Errno> {
    reserve(list, 1)?;
    list.push(item);
    Ok(())
}

/// Rounds down to a page.
pub const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// Rounds up to a page, if there is such a number.
pub const fn page_up(address: u64) -> Option<u64> {
    match address.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}
