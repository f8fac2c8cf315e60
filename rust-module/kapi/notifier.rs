// SPDX-License-Identifier: GPL-2.0

//! Being told that Linux reboots, suspends or hibernates.
//!
//! C headers: `linux/notifier.h`, `linux/reboot.h`, `linux/suspend.h`.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;

extern "C" {
    fn hermit_helper_register_pm_notifier(block: *mut bindings::notifier_block) -> i32;
    fn hermit_helper_unregister_pm_notifier(block: *mut bindings::notifier_block) -> i32;
}

const NOTIFY_DONE: i32 = 0;
/// notifier_from_errno(-EBUSY): nobody else is asked, and the user gets that error.
const NOTIFY_BUSY: i32 = 0x8000 | (1 + bindings::EBUSY as i32);

/// What to do. `T` is told about.
pub trait Listener: Send + Sync {
    /// Linux goes down (also for kexec). May sleep.
    fn reboot(&self);
    /// Linux wants to suspend or hibernate: may it? If so, [`Self::awake`] follows.
    fn may_sleep(&self) -> bool;
    /// Linux is awake again, or didn't go to sleep after all.
    fn awake(&self);
}

#[repr(C)]
struct Block<T> {
    block: bindings::notifier_block,
    listener: T,
}

/// Both notifications, until dropped.
pub struct Registration<T: Listener + Clone> {
    reboot: KBox<Block<T>>,
    power: KBox<Block<T>>,
}

// SAFETY: The blocks are only touched by the notifier chains, which lock.
unsafe impl<T: Listener + Clone> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: Listener + Clone> Sync for Registration<T> {}

impl<T: Listener + Clone> Registration<T> {
    pub fn new(listener: T) -> Result<Self> {
        let mut reboot = Self::block(listener.clone(), Self::on_reboot)?;
        let mut power = Self::block(listener, Self::on_power)?;
        // SAFETY: The blocks stay where they are until `drop` has unregistered them.
        unsafe {
            to_result(bindings::register_reboot_notifier(&mut reboot.block))?;
            if let Err(e) = to_result(hermit_helper_register_pm_notifier(&mut power.block)) {
                bindings::unregister_reboot_notifier(&mut reboot.block);
                return Err(e);
            }
        }
        Ok(Self { reboot, power })
    }

    fn block(
        listener: T,
        call: unsafe extern "C" fn(*mut bindings::notifier_block, usize, *mut c_void) -> i32,
    ) -> Result<KBox<Block<T>>> {
        // SAFETY: All zeroes is a valid `notifier_block`.
        let mut block: bindings::notifier_block = unsafe { MaybeUninit::zeroed().assume_init() };
        block.notifier_call = Some(call);
        Ok(KBox::new(Block { block, listener }, GFP_KERNEL)?)
    }

    unsafe extern "C" fn on_reboot(block: *mut bindings::notifier_block, _: usize, _: *mut c_void) -> i32 {
        // SAFETY: `block` is the first field of a live `Block<T>`.
        unsafe { (*block.cast::<Block<T>>()).listener.reboot() };
        NOTIFY_DONE
    }

    unsafe extern "C" fn on_power(block: *mut bindings::notifier_block, event: usize, _: *mut c_void) -> i32 {
        let prepares = [bindings::PM_HIBERNATION_PREPARE, bindings::PM_SUSPEND_PREPARE, bindings::PM_RESTORE_PREPARE];
        // SAFETY: `block` is the first field of a live `Block<T>`.
        let listener = unsafe { &(*block.cast::<Block<T>>()).listener };
        if !prepares.iter().any(|&p| p as usize == event) {
            listener.awake();
        } else if !listener.may_sleep() {
            return NOTIFY_BUSY;
        }
        NOTIFY_DONE
    }
}

impl<T: Listener + Clone> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered in `new`.
        unsafe {
            hermit_helper_unregister_pm_notifier(&mut self.power.block);
            bindings::unregister_reboot_notifier(&mut self.reboot.block);
        }
    }
}
