// SPDX-License-Identifier: GPL-2.0

//! The isle's log on the Linux side: what was drained from its ring, kept beyond its end.

use crate::abi::log::{LogRing, CAPACITY};
use core::sync::atomic::Ordering;
use kernel::prelude::*;

/// Most bytes that are kept per isle. Older lines go first.
const KEPT: usize = 512 << 10;

/// The log of one isle since its last start.
pub struct Log {
    text: KVVec<u8>,
    /// How much of the ring has been drained, in bytes ever written.
    drained: u64,
}

impl Log {
    pub const fn new() -> Self {
        Self { text: KVVec::new(), drained: 0 }
    }

    /// A new start: forget what was.
    pub fn clear(&mut self) {
        self.text = KVVec::new();
        self.drained = 0;
    }

    /// Takes what is new in the ring.
    pub fn drain(&mut self, ring: &LogRing) -> Result {
        let written = ring.written.load(Ordering::Acquire);
        let mut from = self.drained;
        if written < from || written - from > CAPACITY as u64 {
            // Overwritten before it was read, or not true.
            from = written.saturating_sub(CAPACITY as u64);
        }
        let lost = from != self.drained;
        let mut new = KVVec::with_capacity((written - from) as usize, GFP_KERNEL)?;
        for n in from..written {
            let byte = &ring.bytes[n as usize % CAPACITY];
            new.push(byte.load(Ordering::Relaxed), GFP_KERNEL)?;
        }
        // What was overwritten while it was copied is no text any more.
        let now = ring.written.load(Ordering::Acquire);
        let torn = now.saturating_sub(from).saturating_sub(CAPACITY as u64);
        let torn = (torn as usize).min(new.len());
        let whole = if lost || torn > 0 {
            let rest = &new[torn..];
            torn + rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |p| p + 1)
        } else {
            0
        };
        self.drained = written;
        if whole > 0 {
            self.append(b"[older lines were lost: they came too fast]\n")?;
        }
        self.append(&new[whole..])
    }

    fn append(&mut self, bytes: &[u8]) -> Result {
        if self.text.len() + bytes.len() > KEPT {
            let half = self.text.len() / 2;
            let cut = self.text[half..].iter().position(|&b| b == b'\n').map_or(self.text.len(), |p| half + p + 1);
            let mut rest = KVVec::with_capacity(KEPT, GFP_KERNEL)?;
            rest.extend_from_slice(&self.text[cut..], GFP_KERNEL)?;
            self.text = rest;
        }
        self.text.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(())
    }

    /// Copies from an offset; returns how much.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|o| self.text.get(o..)).unwrap_or(&[]);
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        n
    }
}
