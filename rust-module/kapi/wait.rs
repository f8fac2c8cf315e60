// SPDX-License-Identifier: GPL-2.0

//! Wait queues for poll(2). C headers: `linux/wait.h`, `linux/poll.h`.

use kernel::bindings;
use kernel::prelude::*;
use kernel::types::Opaque;

// Lockdep's types are empty without it, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_init_waitqueue_head(wq: *mut bindings::wait_queue_head);
    fn hermit_helper_poll_wait(
        file: *mut bindings::file,
        wq: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table_struct,
    );
}

/// Tasks that wait in poll(2).
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue has its own lock.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid and stays where it is.
            head <- Opaque::ffi_init(|slot| unsafe { hermit_helper_init_waitqueue_head(slot) }),
        })
    }

    /// Wakes all. May be called from interrupt context.
    pub fn wake_all(&self) {
        // SAFETY: The head is initialised.
        unsafe { bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 0, core::ptr::null_mut()) };
    }
}

/// A poll(2) that is going on.
pub struct PollTable {
    pub(super) file: *mut bindings::file,
    pub(super) table: *mut bindings::poll_table_struct,
}

impl PollTable {
    /// Has the caller of poll(2) woken by `queue`. The queue must live as long as the open file,
    /// which `'static`-like ownership by the device gives.
    pub fn register(&self, queue: &WaitQueue) {
        // SAFETY: Both pointers are those that the kernel passed to `poll`; the head is initialised.
        unsafe { hermit_helper_poll_wait(self.file, queue.head.get(), self.table) };
    }
}
