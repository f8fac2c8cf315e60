// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::mem::access::Piece;
use crate::mem::access::Pieces;
use hermit_plat::scarcity::Scarcity;
use std::sync::MutexGuard;

const MIB: u64 = 1 << 20;

/// Tests that count frames run one at a time, since all share the same.
pub fn world() -> MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let memory = hermit_plat::app_memory::init_for_test(32 << 20);
    frames::init(memory.len());
    guard
}

fn area(start: u64, end: u64) -> Area {
    Area::private(start, end, Prot::READ_WRITE, Kind::Mapping)
}

#[test]
fn memory_comes_on_touch_and_goes_at_the_end() {
    let _world = world();
    let before = frames::shared().lock().used();
    let mut s = Space::new().unwrap();
    s.map(area(4 * MIB, 1 << 40)).unwrap();
    assert_eq!(s.resident().0, 0, "reservations cost nothing");
    s.write(4 * MIB + 5, b"hello").unwrap();
    assert_eq!(s.resident().0, 2 * MIB, "a large page");
    s.map(area(MIB, 2 * MIB)).unwrap();
    s.write(2 * MIB - 1, b"x").unwrap();
    assert_eq!(s.resident().0, 2 * MIB + 4096);
    s.map(area(3 * MIB, 3 * MIB + 4096)).unwrap();
    s.write(3 * MIB, b"x").unwrap();
    assert_eq!(s.resident().0, 2 * MIB + 2 * 4096, "never beyond the area");
    let mut text = [0; 7];
    s.read(4 * MIB + 4, &mut text).unwrap();
    assert_eq!(&text, b"\0hello\0");
    drop(s);
    assert_eq!(frames::shared().lock().used(), before);
}

#[test]
fn stacks_of_threads_begin_with_small_pages() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.map(Area { kind: Kind::ThreadStack, ..area(8 * MIB, 16 * MIB) }).unwrap();
    s.write(16 * MIB - 1, b"x").unwrap();
    assert_eq!(s.resident().0, 4096);
    s.write(14 * MIB, b"x").unwrap();
    assert_eq!(s.resident().0, 2 * 4096);
    s.write(14 * MIB - 1, b"x").unwrap();
    assert_eq!(s.resident().0, 2 * 4096 + 2 * MIB, "who goes deeper gets large ones");
}

#[test]
fn memory_comes_ahead_of_who_walks_through_it() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.map(area(MIB, 2 * MIB - 4096)).unwrap();
    let mut faults = Vec::new();
    for page in 0..255 {
        let before = s.resident().0;
        s.fault(MIB + page * 4096, Access::Write).unwrap();
        if s.resident().0 != before {
            faults.push(page);
        }
    }
    assert_eq!(faults[..6], [0, 1, 3, 7, 15, 31]);
    assert_eq!(faults[6..10], [47, 63, 79, 95], "64 KiB at most");
    assert_eq!(s.resident().0, MIB - 4096, "never beyond the area");
    s.map(area(3 * MIB, 4 * MIB)).unwrap();
    s.fault(3 * MIB + 10 * 4096, Access::Write).unwrap();
    s.fault(3 * MIB + 5 * 4096, Access::Write).unwrap();
    assert_eq!(s.resident().0, MIB + 4096, "one page each for who jumps about");
}

#[test]
fn the_clock_page_is_nobodys_memory() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.map_clock(MIB, hermit_plat::shared::for_test().clock).unwrap();
    assert_eq!((s.resident().0, s.areas.is_covered(MIB, MIB + 4096)), (0, true));
    assert_eq!(s.read(MIB, &mut [0; 4]), Err(Errno::EFAULT));
    assert_eq!(s.protect(MIB, MIB + 4096, Prot::READ_WRITE), Err(Errno::EACCES));
    for access in [Access::Read, Access::Write, Access::Execute] {
        assert_eq!(s.fault(MIB, access), Err(Fault::NotAllowed));
    }
    // Something else may take its place.
    s.map(area(MIB, 2 * MIB)).unwrap();
    s.write(MIB, b"hello").unwrap();
}

#[test]
fn bad_addresses_are_errors() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.map(area(MIB, 2 * MIB)).unwrap();
    s.map(Area { prot: Prot { read: true, write: false, exec: false }, ..area(2 * MIB, 3 * MIB) }).unwrap();
    for bad in [0, MIB - 1, 3 * MIB - 2, 1 << 47, u64::MAX, u64::MAX - 2, 0xffff_8000_0000_0000] {
        assert_eq!(s.read(bad, &mut [0; 4]), Err(Errno::EFAULT), "{bad:#x}");
    }
    assert_eq!(s.write(2 * MIB, b"x"), Err(Errno::EFAULT));
    assert_eq!(s.fault(2 * MIB, Access::Write), Err(Fault::NotAllowed));
    assert_eq!(s.fault(0, Access::Read), Err(Fault::NotMapped));
    assert_eq!(s.read_string(3 * MIB - 1, 100), Ok(vec![]));
    s.write(MIB, &[b'a'; 200]).unwrap();
    assert_eq!(s.read_string(MIB, 100), Err(Errno::ENAMETOOLONG));
    assert_eq!(s.read_string(MIB, 201).unwrap().len(), 200);
    assert_eq!(s.read_string(MIB - 1, 201), Err(Errno::EFAULT));
}

#[test]
fn pieces_join_and_stop() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.map(area(MIB, MIB + 3 * 4096)).unwrap();
    let mut list = Pieces::default();
    let held = s.pieces(MIB + 1, 3 * 4096, Access::Write, 24, &mut list).unwrap();
    assert_eq!(held, 3 * 4096 - 1);
    assert_eq!(list.iter().map(|p: &Piece| p.len).sum::<u64>(), held);
    assert!(list.len() <= 3);
    let mut short = Pieces::default();
    assert!(s.pieces(MIB, 3 * 4096, Access::Write, 1, &mut short).unwrap() >= 4096);
    assert_eq!(short.len(), 1);
}

#[test]
fn unmapping_within_a_large_page_gives_small_frames_back() {
    let _world = world();
    let before = frames::shared().lock().used();
    let mut s = Space::new().unwrap();
    s.map(area(4 * MIB, 8 * MIB)).unwrap();
    s.populate(4 * MIB, 8 * MIB, Access::Read).unwrap();
    s.unmap(5 * MIB, 7 * MIB).unwrap();
    assert_eq!(s.resident().0, 2 * MIB);
    assert_eq!(s.fault(6 * MIB, Access::Read), Err(Fault::NotMapped));
    s.discard(4 * MIB, 5 * MIB).unwrap();
    assert_eq!(s.resident().0, MIB);
    s.fault(4 * MIB, Access::Read).unwrap();
    drop(s);
    assert_eq!(frames::shared().lock().used(), before);
}

#[test]
fn running_out_of_memory_is_an_error() {
    let _world = world();
    let before = frames::shared().lock().used();
    let mut s = Space::new().unwrap();
    s.map(area(1 << 30, 2 << 30)).unwrap();
    assert_eq!(s.populate(1 << 30, 2 << 30, Access::Read), Err(Fault::NoMemory));
    assert_eq!(s.resident().0 + before, s.limit());
    drop(s);
    assert_eq!(frames::shared().lock().used(), before);
}

#[test]
fn permissions_change_wholly_or_not_at_all() {
    let _world = world();
    let mut s = Space::new().unwrap();
    // Neighbours whose limit cuts no area, but a large page would have to be split.
    s.map(area(4 * MIB, 8 * MIB)).unwrap();
    s.write(4 * MIB, b"x").unwrap();
    s.areas.protect(4 * MIB, 5 * MIB, Prot::NONE).unwrap();
    let before: Vec<_> = s.areas.iter().cloned().collect();
    let scarcity = Scarcity::begin();
    assert_eq!(s.protect(5 * MIB, 8 * MIB, Prot { read: true, ..Prot::NONE }), Err(Errno::ENOMEM));
    drop(scarcity);
    assert_eq!(s.areas.iter().cloned().collect::<Vec<_>>(), before);
    assert_eq!(s.tables().lookup(5 * MIB).map(|page| (page.size, page.prot)), Some((Size::Large, Prot::READ_WRITE)));
}

#[test]
fn the_break_grows_and_shrinks() {
    let _world = world();
    let mut s = Space::new().unwrap();
    s.heap_start = 4 * MIB + 0x123;
    s.brk = s.heap_start;
    assert_eq!(s.set_brk(0), 4 * MIB + 0x123);
    assert_eq!(s.set_brk(6 * MIB), 6 * MIB);
    // The page that the program's own data ends in belongs to the program.
    s.write(4 * MIB + 0x1000, b"x").unwrap();
    assert_eq!(s.set_brk(u64::MAX), 6 * MIB);
    assert_eq!(s.set_brk(5 * MIB), 5 * MIB);
    assert_eq!(s.write(5 * MIB, b"x"), Err(Errno::EFAULT));
    s.map(area(8 * MIB, 9 * MIB)).unwrap();
    assert_eq!(s.set_brk(9 * MIB), 5 * MIB, "something is in the way");
}

#[test]
fn pages_move_with_their_contents() {
    let _world = world();
    let before = frames::shared().lock().used();
    let mut s = Space::new().unwrap();
    s.map(area(4 * MIB, 8 * MIB)).unwrap();
    for at in (4 * MIB..8 * MIB).step_by(4096) {
        s.write_words(at, &[at]).unwrap();
    }
    for to in [1 << 30, (1 << 30) + 8 * MIB + 4096] {
        let from = if to == 1 << 30 { 4 * MIB } else { 1 << 30 };
        s.map(area(to, to + 4 * MIB)).unwrap();
        s.move_pages(from, to, 4 * MIB).unwrap();
        s.unmap(from, from + 4 * MIB).unwrap();
        for at in (0..4 * MIB).step_by(4096) {
            assert_eq!(s.read_u64(to + at).unwrap(), 4 * MIB + at);
        }
        assert_eq!(s.resident().0, 4 * MIB);
    }
    drop(s);
    assert_eq!(frames::shared().lock().used(), before);
}
