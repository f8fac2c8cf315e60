// SPDX-License-Identifier: MIT OR Apache-2.0

//! The CPUs of a virtual machine: finding them, and starting the others one after the other, by INIT and SIPI to one APIC id each.

use super::map;
use crate::madt;
use crate::phys::to_virt;
use core::sync::atomic::{AtomicU32, Ordering};
use hermit_abi::boot::{BootInfo, BOOT_STACK_SIZE};
use hermit_abi::cpu::Cpu;
use hermit_abi::image::{TrampolineArgs, TRAMPOLINE_ARGS};

/// The page where they start.
const PAGE: u64 = 0x8000;

/// CPUs that have left that page.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

/// The local APIC's registers (SDM vol. 3, table 10-1): in a machine, firmware leaves it in xAPIC mode.
const APIC: u64 = 0xfee0_0000;
const SPURIOUS: u64 = 0xf0;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const ENABLE: u32 = 0x1ff;
/// Delivery modes INIT and start-up, level asserted.
const INIT: u32 = 0x4500;
const STARTUP: u32 = 0x4600;

/// After how long a start-up is sent again, and how often at most.
const PATIENCE_MS: u64 = 200;
const TRIES: u32 = 10;

extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// A CPU has left the trampoline.
pub fn arrived() {
    ARRIVED.fetch_add(1, Ordering::Release);
}

fn write(register: u64, value: u32) {
    // SAFETY: a register of this CPU's APIC, mapped from the first page tables on.
    unsafe { to_virt::<u32>(APIC + register).write_volatile(value) };
}

fn send(apic_id: u32, command: u32) {
    write(ICR_HIGH, apic_id << 24);
    write(ICR_LOW, command);
}

fn table(boot: &BootInfo) -> &'static [Cpu] {
    // SAFETY: the loader made it, with one entry for each CPU; all fields that anybody writes are atomics.
    unsafe { core::slice::from_raw_parts(to_virt::<Cpu>(boot.cpus), boot.cpu_count as usize) }
}

/// Finds the CPUs' APIC ids in ACPI's tables, if there are any; without, the loader has numbered them as QEMU does. False: they are
/// fewer than there should be.
pub fn find(boot: &BootInfo, acpi_root: Option<u64>) -> bool {
    let Some(root) = acpi_root else { return true };
    let own = raw_cpuid::CpuId::new().get_feature_info().map_or(0, |info| info.initial_local_apic_id().into());
    // This one is the first.
    let mut cpus = table(boot).iter();
    let mut name = |id: u32| cpus.next().map(|cpu| cpu.apic_id.store(id, Ordering::Relaxed)).is_some();
    name(own);
    let mut others = 1;
    let found = madt::processors(map::read_bytes, root, |id| {
        if id != own && name(id) {
            others += 1;
        }
    });
    found.is_none() || others == boot.cpu_count
}

/// Starts all but this one. False: one did not come.
pub fn start(args: &TrampolineArgs, boot: &BootInfo) -> bool {
    write(SPURIOUS, ENABLE);
    // SAFETY: the code between the two symbols, and a page below 1 MiB that is the machine's and of no use to anybody else.
    unsafe {
        let code = &raw const trampoline_start;
        let len = (&raw const trampoline_end).addr() - code.addr();
        to_virt::<u8>(PAGE).copy_from_nonoverlapping(code, len);
    }
    (1..boot.cpu_count).all(|index| start_one(args, boot, index))
}

fn start_one(args: &TrampolineArgs, boot: &BootInfo, index: u32) -> bool {
    let stack = args.stack + u64::from(index) * BOOT_STACK_SIZE;
    let own = TrampolineArgs { stack, cpu: index.into(), ..*args };
    // SAFETY: behind the code, in the same page, which no CPU looks at now.
    unsafe { to_virt::<TrampolineArgs>(PAGE + TRAMPOLINE_ARGS).write(own) };
    let Some(cpu) = table(boot).get(index as usize) else { return false };
    let apic_id = cpu.apic_id.load(Ordering::Relaxed);
    send(apic_id, INIT);
    for _ in 0..TRIES {
        send(apic_id, STARTUP | (PAGE >> 12) as u32);
        let end = crate::time::tsc() + u64::from(boot.tsc_khz) * PATIENCE_MS;
        while crate::time::tsc() < end {
            if ARRIVED.load(Ordering::Acquire) >= index {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    false
}
