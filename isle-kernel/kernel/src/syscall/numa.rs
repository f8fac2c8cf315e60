// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory policies, as on a machine with one node, which all memory of an isle is on.

use super::Outcome;
use crate::errno::Errno;
use crate::mem::access::element;
use crate::thread::Thread;
use linux_raw_sys::mempolicy::{MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED, MPOL_F_NODE};

/// Modes (linux/mempolicy.h).
const MPOL_DEFAULT: u32 = 0;
const MPOL_PREFERRED: u32 = 1;
const MPOL_INTERLEAVE: u32 = 3;
const MPOL_LOCAL: u32 = 4;
/// MPOL_MODE_FLAGS.
const MODE_FLAGS: u32 = 0xe000;
/// MPOL_WEIGHTED_INTERLEAVE, the last.
const LAST_MODE: u32 = 6;
/// The only node, as a set.
const NODE_0: u64 = 1;

/// A policy: its mode, and whether node 0 is in its set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    mode: u32,
    has_node: bool,
}

/// Reads a set of nodes of `count` bits less one (Linux: get_nodes()); only node 0 may be in it.
fn read_nodes(t: &Thread, at: u64, count: u64) -> Result<u64, Errno> {
    const MOST: u64 = 4096 * 8;
    if at == 0 || count <= 1 {
        return Ok(0);
    }
    let bits = count - 1;
    if bits > MOST {
        return Err(Errno::EINVAL);
    }
    let mut nodes = 0;
    for index in 0..bits.div_ceil(64) {
        let mut word = t.memory().read_u64(element(at, index, 8)?)?;
        let left = bits - index * 64;
        if left < 64 {
            word &= (1 << left) - 1;
        }
        // Others are all the same here: not there.
        nodes |= if index == 0 { word } else { u64::from(word != 0) << 1 };
    }
    Ok(nodes)
}

fn policy(t: &Thread, mode: u64, at: u64, count: u64) -> Result<Policy, Errno> {
    let mode = mode as u32;
    let base = mode & !MODE_FLAGS;
    let nodes = read_nodes(t, at, count)?;
    let fits = match base {
        MPOL_DEFAULT | MPOL_LOCAL => nodes == 0 && mode & MODE_FLAGS == 0,
        // Without nodes: local.
        MPOL_PREFERRED => nodes & !NODE_0 == 0,
        // Of those that aren't there none counts, but one must be.
        2..=LAST_MODE => nodes & NODE_0 != 0,
        _ => false,
    };
    fits.then_some(Policy { mode, has_node: nodes & NODE_0 != 0 }).ok_or(Errno::EINVAL)
}

pub fn set_mempolicy(t: &mut Thread, [mode, nodes, count, ..]: [u64; 6]) -> Outcome {
    let policy = policy(t, mode, nodes, count)?;
    t.process.settings.lock().memory_policy = policy;
    Ok(0)
}

pub fn mbind(t: &mut Thread, [start, len, mode, nodes, count, flags]: [u64; 6]) -> Outcome {
    // MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL.
    if flags & !7 != 0 {
        return Err(Errno::EINVAL.into());
    }
    policy(t, mode, nodes, count)?;
    super::memory::check(t, start, len).map_err(|_| Errno::EFAULT.into())
}

pub fn get_mempolicy(t: &mut Thread, [mode, nodes, count, address, flags, _]: [u64; 6]) -> Outcome {
    const KNOWN: u64 = (MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) as u64;
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if flags & !KNOWN != 0 || nodes != 0 && count < 1 {
        return Err(Errno::EINVAL.into());
    }
    let policy = t.process.settings.lock().memory_policy;
    let (value, set) = if has(MPOL_F_MEMS_ALLOWED) {
        if flags & !u64::from(MPOL_F_MEMS_ALLOWED) != 0 {
            return Err(Errno::EINVAL.into());
        }
        (0, NODE_0)
    } else if has(MPOL_F_ADDR) {
        let mut byte = [0];
        t.memory().read(address, &mut byte)?;
        // Its policy, or the node that it is on.
        (if has(MPOL_F_NODE) { 0 } else { policy.mode }, u64::from(policy.has_node))
    } else if address != 0 {
        return Err(Errno::EINVAL.into());
    } else if has(MPOL_F_NODE) {
        match policy.mode & !MODE_FLAGS {
            MPOL_INTERLEAVE | LAST_MODE => (0, NODE_0),
            _ => return Err(Errno::EINVAL.into()),
        }
    } else {
        (policy.mode, u64::from(policy.has_node))
    };
    if mode != 0 {
        t.memory().write(mode, &value.to_le_bytes())?;
    }
    if nodes != 0 {
        for index in 0..(count - 1).min(4096 * 8).div_ceil(64) {
            let word = if index == 0 { set } else { 0 };
            t.memory().write_words(element(nodes, index, 8)?, &[word])?;
        }
    }
    Ok(0)
}

fn check_pid(t: &Thread, pid: u64) -> Result<(), Errno> {
    match pid as u32 == 0 || pid as u32 == t.process.pid() {
        true => Ok(()),
        false => Err(Errno::ESRCH),
    }
}

/// All pages are there already.
pub fn migrate_pages(t: &mut Thread, [pid, count, from, to, ..]: [u64; 6]) -> Outcome {
    check_pid(t, pid)?;
    read_nodes(t, from, count)?;
    match read_nodes(t, to, count)? & NODE_0 {
        0 => Err(Errno::EINVAL.into()),
        _ => Ok(0),
    }
}

pub fn move_pages(t: &mut Thread, [pid, count, pages, nodes, status, flags]: [u64; 6]) -> Outcome {
    // MPOL_MF_MOVE, MPOL_MF_MOVE_ALL.
    if flags & !6 != 0 {
        return Err(Errno::EINVAL.into());
    }
    check_pid(t, pid)?;
    for index in 0..count {
        t.check_end()?;
        let page = t.memory().read_u64(element(pages, index, 8)?)?;
        if nodes != 0 && t.memory().read_u32(element(nodes, index, 4)?)? != 0 {
            return Err(Errno::ENODEV.into());
        }
        let is_there = page < hermit_plat::user::END && t.space().tables().lookup(page).is_some();
        let node = if is_there { 0 } else { Errno::ENOENT.as_result() as u32 };
        t.memory().write(element(status, index, 4)?, &node.to_le_bytes())?;
    }
    Ok(0)
}
