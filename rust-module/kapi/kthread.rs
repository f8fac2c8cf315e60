// SPDX-License-Identifier: GPL-2.0

//! Work that may never end by itself, with an end. C headers: `linux/kthread.h`, `linux/completion.h`.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{fence, AtomicBool, Ordering};
use kernel::bindings;
use kernel::c_str;
use kernel::prelude::*;

extern "C" {
    fn hermit_helper_init_completion(done: *mut bindings::completion);
    fn hermit_helper_allow_signal(sig: i32);
}

struct Job<'a> {
    work: &'a mut (dyn FnMut() + Send),
    /// Set before the signal is sent, which is lost while the thread doesn't take signals yet.
    is_cancelled: AtomicBool,
    done: MaybeUninit<bindings::completion>,
}

/// How work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    ByItself,
    TimedOut,
    /// The caller was sent a fatal signal.
    Killed,
}

/// Runs `work` in a kernel thread. After `timeout_ms`, or if the caller is killed, the thread is sent a signal, upon
/// which whatever waits interruptibly in it returns -EINTR. If that comes first, `work` isn't done at all.
///
/// This waits for `work` after the signal without bound, so `work` must heed signals.
pub fn run_interruptibly(timeout_ms: u32, work: &mut (dyn FnMut() + Send)) -> Result<Ended> {
    extern "C" fn entry(data: *mut c_void) -> i32 {
        let job: *mut Job<'_> = data.cast();
        // SAFETY: The creator keeps the job alive until it has seen `done`.
        unsafe {
            hermit_helper_allow_signal(bindings::SIGTERM as i32);
            fence(Ordering::SeqCst);
            if !(*job).is_cancelled.load(Ordering::SeqCst) {
                ((*job).work)();
            }
            bindings::kthread_complete_and_exit((*job).done.as_mut_ptr(), 0)
        }
    }
    let mut job = Job { work, is_cancelled: AtomicBool::new(false), done: MaybeUninit::uninit() };
    // SAFETY: `job` outlives the thread's use of it: this function returns only after `done` has been
    // completed, after which the thread runs no code of the module. The task is referenced until then.
    unsafe {
        hermit_helper_init_completion(job.done.as_mut_ptr());
        let done = job.done.as_mut_ptr();
        let task = kernel::error::from_err_ptr(bindings::kthread_create_on_node(
            Some(entry),
            core::ptr::addr_of_mut!(job).cast(),
            bindings::NUMA_NO_NODE,
            c_str!("hermit_lend").as_char_ptr(),
        ))?;
        bindings::get_task_struct(task);
        bindings::wake_up_process(task);
        let jiffies = bindings::__msecs_to_jiffies(timeout_ms);
        let left = bindings::wait_for_completion_killable_timeout(done, jiffies as _);
        if left <= 0 {
            job.is_cancelled.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            bindings::send_sig(bindings::SIGTERM as i32, task, 1);
            bindings::wait_for_completion(done);
        }
        bindings::put_task_struct(task);
        Ok(match left {
            1.. => Ended::ByItself,
            0 => Ended::TimedOut,
            _ => Ended::Killed,
        })
    }
}
