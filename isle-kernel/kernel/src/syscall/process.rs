// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process is, and where it runs: identity, thread registers, CPUs.

use super::Outcome;
use crate::errno::Errno;
use crate::mem::access::element;
use crate::sched::{self, CpuMask, Task};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::{cpu, user};
use linux_raw_sys::general as nr;

/// The thread that a call about scheduling means.
fn thread(t: &Thread, tid: u64) -> Result<Arc<Task>, Errno> {
    match tid as i32 {
        0 => Ok(t.task.clone()),
        1.. => t.process.thread(tid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::EINVAL),
    }
}

pub fn arch_prctl(t: &mut Thread, code: u64, address: u64) -> Outcome {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_GET_FS: u64 = 0x1003;
    const ARCH_GET_GS: u64 = 0x1004;
    let done = match code {
        ARCH_SET_GS => user::set_gs_base(address),
        ARCH_SET_FS => user::set_fs_base(address),
        ARCH_GET_FS => {
            t.memory().write_words(address, &[user::fs_base()])?;
            true
        }
        ARCH_GET_GS => {
            t.memory().write_words(address, &[user::gs_base()])?;
            true
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if done {
        Ok(0)
    } else {
        Err(Errno::EPERM.into())
    }
}

pub fn sched_getaffinity(t: &mut Thread, [tid, len, to, ..]: [u64; 6]) -> Outcome {
    let task = thread(t, tid)?;
    let mask = task.allowed().clone();
    if len % 8 != 0 || len < mask.words().len() as u64 * 8 {
        return Err(Errno::EINVAL.into());
    }
    t.memory().write_words(to, mask.words())?;
    Ok(mask.words().len() as u64 * 8)
}

pub fn sched_setaffinity(t: &mut Thread, [tid, len, from, ..]: [u64; 6]) -> Outcome {
    let task = thread(t, tid)?;
    let count = sched::cpu_count().div_ceil(64) as u64;
    let mut words = Vec::new();
    for index in 0..count.min(len.div_ceil(8)) {
        let mut bytes = [0; 8];
        let part = bytes.get_mut(..(len - index * 8).min(8) as usize).ok_or(Errno::EINVAL)?;
        t.memory().read(element(from, index, 8)?, part)?;
        words.push(u64::from_le_bytes(bytes));
    }
    let mask = CpuMask::from_words(words.into_iter());
    if mask.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    task.allow(mask);
    sched::migrate(&t.task);
    if !Arc::ptr_eq(&task, &t.task) {
        // It moves when it comes by.
        task.notify();
    }
    Ok(0)
}

/// Policies and priorities are kept, no more: every thread has a CPU, or shares one fairly.
pub fn sched_getscheduler(t: &mut Thread, tid: u64) -> Outcome {
    Ok(thread(t, tid)?.policy.load(Ordering::Relaxed) >> 32)
}

pub fn sched_setscheduler(t: &mut Thread, tid: u64, policy: u64, param: u64) -> Outcome {
    let task = thread(t, tid)?;
    let policy = policy as u32 & !nr::SCHED_RESET_ON_FORK;
    let priority = t.memory().read_u32(param)?;
    set_policy(&task, policy, priority)
}

/// sched_setscheduler(2) with a priority that has been read.
pub fn set_scheduler(t: &mut Thread, tid: u64, policy: u64, priority: u32) -> Outcome {
    set_policy(&*thread(t, tid)?, policy as u32, priority)
}

fn set_policy(task: &Task, policy: u32, priority: u32) -> Outcome {
    let fits = match policy {
        nr::SCHED_FIFO | nr::SCHED_RR => (1..=99).contains(&priority),
        nr::SCHED_NORMAL | nr::SCHED_BATCH | nr::SCHED_IDLE => priority == 0,
        _ => false,
    };
    if !fits {
        return Err(Errno::EINVAL.into());
    }
    task.policy.store(u64::from(policy) << 32 | u64::from(priority), Ordering::Relaxed);
    Ok(0)
}

pub fn sched_getparam(t: &mut Thread, tid: u64, to: u64) -> Outcome {
    if to == 0 {
        return Err(Errno::EINVAL.into());
    }
    let priority = thread(t, tid)?.policy.load(Ordering::Relaxed) as u32;
    t.memory().write(to, &priority.to_le_bytes())?;
    Ok(0)
}

pub fn sched_setparam(t: &mut Thread, tid: u64, param: u64) -> Outcome {
    if param == 0 {
        return Err(Errno::EINVAL.into());
    }
    let task = thread(t, tid)?;
    let priority = t.memory().read_u32(param)?;
    let policy = (task.policy.load(Ordering::Relaxed) >> 32) as u32;
    set_policy(&task, policy, priority)
}

pub fn sched_rr_get_interval(t: &mut Thread, tid: u64, to: u64) -> Outcome {
    thread(t, tid)?;
    t.memory().write_words(to, &[0, sched::SLICE_NS])?;
    Ok(0)
}

/// Priorities of the real-time policies; the others have none.
pub fn priority_limit(policy: u64, limit: u64) -> Outcome {
    match policy as u32 {
        nr::SCHED_FIFO | nr::SCHED_RR => Ok(limit),
        nr::SCHED_NORMAL | nr::SCHED_BATCH | nr::SCHED_IDLE => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub fn getcpu(t: &mut Thread, to_cpu: u64, to_node: u64) -> Outcome {
    if to_cpu != 0 {
        t.memory().write(to_cpu, &(cpu::index() as u32).to_le_bytes())?;
    }
    if to_node != 0 {
        t.memory().write(to_node, &[0; 4])?;
    }
    Ok(0)
}
