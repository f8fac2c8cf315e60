// SPDX-License-Identifier: MIT OR Apache-2.0

//! futex(2). Those with priority inheritance aren't offered: C libraries find out by ENOSYS, and say ENOTSUP.

use super::{time, Outcome};
use crate::errno::Errno;
use crate::futex::{self, Place};
use crate::sched::Woken;
use crate::thread::Thread;
use hermit_plat::time::{monotonic_ns, realtime_ns};
use linux_raw_sys::general as nr;

pub fn futex(t: &mut Thread, [address, operation, value, timeout, address2, value3]: [u64; 6]) -> Outcome {
    let operation = operation as u32;
    let realtime = operation & nr::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(nr::FUTEX_PRIVATE_FLAG | nr::FUTEX_CLOCK_REALTIME);
    if realtime && !matches!(command, nr::FUTEX_WAIT | nr::FUTEX_WAIT_BITSET) {
        return Err(Errno::ENOSYS.into());
    }
    let known = matches!(
        command,
        nr::FUTEX_WAIT
            | nr::FUTEX_WAIT_BITSET
            | nr::FUTEX_WAKE
            | nr::FUTEX_WAKE_BITSET
            | nr::FUTEX_REQUEUE
            | nr::FUTEX_CMP_REQUEUE
            | nr::FUTEX_WAKE_OP
    );
    if !known {
        return Err(Errno::ENOSYS.into());
    }
    check(address)?;
    let is_private = operation & nr::FUTEX_PRIVATE_FLAG != 0;
    let (value, value2, bits) = (value as u32, timeout as u32, value3 as u32);
    let t = &*t;
    let place = |address: u64| match futex::place(&t.process, address, is_private) {
        Err(Errno::MISSING) => {
            t.memory().read_u32(address)?;
            futex::place(&t.process, address, is_private)
        }
        found => found,
    };
    match command {
        nr::FUTEX_WAIT => {
            let deadline = match timeout {
                0 => None,
                at => Some(monotonic_ns().saturating_add(time::read_timespec(t, at)?)),
            };
            wait(t, place(address)?, address, value, u32::MAX, deadline)
        }
        nr::FUTEX_WAIT_BITSET => {
            let deadline = match timeout {
                0 => None,
                at => {
                    let at = time::read_timespec(t, at)?;
                    let now = if realtime { realtime_ns() } else { monotonic_ns() };
                    Some(monotonic_ns().saturating_add(at.saturating_sub(now)))
                }
            };
            if bits == 0 {
                return Err(Errno::EINVAL.into());
            }
            wait(t, place(address)?, address, value, bits, deadline)
        }
        nr::FUTEX_WAKE => Ok(place(address)?.wake(value.max(1), u32::MAX).into()),
        nr::FUTEX_WAKE_BITSET if bits == 0 => Err(Errno::EINVAL.into()),
        nr::FUTEX_WAKE_BITSET => Ok(place(address)?.wake(value.max(1), bits).into()),
        nr::FUTEX_WAKE_OP => {
            check(address2)?;
            let counts = (value.max(1), value2.max(1));
            // It is written, which may need a copy of a page of a file.
            t.memory().access(|space| space.update_u32(address2, |old| old))?;
            let places = (place(address)?, place(address2)?);
            Ok(futex::wake_op(&t.process.space, places, address2, counts, value3 as u32)?.into())
        }
        _ => {
            check(address2)?;
            if (value as i32) < 0 || (value2 as i32) < 0 {
                return Err(Errno::EINVAL.into());
            }
            let expected = (command == nr::FUTEX_CMP_REQUEUE).then_some((address, value3 as u32));
            // No lock is held yet: what has to be read from a file can be.
            t.memory().read_u32(address)?;
            let counts = (value, value2);
            let (woken, moved) = place(address)?.requeue(place(address2)?, &t.process.space, counts, expected)?;
            Ok((woken + moved).into())
        }
    }
}

fn check(address: u64) -> Result<(), Errno> {
    match address {
        a if a % 4 != 0 => Err(Errno::EINVAL),
        a if a >= hermit_plat::user::END => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}

fn wait(t: &Thread, place: Place<'_>, address: u64, value: u32, bits: u32, deadline: Option<u64>) -> Outcome {
    // Here a private one is read first, with no lock held.
    let woken = match place.wait(&t.task, address, value, bits, deadline) {
        Err(Errno::MISSING) => {
            t.memory().read_u32(address)?;
            place.wait(&t.task, address, value, bits, deadline)
        }
        other => other,
    };
    match woken? {
        Woken::Ready => Ok(0),
        Woken::TimedOut => Err(Errno::ETIMEDOUT.into()),
        Woken::Interrupted => {
            t.check_end()?;
            // With a timeout the time that is left would have to be known.
            Err(if deadline.is_some() { Errno::EINTR.into() } else { crate::errno::Fail::Restart })
        }
    }
}
