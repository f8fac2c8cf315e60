// SPDX-License-Identifier: MIT OR Apache-2.0

//! A virtual machine of the isle kernel's own: from its loader to what `hermit.ko` gives on an isle; see `abi/machine.rs`.

pub mod card;
pub mod cpus;
mod entry;
mod io_apic;
mod map;
mod pci;
pub mod serial;

use crate::phys::to_virt;
use core::sync::atomic::Ordering;
use hermit_abi::boot::BootInfo;
use hermit_abi::machine::{Launch, LAUNCH, MAGIC};
use x86_64::instructions::port::Port;

/// Mask registers of the two 8259A.
const PICS: [u16; 2] = [0x21, 0xa1];

/// What the proxy has written for us.
fn launch() -> &'static Launch {
    // SAFETY: memory of the machine that is mapped from the first page tables on; what is written there while we run is atomic.
    unsafe { &*to_virt::<Launch>(LAUNCH) }
}

/// Where the first code in Rust begins: on a stack of the image, with the first page tables, which map the image at its
/// link addresses and the first 4 GiB in the direct map.
extern "C" fn start(info: u64) -> ! {
    let launch = launch();
    if launch.magic != MAGIC {
        give_up(b"the isle kernel was started by something else than HermitCore's proxy; run: HERMIT_ISLE=qemu proxy PROGRAM\n");
    }
    if !map::is_as_expected(info, launch.low_end) {
        give_up(b"this QEMU puts the memory of its machine where HermitCore doesn't expect it; use another version, or less HERMIT_MEM\n");
    }
    began(launch);
    for pic in PICS {
        // SAFETY: masks interrupts that nobody waits for.
        unsafe { Port::<u8>::new(pic).write(0xff) };
    }
    // SAFETY: the proxy's boot information, which nobody changes any more.
    let boot = unsafe { &*(launch.args.boot_info as *const BootInfo) };
    pci::prepare();
    if !cpus::find(boot, map::acpi_root(info)) {
        give_up(b"the virtual machine has fewer CPUs than it was started with\n");
    }
    if !cpus::start(&launch.args, boot) {
        give_up(b"a CPU of the virtual machine did not start\n");
    }
    // SAFETY: as the trampoline does it on an isle: stack and page table are the proxy's, for CPU 0.
    unsafe {
        core::arch::asm!(
            "mov rsp, {stack}",
            "xor esi, esi",
            "jmp {entry}",
            stack = in(reg) launch.args.stack,
            entry = in(reg) launch.args.entry,
            in("rdi") launch.args.boot_info,
            in("rdx") launch.args.page_table,
            options(noreturn)
        )
    }
}

/// Notes when that was: the log's times count from here.
fn began(launch: &Launch) {
    let tsc = crate::time::tsc();
    launch.began.store(tsc, Ordering::Relaxed);
    // SAFETY: the proxy's boot information, which it can't complete, and at which nobody else looks yet.
    unsafe { (*(launch.args.boot_info as *mut BootInfo)).tsc_at_boot = tsc };
}

/// Says why on the console, and ends the machine: a triple fault resets it, which QEMU is told to take for its end.
fn give_up(why: &[u8]) -> ! {
    serial::write(why);
    // SAFETY: without descriptors of interrupts, the exception can't be delivered.
    unsafe {
        core::arch::asm!("lidt [{none}]", "ud2", none = in(reg) &[0u16; 5], options(noreturn));
    }
}

/// Opens the way to the proxy, if this is a machine of its own. Once, on CPU 0, when interrupts can be taken.
pub fn connect() {
    if crate::shared::is_machine() {
        serial::connect();
        launch().tsc.store(crate::time::tsc(), Ordering::Release);
        serial::ring();
    }
}
