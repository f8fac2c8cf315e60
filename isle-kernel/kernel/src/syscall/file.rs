// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files: descriptors are the isle's, contents are the proxy's, except for a few texts about the process itself.

use super::{nr, Outcome};
use crate::errno::Errno;
use crate::fd::{File, Kind};
use crate::mem::areas::Kind as AreaKind;
use crate::mem::buffer;
use crate::mem::space::Space;
use crate::texts;
use crate::thread::Thread;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload;

/// Flags of open(2) that F_GETFL doesn't report: those for opening only.
const OPEN_ONLY: u32 = nr::O_CREAT | nr::O_EXCL | nr::O_NOCTTY | nr::O_TRUNC | nr::O_CLOEXEC;
/// What F_SETFL may change.
const CHANGEABLE: u32 = nr::O_APPEND | nr::O_NONBLOCK | nr::O_DIRECT | nr::O_NOATIME;

/// Flags of close_range(2).
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

pub fn close(t: &mut Thread, fd: u64) -> Outcome {
    let file = t.files().close(fd)?;
    t.close_file(file)
}

pub fn pipe2(t: &mut Thread, to: u64, flags: u64) -> Outcome {
    let flags = flags as u32;
    t.forward(nr::__NR_pipe2, [to, flags.into(), 0, 0, 0, 0])?;
    // What was written there are the proxy's descriptors.
    let mut ends = [0; 8];
    t.memory().read(to, &mut ends)?;
    let mut numbers = [0; 8];
    for ((from, number), mode) in
        ends.chunks_exact(4).zip(numbers.chunks_exact_mut(4)).zip([nr::O_RDONLY, nr::O_WRONLY])
    {
        let fd = i32::from_le_bytes(from.try_into().map_err(|_| Errno::EIO)?);
        let file = Arc::new(File::remote(fd, mode | flags & nr::O_NONBLOCK));
        let fd = t.files().open(file, 0, flags & nr::O_CLOEXEC != 0)? as u32;
        number.copy_from_slice(&fd.to_le_bytes());
    }
    t.memory().write(to, &numbers)?;
    Ok(0)
}

pub fn creat(t: &mut Thread, [path, mode, ..]: [u64; 6]) -> Outcome {
    let flags = nr::O_CREAT | nr::O_WRONLY | nr::O_TRUNC;
    open(t, nr::__NR_open, [path, flags.into(), mode, 0, 0, 0], 0)
}

/// open(2) or openat(2), whose path is argument `path_at`.
pub fn open(t: &mut Thread, number: u32, a: [u64; 6], path_at: usize) -> Outcome {
    let flags = a[path_at + 1] as u32;
    let close_on_exec = flags & nr::O_CLOEXEC != 0;
    let path = t.memory().read_string(a[path_at], 4096)?;
    if !t.files().has_room() {
        return Err(Errno::EMFILE.into());
    }
    if let Some(fd) = own_descriptor(t, &path) {
        let file = t.files().get(fd)?.clone();
        return Ok(t.files().open(file, 0, close_on_exec)?);
    }
    let file = match own_text(t, &path)? {
        Some(text) => File::text(text),
        None => return open_remote(t, number, a, flags & !OPEN_ONLY, close_on_exec),
    };
    Ok(t.files().open(Arc::new(file), 0, close_on_exec)?)
}

/// Makes a forwarded call that opens something, for which there is room. `flags` is what F_GETFL then reports.
pub fn open_remote(t: &mut Thread, number: u32, args: [u64; 6], flags: u32, close_on_exec: bool) -> Outcome {
    let fd = t.forward(number, args)?;
    // Checked to be an i32 where the result was.
    let file = Arc::new(File::remote(fd as i32, flags));
    Ok(t.files().open(file, 0, close_on_exec)?)
}

/// The descriptor that `/dev/fd/N` and its like stand for: the proxy's of that number would be another one.
fn own_descriptor(t: &Thread, path: &[u8]) -> Option<u64> {
    match path {
        b"/dev/stdin" => return Some(0),
        b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = path.strip_prefix(b"/dev/fd/").or_else(|| own_name(t, path)?.strip_prefix(b"fd/"))?;
    core::str::from_utf8(number).ok()?.parse::<u32>().ok().map(u64::from)
}

/// Files that say something about the process or the isle: the proxy's would be about Linux.
fn own_text(t: &Thread, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match own_name(t, path) {
        Some(b"maps") => maps(t).map(Some),
        Some(name) => Ok(texts::of_process(t, name).map(String::into_bytes)),
        None => Ok(texts::of_isle(path).map(String::into_bytes)),
    }
}

/// What follows `/proc/self/` (or the same with the process's number).
fn own_name<'a>(t: &Thread, path: &'a [u8]) -> Option<&'a [u8]> {
    let number = format!("/proc/{}/", t.process.startup().pid);
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
fn maps(t: &Thread) -> Result<Vec<u8>, Errno> {
    let path = String::from_utf8_lossy(&t.process.startup().path);
    let space = t.space();
    let mut length = Length(0);
    write_maps(&space, &path, &mut length).map_err(|_| Errno::EIO)?;
    let mut text = Fill(buffer(length.0)?);
    write_maps(&space, &path, &mut text).map_err(|_| Errno::EIO)?;
    Ok(text.0)
}

fn write_maps(space: &Space, path: &str, to: &mut impl Write) -> fmt::Result {
    for area in space.areas.iter() {
        let flag = |on: bool, c: char| if on { c } else { '-' };
        let name = match area.kind {
            AreaKind::Program => path,
            AreaKind::Heap => "[heap]",
            AreaKind::Stack => "[stack]",
            AreaKind::Mapping | AreaKind::File => "",
            AreaKind::Clock => "[vvar]",
            AreaKind::Vdso => "[vdso]",
        };
        let (r, w, x) = (flag(area.prot.read, 'r'), flag(area.prot.write, 'w'), flag(area.prot.exec, 'x'));
        writeln!(to, "{:08x}-{:08x} {r}{w}{x}p 00000000 00:00 0 {name}", area.start, area.end)?;
    }
    Ok(())
}

pub fn fstat(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    match file.kind {
        Kind::Remote(_) => t.forward(nr::__NR_fstat, a),
        Kind::Text { .. } => stat_of_text(t, a[1]),
    }
}

pub fn newfstatat(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let text = t.files().get(a[0]).is_ok_and(|f| matches!(f.kind, Kind::Text { .. }));
    if text && a[3] as u32 & nr::AT_EMPTY_PATH != 0 && t.memory().read_string(a[1], 4096)?.is_empty() {
        return stat_of_text(t, a[2]);
    }
    t.forward(nr::__NR_newfstatat, a)
}

/// struct stat of a regular file that is read only and says, as those of /proc do, that it is empty.
fn stat_of_text(t: &mut Thread, to: u64) -> Outcome {
    let mut words = [0; 18];
    words[2] = 1; // links
    words[3] = u64::from(nr::S_IFREG | 0o444);
    words[7] = 4096; // block size
    t.memory().write_words(to, &words)?;
    Ok(0)
}

pub fn lseek(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let file = t.files().get(a[0])?.clone();
    let Kind::Text { position, .. } = &file.kind else {
        return t.forward(nr::__NR_lseek, a);
    };
    let base = match a[2] as u32 {
        nr::SEEK_SET => 0,
        nr::SEEK_CUR => position.load(Ordering::Relaxed) as i64,
        _ => return Err(Errno::EINVAL.into()),
    };
    let new = base.checked_add(a[1] as i64).and_then(|n| usize::try_from(n).ok()).ok_or(Errno::EINVAL)?;
    position.store(new, Ordering::Relaxed);
    Ok(new as u64)
}

pub fn dup(t: &mut Thread, fd: u64) -> Outcome {
    let file = t.files().get(fd)?.clone();
    Ok(t.files().open(file, 0, false)?)
}

pub fn dup2(t: &mut Thread, from: u64, to: u64) -> Outcome {
    if from as u32 == to as u32 {
        t.files().get(from)?;
        return Ok(u64::from(to as u32));
    }
    replace(t, from, to, false)
}

pub fn dup3(t: &mut Thread, from: u64, to: u64, flags: u64) -> Outcome {
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
    match t.close_file(old) {
        Err(crate::errno::Fail::Ended) => Err(crate::errno::Fail::Ended),
        _ => Ok(to),
    }
}

pub fn close_range(t: &mut Thread, [first, last, flags, ..]: [u64; 6]) -> Outcome {
    let (first, last, flags) = (first as u32, last as u32, flags as u32);
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let fds = t.files().in_range(first, last);
    for fd in fds {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            t.files().set_close_on_exec(fd, true)?;
        } else if let Err(crate::errno::Fail::Ended) = close(t, fd) {
            return Err(crate::errno::Fail::Ended);
        }
    }
    Ok(0)
}

pub fn fcntl(t: &mut Thread, fd: u64, command: u64, arg: u64) -> Outcome {
    let file = t.files().get(fd)?.clone();
    match command as u32 {
        nr::F_DUPFD => Ok(t.files().open(file, arg, false)?),
        nr::F_DUPFD_CLOEXEC => Ok(t.files().open(file, arg, true)?),
        nr::F_GETFD => Ok(t.files().close_on_exec(fd)?.into()),
        nr::F_SETFD => {
            t.files().set_close_on_exec(fd, arg as u32 & nr::FD_CLOEXEC != 0)?;
            Ok(0)
        }
        nr::F_GETFL => Ok(file.flags.load(Ordering::Relaxed).into()),
        nr::F_SETFL => {
            let old = file.flags.load(Ordering::Relaxed);
            file.flags.store((old & !CHANGEABLE) | (arg as u32 & CHANGEABLE), Ordering::Relaxed);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

pub fn ioctl(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let remote = matches!(t.files().get(a[0])?.kind, Kind::Remote(_));
    if remote && offload::find(nr::__NR_ioctl, a[1]).is_some() {
        return t.forward(nr::__NR_ioctl, a);
    }
    Err(Errno::ENOTTY.into())
}

/// readlink(2) or readlinkat(2), whose path is argument `path_at`.
pub fn readlink(t: &mut Thread, number: u32, a: [u64; 6], path_at: usize) -> Outcome {
    let path = t.memory().read_string(a[path_at], 4096)?;
    if own_name(t, &path) != Some(b"exe") {
        return t.forward(number, a);
    }
    let target = t.process.startup().path.clone();
    let room = usize::try_from(a[path_at + 2] as i32).ok().filter(|r| *r > 0).ok_or(Errno::EINVAL)?;
    let part = target.get(..room).unwrap_or(&target);
    t.memory().write(a[path_at + 1], part)?;
    Ok(part.len() as u64)
}
