// SPDX-License-Identifier: GPL-2.0

//! CPUs of Linux: which there are, and taking them off line and on line.
//!
//! C headers: `linux/cpu.h`, `linux/cpuhotplug.h`, `linux/cpumask.h`.

use kernel::bindings;
use kernel::error::{to_result, Result};
use kernel::prelude::*;

extern "C" {
    fn hermit_helper_cpu_possible(cpu: u32) -> bool;
    fn hermit_helper_cpu_online(cpu: u32) -> bool;
    fn hermit_helper_this_cpu() -> u32;
}

/// Most CPUs that this kernel can have.
pub const NR_CPUS: usize = bindings::NR_CPUS as usize;

pub fn is_possible(cpu: u32) -> bool {
    // SAFETY: Takes any number.
    unsafe { hermit_helper_cpu_possible(cpu) }
}

pub fn is_online(cpu: u32) -> bool {
    // SAFETY: Takes any number.
    unsafe { hermit_helper_cpu_online(cpu) }
}

/// The CPU that this runs on, or ran on a moment ago.
pub fn this_cpu() -> u32 {
    // SAFETY: Just tells; what is made of it is a hint.
    unsafe { hermit_helper_this_cpu() }
}

/// Takes a CPU off line.
pub fn remove(cpu: u32) -> Result {
    // SAFETY: Process context, no locks held; the number is checked by the callee.
    to_result(unsafe { bindings::remove_cpu(cpu) })
}

/// Brings a CPU on line.
pub fn add(cpu: u32) -> Result {
    // SAFETY: As in `remove`.
    to_result(unsafe { bindings::add_cpu(cpu) })
}

/// Asks before a CPU comes on line, whoever wants that. Undone in `Drop`.
pub struct StartupHook(bindings::cpuhp_state);

impl StartupHook {
    /// `may_start` returns 0 or a negative errno; it is called in process context, before the CPU is sent INIT.
    pub fn new(name: &'static CStr, may_start: extern "C" fn(u32) -> i32) -> Result<Self> {
        // SAFETY: Name and callback are static; `drop` removes the state before the module's text goes.
        let state = unsafe {
            bindings::__cpuhp_setup_state(
                bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN,
                name.as_char_ptr(),
                false,
                Some(may_start),
                None,
                false,
            )
        };
        to_result(state.min(0))?;
        Ok(Self(state as bindings::cpuhp_state))
    }
}

impl Drop for StartupHook {
    fn drop(&mut self) {
        // SAFETY: The state was set up in `new`.
        unsafe { bindings::__cpuhp_remove_state(self.0, false) };
    }
}
