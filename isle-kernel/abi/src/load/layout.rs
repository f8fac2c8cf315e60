// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where what goes in an isle's memory. Depends on the shared layouts only, so it is tested on the host.
//!
//! See `abi/boot.rs` for the order in the kernel part.

use super::super::boot::{BootInfo, Range, BOOT_STACK_SIZE};
use super::super::{app::App, channel::Channel, clock::Clock, control::Control, cpu::Cpu, log::LogRing, net::Net};
use super::super::{LARGE_PAGE_SIZE, PAGE_SIZE};
use core::cmp::Reverse;
use core::mem::size_of;

/// A page that is mapped by the third level of page tables.
const GIGABYTE: u64 = 1 << 30;

/// Most application slots: applications side by side.
const MAX_SLOTS: u32 = 64;

/// The isle kernel's own memory is at least this and 1/64 of it all. For the buffers of its sockets it is 1/16, up to a limit.
const MIN_POOL: u64 = 32 << 20;
const SOCKET_POOL: u64 = 256 << 20;

/// Physical addresses of everything in the kernel part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub kernel_part: Range,
    pub image: Range,
    pub tables: Range,
    pub stacks: u64,
    pub boot_info: u64,
    pub control: u64,
    pub cpus: u64,
    pub log: u64,
    pub apps: u64,
    pub channels: u64,
    pub clock: u64,
    pub net: u64,
    pub pool: Range,
    pub slots: u32,
}

impl Layout {
    /// Plans an isle with these memory ranges (ascending, 2 MiB aligned). `None`: no range is large enough.
    pub fn plan(ranges: &[Range], image_len: u64, cpus: u32) -> Option<Self> {
        let len = Self::plan_at(0, ranges, image_len, cpus)?.kernel_part.len;
        Self::plan_at(place(ranges, len)?, ranges, image_len, cpus)
    }

    /// Plans one whose kernel part begins there, whether that much memory is there or not.
    pub fn plan_at(start: u64, ranges: &[Range], image_len: u64, cpus: u32) -> Option<Self> {
        let total = ranges.iter().try_fold(0u64, |sum, r| sum.checked_add(r.len))?;
        let tables_len = table_pages(ranges, image_len) * PAGE_SIZE;
        let pool_len = MIN_POOL.max(total / 64).max((total / 16).min(SOCKET_POOL));
        Some(Self::from(start, image_len, tables_len, cpus, pool_len))
    }

    /// Everything, one behind the other.
    fn from(start: u64, image_len: u64, tables_len: u64, cpus: u32, pool_len: u64) -> Self {
        let slots = cpus.min(MAX_SLOTS);
        let mut cut = Cut { at: start };
        let image = Range { start: cut.take(image_len), len: image_len };
        let tables = Range { start: cut.take(tables_len), len: tables_len };
        let mut this = Self {
            kernel_part: Range::default(),
            image,
            tables,
            stacks: cut.take(u64::from(cpus) * BOOT_STACK_SIZE),
            boot_info: cut.take_of::<BootInfo>(1),
            control: cut.take_of::<Control>(1),
            cpus: cut.take_of::<Cpu>(cpus),
            log: cut.take_of::<LogRing>(1),
            apps: cut.take_of::<App>(slots),
            channels: cut.take_of::<Channel>(slots),
            clock: cut.take_of::<Clock>(1),
            net: cut.take_of::<Net>(1),
            pool: Range::default(),
            slots,
        };
        this.pool.start = cut.take(pool_len);
        let end = cut.at.next_multiple_of(LARGE_PAGE_SIZE);
        this.pool.len = end - this.pool.start;
        this.kernel_part = Range { start, len: end - start };
        this
    }

    /// All of `ranges` but the kernel part.
    pub fn app_memory<'a>(&self, ranges: &'a [Range]) -> impl Iterator<Item = Range> + 'a {
        let part = self.kernel_part;
        ranges.iter().map(move |&r| {
            let has_part = r.start <= part.start && part.start - r.start < r.len;
            if has_part {
                without(r, part)
            } else {
                r
            }
        })
    }

    /// Top of the boot stack of a CPU.
    pub fn stack_top(&self, cpu: u32) -> u64 {
        self.stacks + (u64::from(cpu) + 1) * BOOT_STACK_SIZE
    }
}

/// What is left of a range that something at its beginning or at its end is taken from.
fn without(range: Range, part: Range) -> Range {
    let start = if range.start == part.start { range.start + part.len } else { range.start };
    Range { start, len: range.len - part.len }
}

/// How many pages of 1 GiB can be made of a range.
fn gigabytes(range: Range) -> u64 {
    ((range.start + range.len) / GIGABYTE).saturating_sub(range.start.div_ceil(GIGABYTE))
}

/// Where the kernel part begins: at the beginning or at the end of a range, where it costs applications the fewest pages of
/// 1 GiB, and of those places in the largest range.
fn place(ranges: &[Range], len: u64) -> Option<u64> {
    let costs = |(range, start): &(Range, u64)| {
        let left = without(*range, Range { start: *start, len });
        (gigabytes(*range) - gigabytes(left), Reverse(range.len), *start)
    };
    // Applications should have the larger part.
    let large_enough = ranges.iter().filter(|range| len <= range.len / 2);
    let places = large_enough.flat_map(|&range| [(range, range.start), (range, range.start + range.len - len)]);
    places.min_by_key(costs).map(|(_, start)| start)
}

/// Enough page tables to map the image by 4 KiB and all ranges by 2 MiB pages.
fn table_pages(ranges: &[Range], image_len: u64) -> u64 {
    let upper = |span: u64| 2 + span / (1 << 30);
    let direct: u64 = ranges.iter().map(|r| upper(r.len) + 2).sum();
    1 + direct + 2 + upper(image_len) + 2 + image_len / LARGE_PAGE_SIZE
}

/// Cuts whole pages off a range.
struct Cut {
    at: u64,
}

impl Cut {
    fn take(&mut self, len: u64) -> u64 {
        let start = self.at;
        self.at += len.next_multiple_of(PAGE_SIZE);
        start
    }

    fn take_of<T>(&mut self, count: u32) -> u64 {
        self.take(size_of::<T>() as u64 * u64::from(count))
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
