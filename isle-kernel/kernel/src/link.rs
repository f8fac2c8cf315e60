// SPDX-License-Identifier: MIT OR Apache-2.0

//! The link between an application and its proxy: requests over the channel, and the orders that may come
//! meanwhile.
//!
//! What the proxy and the module write is only compared, never used as an index or a length.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::errno::{End, Errno, Fail};
use crate::mem::access::Piece;
use crate::mem::frames;
use crate::signal::number::SIGKILL;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::app::{self, App};
use hermit_plat::abi::channel::{state, Channel, Request, SEGMENTS};
use hermit_plat::abi::control::{self, Control};
use hermit_plat::shared::Shared;
use hermit_plat::{apic, cpu, time};

/// How long a core looks for an answer before it halts: about what a halt and an interrupt would cost.
const SPIN_NS: u64 = 20_000;

/// A request to be made.
#[derive(Debug, Default)]
pub struct Call {
    pub number: u32,
    pub args: [u64; 6],
    pub lens: [u64; 6],
    pub pieces: Vec<Piece>,
}

/// One application's link.
pub struct Link {
    slot: usize,
    control: &'static Control,
    app: &'static App,
    channel: &'static Channel,
    generation: u32,
    /// Requests that the proxy may still be working on, one bit each.
    busy: u64,
}

impl Link {
    /// The link of a new application, whose channel the module has cleared.
    pub fn new(shared: Shared, slot: usize, generation: u32) -> Option<Self> {
        let (app, channel) = (shared.apps.get(slot)?, shared.channels.get(slot)?);
        Some(Self { slot, control: shared.control, app, channel, generation, busy: 0 })
    }

    /// Why the application has to end, if it has to. `deadly`: signals that end it.
    pub fn ending(&self, deadly: u64) -> Option<End> {
        let stop = self.control.order.load(Ordering::Relaxed) == control::order::STOP;
        let run = app::word(self.generation, app::order::RUN);
        if stop || self.app.order.load(Ordering::Acquire) != run {
            return Some(End::signal(SIGKILL));
        }
        let signals = self.app.signals.load(Ordering::Relaxed) & deadly;
        (signals != 0).then(|| End::signal(signals.trailing_zeros().wrapping_add(1)))
    }

    /// Takes a signal that was sent, if there is one.
    pub fn take_signal(&self) -> Option<u32> {
        let signals = self.app.signals.load(Ordering::Relaxed);
        if signals == 0 {
            return None;
        }
        let signal = signals.trailing_zeros().wrapping_add(1);
        self.app.signals.fetch_and(!crate::signal::bit(signal), Ordering::AcqRel);
        Some(signal)
    }

    /// Waits until `done` or until the application has to end. Halts where only an interrupt can bring news.
    pub fn wait_until(&self, deadly: u64, deadline: Option<u64>, done: impl Fn() -> bool) -> Result<(), End> {
        loop {
            if done() {
                return Ok(());
            }
            if let Some(end) = self.ending(deadly) {
                return Err(end);
            }
            match deadline {
                Some(at) if time::monotonic_ns() >= at => return Ok(()),
                // There is no timer yet.
                Some(_) => {
                    cpu::take_interrupts();
                    core::hint::spin_loop();
                }
                None => cpu::idle_unless(|| done() || self.ending(deadly).is_some()),
            }
        }
    }

    /// Has the proxy make a call and waits for its result.
    pub fn call(&mut self, call: &Call, deadly: u64) -> Result<i64, Fail> {
        let (index, request) = self.free_request().ok_or(Errno::EAGAIN)?;
        fill(request, call);
        self.busy |= 1 << index;
        request.state.store(state::POSTED, Ordering::SeqCst);
        self.app.attention.store(1, Ordering::SeqCst);
        apic::ring_doorbell();
        if let Some(cpu) = cpu::try_current() {
            cpu::count(&cpu.shared().offloads);
        }
        if let Err(end) = self.answer(request, deadly) {
            // The proxy may still be at it: nobody else must get that memory yet.
            let mut frames = frames::shared().lock();
            for piece in &call.pieces {
                frames.pin(self.slot, piece.offset, piece.len);
            }
            return Err(end.into());
        }
        let result = request.result.load(Ordering::Relaxed);
        request.state.store(state::FREE, Ordering::Release);
        self.busy &= !(1 << index);
        if result < 0 {
            return Err(Errno::from_result(result).into());
        }
        Ok(result)
    }

    fn free_request(&self) -> Option<(u32, &'static Request)> {
        let index = self.busy.trailing_ones();
        Some((index, self.channel.requests.get(index as usize)?))
    }

    fn answer(&self, request: &'static Request, deadly: u64) -> Result<(), End> {
        let done = || request.state.load(Ordering::Acquire) == state::DONE;
        let patience = time::tsc().saturating_add(spin_ticks());
        while time::tsc() < patience {
            if done() {
                return Ok(());
            }
            if let Some(end) = self.ending(deadly) {
                return Err(end);
            }
            core::hint::spin_loop();
        }
        request.sleeping.store(1, Ordering::SeqCst);
        let result = self.wait_until(deadly, None, || request.state.load(Ordering::SeqCst) == state::DONE);
        request.sleeping.store(0, Ordering::Relaxed);
        result
    }
}

fn spin_ticks() -> u64 {
    let khz = hermit_plat::shared::try_get().map_or(0, |s| s.boot.tsc_khz);
    u64::from(khz).saturating_mul(SPIN_NS).wrapping_div(1_000_000)
}

fn fill(request: &Request, call: &Call) {
    request.sleeping.store(0, Ordering::Relaxed);
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
    for (to, from) in request.segments.iter().zip(&call.pieces) {
        to.offset.store(from.offset, Ordering::Relaxed);
        to.len.store(from.len, Ordering::Relaxed);
        count = count.saturating_add(1);
    }
    request.segment_count.store(count, Ordering::Relaxed);
}
