// SPDX-License-Identifier: MIT OR Apache-2.0

//! The isle kernel's image: everything is in the library, which the host can test.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

hermit_plat::main!(hermit_kernel::main);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("The isle kernel runs on isles. build.sh builds it.");
}
