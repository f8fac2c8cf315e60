// SPDX-License-Identifier: MIT OR Apache-2.0

//! Making the call that a request asks for.
//!
//! Data goes through a buffer of the proxy: some file systems can't do I/O on memory that isn't Linux's.

use crate::descriptors::{Descriptors, Kind};
use crate::request::{self, Argument, Checked, Limits, Refusal, Scatter, Snapshot};
use crate::shm::{Memory, OutOfRange};
use crate::spawn::Children;
use crate::sys::{self, Value};
use hermit_abi::offload::{self, Arg, special};
use hermit_abi::spawn;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Most bytes in one call to the kernel.
const CHUNK: u64 = 1 << 20;

/// Most bytes that the serving thread itself reads from or writes to a file.
const QUICK_LEN: u64 = 64 << 10;

/// Numbers of the calls that are treated specially here.
mod number {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const CLOSE: u32 = 3;
    pub const FSTAT: u32 = 5;
    pub const LSEEK: u32 = 8;
    pub const PREAD64: u32 = 17;
    pub const PWRITE64: u32 = 18;
    pub const DUP: u32 = 32;
    pub const GETCWD: u32 = 79;
    pub const READLINK: u32 = 89;
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

fn error(errno: i32) -> i64 {
    i64::from(errno).wrapping_neg()
}

/// The proxy's memory for one argument.
enum Owned {
    Scalar(u64),
    Null,
    Path(CString),
    In(Vec<u8>),
    Out(Vec<u8>),
}

impl Owned {
    fn value(&mut self) -> Value<'_> {
        match self {
            Self::Scalar(scalar) => Value::Scalar(*scalar),
            Self::Null => Value::Null,
            Self::Path(path) => Value::Path(path),
            Self::In(bytes) => Value::In(bytes),
            Self::Out(bytes) => Value::Out(bytes),
        }
    }
}

impl Performer {
    /// Checks what a request said.
    pub fn check(&self, snapshot: &Snapshot) -> Result<Checked, Refusal> {
        let limits =
            Limits { memory_len: self.memory.len(), descriptors: &self.descriptors, exe_fd: self.exe_fd };
        request::check(snapshot, &limits)
    }

    /// Is this a call that doesn't wait, so that the serving thread may make it itself?
    pub fn is_quick(&self, checked: &Checked) -> bool {
        let is_local = || match self.descriptors.kind(checked.fd()) {
            Some(kind) => kind == Kind::Local,
            None => checked.fd() == self.exe_fd,
        };
        match checked.call.number {
            special::STARTUP | number::FSTAT | number::LSEEK | number::DUP | number::GETCWD => true,
            number::CLOSE => is_local(),
            number::READ | number::WRITE | number::PREAD64 | number::PWRITE64 => {
                let len = buffer(checked, 1).map_or(0, |s| s.len);
                is_local() && (len <= QUICK_LEN || checked.fd() == self.exe_fd)
            }
            offload::IOCTL | offload::EVENTFD2 | offload::EPOLL_CREATE1 | offload::EPOLL_CTL => true,
            special::SIGNAL_CHILD => true,
            // It only looks.
            offload::EPOLL_WAIT => checked.scalar(3) == 0,
            _ => false,
        }
    }

    /// Makes the call. `spare` is memory to use again.
    pub fn perform(&self, checked: &Checked, spare: &mut Vec<u8>) -> i64 {
        match checked.call.number {
            special::STARTUP => self.startup(checked),
            special::SPAWN => self.spawn(checked).map_or_else(error, i64::from),
            special::WAIT => self.children.wait(checked.fd()).map_or_else(error, i64::from),
            special::SIGNAL_CHILD => {
                let signal = request::descriptor(checked.scalar(1));
                self.children.signal(checked.fd(), signal).map_or_else(error, |()| 0)
            }
            number::READ | number::WRITE | number::PREAD64 | number::PWRITE64 => {
                self.transfer(checked, spare)
            }
            // Afterwards the number may be another file's.
            number::CLOSE if !self.descriptors.remove(checked.fd()) => error(libc::EBADF),
            number::READLINK | number::READLINKAT => {
                self.own_link(checked).unwrap_or_else(|| self.simple(checked))
            }
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
        let out = buffer(checked, 1).or_else(|| buffer(checked, 2)).filter(|out| out.len > 0)?;
        let target = self.exe_path.as_os_str().as_bytes();
        let len = usize::try_from(out.len).map_or(target.len(), |len| len.min(target.len()));
        let target = target.get(..len)?;
        Some(self.put(out, 0, target).map_or(error(libc::EFAULT), |()| length(target)))
    }

    fn transfer(&self, checked: &Checked, spare: &mut Vec<u8>) -> i64 {
        let number = checked.call.number;
        let reads = matches!(number, number::READ | number::PREAD64);
        let Some(scatter) = buffer(checked, 1) else { return self.simple(checked) };
        let kind = self.descriptors.kind(checked.fd()).unwrap_or(Kind::Regular);
        // A second read could wait for what never comes; a write is expected to be complete.
        let goes_on = !reads || kind != Kind::Other;
        let mut done: u64 = 0;
        loop {
            let want = scatter.len.saturating_sub(done).min(CHUNK);
            spare.resize(usize::try_from(want).unwrap_or(0), 0);
            if !reads && self.get(scatter, done, spare).is_err() {
                return error(libc::EFAULT);
            }
            let data = if reads { Value::Out(spare) } else { Value::In(spare) };
            let position = match number {
                number::PREAD64 | number::PWRITE64 => checked.scalar(3).wrapping_add(done),
                _ => 0,
            };
            let [fd, position] = [checked.scalar(0), position].map(Value::Scalar);
            let mut values = [fd, data, Value::Scalar(want), position, Value::Scalar(0), Value::Scalar(0)];
            let result = sys::forward(number, &mut values);
            let Ok(moved) = u64::try_from(result) else {
                return if done == 0 { result } else { total(done) };
            };
            let moved = moved.min(want);
            if reads {
                let read = usize::try_from(moved).ok().and_then(|n| spare.get(..n)).unwrap_or_default();
                if self.put(scatter, done, read).is_err() {
                    return error(libc::EFAULT);
                }
            }
            done = done.saturating_add(moved);
            if moved < want || done >= scatter.len || !goes_on {
                return total(done);
            }
        }
    }

    /// Any other call: all buffers are short, or may be made so.
    fn simple(&self, checked: &Checked) -> i64 {
        let mut owned = [const { Owned::Null }; 6];
        for (place, argument) in owned.iter_mut().zip(&checked.arguments) {
            *place = match self.own(argument) {
                Ok(owned) => owned,
                Err(errno) => return error(errno),
            };
        }
        let mut values = owned.each_mut().map(Owned::value);
        let result = sys::forward(checked.call.number, &mut values);
        if result < 0 {
            return result;
        }
        if checked.call.makes_fd {
            let fd = i32::try_from(result).unwrap_or(-1);
            if sys::is_own_memory(fd) {
                // Whoever writes there makes the proxy do whatever he likes.
                sys::close(fd);
                return error(libc::EACCES);
            }
            sys::with_new_descriptor(fd, |fd| self.descriptors.add(fd));
        }
        if let (offload::PIPE2, Owned::Out(ends)) = (checked.call.number, &owned[0]) {
            for end in ends.chunks_exact(4) {
                let fd = end.first_chunk().map_or(-1, |bytes| i32::from_ne_bytes(*bytes));
                sys::with_new_descriptor(fd, |fd| self.descriptors.add(fd));
            }
        }
        for ((owned, argument), kind) in owned.iter().zip(&checked.arguments).zip(checked.call.args) {
            if let (Owned::Out(bytes), Argument::Out(scatter)) = (owned, argument) {
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

    fn own(&self, argument: &Argument) -> Result<Owned, i32> {
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
            Argument::In(scatter) => {
                let mut bytes = zeroes(scatter);
                self.get(scatter, 0, &mut bytes).map_err(|OutOfRange| libc::EFAULT)?;
                Owned::In(bytes)
            }
            Argument::Out(scatter) => Owned::Out(zeroes(scatter)),
        })
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
    fn get(&self, scatter: &Scatter, skip: u64, mut bytes: &mut [u8]) -> Result<(), OutOfRange> {
        for (at, len) in parts_after(scatter, skip) {
            let len = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
            let (head, tail) = bytes.split_at_mut(len);
            self.memory.read(at, head)?;
            bytes = tail;
        }
        if bytes.is_empty() { Ok(()) } else { Err(OutOfRange) }
    }

    /// Copies into a buffer of the application, from `skip` on.
    fn put(&self, scatter: &Scatter, skip: u64, mut bytes: &[u8]) -> Result<(), OutOfRange> {
        for (at, len) in parts_after(scatter, skip) {
            let len = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
            let (head, tail) = bytes.split_at(len);
            self.memory.write(at, head)?;
            bytes = tail;
        }
        if bytes.is_empty() { Ok(()) } else { Err(OutOfRange) }
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn total(done: u64) -> i64 {
    i64::try_from(done).unwrap_or(i64::MAX)
}

fn buffer(checked: &Checked, i: usize) -> Option<&Scatter> {
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
    let path = path.to_bytes();
    path == b"/proc/self/exe" || path == format!("/proc/{}/exe", std::process::id()).as_bytes()
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;
