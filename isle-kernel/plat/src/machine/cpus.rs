// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starting the other CPUs of a virtual machine, one after the other, by INIT and SIPI to one APIC id each.

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
    // SAFETY: behind the code, in the same page, which no CPU looks at now; and the table of CPUs, which is large enough.
    let apic_id = unsafe {
        to_virt::<TrampolineArgs>(PAGE + TRAMPOLINE_ARGS).write(own);
        (*to_virt::<Cpu>(boot.cpus).add(index as usize)).apic_id.load(Ordering::Relaxed)
    };
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
