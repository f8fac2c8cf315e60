// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hands the linker script to the linker when the isle kernel itself is built.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rerun-if-changed={folder}/../link.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{folder}/../link.ld");
    }
}
