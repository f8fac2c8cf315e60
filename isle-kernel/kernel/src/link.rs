// SPDX-License-Identifier: MIT OR Apache-2.0

//! The link between an application and its proxy: requests over the channel.
//!
//! What the proxy and the module write is only compared, never used as an index or a length.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod requests;

use crate::errno::{Errno, Fail};
use crate::fd::{Closing, File};
use crate::mem::access::Pieces;
use crate::sched::{self, By, Task, Woken};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_plat::abi::app::App;
use hermit_plat::abi::channel::{Channel, Request, MAX_SPIN_NS, SEGMENTS};
use hermit_plat::abi::protocol;
use hermit_plat::shared::Shared;
use hermit_plat::{apic, cpu, time};
use requests::Requests;
use spin::Mutex;

/// Look for requests that were left to the proxy so often, while all are in use.
const LOOK_NS: u64 = 5_000_000;

/// A request to be made.
#[derive(Debug, Default)]
pub struct Call {
    pub number: u32,
    pub args: [u64; 6],
    pub lens: [u64; 6],
    pub pieces: Pieces,
    /// Less of a buffer is there than was asked for.
    pub is_short: bool,
    /// The files that it works on, so that nobody closes them meanwhile.
    pub files: [Option<Arc<File>>; 2],
}

/// One application's link.
pub struct Link {
    slot: usize,
    app: &'static App,
    channel: &'static Channel,
    requests: Requests,
    generation: u32,
    /// Linux wants the application to be gone: nothing is waited for any more.
    abandoned: AtomicBool,
    /// Threads in [`call_to_the_end`](Self::call_to_the_end).
    lasting: Mutex<Vec<Arc<Task>>>,
    /// What the proxy is to close.
    pub closing: Arc<Closing>,
}

impl Link {
    /// The link of a new application, whose channel the module has cleared.
    pub fn new(shared: Shared, slot: usize, generation: u32) -> Option<Self> {
        let (app, channel) = (shared.apps.get(slot)?, shared.channels.get(slot)?);
        let channel: &'static Channel = channel;
        Some(Self {
            slot,
            app,
            channel,
            requests: Requests::new(&channel.requests),
            generation,
            closing: Arc::default(),
            abandoned: AtomicBool::new(false),
            lasting: Mutex::new(Vec::new()),
        })
    }

    /// The slot, and the generation of its order.
    pub fn slot(&self) -> (usize, u32) {
        (self.slot, self.generation)
    }

    /// Has the proxy make a call and waits for its result. A signal interrupts it as it does on Linux, the end of the process
    /// for good: the proxy is told to give up what it then does for nobody.
    pub fn call(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.run(me, call, By::Signals)
    }

    /// As [`call`](Self::call), for what signals have to wait for.
    pub fn call_patiently(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.run(me, call, By::End)
    }

    /// Has the proxy make a call that has to be made although the process ends. Only [`abandon`](Self::abandon) interrupts it.
    pub fn call_to_the_end(&self, me: &Arc<Task>, call: &Call) -> Result<i64, Fail> {
        self.lasting.lock().push(me.clone());
        let result = self.run(me, call, By::Flag(&self.abandoned));
        self.lasting.lock().retain(|t| !Arc::ptr_eq(t, me));
        result
    }

    /// Linux orders the application to be gone: whatever its proxy still does, nobody waits for it.
    pub fn abandon(&self) {
        if !self.abandoned.swap(true, Ordering::SeqCst) {
            let lasting = self.lasting.lock().clone();
            for task in lasting {
                sched::wake(&task);
            }
        }
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    fn run(&self, me: &Arc<Task>, call: &Call, by: By) -> Result<i64, Fail> {
        let (index, request) = self.take_request(me, by)?;
        fill(request, call);
        request.tid.store(me.process.tid_of(me), Ordering::Relaxed);
        let Channel { posted, watch, .. } = self.channel;
        self.ring_if(protocol::post(&request.state, posted, watch, index));
        if let Some(cpu) = cpu::try_current() {
            cpu::count(&cpu.shared().offloads);
        }
        // The number of the CPU and one: 0 says that nobody has to be kicked.
        let announce = |cpu: usize| {
            protocol::announce_sleep(&request.sleeping, u32::try_from(cpu).unwrap_or(0).wrapping_add(1));
        };
        // As the proxy says, within bounds.
        let spin = self.channel.spin_ns.load(Ordering::Relaxed).min(MAX_SPIN_NS);
        let answer = sched::Answer { state: &request.state, spin_ns: spin.into(), announce: &announce };
        let mut woken = sched::wait_for_linux(me, &answer, by);
        let cancelled = woken == Woken::Interrupted;
        if cancelled {
            self.ring_if(protocol::cancel(&request.cancel, posted, watch, index));
            if matches!(by, By::Signals) {
                woken = sched::wait_for_linux(me, &answer, By::End);
            }
        }
        if woken != Woken::Ready {
            request.sleeping.store(0, Ordering::Relaxed);
            // The proxy may still be at it: nobody else must get that memory yet, nor that request.
            call.pieces.leave_to(self.slot);
            self.requests.leave(index);
            return Err(Fail::Ended);
        }
        let result = protocol::take_answer(&request.state, &request.sleeping, &request.result);
        self.requests.give(index);
        match result {
            0.. => Ok(result),
            _ if cancelled && Errno::from_result(result) == Errno::EINTR => Err(Fail::Restart),
            _ => Err(Errno::from_result(result).into()),
        }
    }

    /// Rings the doorbell if the proxy doesn't look by itself.
    fn ring_if(&self, is_asleep: bool) {
        if is_asleep {
            self.app.attention.store(1, Ordering::SeqCst);
            apic::ring_doorbell();
        }
    }

    fn take_request(&self, me: &Arc<Task>, by: By) -> Result<(usize, &'static Request), Fail> {
        let wanted = me.tid as usize;
        if let Some(taken) = self.requests.take(wanted) {
            return Ok(taken);
        }
        loop {
            self.requests.queue(me);
            if let Some(taken) = self.requests.take(wanted) {
                self.requests.give_up(me);
                return Ok(taken);
            }
            let deadline = self.requests.has_left().then(|| time::monotonic_ns().saturating_add(LOOK_NS));
            let is_there = || me.futex_woken.load(Ordering::SeqCst) || self.requests.has_answered();
            let woken = sched::wait_for(me, deadline, by, &is_there);
            if woken == Woken::Interrupted {
                self.requests.give_up(me);
                return Err(if me.process.ending().is_some() { Fail::Ended } else { Fail::Restart });
            }
            self.requests.unqueue(me);
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
