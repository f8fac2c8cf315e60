// SPDX-License-Identifier: MIT OR Apache-2.0

//! The steps of a forwarded call in which memory order matters, each for one side.
//!
//! Twice a side that wants to sleep meets one that has news: each writes its own word, then looks at
//! the other's, all SeqCst, so at least one of them sees the other:
//!
//! | news | who sleeps | its own word | the other's |
//! |---|---|---|---|
//! | a request, or that one is to be cancelled | the proxy's watcher: [`stop_looking`] | `watch` | `posted` |
//! | an answer | the isle's thread: [`announce_sleep`], [`is_done`] | `sleeping` | `state` |
//!
//! `isle-kernel/abi/model` includes this very file with loom's atomics and tries the interleavings.

use super::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use super::channel::{state, watch};

/// The bit of a request in its word of `posted`: that at `index / 64`.
pub const fn bit(index: usize) -> u64 {
    1 << (index % 64)
}

/// Isle: hands over a request that is filled in. True: the proxy doesn't look by itself, ring the doorbell.
#[must_use]
pub fn post(state: &AtomicU32, posted: &[AtomicU64], watch: &AtomicU32, index: usize) -> bool {
    state.store(state::POSTED, Ordering::Release);
    call_attention(posted, watch, index)
}

/// Isle: asks for an early end of a request that it has posted. True: ring the doorbell.
#[must_use]
pub fn cancel(cancel: &AtomicU32, posted: &[AtomicU64], watch: &AtomicU32, index: usize) -> bool {
    cancel.store(1, Ordering::Release);
    call_attention(posted, watch, index)
}

fn call_attention(posted: &[AtomicU64], watch: &AtomicU32, index: usize) -> bool {
    if let Some(word) = posted.get(index / 64) {
        word.fetch_or(bit(index), Ordering::SeqCst);
    }
    watch.load(Ordering::SeqCst) != watch::LOOKING
}

/// Isle: this CPU (its index and 1) is about to sleep until the request is complete. Look at [`is_done`] once more after it.
pub fn announce_sleep(sleeping: &AtomicU32, cpu_word: u32) {
    sleeping.store(cpu_word, Ordering::SeqCst);
}

/// Isle: whether the answer is there.
pub fn is_done(state: &AtomicU32) -> bool {
    state.load(Ordering::SeqCst) == state::DONE
}

/// Isle: the answer of a request that is done; the request is free afterwards.
pub fn take_answer(state: &AtomicU32, sleeping: &AtomicU32, result: &AtomicI64) -> i64 {
    sleeping.store(0, Ordering::Relaxed);
    let result = result.load(Ordering::Relaxed);
    state.store(state::FREE, Ordering::Release);
    result
}

/// Proxy: from now on requests come without a doorbell.
pub fn start_looking(watch: &AtomicU32) {
    watch.store(watch::LOOKING, Ordering::Relaxed);
}

/// Proxy: takes one word of the map of what to look at.
pub fn look(word: &AtomicU64) -> u64 {
    // Most looks find nothing, and reading leaves the line where it is.
    match word.load(Ordering::Relaxed) {
        0 => 0,
        _ => word.swap(0, Ordering::SeqCst),
    }
}

/// Proxy: from now on a doorbell is needed. True: nothing came meanwhile, it may sleep; else it must look first.
#[must_use]
pub fn stop_looking(watch: &AtomicU32, posted: &[AtomicU64]) -> bool {
    watch.store(watch::ASLEEP, Ordering::SeqCst);
    posted.iter().all(|word| word.load(Ordering::SeqCst) == 0)
}

/// Proxy: takes a request, if there is one.
pub fn take(state: &AtomicU32) -> bool {
    state.compare_exchange(state::POSTED, state::TAKEN, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

/// Proxy: gives the answer. Returns the index of the CPU to be kicked, if somebody sleeps there.
#[must_use]
pub fn complete(state: &AtomicU32, sleeping: &AtomicU32, result: &AtomicI64, value: i64) -> Option<u32> {
    result.store(value, Ordering::Relaxed);
    state.store(state::DONE, Ordering::SeqCst);
    sleeping.load(Ordering::SeqCst).checked_sub(1)
}
