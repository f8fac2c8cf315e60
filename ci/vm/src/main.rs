// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hermit-vm`: the launcher of the test machine.

use std::process::ExitCode;

use hermit_vm::commands;

fn main() -> ExitCode {
    match commands::main() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("hermit-vm: {error:#}");
            ExitCode::from(125)
        }
    }
}
