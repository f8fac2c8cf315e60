// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest kernel's command line: every word of it is chosen here.

use crate::shape::{Method, Shape};

/// Words that every guest gets, each with its reason.
const ALWAYS: &[(&str, &str)] = &[
    ("console=ttyS0", "the serial console is the log file, or the person's terminal"),
    ("loglevel=5", "warnings and worse on the console; everything goes through /dev/kmsg"),
    ("tsc=reliable", "under TCG Linux calls the TSC unstable and falls back to slow clocks"),
    ("panic=-1", "a panic reboots at once, which QEMU's -no-reboot turns into its end"),
    ("oops=panic", "an oops must fail the test, not be survived"),
    ("no_timer_check", "the check fails on a busy host, and Linux panics; it skips it itself under KVM"),
    ("movablecore=75%", "memory that is movable can be lent; a node of 1 GiB lends 768 MiB"),
];

/// Words for a machine whose instructions are counted.
const COUNTED: &[(&str, &str)] =
    &[("nokaslr", "the same kernel addresses each time"), ("norandmaps", "the same addresses in programs each time")];

pub fn build(shape: &Shape) -> String {
    let counted = if shape.method == Some(Method::Icount) { COUNTED } else { &[] };
    let mut words: Vec<&str> = ALWAYS.iter().chain(counted).map(|(word, _)| *word).collect();
    words.extend(shape.append.split_whitespace());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_words_come_last_so_that_they_win() {
        let shape = Shape { append: " loglevel=8  no5lvl".into(), ..Shape::default() };
        let line = build(&shape);
        assert!(line.starts_with("console=ttyS0 loglevel=5 "));
        assert!(line.ends_with(" movablecore=75% loglevel=8 no5lvl"));
    }
    #[test]
    fn nothing_is_random_where_instructions_are_counted() {
        let counted = Shape { method: Some(Method::Icount), ..Shape::default() };
        assert!(build(&counted).ends_with(" nokaslr norandmaps"));
        let usual = Shape { method: Some(Method::Mttcg), ..Shape::default() };
        assert_eq!(build(&usual), build(&Shape::default()));
    }
}
