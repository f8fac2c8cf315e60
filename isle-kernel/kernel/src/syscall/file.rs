// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls on files that differ a little on an isle.

use super::{nr, transfer, Outcome};
use crate::errno::Errno;
use crate::fd::Kind;
use crate::mapped;
use crate::thread::Thread;

/// vmsplice(2): pages can't be given away to Linux, so they are copied, which the call allows itself as well.
pub fn vmsplice(t: &mut Thread, a: [u64; 6]) -> Outcome {
    const KNOWN: u32 = 0xf;
    if a[3] as u32 & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    let is_pipe = matches!(t.files().get(a[0])?.kind, Kind::Remote(_)) && {
        let size = t.forward(nr::__NR_fcntl, [a[0], nr::F_GETPIPE_SZ.into(), 0, 0, 0, 0]);
        match size {
            Err(fail @ (crate::errno::Fail::Ended | crate::errno::Fail::Restart)) => return Err(fail),
            other => other.is_ok(),
        }
    };
    if !is_pipe {
        return Err(Errno::EBADF.into());
    }
    let flags = t.forward(nr::__NR_fcntl, [a[0], nr::F_GETFL.into(), 0, 0, 0, 0])?;
    match flags as u32 & nr::O_ACCMODE {
        nr::O_WRONLY => transfer::writev(t, a, None),
        _ => transfer::readv(t, a, None),
    }
}

/// ftruncate(2): also for what is mapped of the file.
pub fn ftruncate(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    t.forward(nr::__NR_ftruncate, a)?;
    if let Some(fd) = file.remote_fd() {
        mapped::cut(t, fd)?;
    }
    Ok(0)
}

/// flock(2). Mandatory locks are gone: Linux says so in its log, and else does nothing (fs/locks.c).
pub fn flock(t: &mut Thread, a: [u64; 6]) -> Outcome {
    const LOCK_MAND: u32 = 32;
    match a[1] as u32 & LOCK_MAND {
        0 => t.forward(nr::__NR_flock, a),
        _ => Ok(0),
    }
}

/// Advice about what the isle keeps is heard, and that is all.
pub fn fadvise64(t: &mut Thread, a: [u64; 6]) -> Outcome {
    const LAST_ADVICE: u64 = 5;
    if t.files().get(a[0])?.remote_fd().is_some() {
        return t.forward(nr::__NR_fadvise64, a);
    }
    match a[3] {
        0..=LAST_ADVICE => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

pub fn mlock2(t: &mut Thread, [start, len, flags, ..]: [u64; 6]) -> Outcome {
    const MLOCK_ONFAULT: u64 = 1;
    match flags & !MLOCK_ONFAULT {
        0 => super::memory::check(t, start, len),
        _ => Err(Errno::EINVAL.into()),
    }
}
