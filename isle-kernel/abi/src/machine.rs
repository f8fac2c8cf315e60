// SPDX-License-Identifier: MIT OR Apache-2.0

//! A virtual machine of an isle kernel's own: what the proxy, who loads it, and the isle kernel agree on.
//!
//! The proxy shares the machine's memory, and writes everything there that `hermit.ko` writes to an isle's, but for the image, which
//! the machine's loader puts at [`IMAGE`]. CPU 0 comes from the PVH entry point, looks at [`Launch`], starts the other CPUs
//! through the trampoline, and goes on as on an isle. Application memory is all zero when the first application runs. Doorbells are bytes on the second serial port:
//!
//! | to | byte |
//! |---|---|
//! | the proxy | any: somebody wants something |
//! | the isle | the index of a CPU: interrupt it |

use super::image::TrampolineArgs;
use core::sync::atomic::AtomicU64;

/// Physical address of the image. Below it is room for what the machine's firmware and the start need.
pub const IMAGE: u64 = 2 << 20;

/// Physical address of [`Launch`].
pub const LAUNCH: u64 = 0x1f_0000;

/// Physical address of the three pages that [`TrampolineArgs::low_page_table`] consists of.
pub const LOW_TABLES: u64 = 0x1f_1000;

/// Bytes at the end of the memory below 4 GiB that are the firmware's.
pub const FIRMWARE: u64 = 2 << 20;

/// Where a q35 machine has its network card, if it has one: the slot on the first PCI bus, and the pin of the I/O APIC that QEMU
/// gives a device there (QEMU, `hw/isa/lpc_ich9.c`).
pub const CARD_SLOT: u8 = 2;
pub const CARD_PIN: u32 = 22;

/// Where a microvm has devices (QEMU, `hw/i386/microvm.c`): the first one's registers, how long each one's are, how many, and
/// the first one's pin.
pub const DEVICES: u64 = 0xfeb0_0000;
pub const DEVICE_LEN: u64 = 512;
pub const DEVICE_COUNT: u32 = 8;
pub const DEVICE_PIN: u32 = 5;

/// [`super::control::Control::doorbell`] where doorbells go to the second serial port.
pub const SERIAL_DOORBELL: u32 = u32::MAX - 1;

/// Most CPUs: each has a number that is a byte.
pub const MAX_CPUS: u32 = 255;

/// [`Launch::magic`]: "HERMITVM", little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HERMITVM");

/// What CPU 0 is told.
#[repr(C)]
pub struct Launch {
    /// [`MAGIC`].
    pub magic: u64,
    /// Of CPU 0. The stacks of the others follow.
    pub args: TrampolineArgs,
    /// Where the proxy believes the memory below 4 GiB to end; what else there is begins at 4 GiB. In the shared file one follows the other.
    pub low_end: u64,
    /// Isle, before the first doorbell: its time stamp counter, just now.
    pub tsc: AtomicU64,
    /// Isle: its time stamp counter as its first code began.
    pub began: AtomicU64,
}

const _: () = assert!(core::mem::size_of::<Launch>() == 80);
