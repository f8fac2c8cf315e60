// SPDX-License-Identifier: MIT OR Apache-2.0

//! Control registers and model-specific registers, set from scratch on every CPU.
//!
//! INIT resets CR0, CR4 and EFER but leaves what Linux had in PAT, XCR0, STAR, LSTAR, FMASK, SYSENTER_*, TSC_AUX,
//! SPEC_CTRL, XSS and PKRU (SDM vol. 3, table 10-1). The time stamp counter and TSC_ADJUST are Linux's: never written.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(target_os = "none")]
use hermit_abi::clock::getcpu;
use raw_cpuid::CpuId;
use spin::Once;

/// State components that applications may use: x87, SSE, AVX, AVX-512 (not PKU, not AMX).
const XCR0_WANTED: u64 = 0b1110_0111;

/// What the CPUs offer, as far as the kernel cares. All CPUs of a machine are taken to be alike.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_os = "none"), expect(dead_code, reason = "nothing is set on the host"))]
pub struct Features {
    pub xsave: bool,
    pub xsaves: bool,
    /// What XCR0 is set to.
    pub xcr0: u64,
    pub fsgsbase: bool,
    /// REP STOSB and REP MOVSB are fast.
    pub erms: bool,
    pub smep: bool,
    pub smap: bool,
    pub umip: bool,
    pub rdtscp: bool,
    pub rdpid: bool,
    pub spec_ctrl: bool,
    pub mca: bool,
    /// Split locks can be made to fault.
    pub split_lock: bool,
    /// Corrected machine checks raise an interrupt, with an entry of its own in the local APIC.
    pub cmci: bool,
    /// Page tables may have pages of 1 GiB.
    pub huge_pages: bool,
    /// CPUID.1:EDX, which is AT_HWCAP.
    pub hwcap: u32,
}

static FEATURES: Once<Features> = Once::new();

/// What the CPUs offer.
pub fn get() -> &'static Features {
    FEATURES.call_once(detect)
}

fn detect() -> Features {
    let id = CpuId::new();
    let basic = id.get_feature_info();
    let extended = id.get_extended_feature_info();
    let more = id.get_extended_processor_and_feature_identifiers();
    let state = id.get_extended_state_info();
    let leaf = |leaf, sub| raw_cpuid::native_cpuid::cpuid_count(leaf, sub);
    let has7 = leaf(0, 0).eax >= 7;
    let offered = state.as_ref().map_or(0, |_| {
        let d = leaf(0xd, 0);
        u64::from(d.eax) | (u64::from(d.edx) << 32)
    });
    let mut xcr0 = offered & XCR0_WANTED;
    if xcr0 & 0b1110_0000 != 0b1110_0000 || xcr0 & 0b100 == 0 {
        // AVX-512 comes whole and with AVX, or not at all (SDM vol. 1, 13.3).
        xcr0 &= 0b111;
    }
    Features {
        xsave: basic.as_ref().is_some_and(|f| f.has_xsave()),
        xsaves: state.is_some_and(|s| s.has_xsaves_xrstors()),
        xcr0,
        erms: extended.as_ref().is_some_and(|f| f.has_rep_movsb_stosb()),
        fsgsbase: extended.as_ref().is_some_and(|f| f.has_fsgsbase()),
        smep: extended.as_ref().is_some_and(|f| f.has_smep()),
        smap: extended.as_ref().is_some_and(|f| f.has_smap()),
        umip: extended.as_ref().is_some_and(|f| f.has_umip()),
        rdtscp: more.as_ref().is_some_and(|f| f.has_rdtscp()),
        huge_pages: more.is_some_and(|f| f.has_1gib_pages()),
        rdpid: has7 && leaf(7, 0).ecx & (1 << 22) != 0,
        spec_ctrl: (has7 && leaf(7, 0).edx & (1 << 26) != 0) || has_amd_spec_ctrl(),
        mca: basic.as_ref().is_some_and(|f| f.has_mca()),
        split_lock: has7 && leaf(7, 0).edx & (1 << 30) != 0 && has_split_lock_detection(),
        cmci: basic.as_ref().is_some_and(|f| f.has_mca()) && has_cmci(),
        hwcap: leaf(1, 0).edx,
    }
}

/// AMD's way to say that there is SPEC_CTRL: IBRS or STIBP.
fn has_amd_spec_ctrl() -> bool {
    let leaf = |leaf| raw_cpuid::native_cpuid::cpuid_count(leaf, 0);
    leaf(0x8000_0000).eax >= 0x8000_0008 && leaf(0x8000_0008).ebx & (0b11 << 14) != 0
}

/// IA32_CORE_CAPABILITIES, bit 5 (SDM vol. 4). The CPU has to have that register.
fn has_split_lock_detection() -> bool {
    #[cfg(target_os = "none")]
    {
        // SAFETY: CPUID says that the register is there.
        let capabilities = unsafe { x86_64::registers::model_specific::Msr::new(0xcf).read() };
        capabilities & (1 << 5) != 0
    }
    #[cfg(not(target_os = "none"))]
    false
}

/// IA32_MCG_CAP.MCG_CMCI_P (SDM vol. 3, 16.3.1.1). The CPU has to have MCA.
fn has_cmci() -> bool {
    #[cfg(target_os = "none")]
    {
        // SAFETY: the register comes with MCA.
        let capabilities = unsafe { x86_64::registers::model_specific::Msr::new(0x179).read() };
        capabilities & (1 << 10) != 0
    }
    #[cfg(not(target_os = "none"))]
    false
}

/// How programs may ask for the CPU that they run on.
#[cfg(target_os = "none")]
pub fn getcpu() -> u32 {
    match get() {
        Features { rdtscp: true, rdpid: true, .. } => getcpu::RDPID,
        Features { rdtscp: true, .. } => getcpu::RDTSCP,
        _ => getcpu::SYSCALL,
    }
}

/// What /proc/cpuinfo says of each CPU (proc_cpuinfo(5)); of the flags those that programs look for.
pub fn model() -> String {
    let id = CpuId::new();
    let vendor = id.get_vendor_info();
    let brand = id.get_processor_brand_string();
    let mut flags = Vec::new();
    let mut signature = (0, 0, 0);
    if let Some(f) = id.get_feature_info() {
        signature = (f.family_id(), f.model_id(), f.stepping_id());
        let all = [
            (f.has_fpu(), "fpu"),
            (f.has_tsc(), "tsc"),
            (f.has_cmov(), "cmov"),
            (f.has_mmx(), "mmx"),
            (f.has_fxsave_fxstor(), "fxsr"),
            (f.has_sse(), "sse"),
            (f.has_sse2(), "sse2"),
            (f.has_sse3(), "pni"),
            (f.has_ssse3(), "ssse3"),
            (f.has_sse41(), "sse4_1"),
            (f.has_sse42(), "sse4_2"),
            (f.has_popcnt(), "popcnt"),
            (f.has_aesni(), "aes"),
            (f.has_pclmulqdq(), "pclmulqdq"),
            (f.has_xsave(), "xsave"),
            (f.has_avx(), "avx"),
            (f.has_f16c(), "f16c"),
            (f.has_fma(), "fma"),
            (f.has_rdrand(), "rdrand"),
        ];
        flags.extend(all.iter().filter(|(on, _)| *on).map(|(_, name)| *name));
    }
    if let Some(f) = id.get_extended_feature_info() {
        let all = [
            (f.has_fsgsbase(), "fsgsbase"),
            (f.has_bmi1(), "bmi1"),
            (f.has_avx2(), "avx2"),
            (f.has_bmi2(), "bmi2"),
            (f.has_rep_movsb_stosb(), "erms"),
            (f.has_avx512f(), "avx512f"),
            (f.has_rdseed(), "rdseed"),
            (f.has_adx(), "adx"),
            (f.has_sha(), "sha_ni"),
        ];
        flags.extend(all.iter().filter(|(on, _)| *on).map(|(_, name)| *name));
    }
    let mhz = crate::shared::try_get().map_or(0, |s| s.boot.tsc_khz) / 1000;
    let (family, model, stepping) = signature;
    format!(
        "vendor_id\t: {}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {}\nstepping\t: {stepping}\ncpu MHz\t\t: {mhz}.000\nflags\t\t: {}\n",
        vendor.as_ref().map_or("unknown", |v| v.as_str()),
        brand.as_ref().map_or("unknown", |b| b.as_str().trim()),
        flags.join(" ")
    )
}

/// AT_HWCAP and AT_HWCAP2 of applications.
pub fn hwcap() -> (u64, u64) {
    let features = get();
    // Bit 1 of AT_HWCAP2: FSGSBASE may be used (Linux, Documentation/arch/x86/x86_64/fsgs.rst).
    (features.hwcap.into(), u64::from(features.fsgsbase) << 1)
}

/// Makes SMAP effective again: ring 3 may have come with its AC flag set, which interrupts don't clear.
pub fn forbid_user_access() {
    #[cfg(target_os = "none")]
    if get().smap {
        // SAFETY: the CPU has the instruction; the kernel never accesses pages of ring 3.
        unsafe { core::arch::asm!("clac", options(nomem, nostack)) }
    }
}

/// Says that the machine check that is being dealt with is over: INIT doesn't, and with this left set, the next one
/// on this CPU would shut the machine down.
#[cfg(target_os = "none")]
pub fn end_machine_check() {
    const MCG_STATUS: u32 = 0x17a;
    if FEATURES.get().is_some_and(|f| f.mca) {
        // SAFETY: the register comes with MCA.
        unsafe { x86_64::registers::model_specific::Msr::new(MCG_STATUS).write(0) }
    }
}

#[cfg(target_os = "none")]
mod set {
    use super::get;
    use crate::gdt::{KERNEL_CODE, USER_BASE};
    use hermit_abi::clock::tsc_aux;
    use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
    use x86_64::registers::model_specific::Msr;

    const TSC_AUX: u32 = 0xc000_0103;
    const PAT: u32 = 0x277;
    const EFER: u32 = 0xc000_0080;
    const STAR: u32 = 0xc000_0081;
    const LSTAR: u32 = 0xc000_0082;
    const CSTAR: u32 = 0xc000_0083;
    const FMASK: u32 = 0xc000_0084;
    const SYSENTER_CS: u32 = 0x174;
    const SPEC_CTRL: u32 = 0x48;
    const XSS: u32 = 0xda0;
    const TEST_CTRL: u32 = 0x33;
    const DEBUGCTL: u32 = 0x1d9;
    const FS_BASE: u32 = 0xc000_0100;
    const KERNEL_GS_BASE: u32 = 0xc000_0102;

    /// WB, WT, UC-, UC, twice: the value after power-on (SDM vol. 3, 12.12.4).
    const PAT_DEFAULT: u64 = 0x0007_0406_0007_0406;

    /// Every flag but those that SYSCALL must leave as they are, as in Linux.
    const FMASK_VALUE: u64 = 0x0025_7fd5;

    /// Sets this CPU up, except for descriptor tables and the APIC. `cpu` is its number in the isle.
    ///
    /// # Safety
    ///
    /// Only at boot, once the IDT is loaded (CR4.MCE is set here).
    pub unsafe fn set_up(cpu: u32) {
        let features = get();
        // SAFETY:
        // 1. Paging, protection and the no-execute bit stay on as they are;
        // 2. every optional bit and register is one that CPUID says is there;
        // 3. the system-call registers point to the kernel's own entry.
        unsafe {
            Cr0::write_raw(
                (Cr0Flags::PROTECTED_MODE_ENABLE
                    | Cr0Flags::MONITOR_COPROCESSOR
                    | Cr0Flags::EXTENSION_TYPE
                    | Cr0Flags::NUMERIC_ERROR
                    | Cr0Flags::WRITE_PROTECT
                    | Cr0Flags::ALIGNMENT_MASK
                    | Cr0Flags::PAGING)
                    .bits(),
            );
            let mut cr4 = Cr4Flags::DEBUGGING_EXTENSIONS
                | Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
                | Cr4Flags::MACHINE_CHECK_EXCEPTION
                | Cr4Flags::PAGE_GLOBAL
                | Cr4Flags::OSFXSR
                | Cr4Flags::OSXMMEXCPT_ENABLE;
            cr4.set(Cr4Flags::OSXSAVE, features.xsave);
            cr4.set(Cr4Flags::FSGSBASE, features.fsgsbase);
            cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
            cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
            cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
            Cr4::write_raw(cr4.bits());

            Msr::new(PAT).write(PAT_DEFAULT);
            // SCE, LME, LMA, NXE.
            Msr::new(EFER).write(0xd01);
            Msr::new(STAR).write((u64::from(USER_BASE) << 48) | (u64::from(KERNEL_CODE) << 32));
            Msr::new(LSTAR).write(crate::trap::syscall_entry_address());
            Msr::new(FMASK).write(FMASK_VALUE);
            // No compatibility mode, so no way here; but Linux's addresses must not stay.
            Msr::new(CSTAR).write(crate::trap::syscall_entry_address());
            // SYSENTER faults with a null selector (SDM vol. 2), also in 64-bit mode.
            Msr::new(SYSENTER_CS).write(0);
            Msr::new(FS_BASE).write(0);
            Msr::new(KERNEL_GS_BASE).write(0);
            if features.rdtscp {
                Msr::new(TSC_AUX).write(tsc_aux(cpu, 0).into());
            }
            if features.spec_ctrl {
                Msr::new(SPEC_CTRL).write(0);
            }
            if features.xsaves {
                Msr::new(XSS).write(0);
            }
            // Linux lets split and bus locks fault, to warn of them.
            Msr::new(DEBUGCTL).write(0);
            if features.split_lock {
                let value = Msr::new(TEST_CTRL).read();
                Msr::new(TEST_CTRL).write(value & !(1 << 29));
            }
            if features.xsave {
                core::arch::asm!(
                    "xsetbv",
                    in("ecx") 0,
                    in("eax") features.xcr0 as u32,
                    in("edx") (features.xcr0 >> 32) as u32,
                    options(nomem, nostack)
                );
            }
        }
    }
}

#[cfg(target_os = "none")]
pub use set::set_up;

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_has_features() {
        let f = super::get();
        assert!(!f.xsave || f.xcr0 & 3 == 3);
        assert_ne!(f.hwcap, 0);
    }
}
