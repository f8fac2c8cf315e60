// SPDX-License-Identifier: MIT OR Apache-2.0

//! epoll(7) and eventfd(2). Both are the proxy's, as all that they can watch.

use super::{file, nr, signal, time, Outcome};
use crate::errno::{Errno, Fail};
use crate::thread::Thread;

pub fn eventfd(t: &mut Thread, count: u64, flags: u64) -> Outcome {
    make(t, nr::__NR_eventfd2, [count, flags, 0, 0, 0, 0], flags as u32)
}

pub fn epoll_create(t: &mut Thread, size: u64) -> Outcome {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    epoll_create1(t, 0)
}

pub fn epoll_create1(t: &mut Thread, flags: u64) -> Outcome {
    make(t, nr::__NR_epoll_create1, [flags, 0, 0, 0, 0, 0], flags as u32)
}

/// Opens a descriptor by a call whose flags are named like those of open(2).
fn make(t: &mut Thread, number: u32, args: [u64; 6], flags: u32) -> Outcome {
    if !t.files().has_room() {
        return Err(Errno::EMFILE.into());
    }
    file::open_remote(t, number, args, nr::O_RDWR | flags & nr::O_NONBLOCK, flags & nr::O_CLOEXEC != 0)
}

pub fn epoll_wait(t: &mut Thread, [epoll, events, count, timeout_ms, ..]: [u64; 6]) -> Outcome {
    if count as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    match t.forward(nr::__NR_epoll_wait, [epoll, events, count, timeout_ms, 0, 0]) {
        // Never begun again after a handler (signal(7)).
        Err(Fail::Restart) => Err(Errno::EINTR.into()),
        result => result,
    }
}

pub fn epoll_pwait(t: &mut Thread, a: [u64; 6]) -> Outcome {
    signal::with_mask(t, a[4], a[5], |t| epoll_wait(t, a))
}

pub fn epoll_pwait2(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let timeout_ms = match a[3] {
        0 => u64::MAX,
        at => time::read_timespec(t, at)?.div_ceil(1_000_000).min(i32::MAX as u64),
    };
    signal::with_mask(t, a[4], a[5], |t| epoll_wait(t, [a[0], a[1], a[2], timeout_ms, 0, 0]))
}
