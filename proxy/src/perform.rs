// SPDX-License-Identifier: MIT OR Apache-2.0

//! Making the call that a request asks for.
//!
//! The kernel gets buffers where they are, in application memory, if they lie there in one piece. Copied are paths, since the
//! application could take away their NUL meanwhile, and what the proxy itself looks at.

use crate::descriptors::{Descriptors, Kind};
use crate::request::{self, Argument, Checked, Limits, Refusal, Scatter, Snapshot};
use crate::shm::{Bounce, Memory, OutOfRange, Region};
use crate::spawn::Children;
use crate::sys::{self, Value};
use crate::transfer::number::{PREAD64, PWRITE64, READ, WRITE};
use hermit_abi::offload::{self, Arg, special};
use hermit_abi::spawn;
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Most bytes of a buffer that has to be copied.
const CHUNK: u64 = 1 << 20;

/// Most bytes that the serving thread itself reads from or writes to a file.
const QUICK_LEN: u64 = 64 << 10;

/// Numbers of the calls that are treated specially here.
mod number {
    pub const CLOSE: u32 = 3;
    pub const FSTAT: u32 = 5;
    pub const LSEEK: u32 = 8;
    pub const DUP: u32 = 32;
    pub const GETCWD: u32 = 79;
    pub const READLINKAT: u32 = 267;
}

/// All that an application's calls work on.
pub struct Performer {
    pub memory: Memory,
    pub descriptors: Descriptors,
    pub exe_fd: i32,
    /// What `special::STARTUP` gives.
    pub start_block: Vec<u8>,
    /// What `/proc/self/exe` is to the application.
    pub exe_path: PathBuf,
    pub children: Children,
}

pub fn error(errno: i32) -> i64 {
    i64::from(errno).wrapping_neg()
}

/// One argument: the proxy's memory for it, or where it is.
enum Owned<'a> {
    Scalar(u64),
    Null,
    Path(CString),
    In(Vec<u8>),
    Out(Vec<u8>),
    InOut(Vec<u8>),
    InPlace(Region<'a>),
}

impl Owned<'_> {
    fn value(&mut self) -> Value<'_> {
        match self {
            Self::Scalar(scalar) => Value::Scalar(*scalar),
            Self::Null => Value::Null,
            Self::Path(path) => Value::Path(path),
            Self::In(bytes) => Value::In(bytes),
            Self::Out(bytes) => Value::Out(bytes),
            Self::InOut(bytes) => Value::InOut(bytes),
            Self::InPlace(region) => Value::InPlace(*region),
        }
    }
}

impl Performer {
    /// Checks what a request said.
    pub fn check(&self, snapshot: &Snapshot, checked: &mut Checked) -> Result<(), Refusal> {
        let limits =
            Limits { memory_len: self.memory.len(), descriptors: &self.descriptors, exe_fd: self.exe_fd };
        request::check(snapshot, &limits, checked)
    }

    /// Is this a call that doesn't wait, so that the serving thread may make it itself?
    pub fn is_quick(&self, checked: &Checked) -> bool {
        let is_local = || match checked.kind {
            Some(kind) => kind == Kind::Local,
            None => checked.fd() == self.exe_fd,
        };
        match checked.call.number {
            special::STARTUP | number::FSTAT | number::LSEEK | number::DUP | number::GETCWD => true,
            number::CLOSE => is_local(),
            READ | WRITE | PREAD64 | PWRITE64 => {
                let len = buffer(checked, 1).map_or(0, |s| s.len);
                is_local() && (len <= QUICK_LEN || checked.fd() == self.exe_fd)
            }
            special::SIGNAL_CHILD => true,
            // Neither of these waits: TCGETS, TIOCGWINSZ, FIONREAD; commands other than F_SETLKW and F_OFD_SETLKW.
            offload::IOCTL => matches!(checked.scalar(1), 0x5401 | 0x5413 | 0x541b),
            offload::FCNTL => !matches!(checked.scalar(1), 7 | 38),
            offload::EVENTFD2 | offload::EPOLL_CREATE1 | offload::EPOLL_CTL => true,
            // It only looks.
            offload::EPOLL_WAIT => checked.scalar(3) == 0,
            _ => false,
        }
    }

    /// Makes the call. `bounce` is memory to use again.
    pub fn perform(&self, checked: &Checked, bounce: &mut Bounce) -> i64 {
        match checked.call.number {
            special::STARTUP => self.startup(checked),
            special::SPAWN => self.spawn(checked).map_or_else(error, i64::from),
            special::WAIT => self.children.wait(checked.fd()).map_or_else(error, i64::from),
            special::SIGNAL_CHILD => {
                let signal = request::descriptor(checked.scalar(1));
                self.children.signal(checked.fd(), signal).map_or_else(error, |()| 0)
            }
            READ | WRITE | PREAD64 | PWRITE64 => self.transfer(checked, bounce),
            special::SENDMSG => self.send_message(checked),
            special::RECVMSG => self.receive_message(checked),
            // Afterwards the number may be another file's.
            number::CLOSE if !self.descriptors.remove(checked.fd()) => error(libc::EBADF),
            number::READLINKAT => self.own_link(checked).unwrap_or_else(|| self.simple(checked)),
            _ => self.simple(checked),
        }
    }

    fn startup(&self, checked: &Checked) -> i64 {
        let Some(out) = buffer(checked, 0) else { return error(libc::EFAULT) };
        if (self.start_block.len() as u64) > out.len {
            return error(libc::E2BIG);
        }
        self.put(out, 0, &self.start_block).map_or(error(libc::EFAULT), |()| length(&self.start_block))
    }

    fn spawn(&self, checked: &Checked) -> Result<i32, i32> {
        let block = buffer(checked, 0).ok_or(libc::EFAULT)?;
        if block.len > u64::from(spawn::MAX_LEN) {
            return Err(libc::E2BIG);
        }
        let mut bytes = vec![0; usize::try_from(block.len).map_err(|_| libc::E2BIG)?];
        self.get(block, 0, &mut bytes).map_err(|OutOfRange| libc::EFAULT)?;
        let exe = CString::new(self.exe_path.as_os_str().as_bytes()).map_err(|_| libc::ENOENT)?;
        let path_of = |path| if is_own_exe(path) { &exe } else { path };
        self.children.spawn(&bytes, &self.descriptors, path_of)
    }

    /// readlink(2) of the program's own file, which Linux believes is the proxy.
    fn own_link(&self, checked: &Checked) -> Option<i64> {
        let path = checked.arguments.iter().find_map(|a| match a {
            Argument::Path(path) => Some(path),
            _ => None,
        })?;
        if !is_own_exe(&self.path(path).ok()?) {
            return None;
        }
        let out = buffer(checked, 2).filter(|out| out.len > 0)?;
        let target = self.exe_path.as_os_str().as_bytes();
        let len = usize::try_from(out.len).map_or(target.len(), |len| len.min(target.len()));
        let target = target.get(..len)?;
        Some(self.put(out, 0, target).map_or(error(libc::EFAULT), |()| length(target)))
    }

    /// Any other call.
    fn simple(&self, checked: &Checked) -> i64 {
        // What the proxy reads must not change meanwhile, and lengths in memory are about its own buffers.
        let is_looked_at =
            matches!(checked.call.number, offload::PIPE2 | offload::SOCKETPAIR | offload::PPOLL)
                || checked.call.args.iter().any(|arg| matches!(arg, Arg::OutSized(_)));
        if is_looked_at {
            return self.simple_by(checked, |argument| self.own(argument));
        }
        let has_region = Cell::new(false);
        let result = self.simple_by(checked, |argument| match self.region(argument) {
            Some(region) => {
                has_region.set(true);
                Ok(Owned::InPlace(region))
            }
            None => self.own(argument),
        });
        // It may be one that can't work on memory that isn't Linux's.
        match has_region.get() && result == error(libc::EFAULT) {
            true => self.simple_by(checked, |argument| self.own(argument)),
            false => result,
        }
    }

    /// A buffer in one piece.
    fn region(&self, argument: &Argument) -> Option<Region<'_>> {
        match argument {
            Argument::In(scatter) | Argument::Out(scatter) => match scatter.parts[..] {
                [(at, len)] => self.memory.region(at, len).ok(),
                _ => None,
            },
            _ => None,
        }
    }

    fn simple_by<'a>(&'a self, checked: &Checked, own: impl Fn(&Argument) -> Result<Owned<'a>, i32>) -> i64 {
        let mut owned = [const { Owned::Null }; 6];
        for (place, argument) in owned.iter_mut().zip(&checked.arguments) {
            *place = match own(argument) {
                Ok(owned) => owned,
                Err(errno) => return error(errno),
            };
        }
        let polled = match (checked.call.number, &mut owned[0]) {
            (offload::PPOLL, Owned::InOut(list)) => self.hide_foreign(list),
            _ => Vec::new(),
        };
        let mut values = owned.each_mut().map(Owned::value);
        let mut result = sys::forward(checked.call.number, &mut values);
        if result < 0 {
            return result;
        }
        if let Owned::InOut(list) = &mut owned[0] {
            result = result.saturating_add(show_foreign(list, &polled));
        }
        if checked.call.makes_fd
            && let Err(errno) = self.adopt(i32::try_from(result).unwrap_or(-1))
        {
            return error(errno);
        }
        let ends = match (checked.call.number, &owned[0], &owned[3]) {
            (offload::PIPE2, Owned::Out(ends), _) | (offload::SOCKETPAIR, _, Owned::Out(ends)) => Some(ends),
            _ => None,
        };
        if let Some(ends) = ends {
            for end in ends.chunks_exact(4) {
                let fd = end.first_chunk().map_or(-1, |bytes| i32::from_ne_bytes(*bytes));
                if let Err(errno) = self.adopt(fd) {
                    return error(errno);
                }
            }
        }
        for ((owned, argument), kind) in owned.iter().zip(&checked.arguments).zip(checked.call.args) {
            if let (Owned::InOut(bytes), Argument::InOut(scatter)) = (owned, argument) {
                if self.put(scatter, 0, bytes).is_err() {
                    return error(libc::EFAULT);
                }
            } else if let (Owned::Out(bytes), Argument::Out(scatter)) = (owned, argument) {
                let written = match kind {
                    Arg::Out(_) => usize::try_from(result).ok().and_then(|n| bytes.get(..n)),
                    Arg::OutArray(_, size) => usize::try_from(result)
                        .ok()
                        .and_then(|n| n.checked_mul(usize::from(size)))
                        .and_then(|n| bytes.get(..n)),
                    _ => Some(bytes.as_slice()),
                };
                if self.put(scatter, 0, written.unwrap_or(bytes)).is_err() {
                    return error(libc::EFAULT);
                }
            }
        }
        result
    }

    /// A new descriptor becomes the application's; one that it must not have is closed.
    pub fn adopt(&self, fd: i32) -> Result<(), i32> {
        let added = sys::with_new_descriptor(fd, |fd| self.descriptors.add(fd)).unwrap_or(Ok(()));
        if added.is_err() {
            sys::close(fd);
        }
        added
    }

    fn own(&self, argument: &Argument) -> Result<Owned<'static>, i32> {
        let zeroes = |s: &Scatter| vec![0; usize::try_from(s.len.min(CHUNK)).unwrap_or(0)];
        Ok(match argument {
            Argument::Scalar(value) => Owned::Scalar(*value),
            Argument::Null => Owned::Null,
            Argument::Path(scatter) => {
                let path = self.path(scatter)?;
                if is_own_exe(&path) {
                    let exe = CString::new(self.exe_path.as_os_str().as_bytes());
                    Owned::Path(exe.unwrap_or(path))
                } else {
                    Owned::Path(path)
                }
            }
            Argument::Text(scatter) => Owned::Path(self.path(scatter)?),
            Argument::In(scatter) => {
                let mut bytes = zeroes(scatter);
                self.get(scatter, 0, &mut bytes).map_err(|OutOfRange| libc::EFAULT)?;
                Owned::In(bytes)
            }
            Argument::InOut(scatter) => {
                let mut bytes = zeroes(scatter);
                self.get(scatter, 0, &mut bytes).map_err(|OutOfRange| libc::EFAULT)?;
                Owned::InOut(bytes)
            }
            Argument::Out(scatter) => Owned::Out(zeroes(scatter)),
        })
    }

    /// Takes what isn't the application's out of a list for poll(2); returns where it was.
    fn hide_foreign(&self, list: &mut [u8]) -> Vec<usize> {
        let mut hidden = Vec::new();
        for (at, entry) in list.chunks_exact_mut(usize::from(offload::POLLFD)).enumerate() {
            let Some((fd, _)) = entry.split_first_chunk_mut() else { continue };
            let number = i32::from_ne_bytes(*fd);
            if number >= 0 && self.descriptors.kind(number).is_none() {
                *fd = (-1i32).to_ne_bytes();
                hidden.push(at);
            }
        }
        hidden
    }

    /// A path, up to its first NUL: the application may have changed it since the isle kernel looked.
    fn path(&self, scatter: &Scatter) -> Result<CString, i32> {
        let mut bytes = vec![0; usize::try_from(scatter.len).map_err(|_| libc::ENAMETOOLONG)?];
        self.get(scatter, 0, &mut bytes).map_err(|OutOfRange| libc::EFAULT)?;
        let end = bytes.iter().position(|b| *b == 0).ok_or(libc::EFAULT)?;
        bytes.truncate(end);
        CString::new(bytes).map_err(|_| libc::EFAULT)
    }

    /// Copies out of a buffer of the application, from `skip` on.
    pub fn get(&self, scatter: &Scatter, skip: u64, mut bytes: &mut [u8]) -> Result<(), OutOfRange> {
        for (at, len) in parts_after(scatter, skip) {
            let len = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
            let (head, tail) = bytes.split_at_mut(len);
            self.memory.read(at, head)?;
            bytes = tail;
        }
        if bytes.is_empty() { Ok(()) } else { Err(OutOfRange) }
    }

    /// Copies into a buffer of the application, from `skip` on.
    pub fn put(&self, scatter: &Scatter, skip: u64, mut bytes: &[u8]) -> Result<(), OutOfRange> {
        for (at, len) in parts_after(scatter, skip) {
            let len = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
            let (head, tail) = bytes.split_at(len);
            self.memory.write(at, head)?;
            bytes = tail;
        }
        if bytes.is_empty() { Ok(()) } else { Err(OutOfRange) }
    }
}

/// Says of what [`Performer::hide_foreign`] has hidden that it is no descriptor; returns how much that is.
fn show_foreign(list: &mut [u8], hidden: &[usize]) -> i64 {
    const POLLNVAL: [u8; 2] = 0x20u16.to_ne_bytes();
    for at in hidden {
        let entry = list.chunks_exact_mut(usize::from(offload::POLLFD)).nth(*at);
        if let Some(events) = entry.and_then(|e| e.get_mut(6..8)) {
            events.copy_from_slice(&POLLNVAL);
        }
    }
    i64::try_from(hidden.len()).unwrap_or(0)
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

pub fn buffer(checked: &Checked, i: usize) -> Option<&Scatter> {
    match checked.arguments.get(i) {
        Some(Argument::In(scatter) | Argument::Out(scatter)) => Some(scatter),
        _ => None,
    }
}

/// What is left of a buffer after its first `skip` bytes.
fn parts_after(scatter: &Scatter, mut skip: u64) -> impl Iterator<Item = (u64, u64)> {
    scatter.parts.iter().filter_map(move |&(at, len)| {
        let skipped = skip.min(len);
        skip = skip.saturating_sub(skipped);
        let rest = len.saturating_sub(skipped);
        (rest > 0).then(|| (at.saturating_add(skipped), rest))
    })
}

fn is_own_exe(path: &CStr) -> bool {
    // Few paths are there: only for these Linux is asked for the number of the process.
    path.to_bytes()
        .strip_prefix(b"/proc/")
        .is_some_and(|rest| rest == b"self/exe" || rest == format!("{}/exe", std::process::id()).as_bytes())
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;
