// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;

const P: u64 = 4096;
const RW: Prot = Prot::READ_WRITE;

fn area(start: u64, end: u64) -> Area {
    Area::private(start * P, end * P, RW, Kind::Mapping)
}

#[test]
fn neighbours_join() {
    let mut areas = Areas::default();
    areas.insert(area(1, 2)).unwrap();
    areas.insert(area(3, 4)).unwrap();
    areas.insert(area(2, 3)).unwrap();
    assert_eq!(areas.iter().cloned().collect::<Vec<_>>(), [area(1, 4)]);
    areas.protect(2 * P, 3 * P, Prot::NONE).unwrap();
    assert_eq!(areas.iter().count(), 3);
    areas.protect(2 * P, 3 * P, RW).unwrap();
    assert_eq!(areas.iter().count(), 1);
}

#[test]
fn gaps_are_found_from_the_top() {
    let mut areas = Areas::default();
    areas.insert(area(10, 20)).unwrap();
    areas.insert(area(30, 40)).unwrap();
    assert_eq!(areas.find_gap(5 * P, P, 0, 50 * P), Some(45 * P));
    assert_eq!(areas.find_gap(5 * P, P, 0, 42 * P), Some(25 * P));
    assert_eq!(areas.find_gap(10 * P, P, 0, 42 * P), Some(20 * P));
    assert_eq!(areas.find_gap(5 * P, 8 * P, 0, 42 * P), Some(24 * P));
    assert_eq!(areas.find_gap(11 * P, P, 0, 42 * P), None);
    assert_eq!(areas.find_gap(5 * P, P, 0, 15 * P), Some(5 * P));
    assert_eq!(areas.find_gap(u64::MAX, P, 0, 42 * P), None);
}

proptest! {
    /// Against a model with one entry per page.
    #[test]
    fn behaves_like_an_array_of_pages(
        steps in prop::collection::vec((0..3u8, 0..64u64, 1..20u64, any::<bool>()), 1..60),
        gap in 1..20u64,
    ) {
        let mut areas = Areas::default();
        let mut model = [None; 96];
        for (step, start, len, writable) in steps {
            let prot = if writable { RW } else { Prot::NONE };
            let (s, e) = (start * P, (start + len) * P);
            let range = start as usize..(start + len) as usize;
            prop_assert_eq!(areas.is_free(s, e), model[range.clone()].iter().all(Option::is_none));
            prop_assert_eq!(areas.is_covered(s, e), model[range.clone()].iter().all(Option::is_some));
            match step {
                0 if areas.is_free(s, e) => {
                    areas.insert(Area::private(s, e, prot, Kind::Mapping)).unwrap();
                    model[range].fill(Some(prot));
                }
                1 => {
                    areas.remove(s, e).unwrap();
                    model[range].fill(None);
                }
                2 => {
                    let covered = model[range.clone()].iter().all(Option::is_some);
                    prop_assert_eq!(areas.protect(s, e, prot).is_ok(), covered);
                    if covered {
                        model[range].fill(Some(prot));
                    }
                }
                _ => {}
            }
        }
        for (page, expected) in model.iter().enumerate() {
            let found = areas.find(page as u64 * P + 5).map(|a| a.prot);
            prop_assert_eq!(found, *expected);
        }
        // Joined as far as can be.
        let all: Vec<_> = areas.iter().collect();
        for pair in all.windows(2) {
            prop_assert!(pair[0].end < pair[1].start || pair[0].prot != pair[1].prot);
        }
        let found = areas.find_gap(gap * P, P, 0, 96 * P);
        let expected = (0..=96 - gap).rev().find(|s| {
            model[*s as usize..(*s + gap) as usize].iter().all(Option::is_none)
        });
        prop_assert_eq!(found, expected.map(|s| s * P));
    }
}

#[test]
fn many_areas_change_in_one_pass() {
    let count = MAX as u64 - 100;
    let mut areas = Areas::default();
    for page in 0..count {
        let prot = if page % 2 == 0 { RW } else { Prot::NONE };
        areas.insert(Area { prot, ..area(page, page + 1) }).unwrap();
    }
    areas.protect(P, (count - 1) * P, RW).unwrap();
    assert_eq!(
        areas.iter().map(|a| (a.start / P, a.end / P)).collect::<Vec<_>>(),
        [(0, count - 1), (count - 1, count)]
    );
}
