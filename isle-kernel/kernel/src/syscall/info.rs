// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the isle says about itself: names, limits, usage, random bytes.

use super::Outcome;
use crate::errno::Errno;
use crate::mem::frames;
use crate::thread::Thread;
use alloc::format;
use alloc::vec::Vec;
use linux_raw_sys::general as nr;

/// The Linux release whose system calls these are.
const RELEASE: &str = "6.12.0-hermit";

/// Limits: soft and hard, by number.
pub type Limits = [[u64; 2]; nr::RLIM_NLIMITS as usize];

pub fn uname(t: &mut Thread, [to, ..]: [u64; 6]) -> Outcome {
    const FIELD: usize = 65;
    let isle = hermit_plat::shared::try_get().map_or(0, |s| s.boot.isle);
    let version = format!("HermitCore isle {isle}");
    let mut bytes = Vec::new();
    let node = t.process.startup().host_name.as_slice();
    let texts = [b"Linux", node, RELEASE.as_bytes(), version.as_bytes(), b"x86_64", b"(none)"];
    for (index, text) in texts.iter().enumerate() {
        bytes.extend(text.iter().take(FIELD - 1));
        bytes.resize((index + 1) * FIELD, 0);
    }
    t.memory().write(to, &bytes)?;
    Ok(0)
}

pub fn sysinfo(t: &mut Thread, [to, ..]: [u64; 6]) -> Outcome {
    let (used, all) = {
        let frames = frames::shared().lock();
        (frames.used(), frames.len())
    };
    let mut words = [0; 14];
    words[0] = hermit_plat::time::monotonic_ns() / 1_000_000_000;
    words[4] = all;
    words[5] = all - used;
    words[10] = 1; // processes
    words[13] = 1; // unit
    t.memory().write_words(to, &words)?;
    Ok(0)
}

pub fn getrusage(t: &mut Thread, [who, to, ..]: [u64; 6]) -> Outcome {
    let mut words = [0; 18];
    match who as i32 {
        0 | 1 => {
            let ns = if who as i32 == 0 { t.process.run_ns() } else { t.task.run_ns() };
            words[0] = ns / 1_000_000_000;
            words[1] = ns % 1_000_000_000 / 1000;
            words[4] = t.space().resident().1 >> 10;
        }
        -1 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    t.memory().write_words(to, &words)?;
    Ok(0)
}

pub fn getrlimit(t: &mut Thread, [resource, to, ..]: [u64; 6]) -> Outcome {
    if to == 0 && resource < u64::from(nr::RLIM_NLIMITS) {
        return Err(Errno::EFAULT.into());
    }
    prlimit64(t, [0, resource, 0, to, 0, 0])
}

pub fn setrlimit(t: &mut Thread, [resource, from, ..]: [u64; 6]) -> Outcome {
    if from == 0 {
        return Err(Errno::EFAULT.into());
    }
    prlimit64(t, [0, resource, from, 0, 0, 0])
}

pub fn prlimit64(t: &mut Thread, [pid, resource, new, old, ..]: [u64; 6]) -> Outcome {
    if pid as u32 != 0 && pid as u32 != t.process.pid() {
        return Err(Errno::ESRCH.into());
    }
    let resource = resource as u32 as usize;
    let before = *t.process.limits.lock().get(resource).ok_or(Errno::EINVAL)?;
    if new != 0 {
        let [soft, hard] = t.memory().read_words(new)?;
        if soft > hard {
            return Err(Errno::EINVAL.into());
        }
        let is_files = resource == nr::RLIMIT_NOFILE as usize;
        // The proxy's own limit of files is what it is.
        if hard > before[1] && (t.process.startup().euid != 0 || is_files) {
            return Err(Errno::EPERM.into());
        }
        if let Some(limit) = t.process.limits.lock().get_mut(resource) {
            *limit = [soft, hard];
        }
        if is_files {
            t.files().set_limit(soft);
        }
    }
    if old != 0 {
        t.memory().write_words(old, &before)?;
    }
    Ok(0)
}

pub fn getrandom(t: &mut Thread, [to, len, flags, ..]: [u64; 6]) -> Outcome {
    /// Enough at once; callers go on until they have all.
    const MAX: u64 = 1 << 20;
    const KNOWN: u32 = nr::GRND_NONBLOCK | nr::GRND_RANDOM | nr::GRND_INSECURE;
    if flags as u32 & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = len.min(MAX);
    let mut done = 0;
    let mut bytes = [0; 256];
    while done < len {
        let now = (len - done).min(bytes.len() as u64);
        let Some(part) = bytes.get_mut(..now as usize) else { break };
        t.process.random.lock().fill(part);
        match t.memory().write(to.wrapping_add(done), part) {
            Ok(()) => done += now,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}
