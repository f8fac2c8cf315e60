// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ring 3: an application's registers, and running it until something happens.

use crate::paging::USER_END;
use crate::{cpu, trap};

pub use crate::trap::exception_name;

/// Registers of a thread in ring 3. Offsets are used in `trap.S`.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    /// Error code of the last exception.
    pub error: u64,
    /// CR2 at the last exception.
    pub address: u64,
}

/// Why ring 3 was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `syscall`; number and arguments are in the registers.
    Syscall,
    /// An exception; error code and address are in the registers.
    Exception(u8),
    /// An interrupt, already dealt with. Orders may have come.
    Interrupt,
}

/// Flags that an application may have set: the arithmetic ones, DF, TF, AC, ID, RF.
const USER_FLAGS: u64 = 0x0025_0dd5;
const INTERRUPT_FLAG: u64 = 1 << 9;
const EXIT_SYSCALL: u64 = 256;

extern "C" {
    fn enter_user(registers: *mut Registers, by_sysret: u64) -> u64;
}

/// A thread that can run in ring 3.
#[derive(Default)]
pub struct Context {
    pub registers: Registers,
    /// The last exit was a system call, so that RCX and R11 are free for SYSRET.
    by_sysret: bool,
}

impl Context {
    /// A thread that begins at `rip` with all other registers zero.
    pub fn new(rip: u64, rsp: u64) -> Self {
        Self { registers: Registers { rip, rsp, ..Registers::default() }, by_sysret: false }
    }

    /// Runs in ring 3, in the address space that is active, until something happens.
    pub fn run(&mut self) -> Exit {
        let r = &mut self.registers;
        r.rflags = (r.rflags & USER_FLAGS) | INTERRUPT_FLAG | 2;
        // SYSRET to an address that isn't canonical faults in ring 0, with the user's stack; TF and RF
        // are for IRET to restore.
        let plain = r.rip < USER_END && r.rflags & 0x1_0100 == 0;
        let by_sysret = self.by_sysret && plain && r.rcx == r.rip && r.r11 == r.rflags;
        if !by_sysret && r.rip >= USER_END {
            // IRET would fault in ring 0 as well; report it as the application's.
            self.by_sysret = false;
            r.address = r.rip;
            return Exit::Exception(13);
        }
        // SAFETY: `registers` has the layout that `trap.S` expects and isn't touched by others meanwhile. The
        // segments and flags of ring 3 are fixed, so the kernel's memory is out of its reach.
        let vector = unsafe { enter_user(r, by_sysret.into()) };
        self.by_sysret = vector == EXIT_SYSCALL;
        match vector {
            EXIT_SYSCALL => {
                cpu::count(&cpu::this().syscalls);
                Exit::Syscall
            }
            0..=31 => {
                cpu::count(&cpu::this().faults);
                Exit::Exception(vector as u8)
            }
            _ => {
                trap::interrupt(vector as u8);
                Exit::Interrupt
            }
        }
    }
}
