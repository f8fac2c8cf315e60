// SPDX-License-Identifier: MIT OR Apache-2.0

//! Checked access to the boot information and to what is shared with the module.

use core::sync::atomic::{AtomicPtr, Ordering};
use hermit_abi::app::App;
use hermit_abi::boot::{BootInfo, Range, DIRECT_MAP, MAGIC};
use hermit_abi::channel::Channel;
use hermit_abi::control::Control;
use hermit_abi::cpu::Cpu;
use hermit_abi::log::LogRing;

static BOOT_INFO: AtomicPtr<BootInfo> = AtomicPtr::new(core::ptr::null_mut());

/// # Safety
///
/// `boot_info` is the loader's, all its addresses are right, and it stays as it is.
pub(crate) unsafe fn init(boot_info: *const BootInfo) {
    // SAFETY: By the caller's promise.
    let info = unsafe { &*boot_info };
    if info.magic != MAGIC || info.version != hermit_abi::VERSION {
        // Nothing can be trusted, not even where the log is.
        crate::cpu::stop_forever();
    }
    BOOT_INFO.store(boot_info.cast_mut(), Ordering::Release);
}

/// What the loader told.
pub fn boot_info() -> &'static BootInfo {
    // SAFETY: Set by `init` before anything else runs, never changed, never freed.
    unsafe { &*BOOT_INFO.load(Ordering::Acquire) }
}

/// Where the direct map has a physical address.
pub(crate) fn direct(address: u64) -> *mut u8 {
    (DIRECT_MAP + address) as *mut u8
}

/// Orders to this isle and its state.
pub fn control() -> &'static Control {
    // SAFETY: The loader put one there; it consists of atomics.
    unsafe { &*direct(boot_info().control).cast() }
}

/// All CPUs of the isle.
pub fn cpus() -> &'static [Cpu] {
    let info = boot_info();
    // SAFETY: As above; there are `cpu_count` of them.
    unsafe { core::slice::from_raw_parts(direct(info.cpus).cast(), info.cpu_count as usize) }
}

/// All application slots.
pub fn apps() -> &'static [App] {
    let info = boot_info();
    // SAFETY: As above; there are `app_slots` of them.
    unsafe { core::slice::from_raw_parts(direct(info.apps).cast(), info.app_slots as usize) }
}

/// The channels of all slots.
pub fn channels() -> &'static [Channel] {
    let info = boot_info();
    // SAFETY: As above; there are `app_slots` of them.
    unsafe { core::slice::from_raw_parts(direct(info.channels).cast(), info.app_slots as usize) }
}

pub(crate) fn log_ring() -> &'static LogRing {
    // SAFETY: As above.
    unsafe { &*direct(boot_info().log).cast() }
}

/// Application memory.
pub fn app_memory() -> &'static [Range] {
    let info = boot_info();
    info.app_memory.get(..info.range_count as usize).unwrap_or(&[])
}
