// SPDX-License-Identifier: GPL-2.0

//! Work that is done again and again. C header: `linux/workqueue.h`, for which `kernel::workqueue` of 6.12 has no delays.

use core::ptr::addr_of_mut;
use kernel::bindings;
use kernel::prelude::*;

extern "C" {
    fn hermit_helper_init_delayed_work(
        work: *mut bindings::delayed_work,
        func: unsafe extern "C" fn(*mut bindings::work_struct),
    );
}

/// What is done.
pub trait Task: Send {
    /// Does it. Returns in how many milliseconds it is to be done again.
    fn run(&mut self) -> u32;
}

#[repr(C)]
struct Inner<T> {
    /// First, so that its address is that of the whole.
    work: bindings::delayed_work,
    task: T,
}

/// A task that runs over and over, in process context on a CPU that does Linux's own work; never twice at a time.
/// Dropping this waits for its end.
pub struct Repeating<T: Task>(*mut Inner<T>);

// SAFETY: The workqueue locks the work; the task is `Send` and touched by one worker at a time.
unsafe impl<T: Task> Send for Repeating<T> {}
// SAFETY: As above.
unsafe impl<T: Task> Sync for Repeating<T> {}

impl<T: Task> Repeating<T> {
    /// Runs `task` from now on.
    pub fn new(task: T) -> Result<Self> {
        let work = bindings::delayed_work::default();
        let inner = KBox::into_raw(KBox::new(Inner { work, task }, GFP_KERNEL)?);
        // SAFETY: The work stays where it is until `drop` has cancelled it.
        unsafe { hermit_helper_init_delayed_work(addr_of_mut!((*inner).work), Self::entry) };
        let this = Self(inner);
        this.hurry();
        Ok(this)
    }

    /// Has the task run soon. May be called from interrupts.
    pub fn hurry(&self) {
        // SAFETY: The work is initialised. An unbound queue keeps off CPUs that are isolated (`nohz_full`).
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                bindings::system_unbound_wq,
                addr_of_mut!((*self.0).work),
                0,
            )
        };
    }

    unsafe extern "C" fn entry(work: *mut bindings::work_struct) {
        let inner: *mut Inner<T> = work.cast();
        // SAFETY: The work is the first field of a `delayed_work`, which is that of a live `Inner`. The queue
        // never runs one work twice at a time, so the task is only used here. Queueing does nothing while
        // the work is being cancelled.
        unsafe {
            let delay_ms = (*addr_of_mut!((*inner).task)).run();
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                bindings::system_unbound_wq,
                addr_of_mut!((*inner).work),
                bindings::__msecs_to_jiffies(delay_ms),
            );
        }
    }
}

impl<T: Task> Drop for Repeating<T> {
    fn drop(&mut self) {
        // SAFETY: Made in `new`. Afterwards nothing runs any more, though the task queues itself, and nobody else
        // has the pointer.
        unsafe {
            bindings::cancel_delayed_work_sync(addr_of_mut!((*self.0).work));
            drop(KBox::from_raw(self.0));
        }
    }
}
