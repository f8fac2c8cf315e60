// SPDX-License-Identifier: MIT OR Apache-2.0

//! Descriptors: what they stand for, closing and copying them, positions, directories' contents.

use super::{inet, nr, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::Kind;
use crate::kept::{Kept, Name};
use crate::thread::Thread;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload;

/// Flags of close_range(2).
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// What F_GETFL says of files that the isle keeps, as of all on x86-64.
const O_LARGEFILE: u64 = 0o100_000;

/// ioctl(2)s about descriptors.
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIONBIO: u32 = 0x5421;

pub fn close(t: &mut Thread, [fd, ..]: [u64; 6]) -> Outcome {
    let file = t.files().close(fd)?;
    t.close_file(file)
}

pub fn close_range(t: &mut Thread, [first, last, flags, ..]: [u64; 6]) -> Outcome {
    let (first, last, flags) = (first as u32, last as u32, flags as u32);
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let fds = t.files().in_range(first, last)?;
    for fd in fds {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            t.files().set_close_on_exec(fd, true)?;
        } else if let Err(Fail::Ended) = close(t, [fd, 0, 0, 0, 0, 0]) {
            return Err(Fail::Ended);
        }
    }
    Ok(0)
}

pub fn dup(t: &mut Thread, [fd, ..]: [u64; 6]) -> Outcome {
    let file = t.files().get(fd)?.clone();
    Ok(t.files().open(file, 0, false)?)
}

pub fn dup2(t: &mut Thread, [from, to, ..]: [u64; 6]) -> Outcome {
    if from as u32 == to as u32 {
        t.files().get(from)?;
        return Ok(u64::from(to as u32));
    }
    replace(t, from, to, false)
}

pub fn dup3(t: &mut Thread, [from, to, flags, ..]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    if from as u32 == to as u32 || flags & !nr::O_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    replace(t, from, to, flags & nr::O_CLOEXEC != 0)
}

fn replace(t: &mut Thread, from: u64, to: u64, close_on_exec: bool) -> Outcome {
    let to = u64::from(to as u32);
    let old = t.files().replace(from, to, close_on_exec)?;
    // dup2(2): errors of the close are lost; only an end is an end.
    match old.map(|old| t.close_file(old)) {
        Some(Err(Fail::Ended)) => Err(Fail::Ended),
        _ => Ok(to),
    }
}

pub fn fcntl(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, command, arg, ..] = a;
    let file = t.files().get(fd)?.clone();
    let command = command as u32;
    match command {
        nr::F_DUPFD => return Ok(t.files().open(file, u64::from(arg as u32), false)?),
        nr::F_DUPFD_CLOEXEC => return Ok(t.files().open(file, u64::from(arg as u32), true)?),
        nr::F_GETFD => return Ok(t.files().close_on_exec(fd)?.into()),
        nr::F_SETFD => {
            t.files().set_close_on_exec(fd, arg as u32 & nr::FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        _ => {}
    }
    match &file.kind {
        Kind::Remote(_) | Kind::Epoll(..) if offload::find(nr::__NR_fcntl, command.into()).is_some() => {
            t.forward(nr::__NR_fcntl, [fd, command.into(), arg, 0, 0, 0])
        }
        Kind::Kept(kept) if command == nr::F_GETFL => Ok(match kept.flags() {
            Some(flags) => O_LARGEFILE | u64::from(nr::O_RDWR) | flags.load(Ordering::Relaxed) as u64,
            None => O_LARGEFILE,
        }),
        Kind::Kept(kept) if command == nr::F_SETFL => {
            if let Some(flags) = kept.flags() {
                flags.store((arg as u32 & nr::O_NONBLOCK) as usize, Ordering::Relaxed);
            }
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub fn ioctl(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    let request = a[1] as u32;
    match (request, &file.kind) {
        (FIOCLEX | FIONCLEX, _) => {
            t.files().set_close_on_exec(a[0], request == FIOCLEX)?;
            Ok(0)
        }
        (FIONBIO, Kind::Kept(kept)) if kept.flags().is_some() => {
            let on = t.memory().read_u32(a[2])? != 0;
            if let Some(flags) = kept.flags() {
                flags.store(if on { nr::O_NONBLOCK as usize } else { 0 }, Ordering::Relaxed);
            }
            Ok(0)
        }
        (_, Kind::Kept(Kept::Socket(socket))) => inet::ioctl(t, socket, request, a[2]),
        (_, Kind::Remote(_) | Kind::Epoll(..)) if offload::find(nr::__NR_ioctl, request.into()).is_some() => {
            t.forward(nr::__NR_ioctl, [a[0], request.into(), a[2], 0, 0, 0])
        }
        _ => Err(Errno::ENOTTY.into()),
    }
}

pub fn lseek(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    let Kind::Kept(kept) = &file.kind else {
        return t.forward(nr::__NR_lseek, a);
    };
    let moved = |now: usize| {
        let base = match a[2] as u32 {
            nr::SEEK_SET => 0,
            nr::SEEK_CUR => now as i64,
            _ => return Err(Errno::EINVAL),
        };
        base.checked_add(a[1] as i64).and_then(|n| usize::try_from(n).ok()).ok_or(Errno::EINVAL)
    };
    let new = match kept {
        Kept::Text { position, .. } => {
            let new = moved(position.load(Ordering::Relaxed))?;
            position.store(new, Ordering::Relaxed);
            new
        }
        Kept::Directory { list, .. } => {
            let mut list = list.lock();
            list.1 = moved(list.1)?;
            list.1
        }
        // It has no position, and doesn't mind.
        Kept::Signals { .. } => 0,
        Kept::Socket(_) => return Err(Errno::ESPIPE.into()),
    };
    Ok(new as u64)
}

/// How directories are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// struct linux_dirent: its type is in the last byte.
    Old,
    /// struct linux_dirent64.
    New,
}

pub fn getdents(t: &mut Thread, a: [u64; 6]) -> Outcome {
    list(t, a, nr::__NR_getdents, Form::Old)
}

pub fn getdents64(t: &mut Thread, a: [u64; 6]) -> Outcome {
    list(t, a, nr::__NR_getdents64, Form::New)
}

fn list(t: &mut Thread, a: [u64; 6], number: u32, form: Form) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    let (path, list) = match &file.kind {
        Kind::Kept(Kept::Directory { path, list }) => (path, list),
        Kind::Kept(_) => return Err(Errno::ENOTDIR.into()),
        _ => return t.forward(number, a),
    };
    let at_start = list.lock().1 == 0;
    if at_start {
        if let Some(super::paths::Own::Directory(names)) = super::paths::at(t, path) {
            list.lock().0 = names;
        }
    }
    let room = a[2] as u32 as usize;
    let (bytes, position) = {
        let list = list.lock();
        let dots = [".", ".."].map(|n| Name { name: n.as_bytes().to_vec(), kind: super::paths::DT_DIR });
        let mut bytes = Vec::new();
        let mut position = list.1;
        for (index, name) in dots.iter().chain(&list.0).enumerate().skip(list.1) {
            let record = record(name, index as u64, form);
            if bytes.len() + record.len() > room {
                break;
            }
            bytes.extend(record);
            position = index + 1;
        }
        if bytes.is_empty() && position < list.0.len() + 2 {
            return Err(Errno::EINVAL.into());
        }
        (bytes, position)
    };
    t.memory().write(a[1], &bytes)?;
    list.lock().1 = position;
    Ok(bytes.len() as u64)
}

fn record(name: &Name, index: u64, form: Form) -> Vec<u8> {
    let head = if form == Form::New { 19 } else { 18 };
    let tail = if form == Form::New { 1 } else { 2 };
    let len = (head + name.name.len() + tail).next_multiple_of(8);
    let mut bytes = Vec::new();
    bytes.extend((index + 1).to_le_bytes());
    bytes.extend((index + 1).to_le_bytes());
    bytes.extend((len as u16).to_le_bytes());
    if form == Form::New {
        bytes.push(name.kind);
    }
    bytes.extend(&name.name);
    bytes.resize(len, 0);
    if let (Form::Old, Some(last)) = (form, bytes.last_mut()) {
        *last = name.kind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_those_of_linux() {
        let name = Name { name: b"12".to_vec(), kind: 10 };
        let new = record(&name, 3, Form::New);
        assert_eq!((new.len(), new[0], new[8], new[16], new[18], &new[19..22]), (24, 4, 4, 24, 10, b"12\0".as_slice()));
        let old = record(&name, 3, Form::Old);
        assert_eq!((old.len(), &old[18..21], old[23]), (24, b"12\0".as_slice(), 10));
    }
}
