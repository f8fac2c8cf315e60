// SPDX-License-Identifier: GPL-2.0

//! Lent memory: whole memory blocks of one node, removed from Linux until they are given back.
//!
//! Which blocks can go is found by trying. First those in ZONE_MOVABLE, from the top; then others.

use super::size;
use crate::abi::boot::{Range, MAX_RANGES};
use crate::kapi::kthread::{self, Ended};
use crate::kapi::memory::{self, Region, Zone};
use crate::kapi::time;
use kernel::c_str;
use kernel::prelude::*;

/// How long taking memory may last in all, and how long a block of it: pages that are pinned would keep it for ever.
const TAKE_TIMEOUT_MS: u64 = 20_000;
const BLOCK_TIMEOUT_MS: u64 = 5_000;

/// How often a movable block is tried, with a pause between: its pages may be in use for just a moment.
const ROUNDS: usize = 3;
const PAUSE_US: usize = 100_000;

/// One block, given back on drop.
struct LentBlock {
    node: u32,
    range: Range,
    zone: Zone,
    region: Option<Region>,
}

impl LentBlock {
    fn take(node: u32, range: Range, zone: Zone) -> Result<Self> {
        memory::offline_and_remove(range)?;
        let mut this = Self { node, range, zone, region: None };
        // Nobody adds it as memory meanwhile, and /proc/iomem says who has it.
        this.region = Some(Region::request(range, c_str!("hermit isle"))?);
        Ok(this)
    }
}

impl Drop for LentBlock {
    fn drop(&mut self) {
        self.region = None;
        for attempt in 1.. {
            match memory::add(self.node, self.range, self.zone) {
                Ok(()) => {
                    if memory::zone_of(self.node, self.range).is_none() {
                        pr_err!(
                            "memory {:#x} of node {} is Linux's again, but off line; see /sys/devices/system/memory\n",
                            self.range.start,
                            self.node
                        );
                    }
                    return;
                }
                Err(e) if attempt == 5 => {
                    pr_err!(
                        "memory {:#x}-{:#x} of node {} can't be given back to Linux ({}) and is lost until a reboot\n",
                        self.range.start,
                        self.range.start + self.range.len - 1,
                        self.node,
                        e.to_errno()
                    );
                    return;
                }
                // Out of memory, say, which may pass.
                Err(_) => time::sleep_us(100_000),
            }
        }
    }
}

/// The memory of one isle; given back on drop.
pub struct LentMemory {
    _blocks: KVec<LentBlock>,
    ranges: KVec<Range>,
}

impl LentMemory {
    /// Takes up to `wanted` bytes of a node, in whole blocks.
    pub fn take(node: u32, wanted: u64) -> Result<Self> {
        let block_size = memory::block_size();
        let mut candidates = candidates(node, block_size)?;
        let count = (wanted / block_size).max(1) as usize;
        // Allocated beforehand: no failure may lose a block that was taken.
        let mut blocks: KVec<LentBlock> = KVec::with_capacity(candidates.len(), GFP_KERNEL)?;
        take_blocks(node, count, &mut candidates, &mut blocks)?;
        if blocks.is_empty() {
            report_nothing(node, wanted, &candidates);
            return Err(ENOMEM);
        }
        if blocks.len() < count {
            pr_info!(
                "isle{node}: got {} of {} (memory in use that can't move stays with Linux)\n",
                size::Shown(blocks.len() as u64 * block_size),
                size::Shown(wanted)
            );
        }
        // Ascending, for they are given back in this order: each then finds its lower neighbour to merge with.
        blocks.sort_unstable_by_key(|block| block.range.start);
        let ranges = merge(&blocks)?;
        Ok(Self { _blocks: blocks, ranges })
    }

    /// What was taken, ascending, neighbours joined.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// A block that may be had.
struct Candidate {
    range: Range,
    zone: Zone,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Untried,
    Taken,
    /// It holds pages of the kernel's own, and will.
    Pinned,
    Failed(Error),
}

impl Candidate {
    /// Whether it makes sense to try (again).
    fn is_open(&self) -> bool {
        match self.state {
            State::Untried => true,
            State::Taken | State::Pinned => false,
            // EINTR: its time was up, maybe since another isle held the lock of all memory.
            State::Failed(e) => self.zone == Zone::Movable && (e == EBUSY || e == EAGAIN || e == EINTR),
        }
    }
}

/// Takes `count` of the candidates, or as many as can be had in time.
fn take_blocks(node: u32, count: usize, candidates: &mut [Candidate], blocks: &mut KVec<LentBlock>) -> Result {
    let end = time::monotonic_ns() + TAKE_TIMEOUT_MS * 1_000_000;
    for round in 0..ROUNDS {
        if round > 0 {
            time::sleep_us(PAUSE_US);
        }
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_open()) {
            let left_ms = end.saturating_sub(time::monotonic_ns()) / 1_000_000;
            if blocks.len() == count || left_ms == 0 {
                return Ok(());
            }
            if memory::is_pinned_down(candidate.range) {
                candidate.state = State::Pinned;
                continue;
            }
            let (range, zone) = (candidate.range, candidate.zone);
            let mut result = Err(EBUSY);
            let ended = kthread::run_interruptibly(left_ms.min(BLOCK_TIMEOUT_MS) as u32, &mut || {
                result = LentBlock::take(node, range, zone);
            })?;
            candidate.state = match result {
                Ok(block) => {
                    // The caller has made room.
                    let _ = blocks.push(block, GFP_KERNEL);
                    State::Taken
                }
                Err(e) => State::Failed(e),
            };
            if ended == Ended::Killed {
                return Err(EINTR);
            }
        }
        if !candidates.iter().any(Candidate::is_open) {
            break;
        }
    }
    Ok(())
}

/// All blocks of a node that are on line: first the movable ones, each kind from the top.
fn candidates(node: u32, block_size: u64) -> Result<KVec<Candidate>> {
    let (span, _) = memory::node_span(node);
    let mut found = KVec::new();
    for zone in [Zone::Movable, Zone::Kernel] {
        let first = span.start / block_size;
        let last = (span.start + span.len).div_ceil(block_size);
        for number in (first..last).rev() {
            let range = Range { start: number * block_size, len: block_size };
            if memory::zone_of(node, range) == Some(zone) {
                found.push(Candidate { range, zone, state: State::Untried }, GFP_KERNEL)?;
            }
        }
    }
    Ok(found)
}

fn merge(ascending: &[LentBlock]) -> Result<KVec<Range>> {
    let mut ranges: KVec<Range> = KVec::new();
    for range in ascending.iter().map(|block| block.range) {
        if let Some(last) = ranges.last_mut().filter(|last| last.start + last.len == range.start) {
            last.len += range.len;
        } else if ranges.len() < MAX_RANGES {
            ranges.push(range, GFP_KERNEL)?;
        } else {
            // More than an isle can be told of stays unused.
            break;
        }
    }
    Ok(ranges)
}

/// Says why nothing was got: how many blocks there are, what holds them, and the first that should have gone.
fn report_nothing(node: u32, wanted: u64, candidates: &[Candidate]) {
    let pinned = candidates.iter().filter(|candidate| matches!(candidate.state, State::Pinned)).count();
    let failed = candidates.iter().find_map(|candidate| match candidate.state {
        State::Failed(e) => Some((candidate.range, e.to_errno())),
        _ => None,
    });
    pr_err!(
        "isle{node}: no memory of node {node} could be taken: of {} blocks on line {pinned} hold pages that can't move; boot with movablecore= so that memory stays movable, or ask for less than {} in /sys/hermit/isle{node}/memory\n",
        candidates.len(),
        size::Shown(wanted)
    );
    if let Some((range, why)) = failed {
        pr_err!("isle{node}: the first block that should have gone, at {:#x}, gave error {why}\n", range.start);
    }
}
