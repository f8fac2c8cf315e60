// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a starting isle is told about itself.
//!
//! # Memory of an isle
//!
//! An isle has one or more physical ranges. The loader cuts its *kernel part* from one of them; it is
//! contiguous and holds, in this order: the image, the page tables that the loader made, boot
//! stacks, `BootInfo` and the other shared structures, and [`BootInfo::kernel_pool`], which
//! the isle kernel uses as it likes. All else is [`BootInfo::app_memory`], the frames that applications get.
//! The proxy can map application memory and its own channel, and nothing else.
//!
//! # Address space at the entry point
//!
//! | virtual | what |
//! |---|---|
//! | [`DIRECT_MAP`] + physical | all memory of the isle, writable, not executable |
//! | link addresses of the image | its segments with their ELF permissions |
//!
//! The lower half is empty. All page tables that the loader made are in the kernel part.

use super::net::Addresses;

/// Start of the direct map: physical address `p` of the isle is at `DIRECT_MAP + p`.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// Most physical bytes that the direct map can reach (64 TiB).
pub const DIRECT_MAP_SIZE: u64 = 1 << 46;

/// [`BootInfo::magic`]: "HERMITBI", little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HERMITBI");

/// Most separate ranges of application memory; further ranges are not lent.
pub const MAX_RANGES: usize = 128;

/// Bytes of boot stack per CPU.
pub const BOOT_STACK_SIZE: u64 = 32 << 10;

/// A physical range in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub len: u64,
}

impl Range {
    /// One past the last byte, or `None` if that overflows.
    pub const fn end(&self) -> Option<u64> {
        self.start.checked_add(self.len)
    }
}

/// Written by the loader before the first CPU starts, never afterwards. Addresses are physical.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`super::VERSION`].
    pub version: u32,
    /// Number of the isle: the NUMA node its memory comes from.
    pub isle: u32,
    /// Number of CPUs: entries in `cpus`.
    pub cpu_count: u32,
    /// Number of application slots: entries in `apps` and in `channels`. Slot `i` runs on CPU `i`.
    pub app_slots: u32,
    /// Number of ranges used in `app_memory`.
    pub range_count: u32,
    /// Frequency of the time stamp counter in kHz.
    pub tsc_khz: u32,
    /// The isle's own PML4.
    pub page_table: u64,
    /// Where the image is; its lowest link address is at `image.start`.
    pub image: Range,
    /// Kernel part, whole.
    pub kernel_part: Range,
    /// Free memory for the isle kernel.
    pub kernel_pool: Range,
    /// [`super::control::Control`].
    pub control: u64,
    /// [`super::cpu::Cpu`] × `cpu_count`.
    pub cpus: u64,
    /// [`super::log::LogRing`].
    pub log: u64,
    /// [`super::app::App`] × `app_slots`.
    pub apps: u64,
    /// [`super::channel::Channel`] × `app_slots`.
    pub channels: u64,
    /// [`super::clock::Clock`]: one page, the only one in the kernel part that programs see (read-only).
    pub clock: u64,
    /// [`super::net::Net`].
    pub net: u64,
    /// What the isle is called on the network.
    pub addresses: Addresses,
    /// Time stamp counter when the isle was loaded: the log's times count from it.
    pub tsc_at_boot: u64,
    /// Application memory, 2 MiB aligned, ascending, not overlapping.
    pub app_memory: [Range; MAX_RANGES],
}

const _: () = assert!(core::mem::size_of::<BootInfo>() == 8 + 6 * 4 + 15 * 8 + 48 + MAX_RANGES * 16);
const _: () = assert!(core::mem::offset_of!(BootInfo, page_table) == 32);
