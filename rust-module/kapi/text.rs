// SPDX-License-Identifier: GPL-2.0

//! Text into a fixed buffer, for sysfs files.

use core::fmt;

/// Writes text into a slice and drops what doesn't fit.
pub struct Text<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Text<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.buffer.len() - self.len;
        let n = s.len().min(room);
        self.buffer[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        if n == s.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
