// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fuzzers build, run, and find nothing in a few seconds.

use std::path::Path;
use std::process::Command;

const SECONDS: &str = "10";

#[test]
fn the_fuzzers_find_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join("ci/fuzz.sh")).arg(SECONDS).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    // Each has run inputs.
    for name in ["kernel", "module", "proxy"] {
        let line = printed.lines().find(|line| line.starts_with("ok ") && line.contains(name));
        let inputs = line.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse::<u64>().ok());
        assert!(inputs.is_some_and(|inputs| inputs > 1000), "{name}: {printed}");
    }
}
