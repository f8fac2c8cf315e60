// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Linux shares with the isle: found once at boot, then plain references to atomics.

use core::sync::atomic::Ordering;
use hermit_abi::app::App;
use hermit_abi::boot::BootInfo;
use hermit_abi::channel::Channel;
use hermit_abi::clock::Clock;
use hermit_abi::control::{doorbell_parts, Control};
use hermit_abi::cpu::Cpu;
use hermit_abi::log::LogRing;
use hermit_abi::machine::SERIAL_DOORBELL;
use hermit_abi::net::Net;
use spin::Once;

/// All shared structures.
#[derive(Clone, Copy)]
pub struct Shared {
    pub boot: &'static BootInfo,
    pub control: &'static Control,
    pub cpus: &'static [Cpu],
    pub log: &'static LogRing,
    pub apps: &'static [App],
    pub channels: &'static [Channel],
    pub clock: &'static Clock,
    pub net: &'static Net,
}

static SHARED: Once<Shared> = Once::new();

/// The shared structures; `None` before CPU 0 has found them (and on the host).
pub fn try_get() -> Option<&'static Shared> {
    SHARED.get()
}

/// The shared structures.
///
/// # Panics
///
/// Before CPU 0 has found them.
pub fn get() -> &'static Shared {
    try_get().expect("the shared structures are found first")
}

/// Whether this is a virtual machine of the kernel's own, see `abi/machine.rs`.
pub fn is_machine() -> bool {
    try_get().is_some_and(|s| doorbell_parts(s.control.doorbell.load(Ordering::Acquire)).0 == SERIAL_DOORBELL)
}

/// The clock page; on the host, one whose clocks stand still.
pub fn clock() -> &'static Clock {
    #[cfg(not(target_os = "none"))]
    if try_get().is_none() {
        return for_test().clock;
    }
    get().clock
}

/// Structures of a test, with one CPU and slot: all zero.
#[cfg(not(target_os = "none"))]
pub fn for_test() -> Shared {
    fn zeroed<T>() -> &'static T {
        // SAFETY: only used for structures made of integers and atomics, for which zero is valid.
        Box::leak(unsafe { Box::<T>::new_zeroed().assume_init() })
    }
    Shared {
        boot: zeroed(),
        control: zeroed(),
        cpus: core::slice::from_ref(zeroed()),
        log: zeroed(),
        apps: core::slice::from_ref(zeroed()),
        channels: core::slice::from_ref(zeroed()),
        clock: zeroed(),
        net: zeroed(),
    }
}

/// Takes the loader's word for where everything is.
///
/// # Safety
///
/// `boot` points to a [`BootInfo`] as `hermit_abi::boot` describes it, in the direct map, and
/// this is the only call.
#[cfg(target_os = "none")]
pub unsafe fn init(boot: *const BootInfo) -> Result<&'static Shared, &'static str> {
    use crate::phys::to_virt;
    use core::slice::from_raw_parts;

    // SAFETY: the caller vouches for it, and nobody writes it after the first CPU has started.
    let boot = unsafe { &*boot };
    if boot.magic != hermit_abi::boot::MAGIC || boot.version != hermit_abi::VERSION {
        return Err("boot information of another version");
    }
    let (cpus, slots) = (boot.cpu_count as usize, boot.app_slots as usize);
    // SAFETY: the loader made these structures, zeroed, in the kernel part; they stay for good; all
    // fields that anybody writes are atomics.
    Ok(SHARED.call_once(|| unsafe {
        Shared {
            boot,
            control: &*to_virt::<Control>(boot.control),
            cpus: from_raw_parts(to_virt::<Cpu>(boot.cpus), cpus),
            log: &*to_virt::<LogRing>(boot.log),
            apps: from_raw_parts(to_virt::<App>(boot.apps), slots),
            channels: from_raw_parts(to_virt::<Channel>(boot.channels), slots),
            clock: &*to_virt::<Clock>(boot.clock),
            net: &*to_virt::<Net>(boot.net),
        }
    }))
}
