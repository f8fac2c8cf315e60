// SPDX-License-Identifier: MIT OR Apache-2.0
//! The person's terminal, and the signals that the person sends.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use rustix::stdio::stdin;
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::session::Event;

/// The terminal's settings, put back when dropped: QEMU that is killed leaves it raw.
pub struct Saved(Option<Termios>);

impl Saved {
    pub fn take() -> Self {
        Saved(tcgetattr(stdin()).ok())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, settings);
        }
    }
}

/// Rows and columns, for a guest whose serial line cannot know them.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Passes SIGINT, SIGTERM and SIGHUP on as events instead of dying from them.
pub fn forward_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Repeats `wait` until it has a result or a signal asks for the end.
pub fn until_signal<T>(mut wait: impl FnMut() -> io::Result<Option<T>>) -> Result<Option<T>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    while !stop.load(Ordering::Relaxed) {
        if let Some(result) = wait()? {
            return Ok(Some(result));
        }
    }
    Ok(None)
}
