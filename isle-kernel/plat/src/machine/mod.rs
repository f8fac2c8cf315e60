// SPDX-License-Identifier: MIT OR Apache-2.0

//! A virtual machine of the isle kernel's own: from the loader of QEMU to what a module gives on an isle.

mod entry;
mod serial;

/// Where the first code in Rust begins: on a stack of the image, with the first page tables, which map the image at its
/// link addresses and the first 4 GiB in the direct map. `info` is where `struct hvm_start_info` is.
extern "C" fn start(info: u64) -> ! {
    // SAFETY: the loader's structure, of which the first 4 bytes are the magic number, below 4 GiB.
    let magic = unsafe { crate::phys::to_virt::<u32>(info).read_unaligned() };
    let text: &[u8] = if magic == 0x336e_c578 { b"isle kernel: started by PVH\n" } else { b"isle kernel: not PVH\n" };
    serial::write(text);
    loop {
        // SAFETY: interrupts are off, so nothing follows.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
