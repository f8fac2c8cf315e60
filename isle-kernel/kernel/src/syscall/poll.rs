// SPDX-License-Identifier: MIT OR Apache-2.0

//! poll(2). All files are the proxy's, and are said to be ready as Linux says it of regular files.

use super::{signal, time, Outcome};
use crate::errno::Errno;
use crate::fd;
use crate::mem::access::element;
use crate::sched::{self, Woken};
use crate::thread::Thread;
use hermit_plat::time::monotonic_ns;

/// POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM.
const READY: u16 = 0x1 | 0x4 | 0x40 | 0x100;
/// POLLNVAL: no such descriptor.
const INVALID: u16 = 0x20;

pub fn poll(t: &mut Thread, list: u64, count: u64, timeout_ms: u64) -> Outcome {
    let timeout = u64::try_from(timeout_ms as i32).ok();
    wait(t, list, count, timeout.map(|ms| ms * 1_000_000))
}

pub fn ppoll(t: &mut Thread, [list, count, timeout, mask, mask_len, _]: [u64; 6]) -> Outcome {
    let timeout = if timeout == 0 { None } else { Some(time::read_timespec(t, timeout)?) };
    signal::with_mask(t, mask, mask_len, |t| wait(t, list, count, timeout))
}

fn wait(t: &mut Thread, list: u64, count: u64, timeout: Option<u64>) -> Outcome {
    if count > fd::MAX as u64 {
        return Err(Errno::EINVAL.into());
    }
    let mut ready = 0;
    for index in 0..count {
        let at = element(list, index, 8)?;
        let entry = t.memory().read_u64(at)?;
        let (fd, events) = (entry as i32, (entry >> 32) as u16);
        let result = match fd {
            i32::MIN..0 => 0,
            _ if t.files().get(fd as u64).is_err() => INVALID,
            _ => events & READY,
        };
        t.memory().write(at.wrapping_add(6), &result.to_le_bytes())?;
        ready += u64::from(result != 0);
    }
    if ready == 0 && timeout != Some(0) {
        let deadline = timeout.map(|ns| monotonic_ns().saturating_add(ns));
        if sched::wait(&t.task, deadline, &|| false) == Woken::Interrupted {
            t.check_end()?;
            return Err(Errno::EINTR.into());
        }
    }
    Ok(ready)
}
