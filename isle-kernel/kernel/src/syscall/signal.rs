// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls about signals.

use super::Outcome;
use crate::errno::Errno;
use crate::process::Process;
use crate::signal::number::LAST;

/// Bytes of a signal set.
const SET_LEN: u64 = 8;

fn check_len(len: u64) -> Result<(), Errno> {
    if len == SET_LEN {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub fn rt_sigaction(p: &mut Process, [signal, new, old, len, ..]: [u64; 6]) -> Outcome {
    check_len(len)?;
    let action = if new == 0 { None } else { Some(p.space.read_words(new)?) };
    let before = p.signals.set_action(signal, action)?;
    p.signals_changed()?;
    if old != 0 {
        p.space.write_words(old, &before)?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(p: &mut Process, [how, set, old, len, ..]: [u64; 6]) -> Outcome {
    check_len(len)?;
    let set = if set == 0 { None } else { Some(p.space.read_u64(set)?) };
    let before = p.signals.set_mask(how, set)?;
    p.signals_changed()?;
    if old != 0 {
        p.space.write_words(old, &[before])?;
    }
    Ok(0)
}

pub fn rt_sigpending(p: &mut Process, set: u64, len: u64) -> Outcome {
    check_len(len)?;
    let pending = p.signals.pending();
    p.space.write_words(set, &[pending])?;
    Ok(0)
}

pub fn rt_sigsuspend(p: &mut Process, set: u64, len: u64) -> Outcome {
    const SIG_SETMASK: u64 = 2;
    check_len(len)?;
    let set = p.space.read_u64(set)?;
    p.signals.set_mask(SIG_SETMASK, Some(set))?;
    p.signals_changed()?;
    pause(p)
}

/// Until a signal ends the application: handlers can't be called yet.
pub fn pause(p: &mut Process) -> Outcome {
    p.link.wait_until(p.deadly(), None, || false)?;
    Err(Errno::EINTR.into())
}

pub fn sigaltstack(p: &mut Process, new: u64, old: u64) -> Outcome {
    const SS_DISABLE: u64 = 2;
    const MIN_LEN: u64 = 2048;
    let before = p.signals.stack;
    if new != 0 {
        let [sp, flags, len] = p.space.read_words(new)?;
        let flags = flags & 0xffff_ffff;
        match flags {
            SS_DISABLE => p.signals.stack = [0, SS_DISABLE, 0],
            0 if len < MIN_LEN => return Err(Errno::ENOMEM.into()),
            0 => p.signals.stack = [sp, 0, len],
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    if old != 0 {
        p.space.write_words(old, &before)?;
    }
    Ok(0)
}

pub fn kill(p: &mut Process, pid: u64, signal: u64) -> Outcome {
    // Its own group has no other members here.
    let me = p.startup.pid as i32;
    send(p, matches!(pid as i32, x if x == me || x == 0 || x == -1 || x == -me), signal)
}

pub fn tkill(p: &mut Process, tid: u64, signal: u64) -> Outcome {
    send(p, tid as u32 == p.startup.pid, signal)
}

pub fn tgkill(p: &mut Process, pid: u64, tid: u64, signal: u64) -> Outcome {
    send(p, pid as u32 == p.startup.pid && tid as u32 == p.startup.pid, signal)
}

fn send(p: &mut Process, to_self: bool, signal: u64) -> Outcome {
    let signal = u32::try_from(signal as i32).ok().filter(|s| *s <= LAST).ok_or(Errno::EINVAL)?;
    if !to_self {
        return Err(Errno::ESRCH.into());
    }
    if signal != 0 {
        p.signal(signal)?;
    }
    Ok(0)
}
