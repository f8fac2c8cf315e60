// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ring 3: a context that runs until it needs the kernel.

use crate::tlb::Root;
use crate::trap;
use crate::{cpu, gdt};

/// One past the highest address that an application can use, as in Linux: the last page of the
/// lower half stays empty, so that no SYSCALL can end right before a non-canonical address.
pub const END: u64 = 0x0000_7fff_ffff_f000;

/// Flags that ring 3 may change: CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC, ID.
const USER_FLAGS: u64 = 0x0025_4dd5;
/// Always set: bit 1 and IF.
const FIXED_FLAGS: u64 = 0x202;
/// Flags that a signal's handler begins without: TF, DF, RF.
const HANDLER_FLAGS: u64 = 0x1_0500;
/// Flags that SYSRET doesn't restore as IRET does: TF, RF.
pub(crate) const IRET_FLAGS: u64 = 0x1_0100;

/// One past the highest number of a quick system call.
pub(crate) const QUICK_END: usize = 256;

/// Which system calls are quick: they ask for something that the kernel knows, or for nothing at all. See
/// [`Program::quick_syscall`].
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
pub(crate) static QUICK: [bool; QUICK_END] = {
    use linux_raw_sys::general as nr;
    let mut table = [false; QUICK_END];
    table[nr::__NR_sched_yield as usize] = true;
    table[nr::__NR_getpid as usize] = true;
    table[nr::__NR_getppid as usize] = true;
    table[nr::__NR_gettid as usize] = true;
    table[nr::__NR_getuid as usize] = true;
    table[nr::__NR_geteuid as usize] = true;
    table[nr::__NR_getgid as usize] = true;
    table[nr::__NR_getegid as usize] = true;
    table
};

/// Registers of ring 3, in the order in which the stubs in `trap.rs` push them.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct Context {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub rip: u64,
    pub(crate) cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub(crate) ss: u64,
}

const _: () = assert!(core::mem::size_of::<Context>() == 176);

/// What runs in ring 3, and makes its system calls.
pub trait Program {
    fn context(&mut self) -> &mut Context;

    /// Makes the system call that is in the context; true if ring 3 may go on at once.
    fn syscall(&mut self) -> bool;

    /// Makes a system call as if ring 3 made it itself: the context has nothing of it, and to other CPUs this one is still
    /// in ring 3. So it must not wait for anything, not even a lock. `None`: it has to be made by
    /// [`syscall`](Self::syscall).
    fn quick_syscall(&self, number: u32) -> Option<u64>;
}

/// Where system calls go while ring 3 runs.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
struct Calls {
    program: *mut (),
    /// True if ring 3 may go on at once, by SYSRET.
    syscall: unsafe fn(*mut ()) -> bool,
    quick: unsafe fn(*const (), u32) -> Option<u64>,
    root: *const Root,
}

/// Runs ring 3 on a page table until it needs more of the kernel than system calls.
///
/// # Panics
///
/// If the context isn't [canonical](Context::is_canonical): IRET would fault.
pub fn run<P: Program>(program: &mut P, root: &Root) -> Exit {
    unsafe fn syscall<P: Program>(program: *mut ()) -> bool {
        // SAFETY: `run` passes a pointer to a `P` that nobody else uses meanwhile.
        let program = unsafe { &mut *program.cast::<P>() };
        program.syscall() && program.context().is_plain()
    }
    unsafe fn quick<P: Program>(program: *const (), number: u32) -> Option<u64> {
        // SAFETY: as above.
        unsafe { (*program.cast::<P>()).quick_syscall(number) }
    }
    let program: *mut P = program;
    // SAFETY: from the reference above. It isn't used again; what follows goes through the pointer.
    let context: *mut Context = unsafe { (*program).context() };
    let mut calls = Calls { program: program.cast(), syscall: syscall::<P>, quick: quick::<P>, root };
    // SAFETY: valid, as above.
    let plain = unsafe {
        let context = &mut *context;
        assert!(context.is_canonical());
        context.cs = gdt::USER_CODE.into();
        context.ss = gdt::USER_DATA.into();
        context.rflags = (context.rflags & USER_FLAGS) | FIXED_FLAGS;
        context.is_plain()
    };
    root.activate();
    #[cfg(target_os = "none")]
    root.enter();
    // SAFETY:
    // 1. selectors, flags and RIP are sane, so neither IRET nor SYSRET faults;
    // 2. the context stays where it is until ring 3 comes back, and is 16-byte aligned as TSS.RSP0 must be;
    // 3. the page table maps nothing but application memory to ring 3, which is no Rust object's;
    // 4. `calls` lives until then as well.
    unsafe { trap::enter_user(context, plain.into(), (&raw mut calls).cast()) }
    crate::features::forbid_user_access();
    #[cfg(target_os = "none")]
    cpu::current().in_user.store(false, core::sync::atomic::Ordering::Release);
    // SAFETY: ring 3 has come back. Asked for anew: system calls have used the program since.
    unsafe { (*program).context().exit() }
}

/// What a quick system call came to, in the registers where the assembly looks for it.
#[cfg(target_os = "none")]
#[repr(C)]
pub(crate) struct Quick {
    /// Its result, or its number again.
    value: u64,
    is_done: bool,
}

/// A quick system call, on the stack of the `run` that entered ring 3.
#[cfg(target_os = "none")]
pub(crate) unsafe extern "C" fn quick_entry(calls: *const (), number: u32) -> Quick {
    // SAFETY: `run`, which waits below on this stack, made it; it doesn't use it meanwhile.
    let result = unsafe {
        let Calls { program, quick, .. } = *calls.cast::<Calls>();
        quick(program, number)
    };
    match result {
        Some(value) => {
            cpu::count(&cpu::current().shared().syscalls);
            Quick { value, is_done: true }
        }
        None => Quick { value: number.into(), is_done: false },
    }
}

/// A system call, on the stack of the `run` that entered ring 3. Returns true if ring 3 goes on by SYSRET.
#[cfg(target_os = "none")]
pub(crate) unsafe extern "C" fn syscall_entry(context: *mut Context, calls: *const ()) -> bool {
    // SMAP is effective: FMASK has cleared AC.
    let cpu = cpu::current();
    let kernel_rsp = cpu.kernel_rsp();
    cpu.in_user.store(false, core::sync::atomic::Ordering::Release);
    cpu::count(&cpu.shared().syscalls);
    // SAFETY: `run`, which waits below on this stack, made both; it doesn't use them meanwhile.
    let (goes_on, root) = unsafe {
        let Calls { program, syscall, root, .. } = *calls.cast::<Calls>();
        (syscall(program), &*root)
    };
    if goes_on {
        // It may be another CPU by now, or this one has run another thread meanwhile.
        cpu::enter_with(kernel_rsp, context as u64 + core::mem::size_of::<Context>() as u64);
        root.activate();
        root.enter();
        return true;
    }
    false
}

/// Why ring 3 stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A system call has been made, and there is more to do.
    Syscall,
    /// An interrupt, already dealt with: look at the orders.
    Interrupt,
    Exception(Exception),
}

/// An exception in ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    pub vector: u8,
    pub error: u64,
    /// CR2 of a page fault, else 0.
    pub address: u64,
}

impl Context {
    /// Makes it another one, from within a system call: how ring 3 came to the kernel stays as it is.
    pub fn replace(&mut self, new: Self) {
        let (vector, error) = (self.vector, self.error);
        *self = Self { vector, error, ..new };
    }

    /// The context of a program at its first instruction.
    pub fn new(rip: u64, rsp: u64) -> Self {
        Self { rip, rsp, ..Self::default() }
    }

    /// The number of a system call.
    pub fn syscall_number(&self) -> u64 {
        self.rax
    }

    /// The arguments of a system call.
    pub fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Goes on at another place: the handler of a signal.
    pub fn call(&mut self, rip: u64, rsp: u64, args: [u64; 3]) {
        (self.rip, self.rsp) = (rip, rsp);
        [self.rdi, self.rsi, self.rdx] = args;
        self.rax = 0;
        self.rflags &= !HANDLER_FLAGS;
    }

    /// Makes the system call again that has just been made.
    pub fn repeat_syscall(&mut self, number: u64) {
        self.rax = number;
        self.rip = self.rip.wrapping_sub(2); // length of SYSCALL
    }

    /// Selectors of ring 3 as a signal's frame has them: CS, GS, FS, SS.
    pub fn selectors() -> u64 {
        u64::from(gdt::USER_CODE) | u64::from(gdt::USER_DATA) << 48
    }

    /// True if the context can be entered.
    pub fn is_canonical(&self) -> bool {
        self.rip < END
    }

    /// True if SYSRET leads back to where the context is: as IRET would, and with nothing that ring 3 mustn't have.
    fn is_plain(&self) -> bool {
        self.vector == trap::SYSCALL_VECTOR
            && self.rcx == self.rip
            && self.r11 == self.rflags
            && self.rflags & !USER_FLAGS == FIXED_FLAGS
            && self.rflags & IRET_FLAGS == 0
            && self.is_canonical()
    }

    #[cfg(target_os = "none")]
    fn exit(&self) -> Exit {
        let shared = cpu::current().shared();
        match self.vector {
            trap::SYSCALL_VECTOR => Exit::Syscall,
            vector @ 0..=31 => {
                cpu::count(&shared.faults);
                let address = if vector == 14 { x86_64::registers::control::Cr2::read_raw() } else { 0 };
                if vector == 1 {
                    trap::clear_dr6();
                }
                Exit::Exception(Exception { vector: vector as u8, error: self.error, address })
            }
            vector => {
                crate::apic::interrupt(vector as u8);
                Exit::Interrupt
            }
        }
    }

    #[cfg(not(target_os = "none"))]
    fn exit(&self) -> Exit {
        let _ = cpu::try_current();
        Exit::Syscall
    }
}

#[cfg(target_os = "none")]
mod registers {
    use super::END;
    use x86_64::registers::model_specific::{FsBase, KernelGsBase};
    use x86_64::VirtAddr;

    /// The FS base of ring 3: whatever WRFSBASE has put there.
    pub fn fs_base() -> u64 {
        // SAFETY: the register is there on every 64-bit processor.
        unsafe { FsBase::MSR.read() }
    }

    /// Sets the FS base of ring 3; false if it isn't an application's address.
    pub fn set_fs_base(base: u64) -> bool {
        let good = base < END;
        if good {
            FsBase::write(VirtAddr::new(base));
        }
        good
    }

    /// The GS base of ring 3: whatever WRGSBASE has put there.
    pub fn gs_base() -> u64 {
        // SAFETY: as for `fs_base`.
        unsafe { KernelGsBase::MSR.read() }
    }

    /// Sets the GS base of ring 3; false if it isn't an application's address.
    pub fn set_gs_base(base: u64) -> bool {
        let good = base < END;
        if good {
            KernelGsBase::write(VirtAddr::new(base));
        }
        good
    }
}

#[cfg(not(target_os = "none"))]
mod registers {
    use super::END;

    /// There is no ring 3.
    pub fn fs_base() -> u64 {
        0
    }

    /// Checks the address.
    pub fn set_fs_base(base: u64) -> bool {
        base < END
    }

    /// There is no ring 3.
    pub fn gs_base() -> u64 {
        0
    }

    /// Checks the address.
    pub fn set_gs_base(base: u64) -> bool {
        base < END
    }
}

pub use registers::*;

/// AT_HWCAP and AT_HWCAP2.
pub use crate::features::hwcap;
