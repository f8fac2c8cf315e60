// SPDX-License-Identifier: MIT OR Apache-2.0

//! The serial ports of a virtual machine, 16550s as QEMU has them: the console, and the way to the proxy.

use super::io_apic;
use crate::apic;
use x86_64::instructions::port::Port;

const CONSOLE: u16 = 0x3f8;
const BELL: u16 = 0x2f8;

/// Registers of either.
const DATA: u16 = 0;
const INTERRUPTS: u16 = 1;
const FIFO: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

/// Line status: there is a byte; the transmitter takes another one.
const HAS_BYTE: u8 = 1;
const EMPTY: u8 = 1 << 5;
/// Looks before a port is taken for missing.
const PATIENCE: u32 = 100_000;

/// The second port's pin of the I/O APIC.
const PIN: u32 = 3;

/// The interrupt by which bytes come.
pub const VECTOR: u8 = 0xf1;

fn read(port: u16) -> u8 {
    // SAFETY: reading these ports has no effect on memory.
    unsafe { Port::<u8>::new(port).read() }
}

fn put(port: u16, value: u8) {
    // SAFETY: the ports are the kernel's, and have no effect on memory.
    unsafe { Port::<u8>::new(port).write(value) }
}

/// Writes text to the console, as long as that takes it.
pub fn write(text: &[u8]) {
    for byte in text {
        if !(0..PATIENCE).any(|_| read(CONSOLE + LINE_STATUS) & EMPTY != 0) {
            return;
        }
        put(CONSOLE + DATA, *byte);
    }
}

/// Has the proxy's bytes interrupt CPU 0.
pub fn connect() {
    put(BELL + LINE_CONTROL, 3);
    put(BELL + FIFO, 7);
    put(BELL + MODEM_CONTROL, 0xb);
    put(BELL + INTERRUPTS, 1);
    io_apic::route(PIN, VECTOR, 0);
}

/// Tells the proxy that somebody wants something.
pub fn ring() {
    put(BELL + DATA, 1);
}

/// Does what the proxy has asked for.
pub fn interrupt() {
    while read(BELL + LINE_STATUS) & HAS_BYTE != 0 {
        let cpu = read(BELL + DATA);
        if cpu != 0 {
            apic::kick(cpu.into());
        }
    }
}
