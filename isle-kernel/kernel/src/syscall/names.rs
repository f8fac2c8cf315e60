// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls that name a file: those that know no directory become those that do.

use super::cwd::mode;
use super::paths::{self, Looked, Own};
use super::{nr, Outcome};
use crate::errno::Errno;
use crate::kept::Kept;
use crate::mem::scratch::Scratch;
use crate::offload::{Given, AT_FDCWD};
use crate::thread::Thread;
use alloc::vec::Vec;

/// The working directory, as an argument.
const CWD: u64 = AT_FDCWD as u64;

const NOFOLLOW: u64 = nr::AT_SYMLINK_NOFOLLOW as u64;

pub fn access(t: &mut Thread, [path, how, ..]: [u64; 6]) -> Outcome {
    faccessat(t, [CWD, path, how, 0, 0, 0])
}

pub fn faccessat(t: &mut Thread, [directory, path, how, ..]: [u64; 6]) -> Outcome {
    check_access(t, nr::__NR_faccessat, [directory, path, how, 0, 0, 0])
}

pub fn faccessat2(t: &mut Thread, a: [u64; 6]) -> Outcome {
    check_access(t, nr::__NR_faccessat2, a)
}

fn check_access(t: &mut Thread, number: u32, a: [u64; 6]) -> Outcome {
    const W_OK: u32 = 2;
    const X_OK: u32 = 1;
    let looked = paths::look(t, Some(a[0]), a[1])?;
    match looked.own {
        None => forward(t, number, a, looked),
        Some(Own::Text(_)) if a[2] as u32 & (W_OK | X_OK) != 0 => Err(Errno::EACCES.into()),
        Some(_) if a[2] as u32 & W_OK != 0 => Err(Errno::EACCES.into()),
        Some(_) => Ok(0),
    }
}

/// Forwards a call whose second argument is a path that has been looked at.
fn forward(t: &mut Thread, number: u32, args: [u64; 6], looked: Looked) -> Outcome {
    let mut given = [Given::Address; 6];
    given[1] = looked.given;
    t.forward_given(number, args, given)
}

pub fn stat(t: &mut Thread, [path, to, ..]: [u64; 6]) -> Outcome {
    newfstatat(t, [CWD, path, to, 0, 0, 0])
}

pub fn lstat(t: &mut Thread, [path, to, ..]: [u64; 6]) -> Outcome {
    newfstatat(t, [CWD, path, to, NOFOLLOW, 0, 0])
}

pub fn fstat(t: &mut Thread, a: [u64; 6]) -> Outcome {
    if t.files().get(a[0])?.remote_fd().is_some() {
        return t.forward(nr::__NR_fstat, a);
    }
    let type_and_mode = mode_of_descriptor(t, a[0])?;
    write_stat(t, a[1], type_and_mode)
}

pub fn newfstatat(t: &mut Thread, a: [u64; 6]) -> Outcome {
    match kept_mode(t, a[0], a[1], a[3] as u32)? {
        Target::Kept(type_and_mode) => write_stat(t, a[2], type_and_mode),
        Target::Remote(looked) => forward(t, nr::__NR_newfstatat, a, looked),
    }
}

pub fn statx(t: &mut Thread, a: [u64; 6]) -> Outcome {
    /// STATX_BASIC_STATS.
    const BASIC: u64 = 0x7ff;
    match kept_mode(t, a[0], a[1], a[2] as u32)? {
        Target::Remote(looked) => forward(t, nr::__NR_statx, a, looked),
        Target::Kept(type_and_mode) => {
            let mut words = [0; 32];
            words[0] = BASIC | 4096 << 32;
            words[2] = 1;
            words[3] = u64::from(t.process.startup().egid) | u64::from(type_and_mode) << 32;
            t.memory().write_words(a[4], &words)?;
            Ok(0)
        }
    }
}

/// Whom a question about a file goes to.
enum Target {
    /// The isle keeps the file: its type and permissions.
    Kept(u32),
    Remote(Looked),
}

fn kept_mode(t: &mut Thread, directory: u64, path: u64, flags: u32) -> Result<Target, Errno> {
    if flags & nr::AT_EMPTY_PATH != 0 {
        let is_kept = t.files().get(directory).is_ok_and(|f| f.remote_fd().is_none());
        if is_kept && (path == 0 || t.memory().read_string(path, paths::PATH_MAX)?.is_empty()) {
            return Ok(Target::Kept(mode_of_descriptor(t, directory)?));
        }
    }
    let looked = paths::look(t, Some(directory), path)?;
    Ok(match looked.own {
        None => Target::Remote(looked),
        Some(Own::Directory(_)) => Target::Kept(nr::S_IFDIR | 0o555),
        Some(Own::Descriptor(_)) if flags & nr::AT_SYMLINK_NOFOLLOW != 0 => Target::Kept(nr::S_IFLNK | 0o700),
        Some(Own::Descriptor(fd)) => Target::Kept(mode_of_descriptor(t, fd)?),
        Some(_) => Target::Kept(nr::S_IFREG | 0o444),
    })
}

fn mode_of_descriptor(t: &Thread, fd: u64) -> Result<u32, Errno> {
    let file = t.files().get(fd)?.clone();
    Ok(match &file.kind {
        crate::fd::Kind::Kept(Kept::Directory { .. }) => nr::S_IFDIR | 0o555,
        // Without a type, as Linux has what is anonymous.
        crate::fd::Kind::Kept(Kept::Signals { .. }) => 0o600,
        crate::fd::Kind::Kept(Kept::Socket(_)) => nr::S_IFSOCK | 0o777,
        _ => nr::S_IFREG | 0o444,
    })
}

/// struct stat of something that, as what is in /proc does, says that it is empty.
fn write_stat(t: &mut Thread, to: u64, type_and_mode: u32) -> Outcome {
    let mut words = [0; 18];
    words[2] = 1; // links
    words[3] = type_and_mode.into();
    words[7] = 4096; // block size
    t.memory().write_words(to, &words)?;
    Ok(0)
}

pub fn readlink(t: &mut Thread, [path, to, room, ..]: [u64; 6]) -> Outcome {
    readlinkat(t, [CWD, path, to, room, 0, 0])
}

pub fn readlinkat(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let room = usize::try_from(a[3] as i32).ok().filter(|r| *r > 0).ok_or(Errno::EINVAL)?;
    let looked = paths::look(t, Some(a[0]), a[1])?;
    let target = match &looked.own {
        None if paths::is_exe(t, &looked.path) => t.process.program().path.clone(),
        None => return forward(t, nr::__NR_readlinkat, a, looked),
        Some(Own::Descriptor(fd)) => {
            let file = t.files().get(*fd)?.clone();
            match &file.kind {
                crate::fd::Kind::Kept(kept) => kept.link().to_vec(),
                _ => return Err(Errno::ENOENT.into()),
            }
        }
        Some(_) => return Err(Errno::EINVAL.into()),
    };
    let part = target.get(..room).unwrap_or(&target);
    t.memory().write(a[2], part)?;
    Ok(part.len() as u64)
}

pub fn mkdir(t: &mut Thread, [path, how, ..]: [u64; 6]) -> Outcome {
    mkdirat(t, [CWD, path, how, 0, 0, 0])
}

pub fn mkdirat(t: &mut Thread, [directory, path, how, ..]: [u64; 6]) -> Outcome {
    let how = mode(t, how);
    t.forward(nr::__NR_mkdirat, [directory, path, how, 0, 0, 0])
}

pub fn mknod(t: &mut Thread, [path, how, device, ..]: [u64; 6]) -> Outcome {
    mknodat(t, [CWD, path, how, device, 0, 0])
}

pub fn mknodat(t: &mut Thread, [directory, path, how, device, ..]: [u64; 6]) -> Outcome {
    let how = mode(t, how);
    t.forward(nr::__NR_mknodat, [directory, path, how, device, 0, 0])
}

pub fn rmdir(t: &mut Thread, [path, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_unlinkat, [CWD, path, nr::AT_REMOVEDIR.into(), 0, 0, 0])
}

pub fn unlink(t: &mut Thread, [path, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_unlinkat, [CWD, path, 0, 0, 0, 0])
}

pub fn rename(t: &mut Thread, [from, to, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_renameat2, [CWD, from, CWD, to, 0, 0])
}

pub fn renameat(t: &mut Thread, [from_directory, from, to_directory, to, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_renameat2, [from_directory, from, to_directory, to, 0, 0])
}

pub fn link(t: &mut Thread, [from, to, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_linkat, [CWD, from, CWD, to, 0, 0])
}

pub fn symlink(t: &mut Thread, [target, path, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_symlinkat, [target, CWD, path, 0, 0, 0])
}

pub fn chmod(t: &mut Thread, [path, how, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_fchmodat, [CWD, path, how, 0, 0, 0])
}

pub fn chown(t: &mut Thread, [path, user, group, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_fchownat, [CWD, path, user, group, 0, 0])
}

pub fn lchown(t: &mut Thread, [path, user, group, ..]: [u64; 6]) -> Outcome {
    t.forward(nr::__NR_fchownat, [CWD, path, user, group, NOFOLLOW, 0])
}

pub fn utime(t: &mut Thread, [path, times, ..]: [u64; 6]) -> Outcome {
    let times = match times {
        0 => None,
        at => {
            let [access, change] = t.memory().read_words(at)?;
            Some([access, 0, change, 0])
        }
    };
    set_times(t, CWD, path, times)
}

pub fn utimes(t: &mut Thread, [path, times, ..]: [u64; 6]) -> Outcome {
    futimesat(t, [CWD, path, times, 0, 0, 0])
}

pub fn futimesat(t: &mut Thread, [directory, path, times, ..]: [u64; 6]) -> Outcome {
    let times = match times {
        0 => None,
        at => {
            let mut times: [u64; 4] = t.memory().read_words(at)?;
            for us in [1, 3] {
                let value = times.get_mut(us).ok_or(Errno::EINVAL)?;
                // Linux: else it would be one of UTIME_NOW and UTIME_OMIT.
                *value = if *value < 1_000_000 { *value * 1000 } else { return Err(Errno::EINVAL.into()) };
            }
            Some(times)
        }
    };
    set_times(t, directory, path, times)
}

fn set_times(t: &mut Thread, directory: u64, path: u64, times: Option<[u64; 4]>) -> Outcome {
    let mut scratch = Scratch::new(33)?;
    let mut given = [Given::Address; 6];
    if let Some(times) = times {
        let bytes: Vec<u8> = times.iter().flat_map(|w| w.to_le_bytes()).collect();
        given[2] = Given::Kernel(scratch.put(&bytes)?);
    }
    let flags = empty_path(path, directory, &mut scratch, &mut given[1])?;
    t.forward_given(nr::__NR_utimensat, [directory, path, 0, flags, 0, 0], given)
}

pub fn utimensat(t: &mut Thread, [directory, path, times, flags, ..]: [u64; 6]) -> Outcome {
    let mut scratch = Scratch::new(1)?;
    let mut given = [Given::Address; 6];
    if path == 0 && flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let flags = flags | empty_path(path, directory, &mut scratch, &mut given[1])?;
    t.forward_given(nr::__NR_utimensat, [directory, path, times, flags, 0, 0], given)
}

/// A null path means the descriptor itself, as an empty one does by a flag.
fn empty_path(path: u64, directory: u64, scratch: &mut Scratch, given: &mut Given) -> Result<u64, Errno> {
    if path != 0 {
        return Ok(0);
    }
    if directory as i32 == AT_FDCWD {
        return Err(Errno::EFAULT);
    }
    *given = Given::Kernel(scratch.put(b"\0")?);
    Ok(nr::AT_EMPTY_PATH.into())
}
