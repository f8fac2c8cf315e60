// SPDX-License-Identifier: MIT OR Apache-2.0

//! Paths that mean something else to the proxy than to the application: what is in /proc about the process, its
//! descriptors, CPUs and memory, and relative paths of calls that know no directory.

use crate::errno::Errno;
use crate::fd::{File, Kind};
use crate::kept::{Kept, Name};
use crate::mem::is_scarce;
use crate::mem::scratch::Scratch;
use crate::offload::{Given, AT_FDCWD};
use crate::texts;
use crate::thread::Thread;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::offload::{Arg, Call};

/// Bytes of kernel memory that a name of a directory takes, with its place in a list that grows.
const LISTED: usize = 128;

/// Longest path, with its NUL.
pub const PATH_MAX: usize = 4096;

/// Kinds of names in directories (struct dirent).
pub const DT_DIR: u8 = 4;
pub const DT_REG: u8 = 8;
pub const DT_LNK: u8 = 10;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Own {
    /// Linux has it, by this path.
    Elsewhere(Vec<u8>),
    Text(Vec<u8>),
    Directory(Vec<Name>),
    /// A descriptor that the isle keeps.
    Descriptor(u64),
    Nothing,
}

/// A path that has been looked at.
pub struct Looked {
    pub path: Vec<u8>,
    /// What only the isle has.
    pub own: Option<Own>,
    /// What the proxy is given.
    pub given: Given,
    _scratch: Option<Scratch>,
}

/// Looks at a path of the application's that begins at a directory, if the call has one.
pub fn look(t: &Thread, directory: Option<u64>, address: u64) -> Result<Looked, Errno> {
    let path = t.memory().read_string(address, PATH_MAX)?;
    let cwd = t.process.fs.lock().cwd.clone();
    look_at(t, directory, path, cwd.as_ref())
}

fn look_at(t: &Thread, directory: Option<u64>, path: Vec<u8>, cwd: Option<&Arc<File>>) -> Result<Looked, Errno> {
    let given = Given::Text(path.len() as u64);
    let is_relative = !path.is_empty() && !path.starts_with(b"/");
    let below = |cwd: i32| Own::Elsewhere(join(format!("/proc/self/fd/{cwd}").as_bytes(), &path));
    let own = match find(t, directory, &path) {
        None if directory.is_none() && is_relative => cwd.and_then(|c| c.remote_fd()).map(below),
        found => found,
    };
    match own {
        None => Ok(Looked { path, own: None, given, _scratch: None }),
        Some(Own::Nothing) => Err(Errno::ENOENT),
        Some(Own::Elsewhere(mut there)) => {
            if there.len() >= PATH_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            there.push(0);
            let mut scratch = Scratch::new(there.len())?;
            let given = Given::Kernel(scratch.put(&there)?);
            Ok(Looked { path, own: None, given, _scratch: Some(scratch) })
        }
        own => Ok(Looked { path, own, given, _scratch: None }),
    }
}

/// Looks at all paths of a call that is to be forwarded. What is returned has to be kept until the call is over.
pub fn translate(
    t: &Thread,
    call: &Call,
    args: [u64; 6],
    given: &mut [Given; 6],
    cwd: Option<&Arc<File>>,
) -> Result<[Option<Looked>; 2], Errno> {
    let mut all = [None, None];
    let mut before = Arg::Absent;
    let mut slots = all.iter_mut();
    for ((arg, given), (index, address)) in call.args.iter().zip(given).zip(args.iter().enumerate()) {
        if *arg == Arg::Path && *given == Given::Address {
            let directory = (before == Arg::DirFd).then(|| args.get(index.wrapping_sub(1)).copied()).flatten();
            let path = t.memory().read_string(*address, PATH_MAX)?;
            let looked = look_at(t, directory, path, cwd)?;
            if looked.own.is_some() {
                // To be read, and no more.
                return Err(Errno::EACCES);
            }
            *given = looked.given;
            if let Some(slot) = slots.next() {
                *slot = Some(looked);
            }
        }
        before = *arg;
    }
    Ok(all)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

/// What a path leads to that Linux would get wrong.
fn find(t: &Thread, directory: Option<u64>, path: &[u8]) -> Option<Own> {
    if !path.starts_with(b"/") {
        // Only a directory of the isle's has names of its own.
        let fd = directory.filter(|fd| *fd as i32 != AT_FDCWD)?;
        let file = t.files().get(fd).ok()?.clone();
        let Kind::Kept(Kept::Directory { path: base, .. }) = &file.kind else { return None };
        return match path {
            b"" => None,
            b"." => at(t, base),
            _ => at(t, &join(base, path)).or(Some(Own::Nothing)),
        };
    }
    at(t, path)
}

/// True if a path is the process's link to its program.
pub fn is_exe(t: &Thread, path: &[u8]) -> bool {
    let own = |name: &[u8]| {
        name == b"self/exe" || name == b"thread-self/exe" || name == format!("{}/exe", t.process.pid()).as_bytes()
    };
    path.strip_prefix(b"/proc/").is_some_and(own)
}

/// The same for an absolute path.
pub fn at(t: &Thread, path: &[u8]) -> Option<Own> {
    if let Some(rest) = path.strip_prefix(b"/dev/") {
        return match rest {
            b"stdin" => descriptor(t, 0, b""),
            b"stdout" => descriptor(t, 1, b""),
            b"stderr" => descriptor(t, 2, b""),
            b"fd" | b"fd/" => of_process(t, b"fd"),
            _ => of_process(t, rest.strip_prefix(b"fd/").map(|_| rest)?),
        };
    }
    if let Some(rest) = path.strip_prefix(b"/proc/") {
        let end = rest.iter().position(|b| *b == b'/');
        let Some((who, name)) = end.and_then(|end| Some((rest.get(..end)?, rest.get(end + 1..)?))) else {
            return texts::of_isle(path);
        };
        let is_self = who == b"self" || who == b"thread-self" || number(who) == Some(t.process.pid());
        if !is_self {
            return texts::of_isle(path);
        }
        let own = of_process(t, name);
        return match own {
            None if who == b"thread-self" => Some(Own::Elsewhere(join(b"/proc/self", name))),
            own => own,
        };
    }
    (path.starts_with(b"/sys/") || path == b"/etc/resolv.conf").then(|| texts::of_isle(path)).flatten()
}

fn number(digits: &[u8]) -> Option<u32> {
    // No sign, no zeros in front: as in the names that Linux gives.
    let text = core::str::from_utf8(digits).ok()?;
    text.parse::<u32>().ok().filter(|n| n.to_string() == text)
}

/// What is called so in the process's directory of /proc.
fn of_process(t: &Thread, name: &[u8]) -> Option<Own> {
    let (first, rest) = match name.iter().position(|b| *b == b'/') {
        Some(at) => (name.get(..at)?, name.get(at + 1..)?),
        None => (name, b"".as_slice()),
    };
    match (first, rest) {
        (b"fd" | b"fdinfo", b"") => {
            let fds = t.files().in_range(0, u32::MAX).unwrap_or_default();
            if is_scarce(fds.len() * LISTED) {
                return Some(Own::Nothing);
            }
            let kind = if first == b"fd" { DT_LNK } else { DT_REG };
            Some(directory(fds.iter().map(|fd| (fd.to_string(), kind))))
        }
        (b"fd" | b"fdinfo", _) => {
            let (fd, below) = match rest.iter().position(|b| *b == b'/') {
                Some(at) => rest.split_at(at),
                None => (rest, b"".as_slice()),
            };
            let Some(fd) = number(fd) else { return Some(Own::Nothing) };
            if first == b"fd" {
                return descriptor(t, fd.into(), below);
            }
            match t.files().remote(fd.into()) {
                Ok(remote) => Some(Own::Elsewhere(format!("/proc/self/fdinfo/{remote}").into_bytes())),
                Err(_) => Some(Own::Nothing),
            }
        }
        (b"task", b"") => {
            if is_scarce(t.process.thread_count() * LISTED) {
                return Some(Own::Nothing);
            }
            let mut threads = Vec::new();
            t.process.for_each_thread(|task| threads.push((t.process.tid_of(task).to_string(), DT_DIR)));
            Some(directory(threads.into_iter()))
        }
        (b"task", _) => {
            let (tid, below) = match rest.iter().position(|b| *b == b'/') {
                Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
                None => (rest, b"".as_slice()),
            };
            if number(tid).is_none_or(|tid| t.process.thread(tid).is_none()) {
                return Some(Own::Nothing);
            }
            if below.is_empty() {
                return Some(Own::Elsewhere(b"/proc/self".to_vec()));
            }
            of_process(t, below).or_else(|| Some(Own::Elsewhere(join(b"/proc/self", below))))
        }
        (b"cwd", _) => {
            let cwd = t.process.fs.lock().cwd.as_ref()?.remote_fd()?;
            let path = format!("/proc/self/fd/{cwd}").into_bytes();
            Some(Own::Elsewhere(if rest.is_empty() { path } else { join(&path, rest) }))
        }
        // Not the proxy; readlinkat(2) knows better.
        (b"exe", b"") => Some(Own::Elsewhere(t.process.program().path.clone())),
        // Linux would tell of the proxy.
        (b"smaps" | b"smaps_rollup" | b"numa_maps" | b"pagemap" | b"syscall" | b"stack" | b"wchan" | b"auxv", b"") => {
            Some(Own::Nothing)
        }
        (b"clear_refs" | b"map_files" | b"coredump_filter", _) => Some(Own::Nothing),
        (_, b"") => texts::of_process(t, name).map(Own::Text),
        _ => None,
    }
}

fn directory(names: impl Iterator<Item = (String, u8)>) -> Own {
    Own::Directory(names.map(|(name, kind)| Name { name: name.into_bytes(), kind }).collect())
}

/// What a descriptor of the application stands for, and what is below it.
fn descriptor(t: &Thread, fd: u64, below: &[u8]) -> Option<Own> {
    match t.files().get(fd).map(|file| file.remote_fd()) {
        Ok(Some(remote)) => Some(Own::Elsewhere([format!("/proc/self/fd/{remote}").as_bytes(), below].concat())),
        Ok(None) if below.is_empty() => Some(Own::Descriptor(fd)),
        Ok(None) => None,
        Err(_) => Some(Own::Nothing),
    }
}
