// SPDX-License-Identifier: MIT OR Apache-2.0

//! The working directory and the umask, which a process has on the isle.

use super::{nr, Outcome};
use crate::errno::Errno;
use crate::fd::File;
use crate::mem::scratch::Scratch;
use crate::offload::AT_FDCWD;
use crate::thread::Thread;
use alloc::sync::Arc;

/// Bytes of struct stat, and where it has the number of links.
const STAT_LEN: usize = 144;
const STAT_NLINK: usize = 16;

pub fn chdir(t: &mut Thread, [path, ..]: [u64; 6]) -> Outcome {
    let flags = u64::from(nr::O_PATH | nr::O_DIRECTORY | nr::O_CLOEXEC);
    let fd = t.forward(nr::__NR_openat, [AT_FDCWD as u64, path, flags, 0, 0, 0])?;
    let directory = Arc::new(File::remote(fd as i32, &t.process.link.closing));
    enter(t, directory)
}

pub fn fchdir(t: &mut Thread, [fd, ..]: [u64; 6]) -> Outcome {
    let directory = t.files().get(fd)?.clone();
    if directory.remote_fd().is_none() {
        return Err(Errno::ENOTDIR.into());
    }
    enter(t, directory)
}

/// Makes a directory the working directory, if one may go there.
fn enter(t: &mut Thread, directory: Arc<File>) -> Outcome {
    const X_OK: u64 = 1;
    let remote = directory.remote_fd().ok_or(Errno::ENOTDIR)?;
    let mut scratch = Scratch::new(2)?;
    let path = scratch.put(b".\0")?;
    t.ask(nr::__NR_faccessat2, [remote as u64, 0, X_OK, nr::AT_EACCESS.into(), 0, 0], &[(1, path)])?;
    let before = t.process.fs.lock().cwd.replace(directory);
    drop(before);
    Ok(0)
}

pub fn getcwd(t: &mut Thread, [to, len, ..]: [u64; 6]) -> Outcome {
    let Some(cwd) = t.process.fs.lock().cwd.clone() else {
        return t.forward(nr::__NR_getcwd, [to, len, 0, 0, 0, 0]);
    };
    let remote = cwd.remote_fd().ok_or(Errno::ENOENT)?;
    let mut path = alloc::format!("/proc/self/fd/{remote}\0").into_bytes();
    let mut scratch = Scratch::new(path.len() + STAT_LEN + super::paths::PATH_MAX + 32)?;
    let (name, stat) = (scratch.put(&path)?, scratch.room(STAT_LEN)?);
    let target = scratch.room(super::paths::PATH_MAX)?;
    t.ask(nr::__NR_fstat, [remote as u64, 0, 0, 0, 0, 0], &[(1, stat)])?;
    let links =
        scratch.get(stat)?.get(STAT_NLINK..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
    if links == 0 {
        // It has been removed.
        return Err(Errno::ENOENT.into());
    }
    let args = [AT_FDCWD as u64, 0, 0, target.len, 0, 0];
    let count = t.ask(nr::__NR_readlinkat, args, &[(1, name), (2, target)])?;
    path = scratch.get(target)?;
    path.truncate(count as usize);
    path.push(0);
    if path.len() as u64 > len {
        return Err(Errno::ERANGE.into());
    }
    t.memory().write(to, &path)?;
    Ok(path.len() as u64)
}

pub fn umask(t: &mut Thread, [mask, ..]: [u64; 6]) -> Outcome {
    let mut fs = t.process.fs.lock();
    let before = core::mem::replace(&mut fs.umask, mask as u32 & 0o777);
    Ok(before.into())
}

/// The mode that a new file gets.
pub fn mode(t: &Thread, mode: u64) -> u64 {
    // Linux takes a umode_t.
    u64::from(mode as u16 & !(t.process.fs.lock().umask as u16))
}
