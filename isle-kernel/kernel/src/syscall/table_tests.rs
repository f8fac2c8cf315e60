// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `table.rs`; the coverage table in docs/system-calls.md is what it says.

use super::*;
use hermit_plat::abi::offload;
use std::fmt::Write;
use syscalls::Sysno;

/// What the documentation calls it.
fn kind(number: u32) -> &'static str {
    match entry(number) {
        Native(_) => "native",
        Linux(_) | Forward => "forwarded",
        Stub(_) => "stub",
        Refused(Errno::EPERM) => "EPERM",
        Refused(Errno::EINTR) => "EINTR",
        Refused(_) | Missing => "ENOSYS",
    }
}

/// The numbers of x86-64's own calls: those from 512 on are of x32.
fn calls() -> impl Iterator<Item = (u32, Sysno)> {
    (0..512).filter_map(|number| Some((number, Sysno::new(number as usize)?)))
}

fn coverage() -> String {
    let mut text = String::from("| number | call | on an isle |\n|---:|---|---|\n");
    for (number, call) in calls() {
        writeln!(text, "| {number} | `{}` | {} |", call.name(), kind(number)).unwrap();
    }
    text
}

#[test]
fn all_that_is_forwarded_can_be() {
    for (number, call) in calls() {
        if matches!(entry(number), Forward) {
            assert!(offload::find(number, 0).is_some_and(|c| !c.makes_fd), "{}", call.name());
        }
    }
}

#[test]
fn the_table_holds_all_calls() {
    assert!(calls().all(|(number, _)| (number as usize) < LEN));
    let mut known = (0..LEN as u32).filter(|n| !matches!(entry(*n), Missing));
    assert!(known.all(|n| Sysno::new(n as usize).is_some()));
}

/// With BLESS=1 it is written anew.
#[test]
fn the_documentation_says_the_same() {
    const BEGIN: &str = "<!-- coverage: made by isle-kernel/kernel/src/syscall/table_tests.rs -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/system-calls.md");
    let text = std::fs::read_to_string(path).unwrap();
    let at = text.find(BEGIN).expect("the mark is there") + BEGIN.len();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{}{}", &text[..at], coverage())).unwrap();
        return;
    }
    assert!(text[at..] == coverage(), "run: BLESS=1 cargo test -p isle-kernel the_documentation");
}
