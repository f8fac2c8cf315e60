// SPDX-License-Identifier: GPL-2.0

//! Being told that Linux's clock is set or goes faster or slower.
//!
//! C headers: `linux/pvclock_gtod.h`, `linux/timekeeper_internal.h`, `linux/irq_work.h`. As KVM does for its guests
//! (arch/x86/kvm/x86.c, `pvclock_gtod_notify`): the notifier is called at every tick, with the clock locked against
//! readers, so whatever could look at the clock has to wait for an interrupt of its own.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{addr_of, addr_of_mut};
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;

/// A `struct irq_work`, as far as its size goes, which the helper checks.
type IrqWork = [u64; 8];

extern "C" {
    fn pvclock_gtod_register_notifier(block: *mut bindings::notifier_block) -> i32;
    fn pvclock_gtod_unregister_notifier(block: *mut bindings::notifier_block) -> i32;
    fn irq_work_queue(work: *mut IrqWork) -> bool;
    fn irq_work_sync(work: *mut IrqWork);
    fn hermit_helper_init_irq_work(work: *mut IrqWork, func: unsafe extern "C" fn(*mut IrqWork));
    fn hermit_helper_timekeeper_pace(timekeeper: *const c_void) -> u32;
}

const NOTIFY_DONE: i32 = 0;

/// Who is told.
pub trait Listener: Send + Sync {
    /// A tick of the clock, with its pace (2^31 is that of an unsteered clock), and whether somebody has set it. Must
    /// not ask for the time. Returns whether [`Self::changed`] is to be called.
    fn tick(&self, pace: u32, was_set: bool) -> bool;
    /// Called soon afterwards, from an interrupt.
    fn changed(&self);
}

#[repr(C)]
struct Inner<T> {
    /// First, so that its address is that of the whole.
    irq_work: IrqWork,
    block: bindings::notifier_block,
    listener: T,
}

/// Tells the listener until dropped.
pub struct Watch<T: Listener>(*mut Inner<T>);

// SAFETY: Only touched by the notifier chain, which locks, and by the one interrupt that it raises.
unsafe impl<T: Listener> Send for Watch<T> {}
// SAFETY: As above.
unsafe impl<T: Listener> Sync for Watch<T> {}

impl<T: Listener> Watch<T> {
    pub fn new(listener: T) -> Result<Self> {
        // SAFETY: All zeroes is a valid `notifier_block`.
        let mut block: bindings::notifier_block = unsafe { MaybeUninit::zeroed().assume_init() };
        block.notifier_call = Some(Self::on_tick);
        let inner = KBox::into_raw(KBox::new(Inner { irq_work: [0; 8], block, listener }, GFP_KERNEL)?);
        // SAFETY: Both stay where they are until `drop` has made sure that nobody uses them, or until they are freed
        // here because nobody does.
        unsafe {
            hermit_helper_init_irq_work(addr_of_mut!((*inner).irq_work), Self::on_interrupt);
            if let Err(e) = to_result(pvclock_gtod_register_notifier(addr_of_mut!((*inner).block))) {
                drop(KBox::from_raw(inner));
                return Err(e);
            }
        }
        Ok(Self(inner))
    }

    unsafe extern "C" fn on_tick(block: *mut bindings::notifier_block, was_set: usize, tk: *mut c_void) -> i32 {
        // SAFETY: The chain passes our block, which is in a live `Inner`, and the clock. Queueing what is
        // queued already does nothing.
        unsafe {
            let inner: *mut Inner<T> = kernel::container_of!(block, Inner<T>, block).cast_mut();
            let pace = hermit_helper_timekeeper_pace(tk);
            if (*addr_of!((*inner).listener)).tick(pace, was_set != 0) {
                irq_work_queue(addr_of_mut!((*inner).irq_work));
            }
        }
        NOTIFY_DONE
    }

    unsafe extern "C" fn on_interrupt(work: *mut IrqWork) {
        let inner: *const Inner<T> = work.cast();
        // SAFETY: The work is the first field of a live `Inner`.
        unsafe { (*addr_of!((*inner).listener)).changed() };
    }
}

impl<T: Listener> Drop for Watch<T> {
    fn drop(&mut self) {
        // SAFETY: Made in `new`. The notifier is called under the lock that unregistering takes, so after that it queues
        // nothing; and then nothing is queued any more.
        unsafe {
            pvclock_gtod_unregister_notifier(addr_of_mut!((*self.0).block));
            irq_work_sync(addr_of_mut!((*self.0).irq_work));
            drop(KBox::from_raw(self.0));
        }
    }
}
