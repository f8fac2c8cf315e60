// SPDX-License-Identifier: MIT OR Apache-2.0

//! The ioctls of `/dev/hermit/isleX`, the proxy's door to an isle.
//!
//! Each open file is one application at most. Life: open, [`START_ISLE`] if the isle is to be started
//! by this file, [`ATTACH`], mmap the channel (offset 0) and application memory
//! ([`APP_MEMORY_OFFSET`]), [`RUN`], then `poll` for POLLIN and [`STATUS`] until it has ended. Closing the
//! file, by whatever death, ends the application; the last file to close stops an isle that was
//! started by [`START_ISLE`].
//!
//! Numbers are `_IO('H', n)`, `_IOR`, `_IOW` of <linux/ioctl.h>.

/// Application memory starts at this offset of the device for mmap(2).
pub const APP_MEMORY_OFFSET: u64 = 1 << 40;

const fn io(dir: u32, number: u32, size: usize) -> u32 {
    (dir << 30) | ((size as u32) << 16) | ((b'H' as u32) << 8) | number
}

/// Argument: [`StartIsle`]. Starts the isle on these CPUs; errors as of a write to `cpus`.
/// EBUSY also if it runs already.
pub const START_ISLE: u32 = io(1, 1, core::mem::size_of::<StartIsle>());
/// Argument: [`Attachment`], filled in. ENODEV: the isle doesn't run. EBUSY: all slots are in use.
pub const ATTACH: u32 = io(2, 2, core::mem::size_of::<Attachment>());
/// No argument. Lets the application begin (once per open file).
pub const RUN: u32 = io(0, 3, 0);
/// Argument: the index of a CPU on the isle, by value, as [`super::channel::Request::sleeping`] has it. Interrupts it.
/// EINVAL: there is no such CPU.
pub const KICK: u32 = io(0, 4, 0);
/// Argument: [`Status`], filled in. Clears the reason for POLLIN.
pub const STATUS: u32 = io(2, 5, core::mem::size_of::<Status>());
/// Argument: the signal's number, 1..=64, by value. Sends it to the application.
pub const SIGNAL: u32 = io(0, 6, 0);

/// Longest CPU list in bytes.
pub const CPULIST_LEN: usize = 1024;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct StartIsle {
    pub len: u32,
    pub cpus: [u8; CPULIST_LEN],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Attachment {
    /// [`super::VERSION`] of module and isle.
    pub version: u32,
    /// The slot, which is also the index of the CPU on the isle.
    pub slot: u32,
    /// Bytes to mmap at offset 0.
    pub channel_len: u64,
    /// Bytes to mmap at [`APP_MEMORY_OFFSET`]; in pages of 2 MiB where both addresses are multiples of that.
    pub app_memory_len: u64,
    /// Frequency of the time stamp counter in kHz.
    pub tsc_khz: u64,
}

/// Values of [`Status::state`].
pub mod state {
    /// Attached, not yet run.
    pub const ATTACHED: u32 = 0;
    pub const RUNNING: u32 = 1;
    /// `exit_status` is valid.
    pub const ENDED: u32 = 2;
    /// The isle was stopped by somebody else.
    pub const ISLE_STOPPED: u32 = 3;
    pub const ISLE_CRASHED: u32 = 4;
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// One of [`state`].
    pub state: u32,
    /// Wait status as of wait(2).
    pub exit_status: u32,
    /// Signals that the isle hasn't taken yet: bit `n - 1` for signal `n`.
    pub untaken_signals: u64,
}

const _: () = assert!(core::mem::size_of::<Status>() == 16);
const _: () = assert!(core::mem::size_of::<StartIsle>() == 4 + CPULIST_LEN);
const _: () = assert!(core::mem::size_of::<Attachment>() == 32);
