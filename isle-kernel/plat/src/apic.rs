// SPDX-License-Identifier: MIT OR Apache-2.0

//! The local APIC, in whatever mode Linux left it: registers in memory (xAPIC) or in MSRs (x2APIC).
//!
//! Its timer counts once and is only set where somebody waits for it: there is no tick.
//!
//! Interrupts are sent to one APIC id, never to a shorthand: Linux's own CPUs are out there.

use core::sync::atomic::{AtomicBool, Ordering};
use hermit_abi::control::{doorbell_parts, vector, NO_DOORBELL};
#[cfg(target_os = "none")]
use hermit_abi::machine::SERIAL_DOORBELL;

/// Delivery mode NMI, level asserted, in the interrupt command register (SDM vol. 3, 10.6.1).
const ICR_NMI: u32 = 0x4400;
/// Delivery mode fixed, level asserted.
const ICR_FIXED: u32 = 0x4000;

/// The vector of this CPU's timer.
const TIMER: u8 = 0xef;

/// Interrupts a CPU of the isle, which then looks whether there is something to do.
pub fn kick(cpu: usize) {
    if let Some(cpu) = crate::shared::try_get().and_then(|s| s.cpus.get(cpu)) {
        send(cpu.apic_id.load(Ordering::Relaxed), ICR_FIXED | u32::from(vector::KICK));
    }
}

/// Vectors that were seen without being asked for, to log each once.
static SEEN: [AtomicBool; 256] = [const { AtomicBool::new(false) }; 256];

/// Rings Linux's doorbell, if there is one.
pub fn ring_doorbell() {
    let Some(shared) = crate::shared::try_get() else {
        return;
    };
    ring(shared.control.doorbell.load(Ordering::Acquire));
}

/// Rings Linux's doorbell for packets, if there is one.
pub fn ring_net_doorbell() {
    if let Some(net) = crate::shared::try_get().map(|s| s.net) {
        ring(net.doorbell.load(Ordering::Relaxed));
    }
}

fn ring(doorbell: u64) {
    let (id, vector) = doorbell_parts(doorbell);
    // Vectors below 32 are exceptions; such a doorbell would be a bug on the other side.
    #[cfg(target_os = "none")]
    if id == SERIAL_DOORBELL {
        return crate::machine::serial::ring();
    }
    if id != NO_DOORBELL && (32..256).contains(&vector) {
        send(id, ICR_FIXED | vector);
    }
}

/// Interrupts one CPU of the isle for good: only when it should look at [`crate::crash::crashed`].
pub fn send_nmi(id: u32) {
    send(id, ICR_NMI);
}

/// True if this CPU's timer has interrupted it since the last time that this was asked.
pub fn take_timer_expired() -> bool {
    crate::cpu::try_current()
        .is_some_and(|c| c.timer_expired.load(Ordering::Relaxed) && c.timer_expired.swap(false, Ordering::Relaxed))
}

/// Whether the proxy has sent bytes to a virtual machine.
fn is_serial(number: u8) -> bool {
    #[cfg(target_os = "none")]
    return number == crate::machine::serial::VECTOR;
    #[cfg(not(target_os = "none"))]
    return number == 0;
}

/// Deals with an interrupt that was taken.
pub fn interrupt(number: u8) {
    let shared = crate::cpu::current().shared();
    crate::cpu::count(&shared.interrupts);
    if number == vector::SPURIOUS {
        return; // no end of interrupt: SDM vol. 3, 10.9
    }
    end_of_interrupt();
    if number == TIMER {
        crate::cpu::current().timer_expired.store(true, Ordering::Relaxed);
    } else if is_serial(number) {
        #[cfg(target_os = "none")]
        crate::machine::serial::interrupt();
    } else if number != vector::KICK {
        crate::cpu::count(&shared.unexpected);
        if !SEEN[usize::from(number)].swap(true, Ordering::Relaxed) {
            crate::log::line(format_args!("unexpected interrupt, vector {number:#x} (logged once)"));
        }
    }
}

#[cfg(not(target_os = "none"))]
mod on_host {
    /// Nobody is there.
    pub fn send(_: u32, _: u32) {}

    /// Nothing to end.
    pub fn end_of_interrupt() {}

    /// There is no timer.
    pub fn set_timer(_: u64) {}

    /// There is no timer.
    pub fn stop_timer() {}
}

#[cfg(not(target_os = "none"))]
pub use on_host::*;

#[cfg(target_os = "none")]
mod on_isle {
    use crate::{features, kmap};
    use core::sync::atomic::{AtomicU64, Ordering};
    use hermit_abi::control::vector;
    use spin::Once;
    use x86_64::registers::model_specific::Msr;

    const APIC_BASE: u32 = 0x1b;
    const ENABLED: u64 = 1 << 11;
    const EXTENDED: u64 = 1 << 10;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// Register offsets in memory (SDM vol. 3, table 10-1).
    mod register {
        pub const VERSION: u32 = 0x30;
        pub const TASK_PRIORITY: u32 = 0x80;
        pub const END_OF_INTERRUPT: u32 = 0xb0;
        pub const SPURIOUS: u32 = 0xf0;
        pub const CMCI: u32 = 0x2f0;
        pub const ICR_LOW: u32 = 0x300;
        pub const ICR_HIGH: u32 = 0x310;
        pub const TIMER: u32 = 0x320;
        pub const THERMAL: u32 = 0x330;
        pub const LAST_LVT: u32 = 0x370;
        pub const TIMER_COUNT: u32 = 0x380;
        pub const TIMER_LEFT: u32 = 0x390;
        pub const TIMER_DIVIDE: u32 = 0x3e0;
    }

    const MASKED: u32 = 1 << 16;
    const DELIVERY_PENDING: u32 = 1 << 12;

    /// Divide configuration register: by 16 (SDM vol. 3, 10.5.4).
    const DIVIDE_BY_16: u32 = 0b0011;

    /// The timer's ticks in 1024 microseconds.
    static TICKS_PER_US: AtomicU64 = AtomicU64::new(1 << 10);

    /// Polls before an interrupt that isn't accepted is taken for lost (a fraction of a second).
    const PATIENCE: u32 = 1_000_000;

    #[derive(Clone, Copy)]
    enum Apic {
        /// Where its registers are mapped; the same address for all CPUs, each sees its own.
        Memory(u64),
        Msrs,
    }

    static APIC: Once<Apic> = Once::new();

    impl Apic {
        fn read(self, register: u32) -> u32 {
            match self {
                // SAFETY: a register of this CPU's APIC, mapped uncached for good.
                Self::Memory(base) => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
                // SAFETY: x2APIC is on, so the MSR is there (SDM vol. 3, table 10-6).
                Self::Msrs => unsafe { Msr::new(0x800 + (register >> 4)).read() as u32 },
            }
        }

        fn write(self, register: u32, value: u32) {
            match self {
                // SAFETY: as for `read`.
                Self::Memory(base) => unsafe {
                    ((base + u64::from(register)) as *mut u32).write_volatile(value);
                },
                // SAFETY: as for `read`.
                Self::Msrs => unsafe { Msr::new(0x800 + (register >> 4)).write(value.into()) },
            }
        }
    }

    /// Finds the APIC's mode and maps its registers. Only on CPU 0, when kernel mappings can be made.
    pub fn find() -> Result<(), &'static str> {
        // SAFETY: the register is there on every 64-bit processor.
        let base = unsafe { Msr::new(APIC_BASE).read() };
        if base & ENABLED == 0 {
            return Err("the local APIC is switched off");
        }
        let apic = if base & EXTENDED != 0 {
            Apic::Msrs
        } else {
            Apic::Memory(kmap::map_device(base & ADDRESS, 1).ok_or("no memory to map the APIC")?)
        };
        APIC.call_once(|| apic);
        Ok(())
    }

    /// Enables this CPU's APIC with everything but interrupts from other CPUs masked.
    pub fn set_up() {
        let Some(&apic) = APIC.get() else { return };
        if matches!(apic, Apic::Memory(_)) {
            // SAFETY: enables what CPU 0 found enabled; INIT doesn't change it.
            unsafe {
                let base = Msr::new(APIC_BASE).read();
                Msr::new(APIC_BASE).write(base | ENABLED);
            }
        }
        apic.write(register::SPURIOUS, 0x100 | u32::from(vector::SPURIOUS));
        apic.write(register::TASK_PRIORITY, 0);
        for lvt in (register::TIMER..=register::LAST_LVT).step_by(0x10) {
            // Only the thermal sensor's entry is younger than x86-64 (SDM vol. 3, 10.4.8 and 10.5.1).
            let entries = (apic.read(register::VERSION) >> 16) & 0xff;
            if lvt != register::THERMAL || entries >= 5 {
                apic.write(lvt, MASKED);
            }
        }
        if features::get().cmci {
            apic.write(register::CMCI, MASKED);
        }
        apic.write(register::TIMER_COUNT, 0);
        apic.write(register::TIMER_DIVIDE, DIVIDE_BY_16);
        apic.write(register::TIMER, u32::from(super::TIMER));
    }

    /// Finds the timer's frequency, by the time stamp counter. Only on CPU 0, once its APIC is set up.
    pub fn calibrate() {
        const TRIES: usize = 3;
        let (Some(&apic), Some(shared)) = (APIC.get(), crate::shared::try_get()) else { return };
        let ticks_of_tsc = u64::from(shared.boot.tsc_khz) / 2;
        apic.write(register::TIMER, MASKED | u32::from(super::TIMER));
        // Whatever disturbs a try makes it longer than it says, never shorter.
        let measure = || {
            let start = crate::time::tsc();
            apic.write(register::TIMER_COUNT, u32::MAX);
            let mut now = start;
            while now.wrapping_sub(start) < ticks_of_tsc {
                core::hint::spin_loop();
                now = crate::time::tsc();
            }
            let ticks = u64::from(u32::MAX - apic.read(register::TIMER_LEFT));
            (now.wrapping_sub(start), ticks)
        };
        let best = (0..TRIES).map(|_| measure()).min().unwrap_or((1, 1));
        apic.write(register::TIMER_COUNT, 0);
        apic.write(register::TIMER, u32::from(super::TIMER));
        let per_us = best.1.saturating_mul(shared.boot.tsc_khz.into()) << 10;
        TICKS_PER_US.store((per_us / best.0.max(1) / 1000).max(1), Ordering::Relaxed);
    }

    /// Interrupts this CPU after so many nanoseconds, about; sooner only if that is longer than the timer can count.
    pub fn set_timer(ns: u64) {
        let Some(apic) = APIC.get() else { return };
        let per_us = u128::from(TICKS_PER_US.load(Ordering::Relaxed));
        let ticks = (u128::from(ns) * per_us / 1000) >> 10;
        apic.write(register::TIMER_COUNT, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
    }

    /// Takes back what [`set_timer`] said.
    pub fn stop_timer() {
        if let Some(apic) = APIC.get() {
            apic.write(register::TIMER_COUNT, 0);
        }
    }

    /// Tells the APIC that the interrupt it delivered is dealt with.
    pub fn end_of_interrupt() {
        if let Some(apic) = APIC.get() {
            apic.write(register::END_OF_INTERRUPT, 0);
        }
    }

    /// Sends an interrupt to one physical APIC id.
    pub fn send(id: u32, command: u32) {
        match APIC.get() {
            None => {}
            Some(Apic::Msrs) => {
                // Unlike in memory, writes to the MSR may overtake earlier stores (SDM vol. 3, 10.12.3).
                // SAFETY: fences and the interrupt command register of the x2APIC.
                unsafe {
                    core::arch::asm!("mfence", "lfence", options(nostack));
                    Msr::new(0x830).write((u64::from(id) << 32) | u64::from(command));
                }
            }
            Some(apic @ Apic::Memory(_)) => {
                if id > 0xff {
                    return; // can't be reached from here
                }
                let mut patience = PATIENCE;
                while apic.read(register::ICR_LOW) & DELIVERY_PENDING != 0 && patience > 0 {
                    core::hint::spin_loop();
                    patience -= 1;
                }
                apic.write(register::ICR_HIGH, id << 24);
                apic.write(register::ICR_LOW, command);
            }
        }
    }
}

#[cfg(target_os = "none")]
pub use on_isle::{calibrate, end_of_interrupt, find, send, set_timer, set_up, stop_timer};
