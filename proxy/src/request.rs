// SPDX-License-Identifier: MIT OR Apache-2.0

//! A request of the isle: copied once, then checked, then trusted.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::descriptors::{Descriptors, Kind};
use hermit_abi::channel::{Request, SEGMENTS};
use hermit_abi::offload::{self, Arg, Call};
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

/// Longest path, with its NUL (PATH_MAX).
pub const MAX_PATH: u64 = 4096;

/// Longest buffer whose length is in memory: names and options of sockets are shorter.
pub const MAX_SIZED: u64 = 1 << 16;

/// What a request said when it was taken.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub number: u32,
    pub segment_count: u32,
    pub tid: u32,
    pub args: [u64; 6],
    pub lens: [u64; 6],
    pub segments: [(u64, u64); SEGMENTS],
}

impl Snapshot {
    /// Reads each field once, and no more segments than there are said to be.
    pub fn of(request: &Request) -> Self {
        let segment_count = request.segment_count.load(Relaxed);
        let mut segments = [(0, 0); SEGMENTS];
        let used = usize::try_from(segment_count).unwrap_or(SEGMENTS);
        for (place, segment) in segments.iter_mut().zip(&request.segments).take(used) {
            *place = (segment.offset.load(Relaxed), segment.len.load(Relaxed));
        }
        Self {
            number: request.number.load(Relaxed),
            segment_count,
            tid: request.tid.load(Relaxed),
            args: request.args.each_ref().map(|a| a.load(Relaxed)),
            lens: request.lens.each_ref().map(|a| a.load(Relaxed)),
            segments,
        }
    }
}

/// A buffer: ranges of application memory, all in bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scatter {
    pub parts: SmallVec<[(u64, u64); 1]>,
    /// Length of all parts together.
    pub len: u64,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Also descriptors, which are the application's.
    Scalar(u64),
    Null,
    Path(Scatter),
    Text(Scatter),
    In(Scatter),
    Out(Scatter),
    InOut(Scatter),
}

/// A request that may be carried out. It is filled in where it stays, since it isn't small.
#[derive(Clone, Debug)]
pub struct Checked {
    pub call: Call,
    pub arguments: [Argument; 6],
    /// What the first descriptor among them is; `None`: there is none, or it isn't the application's.
    pub kind: Option<Kind>,
}

impl Default for Checked {
    fn default() -> Self {
        Self { call: Call::NONE, arguments: [const { Argument::Scalar(0) }; 6], kind: None }
    }
}

impl Checked {
    pub fn scalar(&self, i: usize) -> u64 {
        match self.arguments.get(i) {
            Some(Argument::Scalar(value)) => *value,
            _ => 0,
        }
    }

    /// The first argument as a descriptor.
    pub fn fd(&self) -> i32 {
        descriptor(self.scalar(0))
    }
}

/// As the kernel sees it: an `int`, also where it is a process or a signal.
#[expect(clippy::cast_possible_truncation)]
pub fn descriptor(value: u64) -> i32 {
    value as u32 as i32
}

/// Why a request isn't carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The application's fault: this errno.
    Errno(i32),
    /// The isle kernel's fault.
    Malformed(&'static str),
}

/// What requests are checked against.
pub struct Limits<'a> {
    pub memory_len: u64,
    pub descriptors: &'a Descriptors,
    /// The proxy's descriptor of the program, which the isle kernel may read.
    pub exe_fd: i32,
}

/// Checks all that was said. After a refusal there is nothing in `checked` that means anything.
pub fn check(snapshot: &Snapshot, limits: &Limits<'_>, checked: &mut Checked) -> Result<(), Refusal> {
    let Snapshot { number, segment_count, args, lens, segments, .. } = snapshot;
    let [_, request, ..] = *args;
    let Checked { call, arguments, kind } = checked;
    *call = offload::find(*number, request).ok_or(Refusal::Errno(libc::ENOSYS))?;
    *kind = None;
    let used = usize::try_from(*segment_count)
        .ok()
        .and_then(|count| segments.get(..count))
        .ok_or(Refusal::Malformed("too many segments"))?;
    let mut rest = Segments { rest: used, memory_len: limits.memory_len };
    for (((arg, &value), &len), place) in call.args.iter().zip(args).zip(lens).zip(arguments) {
        *place = match arg {
            Arg::Fd => Argument::Scalar(own_descriptor(value, len, call, limits, kind)?),
            _ => argument(*arg, value, len, args, limits, &mut rest)?,
        };
    }
    if rest.rest.iter().any(|(_, len)| *len != 0) {
        return Err(Refusal::Malformed("segments that no argument has"));
    }
    Ok(())
}

/// A length for what has none.
const LENGTH_OF_NOTHING: Refusal = Refusal::Malformed("a length for what isn't a buffer");

/// A descriptor of the application's.
fn own_descriptor(
    value: u64,
    len: u64,
    call: &Call,
    limits: &Limits<'_>,
    first: &mut Option<Kind>,
) -> Result<u64, Refusal> {
    if len != 0 {
        return Err(LENGTH_OF_NOTHING);
    }
    let fd = descriptor(value);
    let kind = limits.descriptors.kind(fd);
    let reads_exe = || fd == limits.exe_fd && matches!(call.name, "pread64" | "fstat");
    if kind.is_none() && !reads_exe() {
        return Err(Refusal::Errno(libc::EBADF));
    }
    *first = first.or(kind);
    Ok(value)
}

fn argument(
    arg: Arg,
    value: u64,
    len: u64,
    args: &[u64; 6],
    limits: &Limits<'_>,
    segments: &mut Segments<'_>,
) -> Result<Argument, Refusal> {
    let is_buffer = !matches!(arg, Arg::Absent | Arg::Scalar | Arg::Fd | Arg::DirFd);
    if len != 0 && (!is_buffer || value == 0) {
        return Err(LENGTH_OF_NOTHING);
    }
    if is_buffer && value == 0 {
        return Ok(Argument::Null);
    }
    let counted = |n: u8| args.get(usize::from(n)).copied().unwrap_or(0);
    match arg {
        Arg::Absent => Ok(Argument::Scalar(0)),
        Arg::Scalar | Arg::Fd => Ok(Argument::Scalar(value)),
        Arg::DirFd => {
            let fd = descriptor(value);
            let is_known = fd == libc::AT_FDCWD || limits.descriptors.kind(fd).is_some();
            // With an absolute path Linux doesn't look at the descriptor, so it isn't wrong yet.
            let value = if is_known { value } else { u64::MAX };
            Ok(Argument::Scalar(value))
        }
        Arg::Path | Arg::Text if len > MAX_PATH => Err(Refusal::Errno(libc::ENAMETOOLONG)),
        Arg::Path | Arg::Text if len == 0 => Err(Refusal::Malformed("a string without its NUL")),
        Arg::Path => segments.take(len).map(Argument::Path),
        Arg::Text => segments.take(len).map(Argument::Text),
        Arg::In(n) | Arg::Out(n) if len > counted(n) => {
            Err(Refusal::Malformed("more bytes than the call's argument says"))
        }
        Arg::In(n) | Arg::Out(n) if len == 0 && counted(n) != 0 => Err(Refusal::Errno(libc::EFAULT)),
        Arg::OutArray(n, size) if len > counted(n).saturating_mul(size.into()) => {
            Err(Refusal::Malformed("more bytes than the call's argument says"))
        }
        Arg::InOutArray(n, size) if len != counted(n).saturating_mul(size.into()) => {
            Err(Refusal::Malformed("an array of another length"))
        }
        Arg::OutSized(_) if len > MAX_SIZED => Err(Refusal::Malformed("a buffer that is too long")),
        Arg::In(_) => segments.take(len).map(Argument::In),
        Arg::Out(_) | Arg::OutArray(..) | Arg::OutSized(_) => segments.take(len).map(Argument::Out),
        Arg::InStruct(size) | Arg::OutStruct(size) | Arg::InOutStruct(size) if len != u64::from(size) => {
            Err(Refusal::Malformed("a structure of another size"))
        }
        Arg::Length if len != 4 => Err(Refusal::Malformed("a structure of another size")),
        Arg::InStruct(_) => segments.take(len).map(Argument::In),
        Arg::OutStruct(_) => segments.take(len).map(Argument::Out),
        Arg::InOutArray(..) | Arg::InOutStruct(_) | Arg::Length => segments.take(len).map(Argument::InOut),
    }
}

/// Segments that no argument has yet.
struct Segments<'a> {
    rest: &'a [(u64, u64)],
    memory_len: u64,
}

impl Segments<'_> {
    /// The next ones, `len` bytes in all.
    fn take(&mut self, len: u64) -> Result<Scatter, Refusal> {
        let mut scatter = Scatter::default();
        while scatter.len < len {
            let (&(offset, part), rest) =
                self.rest.split_first().ok_or(Refusal::Malformed("too few segments"))?;
            self.rest = rest;
            let end = offset.checked_add(part).ok_or(Refusal::Malformed("a segment that wraps"))?;
            if end > self.memory_len {
                return Err(Refusal::Malformed("a segment beyond the memory of the isle"));
            }
            let sum = scatter.len.checked_add(part);
            scatter.len = sum.ok_or(Refusal::Malformed("segments that are too long"))?;
            if part != 0 {
                scatter.parts.push((offset, part));
            }
        }
        if scatter.len > len {
            return Err(Refusal::Malformed("a segment of two arguments"));
        }
        Ok(scatter)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
