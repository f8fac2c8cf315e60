// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vDSO of programs on the isle, ready to be mapped. `build.rs` makes it of what is in `image/`.
//!
//! The isle kernel maps, from low to high and without a gap, the clock page (`hermit_abi::clock`; readable) and
//! [`IMAGE`] (readable and executable), and passes the address of the image as AT_SYSINFO_EHDR.

#![no_std]

// So that clippy looks at it as well.
#[cfg(all(clippy, not(test)))]
#[path = "../image/calls.rs"]
mod calls;
#[cfg(all(clippy, not(test)))]
#[path = "../../abi/src/clock.rs"]
#[allow(dead_code)]
mod clock;

#[repr(C, align(4096))]
struct Aligned<T>(T);

static ALIGNED: Aligned<[u8; LEN]> = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so")));

/// Bytes of the image: whole pages.
pub const LEN: usize = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so")).len();

/// The image: an ELF shared object that can be mapped as it is, anywhere, page by page. It begins at a page.
pub static IMAGE: &[u8; LEN] = &ALIGNED.0;

const _: () = assert!(LEN.is_multiple_of(4096));
