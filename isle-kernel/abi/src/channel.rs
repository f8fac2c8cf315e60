// SPDX-License-Identifier: MIT OR Apache-2.0

//! The channel of one application: system calls that the isle forwards to its proxy.
//!
//! A thread on the isle takes a free [`Request`], fills it in, sets `state` to POSTED, sets
//! [`super::app::App::attention`] and rings the doorbell. The proxy answers: TAKEN when it starts on
//! it, then `result`, then DONE; if `sleeping` is set by then it kicks that CPU
//! ([`super::door::KICK`]). The isle's thread sets `sleeping`, looks at `state` once more and only then sleeps, so no
//! answer is lost. The isle alone sets FREE.
//!
//! Buffers stay in application memory. A [`Segment`] names a part of it by its *pool offset*: the offset
//! into all ranges of [`super::boot::BootInfo::app_memory`] joined in order, which is also its
//! offset in the proxy's mapping at [`super::door::APP_MEMORY_OFFSET`].

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

/// Requests per channel: how many calls of one application can be under way.
pub const REQUESTS: usize = 64;

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
    /// Isle sets it to 1, sets `attention` and rings: a signal waits for the thread, so a call that blocks should end with
    /// -EINTR. One that has done something returns that.
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
    _pad: [AtomicU32; 15],
    pub requests: [Request; REQUESTS],
}

/// Bytes of one channel: whole pages.
pub const CHANNEL_SIZE: usize = core::mem::size_of::<Channel>();

const _: () = assert!(core::mem::size_of::<Request>() == 512);
const _: () = assert!(CHANNEL_SIZE == 36 << 10);
