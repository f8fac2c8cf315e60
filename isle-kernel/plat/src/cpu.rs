// SPDX-License-Identifier: MIT OR Apache-2.0

//! One CPU: its registers after INIT, its own data, waiting.

use crate::info;
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_abi::cpu::Cpu;
use raw_cpuid::CpuId;
use x86_64::instructions::{hlt, interrupts};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// What each CPU finds at its GS base while in the kernel. Offsets are used in `trap.S`.
#[repr(C)]
pub(crate) struct Local {
    /// Stack pointer of [`crate::user::Context::run`] while in ring 3.
    pub kernel_rsp: u64,
    /// The context that runs in ring 3.
    pub context: u64,
    /// Where system-call entry keeps the user's stack pointer for a moment.
    pub scratch: u64,
    pub index: u64,
}

const IA32_PAT: u32 = 0x277;
const IA32_SPEC_CTRL: u32 = 0x48;
const IA32_XSS: u32 = 0xda0;
const IA32_TSC_AUX: u32 = 0xc000_0103;
const IA32_GS_BASE: u32 = 0xc000_0101;
const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;
const IA32_FS_BASE: u32 = 0xc000_0100;

/// Whether FSGSBASE instructions are there; the application is told so.
static FSGSBASE: AtomicBool = AtomicBool::new(false);

pub(crate) fn write_msr(msr: u32, value: u64) {
    // SAFETY: Callers in this crate write registers that exist, with values that keep the kernel running.
    unsafe { Msr::new(msr).write(value) }
}

pub(crate) fn read_msr(msr: u32) -> u64 {
    // SAFETY: As in `write_msr`; reading has no side effects for the registers read here.
    unsafe { Msr::new(msr).read() }
}

/// Sets everything that INIT leaves as it was, or in a state that doesn't suit (SDM vol. 3, table 10-1).
pub(crate) fn reset_state() {
    let id = CpuId::new();
    let features = id.get_feature_info();
    let extended = id.get_extended_feature_info();
    let has = |f: fn(&raw_cpuid::ExtendedFeatures) -> bool| extended.as_ref().is_some_and(f);
    let xsave = features.as_ref().is_some_and(|f| f.has_xsave());

    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::PAGE_GLOBAL;
    cr4.set(Cr4Flags::OSXSAVE, xsave);
    cr4.set(Cr4Flags::FSGSBASE, has(|e| e.has_fsgsbase()));
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, has(|e| e.has_smep()));
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, has(|e| e.has_smap()));
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, has(|e| e.has_umip()));
    FSGSBASE.store(has(|e| e.has_fsgsbase()), Ordering::Relaxed);
    // SAFETY: Paging stays as it is; what is turned on exists.
    unsafe {
        Cr0::write(
            Cr0Flags::PROTECTED_MODE_ENABLE
                | Cr0Flags::MONITOR_COPROCESSOR
                | Cr0Flags::EXTENSION_TYPE
                | Cr0Flags::NUMERIC_ERROR
                | Cr0Flags::WRITE_PROTECT
                | Cr0Flags::ALIGNMENT_MASK
                | Cr0Flags::PAGING,
        );
        Cr4::write(cr4);
        Efer::write(
            EferFlags::LONG_MODE_ENABLE
                | EferFlags::LONG_MODE_ACTIVE
                | EferFlags::NO_EXECUTE_ENABLE
                | EferFlags::SYSTEM_CALL_EXTENSIONS,
        );
    }
    if xsave {
        // All user state that the CPU has but protection keys, which nobody here manages.
        let supported = id.get_extended_state_info().map_or(3, |s| {
            u64::from(s.xcr0_supports_legacy_x87())
                | u64::from(s.xcr0_supports_sse_128()) << 1
                | u64::from(s.xcr0_supports_avx_256()) << 2
                | if s.xcr0_supports_avx512_opmask() { 0xe0 } else { 0 }
        });
        // SAFETY: Only what CPUID says there is.
        unsafe { XCr0::write(XCr0Flags::from_bits_truncate(supported | 1)) };
    }
    // Power-up default: WB, WT, UC-, UC, twice. Linux has another one, and INIT keeps it.
    write_msr(IA32_PAT, 0x0007_0406_0007_0406);
    write_msr(IA32_FS_BASE, 0);
    write_msr(IA32_KERNEL_GS_BASE, 0);
    // Leaf 7, EDX bit 26: IBRS and IBPB, hence IA32_SPEC_CTRL.
    if core::arch::x86_64::__cpuid_count(7, 0).edx & 1 << 26 != 0 {
        write_msr(IA32_SPEC_CTRL, 0);
    }
    if id.get_extended_state_info().is_some_and(|s| s.has_xsaves_xrstors()) {
        write_msr(IA32_XSS, 0);
    }
}

/// Makes `local` this CPU's own data.
pub(crate) fn set_local(local: &'static Local) {
    write_msr(IA32_GS_BASE, core::ptr::from_ref(local) as u64);
    if has_rdtscp() {
        // What rdtscp and rdpid tell an application: the number of the CPU.
        write_msr(IA32_TSC_AUX, local.index);
    }
}

fn has_rdtscp() -> bool {
    CpuId::new().get_extended_processor_and_feature_identifiers().is_some_and(|f| f.has_rdtscp())
}

/// Number of this CPU in the isle.
pub fn index() -> usize {
    let index: u64;
    // SAFETY: GS base is this CPU's `Local`, set before anything else runs.
    unsafe {
        core::arch::asm!("mov {}, gs:[24]", out(reg) index, options(nostack, readonly, preserves_flags));
    }
    index as usize
}

/// This CPU's identity and counters.
pub fn this() -> &'static Cpu {
    &info::cpus()[index()]
}

/// Adds one to a counter that only this CPU writes.
pub fn count(counter: &core::sync::atomic::AtomicU64) {
    // No lock prefix is needed for a single writer.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Sleeps until an interrupt, unless `awake` already says no. Interrupts are off before and after.
///
/// No wake-up is lost: an interrupt that comes after `awake` was asked is held back until the
/// CPU halts (`sti` takes effect after the next instruction).
pub fn wait_unless(awake: impl FnOnce() -> bool) {
    debug_assert!(!interrupts::are_enabled());
    if !awake() {
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
}

/// Takes interrupts that are pending, then goes on.
pub fn take_interrupts() {
    interrupts::enable();
    x86_64::instructions::nop();
    interrupts::disable();
}

/// Never does anything again.
pub fn stop_forever() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Sets the FS base of ring 3, where thread-local storage is. `None`: not an address of an application.
pub fn set_fs_base(address: u64) -> Option<()> {
    (address < crate::paging::USER_END).then(|| write_msr(IA32_FS_BASE, address))
}

/// Sets the GS base of ring 3.
pub fn set_gs_base(address: u64) -> Option<()> {
    (address < crate::paging::USER_END).then(|| write_msr(IA32_KERNEL_GS_BASE, address))
}

/// The FS and GS bases of ring 3.
pub fn user_bases() -> (u64, u64) {
    (read_msr(IA32_FS_BASE), read_msr(IA32_KERNEL_GS_BASE))
}

/// AT_HWCAP: EDX of CPUID leaf 1. AT_HWCAP2: bit 1 says that FSGSBASE works.
pub fn hardware_capabilities() -> (u64, u64) {
    // Leaf 1 exists everywhere.
    let edx = core::arch::x86_64::__cpuid(1).edx;
    (edx.into(), u64::from(FSGSBASE.load(Ordering::Relaxed)) << 1)
}

/// Puts x87, SSE and AVX state of ring 3 to what a new program expects.
pub fn reset_fpu() {
    /// An XSAVE area whose header says that all components are in their initial state.
    #[repr(C, align(64))]
    struct Area([u8; 832]);
    static INITIAL: Area = {
        let mut area = [0; 832];
        // Legacy region: FCW = 0x37f, MXCSR = 0x1f80.
        area[0] = 0x7f;
        area[1] = 0x03;
        area[24] = 0x80;
        area[25] = 0x1f;
        Area(area)
    };
    let xsave = Cr4::read().contains(Cr4Flags::OSXSAVE);
    // SAFETY: The kernel uses none of these registers. With an empty header, XRSTOR reads no
    // component beyond the legacy region and the header.
    unsafe {
        if xsave {
            core::arch::asm!("xrstor64 [{}]", in(reg) &INITIAL, in("eax") !0u32, in("edx") !0u32, options(nostack, readonly));
            core::arch::asm!("fxrstor64 [{}]", in(reg) &INITIAL, options(nostack, readonly));
        } else {
            core::arch::asm!("fxrstor64 [{}]", in(reg) &INITIAL, options(nostack, readonly));
        }
    }
}

/// A random number from the CPU, where it has a source.
pub fn hardware_random() -> Option<u64> {
    let has = CpuId::new().get_feature_info().is_some_and(|f| f.has_rdrand());
    has.then(|| {
        let value: u64;
        let ok: u8;
        // SAFETY: The instruction exists.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack));
        }
        (ok != 0).then_some(value)
    })?
}
