// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files: descriptors are the isle's, contents are the proxy's, except for a few texts about the process itself.

use super::{nr, Outcome};
use crate::errno::Errno;
use crate::fd::{File, Kind};
use crate::mem::areas::Kind as AreaKind;
use crate::mem::buffer;
use crate::process::Process;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use hermit_plat::abi::offload;

/// Flags of open(2) that F_GETFL doesn't report: those for opening only.
const OPEN_ONLY: u32 = nr::O_CREAT | nr::O_EXCL | nr::O_NOCTTY | nr::O_TRUNC | nr::O_CLOEXEC;
/// What F_SETFL may change.
const CHANGEABLE: u32 = nr::O_APPEND | nr::O_NONBLOCK | nr::O_DIRECT | nr::O_NOATIME;

/// Flags of close_range(2).
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

pub fn close(p: &mut Process, fd: u64) -> Outcome {
    let file = p.files.close(fd)?;
    p.close_file(file)
}

pub fn creat(p: &mut Process, [path, mode, ..]: [u64; 6]) -> Outcome {
    let flags = nr::O_CREAT | nr::O_WRONLY | nr::O_TRUNC;
    open(p, nr::__NR_open, [path, flags.into(), mode, 0, 0, 0], 0)
}

/// open(2) or openat(2), whose path is argument `path_at`.
pub fn open(p: &mut Process, number: u32, a: [u64; 6], path_at: usize) -> Outcome {
    let flags = a[path_at + 1] as u32;
    let close_on_exec = flags & nr::O_CLOEXEC != 0;
    let path = p.space.read_string(a[path_at], 4096)?;
    if !p.files.has_room() {
        return Err(Errno::EMFILE.into());
    }
    let file = match own_text(p, &path)? {
        Some(text) => File::text(text),
        None => {
            let fd = p.forward(number, a)?;
            // Checked to be an i32 where the result was.
            File::remote(fd as i32, flags & !OPEN_ONLY)
        }
    };
    Ok(p.files.open(Rc::new(file), 0, close_on_exec)?)
}

/// Files that say something about the process itself: the proxy's would be about the proxy.
fn own_text(p: &Process, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match own_name(p, path) {
        Some(b"maps") => maps(p).map(Some),
        _ => Ok(None),
    }
}

/// What follows `/proc/self/` (or the same with the process's number).
fn own_name<'a>(p: &Process, path: &'a [u8]) -> Option<&'a [u8]> {
    let number = format!("/proc/{}/", p.startup.pid);
    path.strip_prefix(b"/proc/self/".as_slice()).or_else(|| path.strip_prefix(number.as_bytes()))
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

/// Fills a buffer that is large enough.
struct Fill(Vec<u8>);

impl Write for Fill {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.capacity() - self.0.len() < text.len() {
            return Err(fmt::Error);
        }
        self.0.extend(text.bytes());
        Ok(())
    }
}

/// proc_pid_maps(5). The text may be long: it is measured before memory is taken for it.
fn maps(p: &Process) -> Result<Vec<u8>, Errno> {
    let mut length = Length(0);
    write_maps(p, &mut length).map_err(|_| Errno::EIO)?;
    let mut text = Fill(buffer(length.0)?);
    write_maps(p, &mut text).map_err(|_| Errno::EIO)?;
    Ok(text.0)
}

fn write_maps(p: &Process, to: &mut impl Write) -> fmt::Result {
    let path = String::from_utf8_lossy(&p.startup.path);
    for area in p.space.areas.iter() {
        let flag = |on: bool, c: char| if on { c } else { '-' };
        let name = match area.kind {
            AreaKind::Program => &path,
            AreaKind::Heap => "[heap]",
            AreaKind::Stack => "[stack]",
            AreaKind::Mapping => "",
        };
        let (r, w, x) = (flag(area.prot.read, 'r'), flag(area.prot.write, 'w'), flag(area.prot.exec, 'x'));
        writeln!(to, "{:08x}-{:08x} {r}{w}{x}p 00000000 00:00 0 {name}", area.start, area.end)?;
    }
    Ok(())
}

pub fn fstat(p: &mut Process, a: [u64; 6]) -> Outcome {
    match p.files.get(a[0])?.kind {
        Kind::Remote(_) => p.forward(nr::__NR_fstat, a),
        Kind::Text { .. } => stat_of_text(p, a[1]),
    }
}

pub fn newfstatat(p: &mut Process, a: [u64; 6]) -> Outcome {
    let text = p.files.get(a[0]).is_ok_and(|f| matches!(f.kind, Kind::Text { .. }));
    if text && a[3] as u32 & nr::AT_EMPTY_PATH != 0 && p.space.read_string(a[1], 4096)?.is_empty() {
        return stat_of_text(p, a[2]);
    }
    p.forward(nr::__NR_newfstatat, a)
}

/// struct stat of a regular file that is read only and says, as those of /proc do, that it is empty.
fn stat_of_text(p: &mut Process, to: u64) -> Outcome {
    let mut words = [0; 18];
    words[2] = 1; // links
    words[3] = u64::from(nr::S_IFREG | 0o444);
    words[7] = 4096; // block size
    p.space.write_words(to, &words)?;
    Ok(0)
}

pub fn lseek(p: &mut Process, a: [u64; 6]) -> Outcome {
    let file = p.files.get(a[0])?.clone();
    let Kind::Text { position, .. } = &file.kind else {
        return p.forward(nr::__NR_lseek, a);
    };
    let base = match a[2] as u32 {
        nr::SEEK_SET => 0,
        nr::SEEK_CUR => position.get() as i64,
        _ => return Err(Errno::EINVAL.into()),
    };
    let new = base.checked_add(a[1] as i64).and_then(|n| usize::try_from(n).ok()).ok_or(Errno::EINVAL)?;
    position.set(new);
    Ok(new as u64)
}

pub fn dup(p: &mut Process, fd: u64) -> Outcome {
    let file = p.files.get(fd)?.clone();
    Ok(p.files.open(file, 0, false)?)
}

pub fn dup2(p: &mut Process, from: u64, to: u64) -> Outcome {
    if from as u32 == to as u32 {
        p.files.get(from)?;
        return Ok(u64::from(to as u32));
    }
    replace(p, from, to, false)
}

pub fn dup3(p: &mut Process, from: u64, to: u64, flags: u64) -> Outcome {
    let flags = flags as u32;
    if from as u32 == to as u32 || flags & !nr::O_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    replace(p, from, to, flags & nr::O_CLOEXEC != 0)
}

fn replace(p: &mut Process, from: u64, to: u64, close_on_exec: bool) -> Outcome {
    let to = u64::from(to as u32);
    let old = p.files.replace(from, to, close_on_exec)?;
    // dup2(2): errors of the close are lost; only an end is an end.
    match p.close_file(old) {
        Err(crate::errno::Fail::End(end)) => Err(end.into()),
        _ => Ok(to),
    }
}

pub fn close_range(p: &mut Process, [first, last, flags, ..]: [u64; 6]) -> Outcome {
    let (first, last, flags) = (first as u32, last as u32, flags as u32);
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    for fd in p.files.in_range(first, last) {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            p.files.set_close_on_exec(fd, true)?;
        } else if let Err(crate::errno::Fail::End(end)) = close(p, fd) {
            return Err(end.into());
        }
    }
    Ok(0)
}

pub fn fcntl(p: &mut Process, fd: u64, command: u64, arg: u64) -> Outcome {
    let file = p.files.get(fd)?.clone();
    match command as u32 {
        nr::F_DUPFD => Ok(p.files.open(file, arg, false)?),
        nr::F_DUPFD_CLOEXEC => Ok(p.files.open(file, arg, true)?),
        nr::F_GETFD => Ok(p.files.close_on_exec(fd)?.into()),
        nr::F_SETFD => {
            p.files.set_close_on_exec(fd, arg as u32 & nr::FD_CLOEXEC != 0)?;
            Ok(0)
        }
        nr::F_GETFL => Ok(file.flags.get().into()),
        nr::F_SETFL => {
            file.flags.set((file.flags.get() & !CHANGEABLE) | (arg as u32 & CHANGEABLE));
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub fn ioctl(p: &mut Process, a: [u64; 6]) -> Outcome {
    let remote = matches!(p.files.get(a[0])?.kind, Kind::Remote(_));
    if remote && offload::find(nr::__NR_ioctl, a[1]).is_some() {
        return p.forward(nr::__NR_ioctl, a);
    }
    Err(Errno::ENOTTY.into())
}

/// readlink(2) or readlinkat(2), whose path is argument `path_at`.
pub fn readlink(p: &mut Process, number: u32, a: [u64; 6], path_at: usize) -> Outcome {
    let path = p.space.read_string(a[path_at], 4096)?;
    if own_name(p, &path) != Some(b"exe") {
        return p.forward(number, a);
    }
    let target = p.startup.path.clone();
    let room = usize::try_from(a[path_at + 2] as i32).ok().filter(|r| *r > 0).ok_or(Errno::EINVAL)?;
    let part = target.get(..room).unwrap_or(&target);
    p.space.write(a[path_at + 1], part)?;
    Ok(part.len() as u64)
}
