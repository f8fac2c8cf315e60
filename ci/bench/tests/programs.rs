// SPDX-License-Identifier: MIT OR Apache-2.0
//! The benchmarks themselves build, run and print what this crate reads.

use std::path::Path;
use std::process::Command;

#[test]
fn the_programs_pass_their_self_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    let output = Command::new("make")
        .arg("-C")
        .arg(root.join("apps/benchmarks"))
        .arg(format!("OUT={}", built.display()))
        .arg("test")
        // What the make that started this test was told is not for this one.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("\nok 1 "), "{printed}");
}
