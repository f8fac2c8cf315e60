// SPDX-License-Identifier: MIT OR Apache-2.0

//! The link between an application and its proxy: requests over the channel.
//!
//! What the proxy and the module write is only compared, never used as an index or a length.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::errno::{Errno, Fail};
use crate::mem::access::Pieces;
use crate::sched::{self, By, Task, Woken};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_plat::abi::app::App;
use hermit_plat::abi::channel::{state, Channel, Request, SEGMENTS};
use hermit_plat::shared::Shared;
use hermit_plat::{apic, cpu};
use spin::Mutex;

/// A request to be made.
#[derive(Debug, Default)]
pub struct Call {
    pub number: u32,
    pub args: [u64; 6],
    pub lens: [u64; 6],
    pub pieces: Pieces,
    /// Less of a buffer is there than was asked for.
    pub is_short: bool,
}

/// One application's link.
pub struct Link {
    slot: usize,
    app: &'static App,
    channel: &'static Channel,
    generation: u32,
    /// Requests that are in use or that the proxy may still be working on, one bit each.
    busy: Mutex<u64>,
    /// Nobody answers any more.
    is_abandoned: AtomicBool,
    /// Threads that wait for a free request.
    waiting: Mutex<VecDeque<Arc<Task>>>,
}

impl Link {
    /// Linux wants the application to end: its proxy answers no more.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::SeqCst);
    }

    /// The link of a new application, whose channel the module has cleared.
    pub fn new(shared: Shared, slot: usize, generation: u32) -> Option<Self> {
        let (app, channel) = (shared.apps.get(slot)?, shared.channels.get(slot)?);
        Some(Self { slot, app, channel, generation, busy: Mutex::new(0), is_abandoned: AtomicBool::new(false), waiting: Mutex::new(VecDeque::new()) })
    }

    /// The slot, and the generation of its order.
    pub fn slot(&self) -> (usize, u32) {
        (self.slot, self.generation)
    }

    /// Has the proxy make a call and waits for its result.
    pub fn call(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.call_by(me, call, By::Signals)
    }

    /// As [`call`](Self::call), for what signals have to wait for.
    pub fn call_patiently(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.call_by(me, call, By::End)
    }

    /// Has the proxy make a call that has to be made although the process ends.
    pub fn call_to_the_end(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.call_by(me, call, By::End)
    }

    fn call_by(&self, me: &Arc<Task>, call: &Call, by: By) -> Result<i64, Fail> {
        let (index, request) = self.take_request(me)?;
        fill(request, call);
        request.tid.store(me.process.tid_of(me), Ordering::Relaxed);
        request.state.store(state::POSTED, Ordering::SeqCst);
        self.app.attention.store(1, Ordering::SeqCst);
        apic::ring_doorbell();
        if let Some(cpu) = cpu::try_current() {
            cpu::count(&cpu.shared().offloads);
        }
        // The number of the CPU and one: 0 says that nobody has to be kicked.
        let announce = |cpu: usize| {
            let word = u32::try_from(cpu).unwrap_or(0).wrapping_add(1);
            request.sleeping.store(word, Ordering::SeqCst);
        };
        let mut woken = sched::wait_for_linux(me, &request.state, state::DONE, &announce, by);
        let cancelled = woken == Woken::Interrupted && me.process.ending().is_none();
        if cancelled {
            request.cancel.store(1, Ordering::SeqCst);
            self.app.attention.store(1, Ordering::SeqCst);
            apic::ring_doorbell();
            woken = sched::wait_for_linux(me, &request.state, state::DONE, &announce, By::End);
        }
        request.sleeping.store(0, Ordering::Relaxed);
        if woken != Woken::Ready {
            // The proxy may still be at it: nobody else must get that memory yet, nor that request.
            call.pieces.leave_to(self.slot);
            return Err(Fail::Ended);
        }
        let result = request.result.load(Ordering::Relaxed);
        request.state.store(state::FREE, Ordering::Release);
        self.free_request(index);
        match result {
            0.. => Ok(result),
            _ if cancelled && Errno::from_result(result) == Errno::EINTR => Err(Fail::Restart),
            _ => Err(Errno::from_result(result).into()),
        }
    }

    fn take_request(&self, me: &Arc<Task>) -> Result<(u32, &'static Request), Fail> {
        loop {
            {
                let mut busy = self.busy.lock();
                let index = busy.trailing_ones();
                if let Some(request) = self.channel.requests.get(index as usize) {
                    *busy |= 1 << index;
                    return Ok((index, request));
                }
                me.futex_woken.store(false, Ordering::SeqCst);
                self.waiting.lock().push_back(me.clone());
            }
            let woken = sched::wait(me, None, &|| me.futex_woken.load(Ordering::SeqCst));
            self.waiting.lock().retain(|t| !Arc::ptr_eq(t, me));
            match woken {
                Woken::Ready | Woken::TimedOut => {}
                Woken::Interrupted if me.process.ending().is_some() => return Err(Fail::Ended),
                Woken::Interrupted => return Err(Fail::Restart),
            }
        }
    }

    fn free_request(&self, index: u32) {
        let mut busy = self.busy.lock();
        *busy &= !(1 << index);
        let next = self.waiting.lock().pop_front();
        drop(busy);
        if let Some(task) = next {
            task.futex_woken.store(true, Ordering::SeqCst);
            sched::wake(&task);
        }
    }
}

fn fill(request: &Request, call: &Call) {
    request.sleeping.store(0, Ordering::Relaxed);
    request.cancel.store(0, Ordering::Relaxed);
    request.number.store(call.number, Ordering::Relaxed);
    request.result.store(0, Ordering::Relaxed);
    for (to, from) in request.args.iter().zip(call.args) {
        to.store(from, Ordering::Relaxed);
    }
    for (to, from) in request.lens.iter().zip(call.lens) {
        to.store(from, Ordering::Relaxed);
    }
    debug_assert!(call.pieces.len() <= SEGMENTS);
    let mut count: u32 = 0;
    for (to, from) in request.segments.iter().zip(call.pieces.iter()) {
        to.offset.store(from.offset, Ordering::Relaxed);
        to.len.store(from.len, Ordering::Relaxed);
        count = count.saturating_add(1);
    }
    request.segment_count.store(count, Ordering::Relaxed);
}
