// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BLOCKS: u64 = 4;

fn frames_of(len: u64) -> Frames {
    Frames::new(len, core::iter::empty())
}

#[test]
fn a_free_gigabyte_is_used_in_its_order() {
    // Nothing of the first block can be a part of one.
    let mut frames =
        Frames::new(LARGE_PAGE_SIZE + 2 * Size::Huge.bytes(), [1, 513].map(|b| b * LARGE_PAGE_SIZE).into_iter());
    let block = |frames: &mut Frames, wanted| frames.take_large(wanted).map(|taken| taken.offset / LARGE_PAGE_SIZE);
    assert_eq!(block(&mut frames, Wanted::Anywhere), Some(0));
    assert_eq!(block(&mut frames, Wanted::Within(5 * LARGE_PAGE_SIZE)), Some(513 + 5));
    assert_eq!(block(&mut frames, Wanted::At(513 * LARGE_PAGE_SIZE)), Some(513));
    assert_eq!(block(&mut frames, Wanted::At(513 * LARGE_PAGE_SIZE)), Some(514), "it is in use, and its GiB broken");
    assert_eq!(block(&mut frames, Wanted::Within(0)), Some(1), "the other one is still whole");
    assert_eq!(block(&mut frames, Wanted::Within(0)), Some(2), "none is wholly free");
    for used in [0, 1, 2, 513, 514, 518] {
        frames.give(used * LARGE_PAGE_SIZE, Size::Large);
    }
    assert_eq!(frames.free.whole().collect::<Vec<_>>(), [513, 1]);
    for at in 0..u64::from(groups::BLOCKS) {
        assert_eq!(block(&mut frames, Wanted::At((1 + at) * LARGE_PAGE_SIZE)), Some(1 + at));
    }
    frames.give(LARGE_PAGE_SIZE, Size::Huge);
    assert_eq!((frames.used(), frames.free.whole().count()), (0, 2));
}

#[test]
fn what_is_being_zeroed_is_waited_for() {
    let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
    let (index, _) = frames.take_dirty().unwrap();
    let wanted = Wanted::At(u64::from(index) * LARGE_PAGE_SIZE);
    assert!(frames.take_large(wanted).is_none());
    frames.give_cleaned(index, NO_BITS);
    assert_eq!(frames.take_large(wanted).unwrap().offset, u64::from(index) * LARGE_PAGE_SIZE);
}

#[test]
fn small_frames_fill_one_block_first() {
    let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
    let all: BTreeSet<_> = (0..512).map(|_| frames.take_small(1).unwrap().offset).collect();
    assert_eq!(all.len(), 512);
    assert!(all.iter().all(|o| *o < LARGE_PAGE_SIZE));
    for _ in 1..BLOCKS {
        assert!(frames.take_large(Wanted::Anywhere).is_some());
    }
    assert!(frames.take_small(1).is_none());
    assert_eq!(frames.used(), frames.len());
}

#[test]
#[should_panic(expected = "wasn't taken")]
fn nothing_is_given_back_twice() {
    let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
    let a = frames.take_small(1).unwrap().offset;
    frames.take_small(1).unwrap();
    frames.give(a, Size::Small);
    frames.give(a, Size::Small);
}

#[test]
fn pinned_frames_wait_for_their_slot() {
    let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
    let (a, b) = (frames.take_small(1).unwrap().offset, frames.take_small(1).unwrap().offset);
    let large = frames.take_large(Wanted::Anywhere).unwrap().offset;
    let mut call = Chain::default();
    frames.leave_to(3, b + 100, 10);
    frames.pin(&mut call, large + LARGE_PAGE_SIZE - 1, 5).unwrap();
    for offset in [a, b] {
        frames.give(offset, Size::Small);
    }
    frames.give(large, Size::Large);
    assert_eq!((frames.held(), frames.used()), (LARGE_PAGE_SIZE + PAGE_SIZE, LARGE_PAGE_SIZE + PAGE_SIZE));
    assert_eq!(frames.take_small(1).unwrap().offset, a);
    assert_ne!(frames.take_small(1).unwrap().offset, b, "not while its proxy lives");
    frames.release_slot(3);
    assert_eq!(frames.held(), LARGE_PAGE_SIZE);
    frames.release(&mut call);
    assert_eq!((frames.held(), frames.used()), (0, 2 * PAGE_SIZE));
}

#[test]
fn what_two_calls_have_waits_for_both() {
    let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
    let large = frames.take_large(Wanted::Anywhere).unwrap().offset;
    let (mut a, mut b) = (Chain::default(), Chain::default());
    frames.pin(&mut a, large, 2 * PAGE_SIZE).unwrap();
    frames.pin(&mut b, large + PAGE_SIZE, PAGE_SIZE).unwrap();
    frames.give(large, Size::Large);
    frames.release(&mut a);
    assert_eq!((frames.held(), frames.used()), (LARGE_PAGE_SIZE - PAGE_SIZE, LARGE_PAGE_SIZE - PAGE_SIZE));
    frames.release(&mut b);
    assert_eq!((frames.held(), frames.used()), (0, 0));
    // The whole of it, as one.
    let blocks: BTreeSet<_> = (0..BLOCKS).map(|_| frames.take_large(Wanted::Anywhere).unwrap().offset).collect();
    assert_eq!(blocks.len() as u64, BLOCKS);
}

#[test]
fn runs_of_bits() {
    let mut bits = NO_BITS;
    assert_eq!(next_run(&bits, 0), None);
    bits[0] = 0b1100;
    bits[1] = u64::MAX;
    bits[7] = 1 << 63;
    assert_eq!(next_run(&bits, 0), Some(2..4));
    assert_eq!(next_run(&bits, 3), Some(3..4));
    assert_eq!(next_run(&bits, 4), Some(64..128));
    assert_eq!(next_run(&bits, 128), Some(511..512));
    assert_eq!(next_run(&ALL_BITS, 0), Some(0..512));
}

/// What would be zeroed of a frame on taking it.
fn dirty_frames(frames: &mut Frames, taken: &Taken) -> u32 {
    match &taken.dirty {
        Dirty::Few(word) => word.count_ones(),
        Dirty::Block => frames.note_zeroing(taken).iter().map(|word| word.count_ones()).sum(),
    }
}

#[test]
fn neighbours_come_together() {
    let mut frames = frames_of(LARGE_PAGE_SIZE);
    let run = |frames: &mut Frames, most| frames.take_small(most).map(|t| (t.offset / PAGE_SIZE, t.len / PAGE_SIZE));
    assert_eq!(run(&mut frames, 16), Some((0, 16)));
    assert_eq!(run(&mut frames, 60), Some((16, 48)), "up to the end of a word");
    frames.give(2 * PAGE_SIZE, Size::Small);
    frames.give(3 * PAGE_SIZE, Size::Small);
    assert_eq!(run(&mut frames, 64), Some((2, 2)), "up to the next that is in use");
    assert_eq!(run(&mut frames, u64::MAX), Some((64, 64)));
    assert_eq!(run(&mut frames, 0), Some((128, 1)));
    assert_eq!(frames.used(), 129 * PAGE_SIZE);
    let taken = frames.take_small(16).unwrap();
    frames.give_all(&taken);
    assert_eq!(frames.used(), 129 * PAGE_SIZE);
}

#[test]
fn what_was_used_is_dirty_until_it_is_zeroed() {
    let mut frames = frames_of(2 * LARGE_PAGE_SIZE);
    let (first, mut bits) = frames.take_dirty().unwrap();
    bits[0] = 0;
    frames.give_cleaned(first, bits);
    let taken = frames.take_large(Wanted::Anywhere).unwrap();
    assert_eq!(
        (taken.offset, dirty_frames(&mut frames, &taken)),
        (0, 512 - 64),
        "what was zeroed of it is zeroed once"
    );
    frames.give(taken.offset, Size::Large);
    let (again, bits) = frames.take_dirty().unwrap();
    assert_eq!((again, bits), (first, ALL_BITS), "it was in use since");
    frames.give_cleaned(again, NO_BITS);
    let small = frames.take_small(1).unwrap();
    assert_eq!((small.offset, dirty_frames(&mut frames, &small)), (0, 0), "a clean block is taken first");
    frames.give(small.offset, Size::Small);
    let (_, bits) = frames.take_dirty().unwrap();
    assert_eq!(bits, [1, 0, 0, 0, 0, 0, 0, 0], "only one frame of it was used");
}

proptest! {
    /// However far idle CPUs have come with zeroing: what is taken anywhere breaks at most one GiB more than it must (one
    /// where a block is clean while those of others are dirty).
    #[test]
    fn zeroing_breaks_no_gigabytes(steps in prop::collection::vec((0..300, 0..4, any::<bool>()), 1..40)) {
        const BEFORE: u64 = 7;
        let gigabytes = (0..3).map(|at| BEFORE * LARGE_PAGE_SIZE + at * Size::Huge.bytes());
        let mut frames = Frames::new(BEFORE * LARGE_PAGE_SIZE + 3 * Size::Huge.bytes(), gigabytes);
        let mut used = Vec::new();
        for (cleaned, taken, are_given) in steps {
            for _ in 0..cleaned {
                if let Some((index, _)) = frames.take_dirty() {
                    frames.give_cleaned(index, NO_BITS);
                }
            }
            used.extend((0..taken).map(|_| frames.take_large(Wanted::Anywhere).unwrap().offset));
            if are_given {
                used.drain(..).for_each(|offset| frames.give(offset, Size::Large));
            }
            let needed = (used.len() as u64).saturating_sub(BEFORE).div_ceil(u64::from(groups::BLOCKS)) as usize;
            let broken = 3 - frames.free.whole().count();
            prop_assert!(broken <= needed + 1, "{broken} with {} blocks in use", used.len());
        }
    }

    #[test]
    fn frames_never_overlap(steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..3000)) {
        let mut frames = frames_of(BLOCKS * LARGE_PAGE_SIZE);
        let mut large: Vec<u64> = Vec::new();
        let mut small: Vec<u64> = Vec::new();
        for (step, index) in steps {
            match step {
                0 => {
                    let wanted = match index.index(BLOCKS as usize + 1) as u64 {
                        BLOCKS => Wanted::Anywhere,
                        block => Wanted::At(block * LARGE_PAGE_SIZE),
                    };
                    large.extend(frames.take_large(wanted).map(|t| t.offset));
                }
                1 => {
                    let taken = frames.take_small(index.index(40) as u64);
                    small.extend(taken.iter().flat_map(|t| (t.offset..t.offset + t.len).step_by(PAGE_SIZE as usize)));
                }
                2 if !large.is_empty() => {
                    let offset = large.swap_remove(index.index(large.len()));
                    if index.index(2) == 0 {
                        frames.give(offset, Size::Large);
                    } else {
                        // Split, as an unmapping in its middle does.
                        small.extend((0..512).map(|i| offset + i * PAGE_SIZE));
                    }
                }
                3 if !small.is_empty() => {
                    frames.give(small.swap_remove(index.index(small.len())), Size::Small);
                }
                _ => {}
            }
            let used = large.len() as u64 * LARGE_PAGE_SIZE + small.len() as u64 * PAGE_SIZE;
            prop_assert_eq!(frames.used(), used);
        }
        let mut pages = BTreeSet::new();
        for page in large.iter().flat_map(|o| (0..512).map(move |i| o + i * PAGE_SIZE)).chain(small.iter().copied()) {
            prop_assert!(pages.insert(page) && page < frames.len());
        }
        for offset in large {
            frames.give(offset, Size::Large);
        }
        for offset in small {
            frames.give(offset, Size::Small);
        }
        prop_assert_eq!(frames.used(), 0);
        for _ in 0..BLOCKS {
            prop_assert!(frames.take_large(Wanted::Anywhere).is_some());
        }
    }
}
