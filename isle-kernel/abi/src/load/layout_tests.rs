// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use proptest::prelude::*;

const BLOCK: u64 = 128 << 20;

fn parts(l: &Layout, cpus: u32) -> Vec<(u64, u64)> {
    let of = |n: u64, size: usize| n * size as u64;
    vec![
        (l.image.start, l.image.len),
        (l.tables.start, l.tables.len),
        (l.stacks, u64::from(cpus) * BOOT_STACK_SIZE),
        (l.boot_info, size_of::<BootInfo>() as u64),
        (l.control, size_of::<Control>() as u64),
        (l.cpus, of(cpus.into(), size_of::<Cpu>())),
        (l.log, size_of::<LogRing>() as u64),
        (l.apps, of(l.slots.into(), size_of::<App>())),
        (l.channels, of(l.slots.into(), size_of::<Channel>())),
        (l.clock, size_of::<Clock>() as u64),
        (l.net, size_of::<Net>() as u64),
        (l.pool.start, l.pool.len),
    ]
}

#[test]
fn too_little_memory_is_no_plan() {
    let ranges = [Range { start: BLOCK, len: 32 << 20 }];
    assert_eq!(Layout::plan(&ranges, 1 << 20, 1), None);
    assert_eq!(Layout::plan(&[], 1 << 20, 1), None);
}

#[test]
fn large_machines_fit() {
    let ranges = [Range { start: 1 << 40, len: 4 << 40 }];
    let layout = Layout::plan(&ranges, 8 << 20, 512).unwrap();
    assert_eq!(layout.slots, 64);
    assert!(layout.kernel_part.len < (4 << 40) / 32);
}

#[test]
fn pages_of_one_gigabyte_are_left() {
    let gib = |at: u64, blocks: u64| Range { start: at << 30, len: blocks * BLOCK };
    let kernel_at = |ranges: &[Range]| {
        let layout = Layout::plan(ranges, 1 << 20, 4).unwrap();
        let left: u64 = layout.app_memory(ranges).map(gigabytes).sum();
        (layout.kernel_part.start >> 30, left)
    };
    // At the end, where there is less than 1 GiB.
    assert_eq!(kernel_at(&[gib(5, 8 * 2 + 7)]), (7, 2));
    // At the beginning.
    assert_eq!(kernel_at(&[Range { start: (5 << 30) - 2 * BLOCK, len: 18 * BLOCK }]), (4, 2));
    // In a smaller range that has none.
    assert_eq!(kernel_at(&[gib(5, 7), gib(6, 15)]), (7, 1));
    assert_eq!(kernel_at(&[gib(5, 7), gib(6, 16)]), (5, 2));
    // There is no other place.
    assert_eq!(kernel_at(&[gib(5, 16)]), (5, 1));
}

proptest! {
    #[test]
    fn parts_are_apart_and_aligned(
        blocks in prop::collection::btree_set(1..400u64, 1..20),
        image_len in 1..(16u64 << 20),
        cpus in 1..512u32,
    ) {
        let ranges: Vec<_> = blocks.iter().map(|b| Range { start: b * BLOCK, len: BLOCK }).collect();
        let Some(layout) = Layout::plan(&ranges, image_len.next_multiple_of(PAGE_SIZE), cpus) else {
            return Ok(());
        };
        let mut at = layout.kernel_part.start;
        for (start, len) in parts(&layout, cpus) {
            prop_assert!(start >= at && start % PAGE_SIZE == 0);
            at = start + len;
        }
        prop_assert!(at <= layout.kernel_part.start + layout.kernel_part.len);
        prop_assert_eq!(layout.stack_top(cpus - 1), layout.stacks + u64::from(cpus) * BOOT_STACK_SIZE);
        let left: u64 = layout.app_memory(&ranges).map(|r| r.len).sum();
        prop_assert_eq!(left + layout.kernel_part.len, ranges.len() as u64 * BLOCK);
        let part = layout.kernel_part;
        for range in layout.app_memory(&ranges) {
            prop_assert!(range.start + range.len <= part.start || part.start + part.len <= range.start);
            prop_assert!(range.start % LARGE_PAGE_SIZE == 0 && range.len % LARGE_PAGE_SIZE == 0);
        }
    }
}
