// SPDX-License-Identifier: MIT OR Apache-2.0

//! The channel of one application: system calls that the isle forwards to its proxy.
//!
//! A thread on the isle takes a free [`Request`], fills it in, sets `state` to POSTED, then the request's bit in
//! [`Channel::posted`], and rings the doorbell unless the proxy says in [`Channel::watch`] that it is looking. The proxy takes
//! the bit away and answers: TAKEN when it starts on the request, then `result`, then DONE; if `sleeping` is set by then it
//! kicks that CPU ([`super::door::KICK`]). The isle alone sets FREE. A request that has to end early gets `cancel` and, again,
//! its bit.
//!
//! Both sides spin for a moment before they sleep. The steps in which memory order matters, so that no wake-up is lost, are
//! in [`super::protocol`].
//!
//! Buffers stay in application memory. A [`Segment`] names a part of it by its *pool offset*: the offset
//! into all ranges of [`super::boot::BootInfo::app_memory`] joined in order, which is also its
//! offset in the proxy's mapping at [`super::door::APP_MEMORY_OFFSET`].

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

/// Requests per channel: how many calls of one application can be under way.
pub const REQUESTS: usize = 256;

/// Words of a set of requests, one bit each: the request at index `i` has bit `i % 64` of word `i / 64`.
pub const WORDS: usize = REQUESTS / 64;

/// Longest time that either side may spin for the other.
pub const MAX_SPIN_NS: u32 = 1_000_000;

/// Segments per request. A longer scatter list makes a short transfer.
pub const SEGMENTS: usize = 24;

/// Values of [`Request::state`].
pub mod state {
    pub const FREE: u32 = 0;
    /// Isle: the request is complete.
    pub const POSTED: u32 = 1;
    /// Proxy: a worker has it.
    pub const TAKEN: u32 = 2;
    /// Proxy: `result` is valid.
    pub const DONE: u32 = 3;
}

/// Values of [`Channel::watch`].
pub mod watch {
    /// Nobody looks at the channel until the doorbell rings.
    pub const ASLEEP: u32 = 0;
    /// Somebody looks at [`super::Channel::posted`], or will before he sleeps.
    pub const LOOKING: u32 = 1;
}

/// A part of application memory.
#[repr(C)]
pub struct Segment {
    /// Pool offset in bytes.
    pub offset: AtomicU64,
    /// Length in bytes.
    pub len: AtomicU64,
}

/// One forwarded call. All but `state` and `result` is written by the isle; `state` as said above.
#[repr(C, align(64))]
pub struct Request {
    pub state: AtomicU32,
    /// Isle: where the thread that waits for it has gone to sleep, or is about to: the CPU's index on the isle plus 1. 0 while
    /// nobody has to be woken.
    pub sleeping: AtomicU32,
    /// Linux's x86-64 system-call number, or one of [`super::offload::special`].
    pub number: AtomicU32,
    /// Segments used.
    pub segment_count: AtomicU32,
    /// Proxy: the result, or a negative errno.
    pub result: AtomicI64,
    /// Thread id on the isle, for messages.
    pub tid: AtomicU32,
    /// Isle sets it to 1, then the request's bit in `posted`, and rings if it has to: a signal waits for the thread, so a call
    /// that blocks should end with -EINTR. One that has done something returns that.
    pub cancel: AtomicU32,
    /// Scalar arguments as passed; those which [`super::offload`] calls buffers are 0 for NULL and
    /// else 1: their contents are in the segments, which come in the order of the arguments.
    pub args: [AtomicU64; 6],
    /// How many bytes of the segments belong to each argument (0 for scalars).
    pub lens: [AtomicU64; 6],
    pub segments: [Segment; SEGMENTS],
}

#[repr(C, align(4096))]
pub struct Channel {
    /// [`super::VERSION`], written by the module when the slot is opened.
    pub version: AtomicU32,
    /// Proxy, before the application begins: how long the isle spins for an answer before it sleeps, at most
    /// [`MAX_SPIN_NS`].
    pub spin_ns: AtomicU32,
    _pad0: [AtomicU32; 14],
    /// Proxy: one of [`watch`]. (Shares no line with what the isle writes.)
    pub watch: AtomicU32,
    _pad1: [AtomicU32; 15],
    /// Isle sets bits, the proxy takes them: requests that it has to look at. Only hints; their states count.
    pub posted: [AtomicU64; WORDS],
    _pad2: [AtomicU64; 8 - WORDS],
    pub requests: [Request; REQUESTS],
}

/// Bytes of one channel: whole pages.
pub const CHANNEL_SIZE: usize = core::mem::size_of::<Channel>();

const _: () = assert!(core::mem::size_of::<Request>() == 512);
const _: () = assert!(REQUESTS & 63 == 0);
const _: () = assert!(core::mem::offset_of!(Channel, watch) == 64);
const _: () = assert!(core::mem::offset_of!(Channel, posted) == 128);
const _: () = assert!(core::mem::offset_of!(Channel, requests) == 192);
const _: () = assert!(CHANNEL_SIZE == 132 << 10);
