// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who the process is: users and groups, capabilities, process groups, priorities. They are the proxy's, and can't be changed:
//! what changes nothing succeeds.

use super::Outcome;
use crate::errno::Errno;
use crate::mem::access::element;
use crate::process::Process;
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// An argument that leaves an id as it is.
const KEEP: u32 = u32::MAX;

/// Real, effective and saved.
type Ids = [u32; 3];

fn users(t: &Thread) -> Ids {
    let s = t.process.startup();
    [s.uid, s.euid, s.suid]
}

fn groups(t: &Thread) -> Ids {
    let s = t.process.startup();
    [s.gid, s.egid, s.sgid]
}

pub fn getresuid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    tell(t, a, users(t))
}

pub fn getresgid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    tell(t, a, groups(t))
}

fn tell(t: &mut Thread, a: [u64; 6], ids: Ids) -> Outcome {
    for (to, id) in a.iter().zip(ids) {
        t.memory().write(*to, &id.to_le_bytes())?;
    }
    Ok(0)
}

/// Succeeds if no id would be another afterwards.
fn unchanged(wanted: &[u64], ids: &[u32]) -> Outcome {
    let is_same = |(wanted, id): (&u64, &u32)| *wanted as u32 == KEEP || *wanted as u32 == *id;
    match wanted.iter().zip(ids).all(is_same) {
        true => Ok(0),
        false => Err(Errno::EPERM.into()),
    }
}

/// setuid(2): of the superuser all three, else the effective one.
fn set_one(wanted: u64, ids: Ids, is_super: bool) -> Outcome {
    match wanted as u32 {
        KEEP => Err(Errno::EINVAL.into()),
        _ if is_super => unchanged(&[wanted; 3], &ids),
        _ => unchanged(&[wanted], &ids[1..2]),
    }
}

fn is_super(t: &Thread) -> bool {
    t.process.startup().euid == 0
}

pub fn setuid(t: &mut Thread, [id, ..]: [u64; 6]) -> Outcome {
    set_one(id, users(t), is_super(t))
}

pub fn setgid(t: &mut Thread, [id, ..]: [u64; 6]) -> Outcome {
    set_one(id, groups(t), is_super(t))
}

pub fn setreuid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    unchanged(&a[..2], &users(t)[..2])
}

pub fn setregid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    unchanged(&a[..2], &groups(t)[..2])
}

pub fn setresuid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    unchanged(&a[..3], &users(t))
}

pub fn setresgid(t: &mut Thread, a: [u64; 6]) -> Outcome {
    unchanged(&a[..3], &groups(t))
}

/// Always the id that there was, whether it is another now or not: which it isn't.
pub fn setfsuid(t: &mut Thread, _: [u64; 6]) -> Outcome {
    Ok(t.process.startup().euid.into())
}

pub fn setfsgid(t: &mut Thread, _: [u64; 6]) -> Outcome {
    Ok(t.process.startup().egid.into())
}

pub fn getgroups(t: &mut Thread, [room, to, ..]: [u64; 6]) -> Outcome {
    let groups = &t.process.startup().groups;
    let room = usize::try_from(room as i32).map_err(|_| Errno::EINVAL)?;
    if room > 0 {
        if room < groups.len() {
            return Err(Errno::EINVAL.into());
        }
        for (group, index) in groups.iter().zip(0..) {
            t.memory().write(element(to, index, 4)?, &group.to_le_bytes())?;
        }
    }
    Ok(groups.len() as u64)
}

pub fn setgroups(t: &mut Thread, [count, from, ..]: [u64; 6]) -> Outcome {
    if !is_super(t) {
        return Err(Errno::EPERM.into());
    }
    let groups = &t.process.startup().groups;
    if count as u32 as usize != groups.len() {
        return Err(Errno::EPERM.into());
    }
    for (group, index) in groups.iter().zip(0..) {
        if t.memory().read_u32(element(from, index, 4)?)? != *group {
            return Err(Errno::EPERM.into());
        }
    }
    Ok(0)
}

/// Versions of capget(2), and the capabilities that the superuser has.
const CAPABILITY_V1: u32 = 0x1998_0330;
const CAPABILITY_V2: u32 = 0x2007_1026;
const CAPABILITY_V3: u32 = 0x2008_0522;
pub const LAST_CAPABILITY: u32 = 40;
const ALL_CAPABILITIES: u64 = (1 << (LAST_CAPABILITY + 1)) - 1;

fn header(t: &mut Thread, at: u64) -> Result<(usize, u32), Errno> {
    let word = t.memory().read_u64(at)?;
    let words = match word as u32 {
        CAPABILITY_V1 => 1,
        CAPABILITY_V2 | CAPABILITY_V3 => 2,
        _ => {
            t.memory().write(at, &CAPABILITY_V3.to_le_bytes())?;
            return Err(Errno::EINVAL);
        }
    };
    Ok((words, (word >> 32) as u32))
}

/// What an isle does for a process it does for everybody, so these are for show; on files, the proxy's count.
fn capabilities(t: &Thread) -> u64 {
    if is_super(t) {
        ALL_CAPABILITIES
    } else {
        0
    }
}

pub fn capget(t: &mut Thread, [at, to, ..]: [u64; 6]) -> Outcome {
    let (words, pid) = match header(t, at) {
        // To ask for the version only.
        Err(Errno::EINVAL) if to == 0 => return Ok(0),
        other => other?,
    };
    if (pid as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    if pid != 0 && pid != t.process.pid() && t.process.thread(pid).is_none() {
        return Err(Errno::ESRCH.into());
    }
    if to == 0 {
        return Ok(0);
    }
    let mut all = capabilities(t);
    for index in 0..words as u64 {
        let part = (all as u32).to_le_bytes();
        let at = element(to, index, 12)?;
        // Effective, permitted, inheritable.
        t.memory().write(at, &part)?;
        t.memory().write(at.wrapping_add(4), &part)?;
        t.memory().write(at.wrapping_add(8), &[0; 4])?;
        all >>= 32;
    }
    Ok(0)
}

pub fn capset(t: &mut Thread, [at, from, ..]: [u64; 6]) -> Outcome {
    let (words, pid) = header(t, at)?;
    if pid != 0 && pid != t.process.pid() {
        return Err(Errno::EPERM.into());
    }
    let mut all = capabilities(t);
    for index in 0..words as u64 {
        let at = element(from, index, 12)?;
        for part in [0, 4] {
            if t.memory().read_u32(at.wrapping_add(part))? & !(all as u32) != 0 {
                return Err(Errno::EPERM.into());
            }
        }
        all >>= 32;
    }
    // What one gives away one keeps.
    Ok(0)
}

/// The process that a number means: oneself, or another one of the application.
fn process(t: &Thread, pid: u64) -> Result<Arc<Process>, Errno> {
    match pid as i32 {
        0 => Ok(t.process.clone()),
        1.. => t.process.family.find(pid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// getpgid(2).
pub fn group_of(process: &Process) -> u32 {
    process.kin.group().unwrap_or(process.startup().pgid)
}

pub fn getpgrp(t: &mut Thread, _: [u64; 6]) -> Outcome {
    Ok(group_of(&t.process).into())
}

pub fn getpgid(t: &mut Thread, [pid, ..]: [u64; 6]) -> Outcome {
    Ok(group_of(&*process(t, pid)?).into())
}

pub fn getsid(t: &mut Thread, [pid, ..]: [u64; 6]) -> Outcome {
    let process = process(t, pid)?;
    Ok(process.kin.session().unwrap_or(process.startup().sid).into())
}

/// The group of the first process stays that of the proxy, which job control is about.
pub fn setpgid(t: &mut Thread, [pid, group, ..]: [u64; 6]) -> Outcome {
    if (group as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = process(t, pid)?;
    let is_own = Arc::ptr_eq(&process, &t.process);
    if !is_own && !process.kin.parent().is_some_and(|parent| Arc::ptr_eq(&parent, &t.process)) {
        return Err(Errno::ESRCH.into());
    }
    if process.kin.command().is_some() {
        // It has executed another program.
        return Err(Errno::EACCES.into());
    }
    let pid = process.pid();
    let wanted = if group == 0 { pid } else { group as u32 };
    if wanted == group_of(&process) {
        return Ok(0);
    }
    let exists = || wanted == pid || t.process.family.any(|other| group_of(other) == wanted);
    if process.is_first() || process.kin.session() == Some(pid) || !exists() {
        return Err(Errno::EPERM.into());
    }
    process.kin.set_group(wanted);
    Ok(0)
}

pub fn setsid(t: &mut Thread, _: [u64; 6]) -> Outcome {
    let pid = t.process.pid();
    if t.process.is_first() || group_of(&t.process) == pid {
        return Err(Errno::EPERM.into());
    }
    t.process.kin.lead_session(pid);
    Ok(pid.into())
}

/// Whom getpriority(2) and ioprio_get(2) are about: a thread, the process, its group or its user, which all are it.
fn whom(t: &Thread, which: u32, who: u64) -> Result<(), Errno> {
    let who = who as u32;
    let own = match which {
        0 => t.process.pid(),
        1 => t.process.startup().pgid,
        2 => t.process.startup().uid,
        _ => return Err(Errno::EINVAL),
    };
    match who == 0 || who == own || which == 0 && t.process.thread(who).is_some() {
        true => Ok(()),
        false => Err(Errno::ESRCH),
    }
}

/// Nice values are kept, no more. The call returns 20 less the value.
pub fn getpriority(t: &mut Thread, [which, who, ..]: [u64; 6]) -> Outcome {
    whom(t, which as u32, who)?;
    Ok((20 - t.process.nice.load(Ordering::Relaxed)) as u64)
}

pub fn setpriority(t: &mut Thread, [which, who, nice, ..]: [u64; 6]) -> Outcome {
    whom(t, which as u32, who)?;
    let nice = (nice as i32).clamp(-20, 19);
    if nice < t.process.nice.load(Ordering::Relaxed) && !is_super(t) {
        return Err(Errno::EACCES.into());
    }
    t.process.nice.store(nice, Ordering::Relaxed);
    Ok(0)
}

/// IOPRIO_WHO_PROCESS is 1, and so on.
pub fn ioprio_get(t: &mut Thread, [which, who, ..]: [u64; 6]) -> Outcome {
    whom(t, (which as u32).wrapping_sub(1), who)?;
    Ok(0)
}

pub fn ioprio_set(t: &mut Thread, [which, who, priority, ..]: [u64; 6]) -> Outcome {
    let (class, level) = (priority as u32 >> 13 & 7, priority as u32 & 0x1fff);
    whom(t, (which as u32).wrapping_sub(1), who)?;
    match class {
        // None, real time, best effort, idle.
        0 if level != 0 => Err(Errno::EINVAL.into()),
        1 if !is_super(t) => Err(Errno::EPERM.into()),
        0..=3 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Only that of Linux.
pub fn personality(_: &mut Thread, [wanted, ..]: [u64; 6]) -> Outcome {
    const ASK: u32 = u32::MAX;
    const PER_LINUX: u32 = 0;
    match wanted as u32 {
        // What else there is to it doesn't concern an isle, which has no randomised addresses.
        ASK => Ok(0),
        wanted if wanted & 0xff == PER_LINUX => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}
