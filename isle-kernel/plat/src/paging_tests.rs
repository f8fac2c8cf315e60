// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const LARGE: u64 = 2 * MIB;
const HUGE: u64 = 512 * LARGE;

fn space() -> AddressSpace {
    app_memory::init_for_test(3 << 30);
    AddressSpace::new().unwrap()
}

/// Maps 1 GiB by large pages, the one at index `last` as the last; returns the pool offset.
fn fill(s: &mut AddressSpace, virt: u64, last: u64) -> u64 {
    let offset = app_memory::get().aligned(Size::Huge).last().unwrap();
    for index in (0..512).filter(|i| *i != last).chain([last]) {
        assert!(s.lookup(virt).is_none_or(|page| page.size == Size::Large));
        s.map(virt + index * LARGE, offset + index * LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    }
    offset
}

#[test]
fn what_amounts_to_a_huge_page_becomes_one() {
    let mut s = space();
    let offset = fill(&mut s, HUGE, 77);
    let huge = Page { offset, size: Size::Huge, prot: Prot::READ_WRITE };
    assert_eq!(s.lookup(2 * HUGE - 1), Some(huge));
    assert_eq!((s.next_page(0, END), s.tables()), (Some((HUGE, huge)), 2));
    // It comes apart where it has to, and goes as a whole where it can.
    s.protect(HUGE + LARGE + 0x1000, HUGE + LARGE + 0x2000, Prot::NONE).unwrap();
    assert_eq!(s.tables(), 4);
    assert_eq!(s.lookup(HUGE).unwrap().size, Size::Large);
    assert_eq!(s.lookup(HUGE + LARGE).unwrap(), Page { offset: offset + LARGE, size: Size::Small, ..huge });
    assert_eq!(s.lookup(HUGE + LARGE + 0x1000).unwrap().prot, Prot::NONE);
    let mut freed = Vec::new();
    s.unmap(HUGE, 2 * HUGE, |page| freed.push(page.size)).unwrap();
    assert_eq!((freed.len(), s.tables()), (511 + 512, 2));
    fill(&mut s, HUGE, 0);
    let mut freed = Vec::new();
    s.unmap(0, END, |page| freed.push(page)).unwrap();
    assert_eq!((freed, s.tables()), (vec![huge], 1));
}

#[test]
fn neighbours_by_address_that_are_none_by_offset_stay_apart() {
    let mut s = space();
    // The second part of the pool ends where the first begins: the GiB around that is one, but not by offset.
    let (half, rest) = (3 << 29, 1 << 29);
    let offset = |index: u64| if index < 256 { half + 2 * rest + index * LARGE } else { (index - 256) * LARGE };
    for index in 0..512 {
        s.map(HUGE + index * LARGE, offset(index), Size::Large, Prot::READ_WRITE).unwrap();
    }
    for index in 0..512 {
        let page = Page { offset: offset(index), size: Size::Large, prot: Prot::READ_WRITE };
        assert_eq!(s.lookup(HUGE + index * LARGE), Some(page));
    }
}

#[test]
fn what_does_not_amount_to_a_huge_page_stays() {
    let read = Prot { read: true, ..Prot::NONE };
    let offset = {
        let mut s = space();
        fill(&mut s, HUGE, 1)
    };
    // Another permission, another order, not at a multiple.
    for (odd, shift, prot) in [(511, 0, read), (511, -2, Prot::READ_WRITE), (0, 0, read)] {
        let mut s = space();
        for index in 0..512 {
            let (shift, prot) = if index == odd { (shift, prot) } else { (0, Prot::READ_WRITE) };
            let from = offset + index * LARGE;
            s.map(HUGE + index * LARGE, from.wrapping_add_signed(shift * LARGE as i64), Size::Large, prot).unwrap();
        }
        assert_eq!(s.lookup(HUGE).unwrap().size, Size::Large);
    }
    let mut s = space();
    for index in 0..512 {
        s.map(HUGE + index * LARGE, index * LARGE + LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    }
    assert_eq!(s.lookup(HUGE).unwrap().size, Size::Large);
}

#[test]
fn memory_is_wanted_that_makes_a_huge_page() {
    let mut s = space();
    assert_eq!(s.wanted(HUGE + 5 * LARGE + 123), Wanted::Within(5 * LARGE));
    let offset = app_memory::get().aligned(Size::Huge).next().unwrap();
    s.map(HUGE + 3 * LARGE, offset + 3 * LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    assert_eq!(s.wanted(HUGE + 5 * LARGE), Wanted::At(offset + 5 * LARGE));
    assert_eq!(s.wanted(HUGE), Wanted::At(offset));
    s.map(2 * HUGE, offset + 4 * LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    assert_eq!(s.wanted(2 * HUGE + LARGE), Wanted::Anywhere);
    s.unmap(2 * HUGE, 2 * HUGE + LARGE, |_| ()).unwrap();
    s.map(2 * HUGE, 0, Size::Small, Prot::READ_WRITE).unwrap();
    assert_eq!(s.wanted(2 * HUGE + LARGE), Wanted::Anywhere);
}

#[test]
fn small_and_large_pages_are_found() {
    let mut s = space();
    s.map(0x40_0000, LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    s.map(0x7fff_ffff_e000, 0x5000, Size::Small, Prot { read: true, write: false, exec: true }).unwrap();
    let page = s.lookup(0x40_1234).unwrap();
    assert_eq!((page.offset, page.size, page.prot), (LARGE, Size::Large, Prot::READ_WRITE));
    let page = s.lookup(0x7fff_ffff_efff).unwrap();
    assert_eq!((page.offset, page.size), (0x5000, Size::Small));
    assert!(page.prot.exec && !page.prot.write);
    assert_eq!(s.lookup(0x60_0000), None);
    assert_eq!(s.next_page(0, END).unwrap().0, 0x40_0000);
    assert_eq!(s.next_page(0x60_0000, END).unwrap().0, 0x7fff_ffff_e000);
}

#[test]
fn what_is_wrong_is_refused() {
    let mut s = space();
    let rw = Prot::READ_WRITE;
    assert_eq!(s.map(0x1001, 0, Size::Small, rw), Err(MapError::Invalid));
    assert_eq!(s.map(END, 0, Size::Small, rw), Err(MapError::Invalid));
    assert_eq!(s.map(1 << 63, 0, Size::Small, rw), Err(MapError::Invalid));
    assert_eq!(s.map(0x1000, 1 << 40, Size::Small, rw), Err(MapError::Invalid));
    assert_eq!(s.map(LARGE, 4096, Size::Large, rw), Err(MapError::Invalid));
    assert_eq!(s.map(0x1000, 0, Size::Small, rw), Ok(()));
    assert_eq!(s.map(0x1000, 0, Size::Small, rw), Err(MapError::Busy));
    assert_eq!(s.map(0, 0, Size::Large, rw), Err(MapError::Busy));
}

#[test]
fn parked_pages_keep_their_memory() {
    let mut s = space();
    s.map(LARGE, LARGE, Size::Large, Prot::READ_WRITE).unwrap();
    s.protect(LARGE + 0x1000, LARGE + 0x3000, Prot::NONE).unwrap();
    assert_eq!(s.lookup(LARGE).unwrap().prot, Prot::READ_WRITE);
    let parked = s.lookup(LARGE + 0x1000).unwrap();
    assert_eq!((parked.prot, parked.offset), (Prot::NONE, LARGE + 0x1000));
    s.protect(LARGE + 0x1000, LARGE + 0x3000, Prot::READ_WRITE).unwrap();
    assert_eq!(s.lookup(LARGE + 0x2000).unwrap().prot, Prot::READ_WRITE);
}

#[test]
fn the_clock_page_can_only_be_unmapped() {
    let mut s = space();
    let clock = crate::shared::for_test().clock;
    let at = 7 * LARGE;
    assert_eq!(s.map_clock(at + 1, clock), Err(MapError::Invalid));
    assert_eq!(s.map_clock(END, clock), Err(MapError::Invalid));
    s.map_clock(at, clock).unwrap();
    assert_eq!(s.map_clock(at, clock), Err(MapError::Busy));
    assert_eq!((s.lookup(at), s.next_page(0, END)), (None, None));
    s.protect(at, at + 0x1000, Prot::READ_WRITE).unwrap();
    s.unmap(at, at + 0x1000, |page| panic!("{page:?} is no application memory")).unwrap();
    s.map(at, 0, Size::Small, Prot::READ_WRITE).unwrap();
}

#[test]
fn words_are_read_where_ring_3_may_read_them() {
    let mut s = space();
    let (small, large) = (0x5000, 9 * LARGE);
    s.map(small, 3 * LARGE + 0x1000, Size::Small, Prot::READ_WRITE).unwrap();
    s.map(large, 4 * LARGE, Size::Large, Prot { read: true, ..Prot::NONE }).unwrap();
    app_memory::get().write(3 * LARGE + 0x1008, &7u32.to_le_bytes()).unwrap();
    app_memory::get().write(4 * LARGE + LARGE - 4, &8u32.to_le_bytes()).unwrap();
    assert_eq!((s.load_u32(small + 8), s.load_u32(large + LARGE - 4)), (Some(7), Some(8)));
    for nothing in [small + 9, small + 0x1000, large - 4, large + LARGE, END, u64::MAX & !3] {
        assert_eq!(s.load_u32(nothing), None, "{nothing:#x}");
    }
    s.protect(small, small + 0x1000, Prot::NONE).unwrap();
    assert_eq!(s.load_u32(small + 8), None);
}

#[test]
fn whole_tables_go_with_their_pages() {
    let mut s = space();
    let before = s.tables();
    s.map(4 * LARGE, 0, Size::Small, Prot::READ_WRITE).unwrap();
    let mut freed = 0;
    s.unmap(0, 1 << 46, |_| freed += 1).unwrap();
    assert_eq!((freed, s.tables()), (1, before));
    // Now a large page fits where a table was.
    s.map(4 * LARGE, 0, Size::Large, Prot::READ_WRITE).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Map(u64, bool),
    Unmap(u64, u64),
    Protect(u64, u64, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = 0..3072u64; // 12 MiB around a boundary of 1 GiB
    prop::collection::vec(
        prop_oneof![
            (page.clone(), any::<bool>()).prop_map(|(p, l)| Step::Map(p, l)),
            (page.clone(), 0..1500u64).prop_map(|(p, n)| Step::Unmap(p, n)),
            (page, 0..1500u64, 0..4u8).prop_map(|(p, n, f)| Step::Protect(p, n, f)),
        ],
        1..40,
    )
}

fn prot(bits: u8) -> Prot {
    match bits {
        0 => Prot::NONE,
        1 => Prot { read: true, write: false, exec: false },
        2 => Prot::READ_WRITE,
        _ => Prot { read: true, write: false, exec: true },
    }
}

proptest! {
    /// Against a model that knows small pages only.
    #[test]
    fn behaves_like_a_map_of_small_pages(steps in steps(), begins_huge in any::<bool>()) {
        let mut s = space();
        let base = HUGE - 6 * MIB;
        let mut model: BTreeMap<u64, (u64, Prot)> = BTreeMap::new();
        if begins_huge {
            let offset = fill(&mut s, HUGE, 3);
            model.extend((0..5000).map(|page| (6 * MIB / 4096 + page, (offset + page * 4096, Prot::READ_WRITE))));
        }
        for step in steps {
            match step {
                Step::Map(page, large) => {
                    let (size, first) = if large { (Size::Large, page & !511) } else { (Size::Small, page) };
                    let count = size.bytes() / 4096;
                    let offset = (first * 4096) % (14 * MIB) / size.bytes() * size.bytes();
                    let free = (first..first + count).all(|p| !model.contains_key(&p));
                    match s.map(base + first * 4096, offset, size, Prot::READ_WRITE) {
                        Ok(()) => {
                            prop_assert!(free);
                            for p in 0..count {
                                model.insert(first + p, (offset + p * 4096, Prot::READ_WRITE));
                            }
                        }
                        Err(e) => {
                            prop_assert_eq!(e, MapError::Busy);
                            prop_assert!(!free || large);
                        }
                    }
                }
                Step::Unmap(page, count) => {
                    let mut freed = Vec::new();
                    s.unmap(base + page * 4096, base + (page + count) * 4096, |p| {
                        freed.extend((0..p.size.bytes() / 4096).map(|i| p.offset + i * 4096));
                    }).unwrap();
                    let gone: Vec<u64> = model.range(page..page + count).map(|(p, _)| *p).collect();
                    let expected: Vec<u64> = gone.iter().map(|p| model.remove(p).unwrap().0).collect();
                    prop_assert_eq!(freed, expected);
                }
                Step::Protect(page, count, bits) => {
                    s.protect(base + page * 4096, base + (page + count) * 4096, prot(bits)).unwrap();
                    for (_, (_, p)) in model.range_mut(page..page + count) {
                        *p = prot(bits);
                    }
                }
            }
        }
        for page in 0..4096 {
            let found = s.lookup(base + page * 4096).map(|p| {
                let within = (page * 4096 + base) & (p.size.bytes() - 1);
                (p.offset + within, p.prot)
            });
            prop_assert_eq!(found, model.get(&page).copied());
        }
    }
}
