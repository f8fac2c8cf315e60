// SPDX-License-Identifier: MIT OR Apache-2.0

//! The console: the first serial port, a 16550, as QEMU leaves it.

use x86_64::instructions::port::Port;

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = DATA + 5;
/// The transmitter takes another byte.
const EMPTY: u8 = 1 << 5;
/// Looks before a port is taken for missing.
const PATIENCE: u32 = 100_000;

/// Writes text, as long as the port takes it.
pub fn write(text: &[u8]) {
    for byte in text {
        // SAFETY: reading the line status has no effect on memory.
        let is_ready = || unsafe { Port::<u8>::new(LINE_STATUS).read() } & EMPTY != 0;
        if !(0..PATIENCE).any(|_| is_ready()) {
            return;
        }
        // SAFETY: as above; the port is the console's.
        unsafe { Port::<u8>::new(DATA).write(*byte) }
    }
}
