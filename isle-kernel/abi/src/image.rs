// SPDX-License-Identifier: MIT OR Apache-2.0

//! What makes an ELF file an isle kernel: one ELF note, and the trampoline that it points to.
//!
//! An isle kernel is a static `ET_EXEC` for x86-64, linked into the top 2 GiB of the address space.
//! Its `PT_NOTE` holds a note with name [`NOTE_NAME`] (with the terminating NUL), type
//! [`NOTE_TYPE`] and an [`ImageNote`] as descriptor.
//!
//! # Starting a CPU
//!
//! The loader copies the trampoline to a page below 1 MiB, fills in [`TrampolineArgs`] at
//! [`TRAMPOLINE_ARGS`] in that page and sends INIT and SIPI (vector = page number) to one APIC id
//! (SDM vol. 3, 10.4.4). The trampoline runs in real mode at `CS:IP = page << 8 : 0`, loads
//! `low_page_table`, enters long mode (with `EFER.NXE`), loads `stack` into RSP and jumps to `entry` with
//! RDI = `boot_info`, RSI = `cpu` (index of the CPU in the isle), RDX = `page_table`, interrupts
//! disabled, IDT not loaded. The entry point then loads `page_table` into CR3, since
//! `low_page_table` goes away: it maps what `page_table` maps in the upper half and, one to one, the
//! first 2 MiB.

/// Name of the note, without the terminating NUL that the note carries.
pub const NOTE_NAME: &[u8] = b"Hermit";

/// Type of the note.
pub const NOTE_TYPE: u32 = 1;

/// Descriptor of the note.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNote {
    /// [`super::VERSION`] that the image was built with.
    pub version: u32,
    /// Length of the trampoline in bytes, at most [`TRAMPOLINE_ARGS`].
    pub trampoline_len: u32,
    /// Virtual address of the trampoline in the image (inside a loaded segment).
    pub trampoline: u64,
}

/// Lowest virtual address at which an isle kernel may be linked.
pub const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;

/// One past the highest virtual address of an isle kernel (1 GiB is more than enough).
pub const IMAGE_END: u64 = 0xffff_ffff_c000_0000;

/// Offset of [`TrampolineArgs`] in the trampoline's page.
pub const TRAMPOLINE_ARGS: u64 = 0xf00;

/// What the trampoline is told, at [`TRAMPOLINE_ARGS`] of its page.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrampolineArgs {
    /// Physical address, below 4 GiB, of the PML4 to enter long mode with.
    pub low_page_table: u64,
    /// Virtual address of the image's entry point.
    pub entry: u64,
    /// Initial stack pointer (virtual, 16-byte aligned).
    pub stack: u64,
    /// Virtual address of [`super::boot::BootInfo`].
    pub boot_info: u64,
    /// Index of this CPU in the isle's CPU table.
    pub cpu: u64,
    /// Physical address of the isle's own PML4.
    pub page_table: u64,
}

const _: () = assert!(core::mem::size_of::<ImageNote>() == 16);
const _: () = assert!(core::mem::size_of::<TrampolineArgs>() == 48);
