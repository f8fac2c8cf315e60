// SPDX-License-Identifier: MIT OR Apache-2.0

//! The order in which a CPU is set up. CPU 0 makes what all share; the others wait for it.

use crate::cpu::PerCpu;
use crate::idt::{self, ist};
use crate::trap::IST_STACK;
use crate::{apic, app_memory, crash, features, gdt, heap, kmap, shared};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use hermit_abi::boot::BootInfo;
use spin::Once;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::gdt::SegmentSelector;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::structures::DescriptorTablePointer;
use x86_64::VirtAddr;

/// Bytes of a CPU's kernel stack.
const KERNEL_STACK: u64 = 32 << 10;

/// Set when the IDTs are built.
static TABLES: AtomicBool = AtomicBool::new(false);

/// What a CPU says about itself; `None` before all are made.
pub(crate) fn per_cpu(index: usize) -> Option<&'static PerCpu> {
    let address = CPUS.get()?.get(index)?.data as *const PerCpu;
    // SAFETY: made by `make_cpu` for good; what other CPUs look at is atomic.
    Some(unsafe { &*address })
}

/// Every CPU's own data, by index: addresses, since each belongs to its CPU alone.
static CPUS: Once<Vec<CpuAddress>> = Once::new();

struct CpuAddress {
    data: usize,
    stack_top: u64,
}

extern "Rust" {
    /// The kernel's main function; see [`crate::main!`].
    fn isle_main(cpu: usize) -> !;
}

/// Where every CPU arrives, on its boot stack, with interrupts off.
pub(crate) extern "C" fn start_cpu(boot: *const BootInfo, index: usize, root: u64) -> ! {
    GsBase::write(VirtAddr::zero());
    #[cfg(target_os = "none")]
    if index != 0 {
        crate::machine::cpus::arrived();
    }
    if index == 0 {
        // SAFETY: this is CPU 0, and no table is loaded yet.
        unsafe { idt::build() }
        TABLES.store(true, Ordering::Release);
    }
    wait(|| TABLES.load(Ordering::Acquire).then_some(()));
    idt::load_early();
    // SAFETY: at boot, with the IDT loaded.
    unsafe { features::set_up(index as u32) }
    if index == 0 {
        // SAFETY: the trampoline hands over what the loader wrote.
        let found = unsafe { shared::init(boot) };
        if let Err(reason) = found.and_then(|_| make_shared(root)) {
            crash::crash(format_args!("can't start: {reason}"));
        }
    }
    let cpus = wait(|| CPUS.get());
    let Some(this) = cpus.get(index) else {
        crash::crash(format_args!("CPU {index} of {} started", cpus.len()));
    };
    // SAFETY: each CPU arrives here once, with the index that the loader gave to it alone.
    unsafe { load(this.data as *mut PerCpu) }
    idt::load_final();
    apic::set_up();
    if index == 0 {
        apic::calibrate();
        #[cfg(target_os = "none")]
        crate::machine::connect();
    }
    // SAFETY: the stack is this CPU's own and mapped for good; the boot stack holds nothing that is needed.
    unsafe {
        core::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {main}",
            "ud2",
            stack = in(reg) this.stack_top,
            main = sym main_on_new_stack,
            in("rdi") index,
            options(noreturn)
        )
    }
}

extern "C" fn main_on_new_stack(index: usize) -> ! {
    // SAFETY: the kernel's crate defines it by `main!`.
    unsafe { isle_main(index) }
}

fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = ready() {
            return value;
        }
        core::hint::spin_loop();
    }
}

/// What CPU 0 makes for all.
fn make_shared(root: u64) -> Result<(), &'static str> {
    let shared = shared::get();
    // SAFETY: the loader says that the pool is free and mapped.
    unsafe { heap::init(shared.boot.kernel_pool) }
    kmap::init(root);
    let mut cpus = Vec::new();
    for (index, cpu) in shared.cpus.iter().enumerate() {
        cpus.push(make_cpu(index, cpu, root).ok_or("no memory for a CPU's stacks")?);
    }
    shared.clock.getcpu.store(features::getcpu(), Ordering::Release);
    apic::find()?;
    app_memory::init(shared.boot);
    CPUS.call_once(|| cpus);
    Ok(())
}

fn make_cpu(index: usize, shared: &'static hermit_abi::cpu::Cpu, root: u64) -> Option<CpuAddress> {
    let data: &'static mut PerCpu = Box::leak(Box::new(PerCpu {
        this: core::ptr::null(),
        kernel_rsp: 0,
        user_top: 0,
        scratch: 0,
        rsp0: core::ptr::null_mut(),
        index,
        shared,
        root: AtomicU64::new(root),
        in_user: AtomicBool::new(false),
        flushed: AtomicU64::new(0),
        timer_expired: AtomicBool::new(false),
        finished: AtomicPtr::new(core::ptr::null_mut()),
        gdt: [0; gdt::ENTRIES],
        tss: TaskStateSegment::new(),
    }));
    data.this = data;
    data.rsp0 = (&raw mut data.tss.privilege_stack_table).cast::<u64>();
    for number in 1..=ist::COUNT {
        let top = kmap::map_stack(IST_STACK)? - 16;
        // SAFETY: the top 16 bytes of the new stack; the stubs look for the address there.
        unsafe { (top as *mut u64).write(data.this as u64) };
        let stacks = &mut { data.tss.interrupt_stack_table };
        stacks[number - 1] = VirtAddr::new(top);
        data.tss.interrupt_stack_table = *stacks;
    }
    let tss = &raw const data.tss as u64;
    data.gdt = gdt::descriptors(tss, core::mem::size_of::<TaskStateSegment>() as u64);
    Some(CpuAddress { data: data as *mut PerCpu as usize, stack_top: kmap::map_stack(KERNEL_STACK)? })
}

/// Loads this CPU's GDT, TSS and GS base.
///
/// # Safety
///
/// `data` comes from [`make_cpu`] and belongs to this CPU.
unsafe fn load(data: *mut PerCpu) {
    // SAFETY: the caller vouches for `data`; the selectors of code and data are the same as in the
    // GDT that was loaded before, so nothing else has to be reloaded.
    unsafe {
        let pointer = DescriptorTablePointer {
            limit: (gdt::ENTRIES * 8 - 1) as u16,
            base: VirtAddr::from_ptr(&raw const (*data).gdt),
        };
        x86_64::instructions::tables::lgdt(&pointer);
        x86_64::instructions::tables::load_tss(SegmentSelector(gdt::TASK));
        GsBase::write(VirtAddr::from_ptr(data));
    }
}
