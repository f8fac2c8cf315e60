// SPDX-License-Identifier: MIT OR Apache-2.0

//! futex(2) of an application with one thread: nobody is there to wake or to be woken.

use super::{time, Outcome};
use crate::errno::Errno;
use crate::process::Process;
use hermit_plat::time::{monotonic_ns, realtime_ns};
use linux_raw_sys::general as nr;

pub fn futex(p: &mut Process, [address, operation, value, timeout, ..]: [u64; 6]) -> Outcome {
    let operation = operation as u32;
    let realtime = operation & nr::FUTEX_CLOCK_REALTIME != 0;
    if address % 4 != 0 {
        return Err(Errno::EINVAL.into());
    }
    match operation & !(nr::FUTEX_PRIVATE_FLAG | nr::FUTEX_CLOCK_REALTIME) {
        nr::FUTEX_WAIT => {
            let deadline = match timeout {
                0 => None,
                at => Some(monotonic_ns().saturating_add(time::read_timespec(p, at)?)),
            };
            wait(p, address, value as u32, deadline)
        }
        nr::FUTEX_WAIT_BITSET => {
            let deadline = match timeout {
                0 => None,
                at => {
                    let at = time::read_timespec(p, at)?;
                    let now = if realtime { realtime_ns() } else { monotonic_ns() };
                    Some(monotonic_ns().saturating_add(at.saturating_sub(now)))
                }
            };
            wait(p, address, value as u32, deadline)
        }
        nr::FUTEX_WAKE | nr::FUTEX_WAKE_BITSET | nr::FUTEX_REQUEUE => Ok(0),
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn wait(p: &mut Process, address: u64, value: u32, deadline: Option<u64>) -> Outcome {
    if p.space.read_u32(address)? != value {
        return Err(Errno::EAGAIN.into());
    }
    p.link.wait_until(p.deadly(), deadline, || false)?;
    Err(Errno::ETIMEDOUT.into())
}
