// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lines into the log ring that Linux reads. See `abi/src/log.rs`.

use crate::{cpu, info, time};
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use hermit_abi::log::{CAPACITY, MAX_LINE};
use spin::Mutex;

static WRITER: Mutex<()> = Mutex::new(());

/// One line, cut at [`MAX_LINE`].
struct Line {
    text: [u8; MAX_LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            // One byte is kept for the newline.
            if let Some(place) = self.text[..MAX_LINE - 1].get_mut(self.len) {
                // A line is a line, and text is text.
                *place = if byte == b'\n' { b' ' } else { byte };
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Writes one line, with a time stamp.
pub fn write_line(text: fmt::Arguments<'_>) {
    let mut line = Line { text: [0; MAX_LINE], len: 0 };
    let us = time::since_boot_ns() / 1000;
    let _ = write!(line, "[{:5}.{:06}] cpu{}: {text}", us / 1_000_000, us % 1_000_000, cpu::index());
    line.text[line.len] = b'\n';
    line.len += 1;
    // A CPU that crashed while it had the lock must not keep others from telling why: so not for ever.
    let guard = (0..1_000_000).find_map(|_| {
        core::hint::spin_loop();
        WRITER.try_lock()
    });
    let ring = info::log_ring();
    let written = ring.written.load(Ordering::Relaxed);
    for (at, byte) in (written..).zip(&line.text[..line.len]) {
        ring.bytes[at as usize % CAPACITY].store(*byte, Ordering::Relaxed);
    }
    ring.written.store(written + line.len as u64, Ordering::Release);
    drop(guard);
}

/// Writes one line to the log, like `println!`.
#[macro_export]
macro_rules! log_line {
    ($($arg:tt)*) => { $crate::log::write_line(format_args!($($arg)*)) };
}
