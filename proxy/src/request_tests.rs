// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `request.rs`.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;
use proptest::prelude::*;
use smallvec::smallvec;

const MEMORY: u64 = 1 << 20;
const EXE: i32 = 900;

fn snapshot(number: u32, args: &[u64], lens: &[u64], segments: &[(u64, u64)]) -> Snapshot {
    let mut s = Snapshot {
        number,
        segment_count: segments.len() as u32,
        tid: 1,
        args: [0; 6],
        lens: [0; 6],
        segments: [(0, 0); SEGMENTS],
    };
    s.args[..args.len()].copy_from_slice(args);
    s.lens[..lens.len()].copy_from_slice(lens);
    s.segments[..segments.len()].copy_from_slice(segments);
    s
}

fn verdict(s: &Snapshot) -> Result<Checked, Refusal> {
    let descriptors = Descriptors::default();
    let mut checked = Checked::default();
    let limits = Limits { memory_len: MEMORY, descriptors: &descriptors, exe_fd: EXE };
    check(s, &limits, &mut checked).map(|()| checked)
}

fn errno(s: &Snapshot) -> i32 {
    match verdict(s) {
        Err(Refusal::Errno(errno)) => errno,
        other => panic!("{other:?}"),
    }
}

fn is_malformed(s: &Snapshot) -> bool {
    matches!(verdict(s), Err(Refusal::Malformed(_)))
}

#[test]
fn good_requests_pass() {
    let write = verdict(&snapshot(1, &[1, 1, 10], &[0, 10], &[(100, 4), (MEMORY - 6, 6)])).unwrap();
    let parts = smallvec![(100, 4), (MEMORY - 6, 6)];
    assert_eq!(write.arguments[1], Argument::In(Scatter { parts, len: 10 }));
    let rename = verdict(&snapshot(316, &[0, 1, 0, 1], &[0, 5, 0, 3], &[(0, 5), (50, 3)])).unwrap();
    assert_eq!(rename.arguments[3], Argument::Path(Scatter { parts: smallvec![(50, 3)], len: 3 }));
    let short = verdict(&snapshot(0, &[0, 1, 1 << 40], &[0, 9], &[(0, 9)])).unwrap();
    assert!(matches!(&short.arguments[1], Argument::Out(s) if s.len == 9));
    let null = verdict(&snapshot(0, &[0, 0, 7], &[], &[])).unwrap();
    assert_eq!(null.arguments[1], Argument::Null);
    assert!(verdict(&snapshot(1, &[1, 1, 0], &[], &[])).is_ok(), "write of nothing");
    assert!(verdict(&snapshot(16, &[1, 0x5401, 1], &[0, 0, 36], &[(0, 36)])).is_ok());
}

#[test]
fn arrays_are_no_longer_than_counted() {
    let wait = |count, len| snapshot(232, &[1, 1, count, 0], &[0, len], &[(0, len)]);
    assert!(verdict(&wait(2, 24)).is_ok() && verdict(&wait(u64::MAX, 24)).is_ok());
    assert!(is_malformed(&wait(2, 25)) && is_malformed(&wait(0, 1)));
}

#[test]
fn descriptors_must_be_the_applications() {
    let foreign = 900;
    assert_eq!(errno(&snapshot(3, &[700], &[], &[])), libc::EBADF);
    assert_eq!(errno(&snapshot(3, &[foreign], &[], &[])), libc::EBADF, "closing the program");
    assert_eq!(errno(&snapshot(0, &[foreign, 1, 1], &[0, 1], &[(0, 1)])), libc::EBADF);
    assert!(verdict(&snapshot(17, &[foreign, 1, 1, 0], &[0, 1], &[(0, 1)])).is_ok());
    assert!(verdict(&snapshot(5, &[foreign, 1], &[0, 144], &[(0, 144)])).is_ok());
    let openat = verdict(&snapshot(257, &[foreign, 1, 0, 0], &[0, 2], &[(0, 2)])).unwrap();
    assert_eq!(openat.fd(), -1);
    let cwd = verdict(&snapshot(257, &[-100i64 as u64, 1, 0, 0], &[0, 2], &[(0, 2)])).unwrap();
    assert_eq!(cwd.fd(), libc::AT_FDCWD);
    let cwd = verdict(&snapshot(257, &[0xffff_ff9c, 1, 0, 0], &[0, 2], &[(0, 2)])).unwrap();
    assert_eq!(cwd.fd(), libc::AT_FDCWD, "an int, zero extended");
}

#[test]
fn unknown_calls_are_enosys() {
    for number in [9, 57, 59, 62, offload::special::SIGNAL_CHILD + 1, u32::MAX] {
        assert_eq!(errno(&snapshot(number, &[], &[], &[])), libc::ENOSYS, "{number}");
    }
    assert_eq!(errno(&snapshot(16, &[1, 0x5412, 1], &[], &[])), libc::ENOSYS, "TIOCSTI");
}

#[test]
fn buffers_stay_in_memory() {
    let read = |segments: &[(u64, u64)]| {
        let len = segments.iter().fold(0u64, |sum, (_, len)| sum.wrapping_add(*len));
        snapshot(0, &[0, 1, u64::MAX], &[0, len], segments)
    };
    assert!(verdict(&read(&[(0, MEMORY)])).is_ok());
    assert!(is_malformed(&read(&[(1, MEMORY)])));
    assert!(is_malformed(&read(&[(MEMORY, 1)])));
    assert!(is_malformed(&read(&[(u64::MAX, 1)])));
    assert!(is_malformed(&read(&[(u64::MAX, 2)])));
    assert!(is_malformed(&read(&[(0, u64::MAX)])));
}

#[test]
fn lengths_must_agree() {
    let bad = [
        snapshot(0, &[0, 1, 8], &[0, 9], &[(0, 9)]), // more than asked for
        snapshot(0, &[0, 1, 8], &[0, 8], &[(0, 7)]), // segments too short
        snapshot(0, &[0, 1, 8], &[0, 8], &[(0, 9)]), // and too long
        snapshot(0, &[0, 1, 8], &[0, 8], &[(0, 8), (9, 1)]), // and too many
        snapshot(0, &[0, 1, 8], &[8, 8], &[(0, 8), (9, 8)]), // a descriptor with bytes
        snapshot(0, &[0, 0, 8], &[0, 8], &[(0, 8)]), // NULL with bytes
        snapshot(5, &[0, 1], &[0, 143], &[(0, 143)]), // not a struct stat
        snapshot(137, &[1, 1], &[0, 120], &[(0, 120)]), // a path of no bytes
        snapshot(188, &[1, 1], &[3, 3], &[(0, 4), (4, 2)]), // a segment across arguments
        snapshot(271, &[1, 2, 0], &[8], &[(0, 8)]),  // more descriptors than there are
        snapshot(51, &[0, 1, 1], &[0, 9, 8], &[(0, 9), (10, 8)]), // not a socklen_t
        snapshot(51, &[0, 1, 1], &[0, MEMORY, 4], &[(0, MEMORY), (0, 4)]), // a name that is too long
    ];
    for s in bad {
        assert!(is_malformed(&s), "{s:?}");
    }
    let mut s = snapshot(0, &[0, 1, 8], &[0, 8], &[(0, 8)]);
    s.segment_count = SEGMENTS as u32 + 1;
    assert!(is_malformed(&s));
    assert_eq!(errno(&snapshot(76, &[1], &[4097], &[(0, 4097)])), libc::ENAMETOOLONG);
    assert_eq!(errno(&snapshot(1, &[1, 1, 5], &[], &[])), libc::EFAULT);
}

fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![0..6u64, Just(144), Just(256), 0..MEMORY + 10, Just(u64::MAX), any::<u64>(),]
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let numbers: Vec<u32> = offload::CALLS.iter().map(|c| c.number).chain([16]).collect();
    (
        prop_oneof![4 => prop::sample::select(numbers), 1 => any::<u32>()],
        prop_oneof![8 => 0..8u32, 1 => any::<u32>()],
        prop::array::uniform6(interesting()),
        prop::array::uniform6(interesting()),
        prop::collection::vec((interesting(), interesting()), SEGMENTS),
    )
        .prop_map(|(number, segment_count, args, lens, segments)| Snapshot {
            number,
            segment_count,
            tid: 0,
            args,
            lens,
            segments: segments.try_into().unwrap(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_passes_is_in_bounds(s in any_snapshot()) {
        if let Ok(checked) = verdict(&s) {
            for argument in &checked.arguments {
                if let Argument::Path(s) | Argument::In(s) | Argument::Out(s) = argument {
                    let sum: u64 = s.parts.iter().map(|(_, len)| len).sum();
                    prop_assert_eq!(sum, s.len);
                    prop_assert!(s.parts.iter().all(|(at, len)| at + len <= MEMORY));
                }
            }
        }
    }
}
