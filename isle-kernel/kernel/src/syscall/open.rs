// SPDX-License-Identifier: MIT OR Apache-2.0

//! Opening: of files, and of what has a descriptor without having a name.

use super::cwd::mode;
use super::paths::{self, Own};
use super::{nr, Outcome};
use crate::errno::Errno;
use crate::fd::File;
use crate::kept::Kept;
use crate::mem::scratch::Scratch;
use crate::offload::{Given, AT_FDCWD};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicUsize;

pub fn creat(t: &mut Thread, [path, how, ..]: [u64; 6]) -> Outcome {
    let flags = nr::O_CREAT | nr::O_WRONLY | nr::O_TRUNC;
    openat(t, [AT_FDCWD as u64, path, flags.into(), how, 0, 0])
}

pub fn open(t: &mut Thread, [path, flags, how, ..]: [u64; 6]) -> Outcome {
    openat(t, [AT_FDCWD as u64, path, flags, how, 0, 0])
}

pub fn openat(t: &mut Thread, [directory, path, flags, how, ..]: [u64; 6]) -> Outcome {
    let looked = paths::look(t, Some(directory), path)?;
    let flags = flags as u32;
    if let Some(own) = looked.own {
        return open_own(t, looked.path, own, flags, directory);
    }
    // Without O_CREAT or O_TMPFILE it doesn't count.
    let how = if flags & (nr::O_CREAT | nr::O_TMPFILE & !nr::O_DIRECTORY) != 0 { mode(t, how) } else { 0 };
    let mut given = [Given::Address; 6];
    given[1] = looked.given;
    let make = |t: &mut Thread| t.forward_given(nr::__NR_openat, [directory, path, flags.into(), how, 0, 0], given);
    new_descriptor(t, flags, make)
}

/// struct open_how.
const HOW_LEN: u64 = 24;

pub fn openat2(t: &mut Thread, [directory, path, how, len, ..]: [u64; 6]) -> Outcome {
    if len < HOW_LEN {
        return Err(Errno::EINVAL.into());
    }
    if len > 4096 {
        return Err(Errno::E2BIG.into());
    }
    // What is behind must be zero where it isn't known.
    let mut bytes = Vec::from([0; 4096]);
    bytes.truncate(len as usize);
    t.memory().read(how, &mut bytes)?;
    if bytes.iter().skip(HOW_LEN as usize).any(|b| *b != 0) {
        return Err(Errno::E2BIG.into());
    }
    let words: Vec<u64> = bytes.chunks_exact(8).filter_map(|w| Some(u64::from_le_bytes(w.try_into().ok()?))).collect();
    let [flags, how, resolve, ..] = *words.as_slice() else { return Err(Errno::EINVAL.into()) };
    let looked = paths::look(t, Some(directory), path)?;
    if let Some(own) = looked.own {
        return open_own(t, looked.path, own, flags as u32, directory);
    }
    // One that is wrong is left so, for Linux to say.
    let how = if how & !0o7777 == 0 { mode(t, how) } else { how };
    let creates = flags as u32 & (nr::O_CREAT | nr::O_TMPFILE & !nr::O_DIRECTORY) != 0;
    let how = [flags, if creates { how } else { words.get(1).copied().unwrap_or(0) }, resolve];
    let how: Vec<u8> = how.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut scratch = Scratch::new(how.len())?;
    let mut given = [Given::Address; 6];
    (given[1], given[2]) = (looked.given, Given::Kernel(scratch.put(&how)?));
    let make = |t: &mut Thread| t.forward_given(nr::__NR_openat2, [directory, path, 0, HOW_LEN, 0, 0], given);
    new_descriptor(t, flags as u32, make)
}

/// Opens what the isle keeps.
fn open_own(t: &mut Thread, path: Vec<u8>, own: Own, flags: u32, directory: u64) -> Outcome {
    let writes = flags & nr::O_ACCMODE != nr::O_RDONLY || flags & nr::O_TRUNC != 0;
    if flags & (nr::O_CREAT | nr::O_EXCL) == nr::O_CREAT | nr::O_EXCL {
        return Err(Errno::EEXIST.into());
    }
    let path = match path.starts_with(b"/") {
        true => path,
        // Below a directory that the isle keeps.
        false => match &t.files().get(directory)?.kind {
            crate::fd::Kind::Kept(kept) => [kept.link(), b"/", &path].concat(),
            _ => path,
        },
    };
    let kept = match own {
        Own::Directory(_) if writes || flags & nr::O_CREAT != 0 => return Err(Errno::EISDIR.into()),
        // Its names are those of the time when it is read.
        Own::Directory(names) => Kept::Directory { path, list: spin::Mutex::new((names, 0)) },
        _ if flags & nr::O_DIRECTORY != 0 => return Err(Errno::ENOTDIR.into()),
        _ if writes => return Err(Errno::EACCES.into()),
        Own::Text(text) => Kept::Text { path, text, position: AtomicUsize::new(0) },
        Own::Descriptor(fd) => {
            let file = t.files().get(fd)?.clone();
            let crate::fd::Kind::Kept(Kept::Text { path, text, .. }) = &file.kind else {
                return Err(Errno::EACCES.into());
            };
            Kept::Text { path: path.clone(), text: text.clone(), position: AtomicUsize::new(0) }
        }
        Own::Elsewhere(_) | Own::Nothing => return Err(Errno::ENOENT.into()),
    };
    Ok(t.files().open(Arc::new(File::kept(kept)), 0, flags & nr::O_CLOEXEC != 0)?)
}

/// Has something opened on Linux, if there is room for it. `flags` are named like those of open(2).
pub fn new_descriptor(t: &mut Thread, flags: u32, make: impl FnOnce(&mut Thread) -> Outcome) -> Outcome {
    new_file(t, flags, make, File::remote)
}

/// Likewise, for a file of another kind.
pub fn new_file(
    t: &mut Thread,
    flags: u32,
    make: impl FnOnce(&mut Thread) -> Outcome,
    file: fn(i32, &Arc<crate::fd::Closing>) -> File,
) -> Outcome {
    if !t.files().has_room() {
        return Err(Errno::EMFILE.into());
    }
    // Checked to be an i32 where the result was.
    let fd = make(t)? as i32;
    let file = Arc::new(file(fd, &t.process.link.closing));
    Ok(t.files().open(file, 0, flags & nr::O_CLOEXEC != 0)?)
}

/// Has a pair opened by a call that writes the proxy's descriptors to argument `at`; the application finds its own at `to`.
pub fn new_pair(t: &mut Thread, number: u32, mut args: [u64; 6], at: usize, to: u64, flags: u32) -> Outcome {
    let mut scratch = Scratch::new(8)?;
    let place = scratch.room(8)?;
    if let Some(arg) = args.get_mut(at) {
        *arg = 0;
    }
    t.ask(number, args, &[(at, place)])?;
    let ends: [u8; 8] = scratch.get_array(place)?;
    let files = [0, 4].map(|at| {
        let fd = ends.get(at..).and_then(|e| e.first_chunk()).map_or(-1, |b| i32::from_le_bytes(*b));
        Arc::new(File::remote(fd, &t.process.link.closing))
    });
    let mut numbers = Vec::new();
    let mut fds = Vec::new();
    for file in files {
        let fd = t.files().open(file, 0, flags & nr::O_CLOEXEC != 0);
        match fd {
            Ok(fd) => fds.push(fd),
            Err(errno) => {
                undo(t, &fds);
                return Err(errno.into());
            }
        }
        numbers.extend((fd? as u32).to_le_bytes());
    }
    let written = t.memory().write(to, &numbers);
    if written.is_err() {
        undo(t, &fds);
    }
    written?;
    Ok(0)
}

fn undo(t: &mut Thread, fds: &[u64]) {
    for fd in fds {
        let file = t.files().close(*fd);
        drop(file);
    }
}

pub fn pipe(t: &mut Thread, [to, ..]: [u64; 6]) -> Outcome {
    pipe2(t, [to, 0, 0, 0, 0, 0])
}

pub fn pipe2(t: &mut Thread, [to, flags, ..]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    new_pair(t, nr::__NR_pipe2, [0, flags.into(), 0, 0, 0, 0], 0, to, flags)
}

pub fn eventfd(t: &mut Thread, [count, ..]: [u64; 6]) -> Outcome {
    eventfd2(t, [count, 0, 0, 0, 0, 0])
}

/// A call that opens something and whose arguments are as they are; the flags are argument `at`, named like those of open(2).
fn make(t: &mut Thread, number: u32, args: [u64; 6], flags: u64) -> Outcome {
    new_descriptor(t, flags as u32, |t| t.forward(number, args))
}

pub fn eventfd2(t: &mut Thread, a: [u64; 6]) -> Outcome {
    make(t, nr::__NR_eventfd2, a, a[1])
}

pub fn timerfd_create(t: &mut Thread, a: [u64; 6]) -> Outcome {
    make(t, nr::__NR_timerfd_create, a, a[1])
}

pub fn inotify_init(t: &mut Thread, _: [u64; 6]) -> Outcome {
    make(t, nr::__NR_inotify_init1, [0; 6], 0)
}

pub fn inotify_init1(t: &mut Thread, a: [u64; 6]) -> Outcome {
    make(t, nr::__NR_inotify_init1, a, a[0])
}

pub fn memfd_create(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let flags = if a[1] as u32 & nr::MFD_CLOEXEC != 0 { nr::O_CLOEXEC } else { 0 };
    make(t, nr::__NR_memfd_create, a, flags.into())
}
