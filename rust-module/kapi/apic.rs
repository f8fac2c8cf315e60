// SPDX-License-Identifier: GPL-2.0

//! Interrupts to one CPU, named by its APIC id: INIT, SIPI, and a fixed vector.
//!
//! C header: `arch/x86/include/asm/apic.h`. Delivery modes: SDM vol. 3, "Interrupt Command Register".

use kernel::bindings;

const DELIVERY_FIXED: u32 = 0 << 8;
const DELIVERY_INIT: u32 = 5 << 8;
const DELIVERY_STARTUP: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;

extern "C" {
    fn hermit_helper_icr_write(low: u32, apicid: u32);
    fn hermit_helper_apic_is_overridden() -> bool;
}

/// The id of a local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApicId(u32);

impl ApicId {
    /// The APIC id of a CPU that is present, by Linux's number.
    pub fn of_cpu(cpu: u32) -> Option<Self> {
        // SAFETY: Takes any number; answers BAD_APICID for CPUs that aren't there.
        let id = unsafe { bindings::default_cpu_present_to_apicid(cpu as _) } as u32;
        // BAD_APICID is 0xffff or 0xffffffff, none of which names one CPU.
        (id & 0xffff != 0xffff).then_some(Self(id))
    }

    pub fn raw(self) -> u32 {
        self.0
    }

    fn send(self, low: u32) {
        // SAFETY: The helper writes the interrupt command register with pre-emption off. `low` names a
        // destination by id, never by shorthand (bits 18 and 19 are clear).
        unsafe { hermit_helper_icr_write(low, self.0) }
    }

    /// Stops the CPU and makes it wait for a SIPI.
    pub fn send_init(self) {
        self.send(DELIVERY_INIT | LEVEL | ASSERT);
        self.send(DELIVERY_INIT | LEVEL);
    }

    /// Starts a CPU that waits for it, in real mode, at this page below 1 MiB.
    pub fn send_startup(self, page: u8) {
        self.send(DELIVERY_STARTUP | ASSERT | u32::from(page));
    }

    /// Interrupts the CPU.
    pub fn send_fixed(self, vector: u8) {
        self.send(DELIVERY_FIXED | ASSERT | u32::from(vector));
    }
}

/// Whether the platform starts CPUs in another way than by INIT and SIPI (SEV-ES and the like).
pub fn is_overridden() -> bool {
    // SAFETY: Reads two pointers that are set once at boot.
    unsafe { hermit_helper_apic_is_overridden() }
}

/// While one of these lives, Linux sends no interrupt by shorthand, which would reach lent CPUs.
pub struct NoShorthand(());

impl NoShorthand {
    pub fn new() -> Self {
        // SAFETY: Called from process context with no locks held; undone in `drop`.
        unsafe { bindings::apic_hold_ipi_shorthand() };
        Self(())
    }
}

impl Drop for NoShorthand {
    fn drop(&mut self) {
        // SAFETY: Pairs with `new`.
        unsafe { bindings::apic_release_ipi_shorthand() };
    }
}
