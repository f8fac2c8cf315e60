// SPDX-License-Identifier: MIT OR Apache-2.0

//! The door to a virtual machine: orders and state in its memory, doorbells by its second serial port.

use super::load::Loaded;
use super::qemu::Qemu;
use crate::door::Door;
use crate::failure::Failure;
use hermit_abi::app::{self, App, order, state as app_state};
use hermit_abi::control::{self, Control};
use hermit_abi::door::{Status, state};
use hermit_abi::log::{CAPACITY, LogRing};
use hermit_abi::machine::{LAUNCH, Launch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the [module](self).
pub struct MachineDoor {
    qemu: Qemu,
    loaded: Arc<Loaded>,
    /// QEMU has gone.
    is_gone: AtomicBool,
}

fn outside(_: crate::shm::OutOfRange) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl MachineDoor {
    pub(super) fn new(qemu: Qemu, loaded: Loaded) -> Self {
        Self { qemu, loaded: Arc::new(loaded), is_gone: AtomicBool::new(false) }
    }

    fn app(&self) -> io::Result<&App> {
        self.loaded.memory.view(self.loaded.layout.apps).map_err(outside)
    }

    fn control(&self) -> io::Result<&Control> {
        self.loaded.memory.view(self.loaded.layout.control).map_err(outside)
    }

    /// Takes what doorbells there are. Notes if there will be none any more.
    fn drain(&self) {
        let mut bytes = [0; 64];
        loop {
            match rustix::net::recv(&self.qemu.bell, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return self.is_gone.store(true, Ordering::Relaxed),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => return self.is_gone.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Waits for the isle kernel's first word; returns what its time stamp counter is just now, and was when it began.
    pub(super) fn wait_for_kernel(&self, patience: Duration) -> Result<[u64; 2], Failure> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.qemu.bell, PollFlags::IN)];
            let limit = Timespec::try_from(left).unwrap_or_default();
            let _ = poll(&mut fds, Some(&limit));
            self.drain();
            let [tsc, began] = [offset_of!(Launch, tsc), offset_of!(Launch, began)].map(|offset| {
                let word = self.loaded.memory.view::<AtomicU64>(LAUNCH + offset as u64);
                word.map_or(0, |word| word.load(Ordering::Acquire))
            });
            if tsc != 0 {
                return Ok([tsc, began]);
            }
            let words = self.words();
            if self.is_gone.load(Ordering::Relaxed) {
                return Err(Failure::new(format!("the virtual machine did not start: {words}")));
            }
            if left.is_zero() {
                return Err(Failure::new(format!(
                    "the isle kernel did not start in the virtual machine within {} s: {words}",
                    patience.as_secs()
                )));
            }
        }
    }

    /// What QEMU, firmware or a crash have said.
    fn words(&self) -> String {
        let reason = self.control().map(|control| {
            let len = (control.reason_len.load(Ordering::Acquire) as usize).min(control.reason.len());
            control.reason.iter().take(len).map(|b| b.load(Ordering::Relaxed)).collect::<Vec<_>>()
        });
        let reason = reason.unwrap_or_default();
        if reason.is_empty() { self.qemu.words() } else { String::from_utf8_lossy(&reason).into_owned() }
    }

    /// The sentence for a machine that ended under its application.
    pub fn explain_loss(&self) -> Failure {
        Failure::new(format!("the virtual machine ended while the application ran: {}", self.words()))
    }

    /// What is in the machine's memory.
    pub(super) fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Lets the application begin.
    pub fn run(&self) -> io::Result<()> {
        let app = self.app()?;
        let generation = app::next(app::generation(app.order.load(Ordering::Relaxed)));
        app.order.store(app::word(generation, order::RUN), Ordering::Release);
        self.kick(0)
    }

    /// Where application memory is in the file.
    pub(super) fn app_memory(&self) -> &[(u64, usize)] {
        &self.loaded.app_memory
    }

    /// Ends QEMU.
    pub fn end(&self) {
        self.qemu.end();
    }

    /// What the isle kernel has logged.
    pub fn log(&self) -> Vec<u8> {
        let Ok(ring) = self.loaded.memory.view::<LogRing>(self.loaded.layout.log) else { return Vec::new() };
        let written = ring.written.load(Ordering::Acquire);
        let from = written.saturating_sub(CAPACITY as u64);
        let bytes = (from..written).filter_map(|n| ring.bytes.get(n as usize % CAPACITY));
        bytes.map(|byte| byte.load(Ordering::Relaxed)).collect()
    }
}

impl Door for MachineDoor {
    fn fd(&self) -> BorrowedFd<'_> {
        self.qemu.bell.as_fd()
    }

    fn status(&self) -> io::Result<Status> {
        self.drain();
        let app = self.app()?;
        app.attention.store(0, Ordering::SeqCst);
        let ended = app::word(app::generation(app.order.load(Ordering::Relaxed)), app_state::ENDED);
        let has_ended = app.state.load(Ordering::Acquire) == ended;
        let is_crashed = self.control()?.state.load(Ordering::Acquire) == control::state::CRASHED;
        let state = match () {
            () if is_crashed => state::ISLE_CRASHED,
            () if has_ended => state::ENDED,
            () if self.is_gone.load(Ordering::Relaxed) => state::ISLE_STOPPED,
            () => state::RUNNING,
        };
        let exit_status = if has_ended { app.exit_status.load(Ordering::Relaxed) } else { 0 };
        Ok(Status { state, exit_status, untaken_signals: app.signals.load(Ordering::Relaxed) })
    }

    fn kick(&self, cpu: u32) -> io::Result<()> {
        let byte = u8::try_from(cpu).map_err(|_| io::ErrorKind::InvalidInput)?;
        // A socket that is full has plenty of kicks; one without QEMU is noticed elsewhere.
        let _ = rustix::net::send(
            &self.qemu.bell,
            &[byte],
            rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
        );
        Ok(())
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        let bit = u32::try_from(number - 1)
            .ok()
            .and_then(|n| 1u64.checked_shl(n))
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.app()?.signals.fetch_or(bit, Ordering::SeqCst);
        self.kick(0)
    }
}
