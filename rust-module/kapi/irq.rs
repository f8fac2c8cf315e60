// SPDX-License-Identifier: GPL-2.0

//! Doorbells: interrupts that no device raises, but CPUs that Linux doesn't run.
//!
//! C headers: `linux/irqdomain.h`, `linux/irq.h`, `linux/interrupt.h`, `asm/hw_irq.h`. Each doorbell is an
//! interrupt of a domain of ours on top of x86's vector domain, so that Linux chooses a vector and a CPU and moves it
//! as it does with others; wherever it is moved to, [`Bell::moved`] is told.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use kernel::bindings;
use kernel::c_str;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;

// Lockdep's types are empty without it, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_irq_domain_alloc_irq(domain: *mut bindings::irq_domain) -> i32;
    fn hermit_helper_irq_domain_alloc_fwnode(name: *const kernel::ffi::c_char) -> *mut bindings::fwnode_handle;
    fn hermit_helper_irq_move(irq: u32, cpu: u32);
    fn hermit_helper_irq_target(data: *mut bindings::irq_data, apicid: *mut u32, vector: *mut u32) -> bool;
}

/// What happens at a doorbell. Both are called with interrupts off.
pub trait Bell: Send + Sync {
    /// Somebody rang. Returns the CPU at which it should be rung from now on, if that is another one.
    fn ring(&self) -> Option<u32>;
    /// From now on it has to be rung at this APIC id with this vector.
    fn moved(&self, apic_id: u32, vector: u32);
}

/// The domain that all doorbells are in.
pub struct Domain {
    domain: *mut bindings::irq_domain,
    fwnode: *mut bindings::fwnode_handle,
    chip: bindings::irq_chip,
    ops: bindings::irq_domain_ops,
}

// SAFETY: Changed only in `new` and `drop`; the kernel's own locks protect the rest.
unsafe impl Send for Domain {}
// SAFETY: As above.
unsafe impl Sync for Domain {}

/// Names the domain to those who make doorbells. The module drops it after all of them.
#[derive(Clone, Copy)]
pub struct DomainHandle(*mut bindings::irq_domain);

// SAFETY: Just a name; see `Doorbell::new`.
unsafe impl Send for DomainHandle {}
// SAFETY: As above.
unsafe impl Sync for DomainHandle {}

impl Domain {
    pub fn new() -> Result<KBox<Self>> {
        // SAFETY: All zeroes is valid for both structures of pointers and flags.
        let (chip, ops) = unsafe {
            (
                MaybeUninit::<bindings::irq_chip>::zeroed().assume_init(),
                MaybeUninit::<bindings::irq_domain_ops>::zeroed().assume_init(),
            )
        };
        let mut this = KBox::new(Self { domain: ptr::null_mut(), fwnode: ptr::null_mut(), chip, ops }, GFP_KERNEL)?;
        this.chip.name = c_str!("hermit-doorbell").as_char_ptr();
        this.chip.irq_ack = Some(bindings::irq_chip_ack_parent);
        this.chip.irq_set_affinity = Some(set_affinity);
        this.chip.irq_retrigger = Some(bindings::irq_chip_retrigger_hierarchy);
        this.ops.alloc = Some(alloc);
        this.ops.free = Some(free);
        let chip: *mut bindings::irq_chip = &mut this.chip;
        // SAFETY: Name, operations and chip live as long as the domain, which `drop` removes.
        unsafe {
            this.fwnode = hermit_helper_irq_domain_alloc_fwnode(c_str!("hermit").as_char_ptr());
            if this.fwnode.is_null() {
                return Err(ENOMEM);
            }
            this.domain = bindings::irq_domain_create_hierarchy(
                bindings::x86_vector_domain,
                0,
                0,
                this.fwnode,
                &this.ops,
                chip.cast(),
            );
        }
        if this.domain.is_null() {
            return Err(ENOMEM);
        }
        Ok(this)
    }

    pub fn handle(&self) -> DomainHandle {
        DomainHandle(self.domain)
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: Made in `new`, as far as they aren't NULL; no doorbell is left.
        unsafe {
            if !self.domain.is_null() {
                bindings::irq_domain_remove(self.domain);
            }
            if !self.fwnode.is_null() {
                bindings::irq_domain_free_fwnode(self.fwnode);
            }
        }
    }
}

unsafe extern "C" fn alloc(domain: *mut bindings::irq_domain, virq: u32, count: u32, arg: *mut c_void) -> i32 {
    // SAFETY: Called by the irq core with our domain, whose host data is our chip.
    unsafe {
        let err = bindings::irq_domain_alloc_irqs_parent(domain, virq, count, arg);
        if err < 0 {
            return err;
        }
        bindings::irq_domain_set_info(
            domain,
            virq,
            virq as _,
            (*domain).host_data.cast(),
            ptr::null_mut(),
            Some(bindings::handle_edge_irq),
            ptr::null_mut(),
            c_str!("edge").as_char_ptr(),
        );
    }
    0
}

unsafe extern "C" fn free(domain: *mut bindings::irq_domain, virq: u32, count: u32) {
    // SAFETY: Called by the irq core with what `alloc` set up.
    unsafe { bindings::irq_domain_free_irqs_common(domain, virq, count) };
}

unsafe extern "C" fn set_affinity(data: *mut bindings::irq_data, mask: *const bindings::cpumask, force: bool) -> i32 {
    // SAFETY: Called by the irq core with the descriptor locked; `handler_data` was set in `Doorbell::new`
    // and is reset before it goes away.
    unsafe {
        let result = bindings::irq_chip_set_affinity_parent(data, mask, force);
        if result >= 0 {
            let inner = (*(*data).common).handler_data.cast::<Inner>();
            if !inner.is_null() {
                publish(data, &*inner);
            }
        }
        result
    }
}

/// # Safety
///
/// `data` is an interrupt of our domain.
unsafe fn publish(data: *mut bindings::irq_data, inner: &Inner) {
    let (mut apic_id, mut vector) = (0, 0);
    // SAFETY: By the caller's promise.
    if unsafe { hermit_helper_irq_target(data, &mut apic_id, &mut vector) } {
        inner.bell.moved(apic_id, vector);
        // Whoever rang at the old place a moment ago may have rung at nobody's.
        inner.bell.ring();
    }
}

struct Inner {
    bell: Arc<dyn Bell>,
    name: CString,
}

/// A doorbell, silenced on drop.
pub struct Doorbell {
    irq: u32,
    inner: KBox<Inner>,
}

impl Doorbell {
    /// Makes a doorbell that is called `name` in /proc/interrupts.
    pub fn new(domain: DomainHandle, name: CString, bell: Arc<dyn Bell>) -> Result<Self> {
        let inner = KBox::new(Inner { bell, name }, GFP_KERNEL)?;
        let data: *const Inner = &*inner;
        // SAFETY: The domain outlives all doorbells (see `DomainHandle`). `inner` stays where it is
        // until `drop` has freed the interrupt.
        unsafe {
            let irq = hermit_helper_irq_domain_alloc_irq(domain.0);
            to_result(irq.min(0))?;
            let irq = irq as u32;
            // Software chooses where to ring, so moving needs no interrupt to happen first.
            bindings::irq_modify_status(irq, 0, bindings::IRQ_MOVE_PCNTXT as usize);
            let flags = bindings::IRQF_NO_THREAD as usize;
            let err = bindings::request_threaded_irq(
                irq,
                Some(on_interrupt),
                None,
                flags,
                inner.name.as_char_ptr(),
                data.cast_mut().cast(),
            );
            if let Err(e) = to_result(err) {
                bindings::irq_dispose_mapping(irq);
                return Err(e);
            }
            bindings::irq_set_handler_data(irq, data.cast_mut().cast());
            publish(bindings::irq_get_irq_data(irq), &inner);
            Ok(Self { irq, inner })
        }
    }
}

unsafe extern "C" fn on_interrupt(irq: i32, data: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY: `data` is the `Inner` of a doorbell whose interrupt isn't freed yet.
    let wanted = unsafe { (*data.cast::<Inner>()).bell.ring() };
    if let Some(cpu) = wanted {
        // If that can't be done now, it will be wanted again.
        // SAFETY: The interrupt is there while its handler runs, without the descriptor's lock; the function checks the CPU.
        unsafe { hermit_helper_irq_move(irq as u32, cpu) };
    }
    bindings::irqreturn_IRQ_HANDLED
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        let data: *const Inner = &*self.inner;
        // SAFETY: Set up in `new`. After `free_irq` no handler runs, and no callback of the chip
        // finds `inner`.
        unsafe {
            bindings::irq_set_handler_data(self.irq, ptr::null_mut());
            bindings::free_irq(self.irq, data.cast_mut().cast());
            bindings::irq_dispose_mapping(self.irq);
        }
    }
}
