// SPDX-License-Identifier: MIT OR Apache-2.0

//! The end of an isle: say why, stop every CPU, tell Linux.

use crate::{apic, cpu, log, shared};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use hermit_abi::control::{state, Control, REASON_LEN};

const NOBODY: u32 = u32::MAX;

/// The CPU that crashed first.
static CRASHED: AtomicU32 = AtomicU32::new(NOBODY);

/// True once the isle has crashed.
pub fn crashed() -> bool {
    CRASHED.load(Ordering::Acquire) != NOBODY
}

/// Ends the isle.
pub fn crash(reason: fmt::Arguments<'_>) -> ! {
    let me = cpu::try_current().map_or(NOBODY - 1, |c| c.index() as u32);
    if CRASHED.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Somebody was first, or this very function failed.
        cpu::halt();
    }
    if let Some(shared) = shared::try_get() {
        log::line(format_args!("the isle kernel has crashed: {reason}"));
        set_reason(shared.control, reason);
        shared.control.state.store(state::CRASHED, Ordering::SeqCst);
        for (index, other) in shared.cpus.iter().enumerate() {
            let running = other.state.load(Ordering::Relaxed) == hermit_abi::cpu::state::READY;
            if index as u32 != me && running {
                apic::send_nmi(other.apic_id.load(Ordering::Relaxed));
            }
        }
        for app in shared.apps {
            app.attention.store(1, Ordering::Release);
        }
        apic::ring_doorbell();
    }
    cpu::halt()
}

fn set_reason(control: &Control, reason: fmt::Arguments<'_>) {
    let mut text = log::Line::new();
    // A reason that is too long is cut.
    let _ = text.write_fmt(reason);
    let text = text.finish();
    let mut len = (text.len() - 1).min(REASON_LEN);
    while len > 0 && len < text.len() - 1 && text[len] & 0xc0 == 0x80 {
        len -= 1; // not within a character
    }
    for (to, from) in control.reason.iter().zip(&text[..len]) {
        to.store(*from, Ordering::Relaxed);
    }
    control.reason_len.store(len as u32, Ordering::Release);
}

/// Names of the exceptions (SDM vol. 3, table 6-1).
pub fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "NMI",
        3 => "breakpoint",
        4 => "overflow",
        5 => "BOUND range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack-segment fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point error",
        20 => "virtualization exception",
        21 => "control protection exception",
        29 => "VMM communication exception",
        30 => "security exception",
        _ => "exception",
    }
}

/// An exception in ring 0.
#[cfg(target_os = "none")]
pub(crate) fn fault(frame: &crate::user::Context) -> ! {
    let vector = frame.vector as u8;
    if !crashed() {
        if let Some(cpu) = cpu::try_current() {
            cpu::count(&cpu.shared().faults);
        }
        let f = frame;
        log::line(format_args!(
            "rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x} rbp {:x} rsp {:x}",
            f.rax, f.rbx, f.rcx, f.rdx, f.rsi, f.rdi, f.rbp, f.rsp
        ));
        log::line(format_args!(
            "r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x} rflags {:x} cs {:x}",
            f.r8, f.r9, f.r10, f.r11, f.r12, f.r13, f.r14, f.r15, f.rflags, f.cs
        ));
    }
    let address = x86_64::registers::control::Cr2::read_raw();
    crash(format_args!(
        "{} (vector {vector}) at {:#x}, error code {:#x}, address {address:#x}",
        exception_name(vector),
        frame.rip,
        frame.error
    ))
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => crash(format_args!("{} at {}:{}", info.message(), at.file(), at.line())),
        None => crash(format_args!("{}", info.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_at_a_character() {
        // SAFETY: all fields are integers, for which zero is valid.
        let control: Box<Control> = unsafe { Box::<Control>::new_zeroed().assume_init() };
        set_reason(&control, format_args!("x{}", "ä".repeat(200)));
        let len = control.reason_len.load(Ordering::Relaxed) as usize;
        let bytes: Vec<u8> = control.reason[..len].iter().map(|b| b.load(Ordering::Relaxed)).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("x{}", "ä".repeat(95)));
        set_reason(&control, format_args!("short"));
        assert_eq!(control.reason_len.load(Ordering::Relaxed), 5);
    }
}
