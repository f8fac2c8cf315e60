// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lines of text to Linux, through the ring of `hermit_abi::log`.

use crate::{cpu, shared, time};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_abi::log::{LogRing, CAPACITY, MAX_LINE};

/// Held while a line is written. Not a [`spin::Mutex`], since a crashing CPU must get past a holder that it has stopped.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Tries before the lock is taken to belong to a CPU that no longer runs.
const PATIENCE: u32 = 10_000_000;

/// A line being put together; what doesn't fit is cut off.
pub struct Line {
    bytes: [u8; MAX_LINE],
    len: usize,
}

impl Line {
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_LINE], len: 0 }
    }

    /// The text, with a newline at its end.
    pub fn finish(&mut self) -> &[u8] {
        let end = self.len.min(MAX_LINE - 1);
        self.bytes[end] = b'\n';
        &self.bytes[..=end]
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // One line stays one line, whatever an application put into it.
            let c = if c.is_control() { ' ' } else { c };
            let mut utf8 = [0; 4];
            let utf8 = c.encode_utf8(&mut utf8).as_bytes();
            let Some(room) = self.bytes[..MAX_LINE - 1].get_mut(self.len..self.len + utf8.len()) else {
                // Nothing may follow what is missing.
                self.len = MAX_LINE - 1;
                while self.len > 0 && self.bytes[self.len - 1] == 0 {
                    self.len -= 1;
                }
                return Err(fmt::Error);
            };
            room.copy_from_slice(utf8);
            self.len += utf8.len();
        }
        Ok(())
    }
}

/// Formats a line as the ring wants it.
pub fn format(line: &mut Line, micros: u64, cpu: Option<u32>, text: fmt::Arguments<'_>) {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    // A line that is too long is cut: that is the only error there is.
    let _ = match cpu {
        Some(cpu) => write!(line, "[{seconds:5}.{micros:06}] cpu{cpu}: {text}"),
        None => write!(line, "[{seconds:5}.{micros:06}] cpu?: {text}"),
    };
}

/// Appends a whole line to a ring.
pub fn append(ring: &LogRing, line: &[u8]) {
    let start = ring.written.load(Ordering::Relaxed);
    for (at, byte) in (start..).zip(line) {
        ring.bytes[at as usize % CAPACITY].store(*byte, Ordering::Relaxed);
    }
    ring.written.store(start.wrapping_add(line.len() as u64), Ordering::Release);
}

/// Logs a line.
pub fn line(text: fmt::Arguments<'_>) {
    let Some(shared) = shared::try_get() else {
        return;
    };
    let mut line = Line::new();
    let cpu = cpu::try_current().map(|c| c.shared().linux_cpu.load(Ordering::Relaxed));
    format(&mut line, time::since_boot_ns() / 1000, cpu, text);
    let mut tries = 0;
    while BUSY.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        tries += 1;
        if tries > PATIENCE {
            break;
        }
        core::hint::spin_loop();
    }
    append(shared.log, line.finish());
    BUSY.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: fmt::Arguments<'_>) -> String {
        let mut line = Line::new();
        format(&mut line, 1_000_042, Some(3), text);
        String::from_utf8(line.finish().to_vec()).unwrap()
    }

    #[test]
    fn a_line_has_time_and_cpu() {
        assert_eq!(formatted(format_args!("hello {}", 1)), "[    1.000042] cpu3: hello 1\n");
    }

    #[test]
    fn control_characters_do_not_break_lines() {
        assert_eq!(formatted(format_args!("a\nb\tc")), "[    1.000042] cpu3: a b c\n");
    }

    #[test]
    fn long_lines_are_cut_at_a_character() {
        for pad in 0..4 {
            let text = "x".repeat(pad) + &"ä".repeat(400);
            let line = formatted(format_args!("{text}"));
            assert!(line.len() <= MAX_LINE && line.len() > MAX_LINE - 4);
            assert!(line.ends_with("ä\n"));
        }
    }

    #[test]
    fn the_ring_wraps() {
        // SAFETY: all fields are integers, for which zero is valid.
        let ring: Box<LogRing> = unsafe { Box::<LogRing>::new_zeroed().assume_init() };
        let line = [b'y'; 500];
        for _ in 0..200 {
            append(&ring, &line);
        }
        assert_eq!(ring.written.load(Ordering::Relaxed), 100_000);
        assert!(ring.bytes.iter().all(|b| b.load(Ordering::Relaxed) == b'y'));
    }
}
