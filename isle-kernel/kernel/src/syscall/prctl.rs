// SPDX-License-Identifier: MIT OR Apache-2.0

//! prctl(2).

use super::identity::LAST_CAPABILITY;
use super::numa::Policy;
use super::Outcome;
use crate::errno::Errno;
use crate::mem::access::element;
use crate::thread::Thread;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use linux_raw_sys::prctl as pr;

/// Bytes of a thread's name, with its NUL.
const NAME_LEN: usize = 16;

/// What prctl(2) sets that has no effect on an isle, and reads back.
#[derive(Clone, Debug)]
pub struct Settings {
    pub parent_death_signal: u32,
    pub is_dumpable: bool,
    pub no_new_privileges: bool,
    pub keep_capabilities: bool,
    pub is_subreaper: bool,
    pub timer_slack_ns: u64,
    pub no_huge_pages: bool,
    /// set_mempolicy(2).
    pub memory_policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parent_death_signal: 0,
            is_dumpable: true,
            no_new_privileges: false,
            keep_capabilities: false,
            is_subreaper: false,
            timer_slack_ns: TIMER_SLACK_NS,
            no_huge_pages: false,
            memory_policy: Policy::default(),
        }
    }
}

/// That of Linux.
const TIMER_SLACK_NS: u64 = 50_000;

pub fn prctl(t: &mut Thread, [option, arg, third, fourth, fifth, _]: [u64; 6]) -> Outcome {
    let rest_is_zero = third == 0 && fourth == 0 && fifth == 0;
    let flag = |value: u64| match value {
        0 | 1 => Ok(value == 1),
        _ => Err(Errno::EINVAL),
    };
    match option as u32 {
        pr::PR_SET_NAME => set_name(t, arg),
        pr::PR_GET_NAME => {
            let mut name = t.name.clone();
            name.resize(NAME_LEN, 0);
            t.memory().write(arg, &name)?;
            Ok(0)
        }
        pr::PR_SET_PDEATHSIG => {
            if arg > 64 {
                return Err(Errno::EINVAL.into());
            }
            t.process.settings.lock().parent_death_signal = arg as u32;
            Ok(0)
        }
        pr::PR_GET_PDEATHSIG => {
            let signal = t.process.settings.lock().parent_death_signal;
            t.memory().write(arg, &signal.to_le_bytes())?;
            Ok(0)
        }
        pr::PR_GET_DUMPABLE => Ok(t.process.settings.lock().is_dumpable.into()),
        pr::PR_SET_DUMPABLE => {
            t.process.settings.lock().is_dumpable = flag(arg)?;
            Ok(0)
        }
        pr::PR_GET_KEEPCAPS => Ok(t.process.settings.lock().keep_capabilities.into()),
        pr::PR_SET_KEEPCAPS => {
            t.process.settings.lock().keep_capabilities = flag(arg)?;
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS if arg == 0 && rest_is_zero => Ok(t.process.settings.lock().no_new_privileges.into()),
        pr::PR_SET_NO_NEW_PRIVS if arg == 1 && rest_is_zero => {
            t.process.settings.lock().no_new_privileges = true;
            Ok(0)
        }
        pr::PR_SET_CHILD_SUBREAPER => {
            t.process.settings.lock().is_subreaper = arg != 0;
            Ok(0)
        }
        pr::PR_GET_CHILD_SUBREAPER => {
            let is = u32::from(t.process.settings.lock().is_subreaper);
            t.memory().write(arg, &is.to_le_bytes())?;
            Ok(0)
        }
        pr::PR_GET_TIMERSLACK => Ok(t.process.settings.lock().timer_slack_ns),
        pr::PR_SET_TIMERSLACK => {
            t.process.settings.lock().timer_slack_ns = if arg == 0 { TIMER_SLACK_NS } else { arg };
            Ok(0)
        }
        pr::PR_SET_THP_DISABLE if rest_is_zero => {
            t.process.settings.lock().no_huge_pages = arg != 0;
            Ok(0)
        }
        pr::PR_GET_THP_DISABLE if arg == 0 && rest_is_zero => Ok(t.process.settings.lock().no_huge_pages.into()),
        // None of the bounding set is missing.
        pr::PR_CAPBSET_READ if arg <= LAST_CAPABILITY.into() => Ok(1),
        // There is no seccomp, no single precision, no other unaligned access, and none of the machine-check policies.
        pr::PR_GET_SECCOMP => Ok(0),
        pr::PR_GET_TIMING => Ok(0),
        pr::PR_GET_SECUREBITS => Ok(0),
        pr::PR_GET_TSC => {
            t.memory().write(arg, &1u32.to_le_bytes())?;
            Ok(0)
        }
        pr::PR_GET_TID_ADDRESS => {
            t.memory().write_words(arg, &[t.clear_child_tid])?;
            Ok(0)
        }
        // Names of mappings are for those who look, and nobody does.
        pr::PR_SET_VMA if arg == u64::from(pr::PR_SET_VMA_ANON_NAME) => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_name(t: &mut Thread, at: u64) -> Outcome {
    // Longer names are cut, as on Linux.
    let mut name = Vec::new();
    for index in 0..NAME_LEN as u64 - 1 {
        let mut byte = [0];
        t.memory().read(element(at, index, 1)?, &mut byte)?;
        if byte == [0] {
            break;
        }
        name.extend(byte);
    }
    t.name = name;
    Ok(0)
}

/// sched_setattr(2) and sched_getattr(2): struct sched_attr, as far as its first version.
const ATTR_LEN: u64 = 48;

pub fn sched_getattr(t: &mut Thread, [tid, to, len, flags, ..]: [u64; 6]) -> Outcome {
    if to == 0 || !(ATTR_LEN..=4096).contains(&len) || flags != 0 || (tid as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let task = match tid as u32 {
        0 => t.task.clone(),
        tid => t.process.thread(tid).ok_or(Errno::ESRCH)?,
    };
    let policy = task.policy.load(Ordering::Relaxed);
    let nice = t.process.nice.load(Ordering::Relaxed) as u32;
    // Size and policy; flags; nice value and priority; the three times of SCHED_DEADLINE.
    let words = [ATTR_LEN | policy >> 32 << 32, 0, u64::from(nice) | policy << 32, 0, 0, 0];
    t.memory().write_words(to, &words)?;
    Ok(0)
}

pub fn sched_setattr(t: &mut Thread, [tid, from, flags, ..]: [u64; 6]) -> Outcome {
    if from == 0 || flags != 0 || (tid as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let [head, _, values, ..]: [u64; 6] = t.memory().read_words(from)?;
    let size = head as u32;
    if size != 0 && u64::from(size) < ATTR_LEN {
        return Err(Errno::E2BIG.into());
    }
    super::process::set_scheduler(t, tid, head >> 32, (values >> 32) as u32)
}
