// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls about signals.

use super::identity::group_of;
use super::time::read_timespec;
use super::Outcome;
use crate::errno::Errno;
use crate::process::Process;
use crate::sched::{self, Woken};
use crate::signal::deliver::{self, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK};
use crate::signal::info::{code, LEN};
use crate::signal::number::{LAST, SIGSEGV};
use crate::signal::{self, Action, Fate, Info, UNBLOCKABLE};
use crate::thread::{AltStack, Ended, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::time::monotonic_ns;

/// Bytes of a signal set.
const SET_LEN: u64 = 8;

/// Least length of an alternate stack.
pub const MIN_SIGNAL_STACK: u64 = 2048;

fn check_len(len: u64) -> Result<(), Errno> {
    if len == SET_LEN {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub fn rt_sigaction(t: &mut Thread, [signal, new, old, len, ..]: [u64; 6]) -> Outcome {
    check_len(len)?;
    let action = match new {
        0 => None,
        at => {
            let [handler, flags, restorer, mask] = t.memory().read_words(at)?;
            Some(Action { handler, flags, restorer, mask })
        }
    };
    let before = {
        let mut signals = t.process.signals.lock();
        let before = signals.set_action(signal, action)?;
        if action.is_some() && signals.fate(signal as u32) == Fate::Ignored {
            // What is ignored isn't pending either.
            t.process.for_each_thread(|task| task.pending.lock().forget(signal as u32));
        }
        before
    };
    if old != 0 {
        t.memory().write_words(old, &[before.handler, before.flags, before.restorer, before.mask])?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(t: &mut Thread, [how, set, old, len, ..]: [u64; 6]) -> Outcome {
    check_len(len)?;
    let before = t.task.blocked.load(Ordering::SeqCst);
    if set != 0 {
        let set = t.memory().read_u64(set)?;
        let blocked = match how as u32 {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        signal::set_blocked(&t.task, blocked);
    }
    if old != 0 {
        t.memory().write_words(old, &[before])?;
    }
    Ok(0)
}

pub fn rt_sigpending(t: &mut Thread, set: u64, len: u64) -> Outcome {
    if len > SET_LEN {
        return Err(Errno::EINVAL.into());
    }
    let pending = signal::pending(&t.task) & t.task.blocked.load(Ordering::SeqCst);
    let bytes = pending.to_le_bytes();
    t.memory().write(set, bytes.get(..len as usize).unwrap_or(&bytes))?;
    Ok(0)
}

pub fn rt_sigsuspend(t: &mut Thread, set: u64, len: u64) -> Outcome {
    check_len(len)?;
    let set = t.memory().read_u64(set)?;
    t.saved_mask = Some(signal::set_blocked(&t.task, set));
    pause(t)
}

/// Runs `call` with another set of blocked signals, if one is given. If it is interrupted, that set holds until
/// the handlers have been called.
pub fn with_mask(t: &mut Thread, set: u64, len: u64, call: impl FnOnce(&mut Thread) -> Outcome) -> Outcome {
    if set == 0 {
        return call(t);
    }
    check_len(len)?;
    let set = t.memory().read_u64(set)?;
    let before = signal::set_blocked(&t.task, set);
    let result = call(t);
    if result == Err(Errno::EINTR.into()) {
        t.saved_mask = Some(before);
    } else {
        signal::set_blocked(&t.task, before);
    }
    result
}

/// Until a handler has been called or the process ends.
pub fn pause(t: &mut Thread) -> Outcome {
    sched::wait(&t.task, None, &|| false);
    t.check_end()?;
    Err(Errno::EINTR.into())
}

pub fn rt_sigtimedwait(t: &mut Thread, [set, info, timeout, len, ..]: [u64; 6]) -> Outcome {
    check_len(len)?;
    let set = t.memory().read_u64(set)? & !UNBLOCKABLE;
    let deadline = match timeout {
        0 => None,
        at => Some(monotonic_ns().saturating_add(read_timespec(t, at)?)),
    };
    t.task.waits_for.store(set, Ordering::SeqCst);
    let woken = sched::wait(&t.task, deadline, &|| signal::pending(&t.task) & set != 0);
    {
        // Who has chosen this thread has left its signal by then: it is taken, or the next one is for others.
        let _signals = t.process.signals.lock();
        t.task.waits_for.store(0, Ordering::SeqCst);
    }
    match signal::take(&t.task, set) {
        Some(taken) => {
            if info != 0 {
                t.memory().write(info, &taken.to_bytes())?;
            }
            Ok(taken.signal.into())
        }
        None if woken == Woken::TimedOut => Err(Errno::EAGAIN.into()),
        None => {
            t.check_end()?;
            Err(Errno::EINTR.into())
        }
    }
}

/// Calls a handler comes back from.
pub fn rt_sigreturn(t: &mut Thread) -> Result<(), Ended> {
    match deliver::sigreturn(t) {
        Ok(()) => Ok(()),
        Err(_) => t.fault("return from a signal without a frame", None, Info::kernel(SIGSEGV)),
    }
}

pub fn sigaltstack(t: &mut Thread, new: u64, old: u64) -> Outcome {
    let rsp = t.context.rsp;
    let before = deliver::stack_words(&t.alt_stack, rsp);
    if new != 0 {
        let [start, flags, len] = t.memory().read_words(new)?;
        if t.alt_stack.contains(rsp) && t.alt_stack.flags & SS_AUTODISARM == 0 {
            return Err(Errno::EPERM.into());
        }
        let flags = flags as u32;
        t.alt_stack = match flags & !SS_AUTODISARM {
            SS_DISABLE => AltStack::default(),
            0 | SS_ONSTACK if len < MIN_SIGNAL_STACK => return Err(Errno::ENOMEM.into()),
            0 | SS_ONSTACK => AltStack { start, len, flags: flags & SS_AUTODISARM },
            _ => return Err(Errno::EINVAL.into()),
        };
    }
    if old != 0 {
        t.memory().write_words(old, &before)?;
    }
    Ok(0)
}

/// A signal's number; 0 only asks whether it could be sent.
fn number(signal: u64) -> Result<u32, Errno> {
    u32::try_from(signal as i32).ok().filter(|s| *s <= LAST).ok_or(Errno::EINVAL)
}

/// The processes that a pid of kill(2) means.
fn receivers(t: &Thread, pid: i32) -> Vec<Arc<Process>> {
    let mut all = match pid {
        1.. => return t.process.family.find(pid as u32).into_iter().collect(),
        _ => t.process.family.members(),
    };
    let group = match pid {
        // All but oneself, on Linux; who is alone means himself.
        -1 if all.len() > 1 => {
            all.retain(|process| !Arc::ptr_eq(process, &t.process));
            return all;
        }
        -1 => return all,
        0 => group_of(&t.process),
        _ => pid.unsigned_abs(),
    };
    all.retain(|process| group_of(process) == group);
    all
}

fn sender(t: &Thread, signal: u32, code: i32) -> Info {
    Info::user(signal, code, t.process.pid(), t.process.startup().uid)
}

pub fn kill(t: &mut Thread, pid: u64, signal: u64) -> Outcome {
    let signal = number(signal)?;
    let receivers = receivers(t, pid as i32);
    if receivers.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    for process in receivers.into_iter().filter(|_| signal != 0) {
        signal::send(&process, None, sender(t, signal, code::USER))?;
    }
    t.check_end()?;
    Ok(0)
}

pub fn tkill(t: &mut Thread, tid: u64, signal: u64) -> Outcome {
    to_thread(t, tid, signal, None)
}

pub fn tgkill(t: &mut Thread, pid: u64, tid: u64, signal: u64) -> Outcome {
    if pid as i32 <= 0 || tid as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if pid as u32 != t.process.pid() {
        return Err(Errno::ESRCH.into());
    }
    to_thread(t, tid, signal, None)
}

fn to_thread(t: &mut Thread, tid: u64, signal: u64, info: Option<Info>) -> Outcome {
    if tid as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let signal = number(signal)?;
    let task = t.process.thread(tid as u32).ok_or(Errno::ESRCH)?;
    if signal != 0 {
        let info = info.unwrap_or(sender(t, signal, code::TKILL));
        signal::send(&t.process, Some(&task), info)?;
    }
    t.check_end()?;
    Ok(0)
}

fn read_info(t: &Thread, signal: u32, at: u64) -> Result<Info, Errno> {
    const _: () = assert!(LEN >= 40);
    Info::from_words(signal, t.memory().read_words(at)?)
}

pub fn rt_sigqueueinfo(t: &mut Thread, pid: u64, signal: u64, info: u64) -> Outcome {
    let signal = number(signal)?;
    let info = read_info(t, signal, info)?;
    if pid as u32 != t.process.pid() {
        return Err(Errno::ESRCH.into());
    }
    if signal != 0 {
        signal::send(&t.process, None, info)?;
    }
    t.check_end()?;
    Ok(0)
}

pub fn rt_tgsigqueueinfo(t: &mut Thread, [pid, tid, signal, info, ..]: [u64; 6]) -> Outcome {
    let info = read_info(t, number(signal)?, info)?;
    if pid as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if pid as u32 != t.process.pid() {
        return Err(Errno::ESRCH.into());
    }
    to_thread(t, tid, signal, Some(info))
}
