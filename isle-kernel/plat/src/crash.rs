// SPDX-License-Identifier: MIT OR Apache-2.0

//! The end of an isle that can't go on: says why, stops all its CPUs, tells Linux.

use crate::{apic, cpu, info, log_line};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use hermit_abi::control::{order, state, vector, REASON_LEN};

/// Some CPU has crashed the isle.
static CRASHED: AtomicBool = AtomicBool::new(false);

/// Whether all CPUs have to stop for good.
pub fn is_crashed() -> bool {
    CRASHED.load(Ordering::Acquire)
}

struct Reason {
    len: usize,
}

impl Write for Reason {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let places: &[AtomicU8; REASON_LEN] = &info::control().reason;
        for byte in s.bytes() {
            if let Some(place) = places.get(self.len) {
                place.store(byte, Ordering::Relaxed);
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Ends the isle. Linux goes on.
pub fn die(why: fmt::Arguments<'_>) -> ! {
    if CRASHED.swap(true, Ordering::AcqRel) {
        // One reason is enough.
        cpu::stop_forever();
    }
    let control = info::control();
    if control.order.load(Ordering::Acquire) == order::STOP {
        cpu::stop_forever();
    }
    let mut reason = Reason { len: 0 };
    let _ = reason.write_fmt(why);
    control.reason_len.store(reason.len as u32, Ordering::Relaxed);
    control.state.store(state::CRASHED, Ordering::Release);
    log_line!("isle kernel stops: {why}");
    for (index, other) in info::cpus().iter().enumerate() {
        if index != cpu::index() {
            apic::send(other.apic_id.load(Ordering::Relaxed), vector::KICK);
        }
    }
    for app in info::apps() {
        app.attention.store(1, Ordering::SeqCst);
    }
    apic::ring_doorbell();
    cpu::stop_forever();
}
