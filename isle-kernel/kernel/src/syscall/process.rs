// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process is, and where it runs: identity, thread registers, CPUs.

use super::Outcome;
use crate::errno::Errno;
use crate::mem::access::element;
use crate::process::Process;
use alloc::vec::Vec;
use hermit_plat::{cpu, user};
use linux_raw_sys::general as nr;

fn is_self(p: &Process, pid: u64) -> Result<(), Errno> {
    match pid as u32 {
        0 => Ok(()),
        pid if pid == p.startup.pid => Ok(()),
        _ => Err(Errno::ESRCH),
    }
}

/// Calls that are about oneself and return the process's number.
pub fn of_self(p: &mut Process, pid: u64) -> Outcome {
    is_self(p, pid)?;
    Ok(p.startup.pid.into())
}

/// getresuid(2), getresgid(2).
pub fn ids(p: &mut Process, a: [u64; 6], ids: [u32; 3]) -> Outcome {
    for (to, id) in a.iter().zip(ids) {
        p.space.write(*to, &id.to_le_bytes())?;
    }
    Ok(0)
}

pub fn arch_prctl(p: &mut Process, code: u64, address: u64) -> Outcome {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_GET_FS: u64 = 0x1003;
    const ARCH_GET_GS: u64 = 0x1004;
    let done = match code {
        ARCH_SET_GS => user::set_gs_base(address),
        ARCH_SET_FS => user::set_fs_base(address),
        ARCH_GET_FS => {
            p.space.write_words(address, &[user::fs_base()])?;
            true
        }
        ARCH_GET_GS => {
            p.space.write_words(address, &[user::gs_base()])?;
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

pub fn prctl(p: &mut Process, option: u64, arg: u64) -> Outcome {
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    const NAME_LEN: usize = 16;
    match option {
        PR_SET_NAME => {
            // Longer names are cut, as on Linux.
            let mut name = Vec::new();
            for index in 0..NAME_LEN as u64 - 1 {
                let mut byte = [0];
                p.space.read(element(arg, index, 1)?, &mut byte)?;
                if byte == [0] {
                    break;
                }
                name.extend(byte);
            }
            p.name = name;
            Ok(0)
        }
        PR_GET_NAME => {
            let mut name = p.name.clone();
            name.resize(NAME_LEN, 0);
            p.space.write(arg, &name)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Number of the CPU on the isle.
fn cpu_index() -> usize {
    cpu::try_current().map_or(0, |c| c.index())
}

pub fn sched_getaffinity(p: &mut Process, [pid, len, to, ..]: [u64; 6]) -> Outcome {
    is_self(p, pid)?;
    let cpus = hermit_plat::shared::try_get().map_or(1, |s| s.cpus.len());
    if len % 8 != 0 || len.saturating_mul(8) < cpus as u64 {
        return Err(Errno::EINVAL.into());
    }
    let mut mask = alloc::vec![0; cpus.div_ceil(64)];
    if let Some(word) = mask.get_mut(cpu_index() / 64) {
        *word = 1 << (cpu_index() % 64);
    }
    p.space.write_words(to, &mask)?;
    Ok(mask.len() as u64 * 8)
}

pub fn sched_setaffinity(p: &mut Process, [pid, len, from, ..]: [u64; 6]) -> Outcome {
    is_self(p, pid)?;
    let (byte, bit) = (cpu_index() as u64 / 8, cpu_index() % 8);
    if byte >= len {
        return Err(Errno::EINVAL.into());
    }
    let mut mask = [0];
    p.space.read(from.wrapping_add(byte), &mut mask)?;
    if mask[0] & (1 << bit) == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

pub fn sched_getparam(p: &mut Process, pid: u64, to: u64) -> Outcome {
    is_self(p, pid)?;
    p.space.write(to, &[0; 4])?;
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

pub fn getcpu(p: &mut Process, to_cpu: u64, to_node: u64) -> Outcome {
    if to_cpu != 0 {
        p.space.write(to_cpu, &(cpu_index() as u32).to_le_bytes())?;
    }
    if to_node != 0 {
        p.space.write(to_node, &[0; 4])?;
    }
    Ok(0)
}
