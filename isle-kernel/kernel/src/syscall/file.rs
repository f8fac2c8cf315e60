// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls on files. Descriptors are ours, what they stand for is Linux's.

use crate::app::App;
use crate::offload;
use crate::space::Result;
use alloc::vec::Vec;
use linux_raw_sys::errno::{EBADF, EFAULT, EINVAL, ENOTTY};
use linux_raw_sys::general as c;
use syscalls::Sysno;

/// Most ranges in one readv(2) or writev(2).
const IOV_MAX: u64 = 1024;

pub fn transfer(app: &mut App, write: bool, a: [u64; 6], at: Option<u64>) -> Result<u64> {
    offload::transfer(app, write, a[0] as i32, &[(a[1], a[2])], at)
}

pub fn transfer_vector(app: &mut App, write: bool, a: [u64; 6], at: Option<u64>) -> Result<u64> {
    let [fd, vector, count, ..] = a;
    if count > IOV_MAX {
        return Err(EINVAL);
    }
    let mut ranges = Vec::with_capacity(count as usize);
    for i in 0..count {
        let place = vector.checked_add(i * 16).ok_or(EFAULT)?;
        let range = (app.space.read_u64(place)?, app.space.read_u64(place + 8)?);
        if range.1 > i64::MAX as u64 {
            return Err(EINVAL);
        }
        ranges.push(range);
    }
    offload::transfer(app, write, fd as i32, &ranges, at)
}

pub fn closes_on_exec(flags: u64) -> bool {
    flags & u64::from(c::O_CLOEXEC) != 0
}

pub fn close(app: &mut App, fd: i32) -> Result<u64> {
    match app.files.remove(fd)? {
        Some(remote) => offload::close_remote(app, remote),
        None => Ok(0),
    }
}

pub fn dup2(app: &mut App, fd: i32, new: i32) -> Result<u64> {
    if fd == new {
        app.files.remote(fd)?;
        return Ok(new as u64);
    }
    replace(app, fd, new, false)
}

pub fn dup3(app: &mut App, fd: i32, new: i32, flags: u64) -> Result<u64> {
    if fd == new || flags & !u64::from(c::O_CLOEXEC) != 0 {
        return Err(EINVAL);
    }
    replace(app, fd, new, closes_on_exec(flags))
}

fn replace(app: &mut App, fd: i32, new: i32, close_on_exec: bool) -> Result<u64> {
    if let Some(remote) = app.files.duplicate_to(fd, new, close_on_exec)? {
        // As under Linux, an error at this close is nobody's.
        let _ = offload::close_remote(app, remote);
    }
    Ok(new as u64)
}

pub fn fcntl(app: &mut App, fd: i32, command: u32, argument: u64) -> Result<u64> {
    match command {
        c::F_DUPFD => app.files.duplicate(fd, argument as i32, false).map(|fd| fd as u64),
        c::F_DUPFD_CLOEXEC => app.files.duplicate(fd, argument as i32, true).map(|fd| fd as u64),
        c::F_GETFD => app.files.close_on_exec(fd).map(u64::from),
        c::F_SETFD => app.files.set_close_on_exec(fd, argument & u64::from(c::FD_CLOEXEC) != 0).map(|()| 0),
        // The proxy keeps the flags; what C libraries ask for here is whether it is open at all.
        c::F_GETFL => app.files.remote(fd).map(|_| c::O_RDWR.into()),
        _ => app.files.remote(fd).and(Err(EINVAL)),
    }
}

pub fn ioctl(app: &mut App, a: [u64; 6]) -> Result<u64> {
    app.files.remote(a[0] as i32)?;
    if hermit_abi::offload::find(hermit_abi::offload::IOCTL, a[1]).is_none() {
        return Err(ENOTTY);
    }
    offload::call(app, hermit_abi::offload::IOCTL, a)
}

pub fn forward(app: &mut App, call: Sysno, a: [u64; 6]) -> Result<u64> {
    offload::call(app, call as u32, a)
}

/// Says of open descriptors that they are ready, as is true of files; of others that they are not open.
pub fn poll(app: &mut App, descriptors: u64, count: u64, _timeout: u64) -> Result<u64> {
    const POLLNVAL: u16 = 0x20;
    const READY: u16 = 0x145; // POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
    if count > crate::files::MAX_FILES as u64 {
        return Err(EINVAL);
    }
    let mut ready = 0;
    for i in 0..count {
        let place = descriptors.checked_add(i * 8).ok_or(EFAULT)?;
        let word = app.space.read_u64(place)?;
        let (fd, events) = (word as i32, (word >> 32) as u16);
        let found = match app.files.remote(fd) {
            _ if fd < 0 => 0,
            Ok(_) => events & READY,
            Err(EBADF) => POLLNVAL,
            Err(e) => return Err(e),
        };
        ready += u64::from(found != 0);
        app.space.write(place + 6, &found.to_le_bytes())?;
    }
    Ok(ready)
}
