// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reading what the isle keeps: texts, and signalfd(2).

use super::{inet, nr, Outcome};
use crate::errno::Errno;
use crate::fd::{File, Kind};
use crate::kept::{Kept, Watch};
use crate::sched::{self, Woken};
use crate::signal::info::code;
use crate::signal::{self, Info, UNBLOCKABLE};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// read(2) or pread64(2) of a file that the isle keeps, into buffers.
pub fn read(t: &mut Thread, file: &File, buffers: &[(u64, u64)], offset: Option<u64>) -> Outcome {
    match &file.kind {
        Kind::Kept(Kept::Text { text, position, .. }) => {
            let from = AtomicUsize::new(offset.map_or(0, |o| usize::try_from(o).unwrap_or(usize::MAX)));
            read_text(t, text, if offset.is_some() { &from } else { position }, buffers)
        }
        Kind::Kept(Kept::Directory { .. }) => Err(Errno::EISDIR.into()),
        Kind::Kept(Kept::Signals { .. }) if offset.is_some() => Err(Errno::ESPIPE.into()),
        Kind::Kept(kept @ Kept::Signals { set, flags }) => {
            let waits = flags.load(Ordering::Relaxed) as u32 & nr::O_NONBLOCK == 0;
            read_signals(t, kept, set.load(Ordering::Relaxed), waits, buffers)
        }
        Kind::Kept(Kept::Socket(_)) if offset.is_some() => Err(Errno::ESPIPE.into()),
        Kind::Kept(Kept::Socket(socket)) => inet::receive(t, socket, buffers, 0).map(|r| r.0),
        Kind::Remote(_) | Kind::Epoll(..) => Err(Errno::EINVAL.into()),
    }
}

/// write(2) likewise.
pub fn write(t: &mut Thread, file: &File, buffers: &[(u64, u64)], offset: Option<u64>) -> Outcome {
    match &file.kind {
        Kind::Kept(Kept::Socket(_)) if offset.is_some() => Err(Errno::ESPIPE.into()),
        Kind::Kept(Kept::Socket(socket)) => inet::send(t, socket, buffers, None, 0),
        Kind::Kept(Kept::Signals { .. }) => Err(Errno::EINVAL.into()),
        _ => Err(Errno::EBADF.into()),
    }
}

fn read_text(t: &mut Thread, text: &[u8], position: &AtomicUsize, buffers: &[(u64, u64)]) -> Outcome {
    let mut done = 0;
    for (address, len) in buffers {
        let rest = text.get(position.load(Ordering::Relaxed)..).unwrap_or(&[]);
        let len = usize::try_from(*len).unwrap_or(usize::MAX).min(rest.len());
        let now = rest.get(..len).unwrap_or(&[]);
        t.memory().write(*address, now)?;
        position.fetch_add(now.len(), Ordering::Relaxed);
        done += now.len() as u64;
    }
    Ok(done)
}

/// struct signalfd_siginfo.
const RECORD: usize = 128;

fn read_signals(t: &mut Thread, kept: &Kept, set: u64, waits: bool, buffers: &[(u64, u64)]) -> Outcome {
    // One buffer, as everybody has it; of more the first counts.
    let (address, len) = *buffers.first().ok_or(Errno::EINVAL)?;
    let room = len / RECORD as u64;
    if room == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut done = 0;
    loop {
        while done < room {
            let Some(info) = signal::take(&t.task, set) else { break };
            t.memory().write(address.wrapping_add(done * RECORD as u64), &record(&info))?;
            done += 1;
        }
        if done > 0 {
            return Ok(done * RECORD as u64);
        }
        if !waits {
            return Err(Errno::EAGAIN.into());
        }
        let task = t.task.clone();
        let watch = Watch::begin(&task, core::iter::once(kept), None);
        let woken = sched::wait(&task, None, &|| signal::pending(&task) & set != 0);
        let is_stirred = task.is_stirred();
        drop(watch);
        if woken == Woken::Interrupted && !is_stirred {
            t.check_end()?;
            return Err(crate::errno::Fail::Restart);
        }
    }
}

/// A signal as signalfd(2) tells it (Linux: signalfd_copyinfo()).
fn record(info: &Info) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    let (low, high) = (info.words[0] as u32, (info.words[0] >> 32) as u32);
    put(0, &info.signal.to_le_bytes());
    put(4, &info.errno.to_le_bytes());
    put(8, &info.code.to_le_bytes());
    match info.code {
        code::TIMER => {
            put(24, &low.to_le_bytes());
            put(32, &high.to_le_bytes());
        }
        1..code::KERNEL if matches!(info.signal, nr::SIGILL | nr::SIGFPE | nr::SIGSEGV | nr::SIGBUS | nr::SIGTRAP) => {
            put(72, &info.words[0].to_le_bytes());
        }
        _ => {
            put(12, &low.to_le_bytes());
            put(16, &high.to_le_bytes());
        }
    }
    if info.code < 0 {
        put(44, &(info.words[1] as u32).to_le_bytes());
        put(48, &info.words[1].to_le_bytes());
    } else if info.signal == nr::SIGCHLD {
        put(40, &(info.words[1] as u32).to_le_bytes());
    }
    bytes
}

pub fn signalfd(t: &mut Thread, [fd, set, len, ..]: [u64; 6]) -> Outcome {
    signalfd4(t, [fd, set, len, 0, 0, 0])
}

pub fn signalfd4(t: &mut Thread, [fd, set, len, flags, ..]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    if len != 8 || flags & !(nr::O_NONBLOCK | nr::O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let wanted = t.memory().read_u64(set)? & !UNBLOCKABLE;
    if fd as i32 != -1 {
        let file = t.files().get(fd)?.clone();
        let Kind::Kept(Kept::Signals { set, .. }) = &file.kind else { return Err(Errno::EINVAL.into()) };
        set.store(wanted, Ordering::Relaxed);
        return Ok(u64::from(fd as u32));
    }
    let status = AtomicUsize::new((flags & nr::O_NONBLOCK) as usize);
    let file = Arc::new(File::kept(Kept::Signals { set: AtomicU64::new(wanted), flags: status }));
    Ok(t.files().open(file, 0, flags & nr::O_CLOEXEC != 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_tell_who_and_what() {
        let bytes = record(&Info::user(10, code::USER, 7, 8));
        assert_eq!((bytes[0], bytes[12], bytes[16]), (10, 7, 8));
        let bytes = record(&Info::timer(14, 3, 4, 0x99));
        assert_eq!((bytes[24], bytes[32], bytes[44], bytes[48], bytes[12]), (3, 4, 0x99, 0x99, 0));
        assert_eq!(record(&Info::fault(11, 1, 0x1234))[72..74], [0x34, 0x12]);
    }
}
