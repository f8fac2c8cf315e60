// SPDX-License-Identifier: MIT OR Apache-2.0

//! A virtual machine of the application's own instead of an isle (`HERMIT_ISLE=qemu`): the proxy loads the isle kernel into memory
//! that it shares with QEMU, as `hermit.ko` does on an isle. The contract is `hermit_abi::machine`.

mod clock;
mod door;
mod load;
mod network;
mod qemu;
mod settings;

pub use door::MachineDoor;
pub use qemu::note;
pub use settings::MachineSettings;

use crate::failure::Failure;
use crate::shm::{ChannelMap, Memory};
use crate::sys;
use clock::{Clocks, Offset};
use load::Loaded;
use rustix::fs::{FallocateFlags, fallocate};
use std::time::{Duration, Instant};

/// How long the isle kernel may take from the start of QEMU to its first word. Firmware comes first, on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shortest time in which the pace of the time stamp counter is measured.
const MEASURED: Duration = Duration::from_millis(10);

/// A machine whose isle kernel runs.
pub struct Machine {
    pub door: MachineDoor,
    pub memory: Memory,
    pub channel: ChannelMap,
    pub clocks: Clocks,
    pub tsc_khz: u32,
    /// How long QEMU and its firmware took to start the isle kernel.
    pub emulator: Duration,
}

impl Machine {
    /// Starts one.
    pub fn start(settings: &MachineSettings) -> Result<Self, Failure> {
        let before = sys::sample();
        let image = settings::read_image()?;
        let memory = load::memory(settings.memory)?;
        let began = Instant::now();
        while began.elapsed() < MEASURED {
            std::hint::spin_loop();
        }
        let tsc_khz = pace(before, sys::sample());
        let loaded = Loaded::new(&image.bytes, &memory, settings, tsc_khz)?;
        let started = Instant::now();
        let qemu = qemu::start(settings, &image.path, &memory)?;
        let cannot_map = |e| Failure::new(format!("can't map the memory of the virtual machine: {e}"));
        let app_memory = Memory::of_parts(&memory, &loaded.app_memory).map_err(cannot_map)?;
        let channel = ChannelMap::at(&memory, loaded.layout.channels).map_err(cannot_map)?;
        let door = MachineDoor::new(qemu, loaded);
        let [tsc, kernel_began] = door.wait_for_kernel(PATIENCE)?;
        let kernel_us = tsc.saturating_sub(kernel_began).saturating_mul(1000) / u64::from(tsc_khz.max(1));
        let emulator = started.elapsed().saturating_sub(Duration::from_micros(kernel_us));
        // Firmware may have left something.
        for &(offset, len) in door.app_memory() {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&memory, hole, offset, len as u64).map_err(|e| cannot_map(e.into()))?;
        }
        let clocks = Clocks::set(door.loaded(), Offset::of(tsc), tsc_khz);
        Ok(Self { door, memory: app_memory, channel, clocks, tsc_khz, emulator })
    }
}

/// Ticks of the time stamp counter in a millisecond.
fn pace(before: hermit_abi::clock::Sample, after: hermit_abi::clock::Sample) -> u32 {
    let ns = after.monotonic_ns.saturating_sub(before.monotonic_ns).max(1);
    let ticks = after.tsc.saturating_sub(before.tsc);
    u32::try_from(u128::from(ticks) * 1_000_000 / u128::from(ns)).unwrap_or(u32::MAX)
}
