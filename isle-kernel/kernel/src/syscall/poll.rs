// SPDX-License-Identifier: MIT OR Apache-2.0

//! poll(2) and select(2), of what Linux keeps and of what the isle keeps. Linux's part is one forwarded poll; if
//! something of the isle's becomes ready meanwhile, that is interrupted (see `kept`).

use super::{nr, signal, time, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::{File, Kind, MAX};
use crate::kept::{event, Kept, Watch};
use crate::mem::access::element;
use crate::mem::scratch::Scratch;
use crate::mem::{buffer, push};
use crate::sched::{self, Woken};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::offload::POLLFD;
use hermit_plat::time::monotonic_ns;

/// struct pollfd.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    fd: i32,
    events: u16,
    found: u16,
}

/// What there is to an entry whose descriptor is one.
enum Source {
    /// Kept open meanwhile.
    Remote {
        fd: i32,
        _file: Arc<File>,
    },
    Kept(Arc<File>),
    Nothing,
}

impl Source {
    fn of(t: &Thread, entry: &mut Entry) -> Self {
        if entry.fd < 0 {
            return Self::Nothing;
        }
        let file = t.files().get(entry.fd as u64).cloned();
        match file {
            Err(_) => {
                entry.found = event::NVAL;
                Self::Nothing
            }
            Ok(file) => match file.remote_fd() {
                Some(fd) => Self::Remote { fd, _file: file },
                None => Self::Kept(file),
            },
        }
    }

    fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Kept(file) => match &file.kind {
                Kind::Kept(kept) => Some(kept),
                _ => None,
            },
            _ => None,
        }
    }
}

pub fn poll(t: &mut Thread, [list, count, timeout_ms, ..]: [u64; 6]) -> Outcome {
    let timeout = u64::try_from(timeout_ms as i32).ok();
    poll_list(t, list, count, Until::after(timeout.map(|ms| ms * 1_000_000)))
}

pub fn ppoll(t: &mut Thread, [list, count, timeout, mask, mask_len, _]: [u64; 6]) -> Outcome {
    let until = Until::after(if timeout == 0 { None } else { Some(time::read_timespec(t, timeout)?) });
    let result = signal::with_mask(t, mask, mask_len, |t| poll_list(t, list, count, until));
    until.write_rest(t, timeout, 1);
    result
}

/// The end of a wait.
#[derive(Clone, Copy)]
struct Until(Option<u64>);

impl Until {
    fn after(ns: Option<u64>) -> Self {
        Self(ns.map(|ns| monotonic_ns().saturating_add(ns)))
    }

    fn rest(self) -> Option<u64> {
        self.0.map(|at| at.saturating_sub(monotonic_ns()))
    }

    /// Linux says what was left, and doesn't mind where that can't be written (poll_select_finish()).
    fn write_rest(self, t: &Thread, to: u64, unit: u64) {
        if let Some(rest) = self.rest().filter(|_| to != 0) {
            let _ = t.memory().write_words(to, &[rest / time::NS, rest % time::NS / unit]);
        }
    }
}

fn poll_list(t: &mut Thread, list: u64, count: u64, until: Until) -> Outcome {
    let limit = t.process.limits.lock()[nr::RLIMIT_NOFILE as usize][0];
    if u64::from(count as u32) > limit.min(MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    let count = u64::from(count as u32);
    let mut entries = buffer(count as usize)?;
    for index in 0..count {
        let word = t.memory().read_u64(element(list, index, POLLFD.into())?)?;
        entries.push(Entry { fd: word as i32, events: (word >> 32) as u16, found: 0 });
    }
    wait(t, &mut entries, until)?;
    for (entry, index) in entries.iter().zip(0..) {
        t.memory().write(element(list, index, POLLFD.into())?.wrapping_add(6), &entry.found.to_le_bytes())?;
    }
    Ok(entries.iter().filter(|e| e.found != 0).count() as u64)
}

/// Waits until something is found, or the time is up (Linux may say so a little early).
fn wait(t: &mut Thread, entries: &mut [Entry], until: Until) -> Result<(), Fail> {
    let mut sources = buffer(entries.len())?;
    sources.extend(entries.iter_mut().map(|e| Source::of(t, e)));
    let can_wait = sources.iter().filter_map(Source::kept).any(Kept::can_wait);
    let has_remote = sources.iter().any(|s| matches!(s, Source::Remote { .. }));
    let task = t.task.clone();
    crate::net::poll();
    loop {
        let watch = can_wait.then(|| Watch::begin(&task, sources.iter().filter_map(Source::kept), None));
        let mut found = false;
        for (entry, source) in entries.iter_mut().zip(&sources) {
            if let Some(kept) = source.kept() {
                entry.found = kept.readiness(&task) & (entry.events | event::ERR | event::HUP);
            }
            found |= entry.found != 0;
        }
        let rest = if found { Some(0) } else { until.rest() };
        let mut again = false;
        let result = if has_remote {
            ask(t, entries, &sources, rest)
        } else if found || rest == Some(0) {
            Ok(())
        } else {
            let is_ready = |e: &Entry, s: &Source| {
                s.kept().is_some_and(|k| k.readiness(&task) & (e.events | event::ERR | event::HUP) != 0)
            };
            let ready = || entries.iter().zip(&sources).any(|(e, s)| is_ready(e, s));
            match sched::wait(&task, until.0, &ready) {
                Woken::Interrupted => Err(Fail::Restart),
                Woken::TimedOut => Ok(()),
                Woken::Ready => {
                    again = true;
                    Ok(())
                }
            }
        };
        let is_stirred = task.is_stirred();
        drop(watch);
        match result {
            // What the isle keeps is looked at once more.
            Err(Fail::Restart) if is_stirred => {}
            // Never begun again after a handler (signal(7)).
            Err(Fail::Restart) => {
                t.check_end()?;
                return Err(Errno::EINTR.into());
            }
            Err(fail) => return Err(fail),
            Ok(()) if again => {}
            Ok(()) => return Ok(()),
        }
    }
}

/// Linux's part.
fn ask(t: &Thread, entries: &mut [Entry], sources: &[Source], rest: Option<u64>) -> Result<(), Fail> {
    let size = usize::from(POLLFD);
    let mut bytes = buffer(size * entries.len())?;
    let mut asked = buffer(entries.len())?;
    for (entry, source) in entries.iter_mut().zip(sources) {
        if let Source::Remote { fd, .. } = source {
            bytes.extend(fd.to_le_bytes());
            bytes.extend(u32::from(entry.events).to_le_bytes());
            asked.push(entry);
        }
    }
    let mut scratch = Scratch::new(bytes.len() + 16)?;
    let list = scratch.put(&bytes)?;
    let mut buffers = Vec::from([(0, list)]);
    if let Some(rest) = rest {
        let timespec: Vec<u8> = [rest / time::NS, rest % time::NS].iter().flat_map(|w| w.to_le_bytes()).collect();
        buffers.push((2, scratch.put(&timespec)?));
    }
    let count = t.ask(nr::__NR_ppoll, [0, asked.len() as u64, 0, 0, 0, 0], &buffers)?;
    let answer = scratch.get(list)?;
    if count == 0 && rest.is_none() {
        // It says that the time is up.
        return Err(Errno::EIO.into());
    }
    for (entry, answer) in asked.into_iter().zip(answer.chunks_exact(size)) {
        entry.found = answer.get(6..).and_then(|a| a.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b));
    }
    Ok(())
}

/// What select(2) means by its three sets (Linux: POLLIN_SET and so on).
const SETS: [(u16, u16); 3] = [
    // Asked for, and found: with RDBAND, HUP and ERR; WRBAND and ERR; PRI.
    (0x1 | 0x40 | 0x80, 0x1 | 0x40 | 0x80 | 0x10 | 0x8),
    (0x4 | 0x100 | 0x200, 0x4 | 0x100 | 0x200 | 0x8),
    (0x2, 0x2),
];

pub fn select(t: &mut Thread, [count, read, write, except, timeout, _]: [u64; 6]) -> Outcome {
    let until = match timeout {
        0 => Until(None),
        at => {
            let [seconds, us] = t.memory().read_words(at)?;
            let (seconds, us) = (seconds as i64, us as i64);
            if seconds < 0 || us < 0 {
                return Err(Errno::EINVAL.into());
            }
            Until::after(Some(
                (seconds as u64).saturating_mul(time::NS).saturating_add((us as u64).saturating_mul(1000)),
            ))
        }
    };
    let result = select_sets(t, count, [read, write, except], until);
    until.write_rest(t, timeout, 1000);
    result
}

pub fn pselect6(t: &mut Thread, [count, read, write, except, timeout, mask]: [u64; 6]) -> Outcome {
    let until = Until::after(if timeout == 0 { None } else { Some(time::read_timespec(t, timeout)?) });
    let [mask, mask_len] = if mask == 0 { [0, 0] } else { t.memory().read_words(mask)? };
    let result = signal::with_mask(t, mask, mask_len, |t| select_sets(t, count, [read, write, except], until));
    until.write_rest(t, timeout, 1);
    result
}

fn select_sets(t: &mut Thread, count: u64, sets: [u64; 3], until: Until) -> Outcome {
    // Linux doesn't look beyond the end of its table of descriptors.
    let count = u32::try_from(count as i32).map_err(|_| Errno::EINVAL)?.min(t.files().span());
    let len = count.div_ceil(64) as usize * 8;
    let mut bits: [Vec<u8>; 3] = Default::default();
    for (bits, set) in bits.iter_mut().zip(sets) {
        *bits = buffer(len)?;
        bits.resize(len, 0);
        if set != 0 {
            t.memory().read(set, bits)?;
        }
    }
    let has = |set: &[u8], fd: u32| set.get(fd as usize / 8).is_some_and(|b| b & (1 << (fd % 8)) != 0);
    let mut entries = Vec::new();
    for fd in 0..count {
        let wanted =
            bits.iter().zip(SETS).filter(|(set, _)| has(set, fd)).fold(0, |all, (_, (events, _))| all | events);
        if wanted != 0 {
            if t.files().get(fd.into()).is_err() {
                return Err(Errno::EBADF.into());
            }
            push(&mut entries, Entry { fd: fd as i32, events: wanted, found: 0 })?;
        }
    }
    // What is found must be asked for: what a set means besides comes by itself, and would end the wait for nothing.
    loop {
        wait(t, &mut entries, until)?;
        let mut total = 0;
        let mut results: [Vec<u8>; 3] = Default::default();
        for ((result, set), (_, found)) in results.iter_mut().zip(&bits).zip(SETS) {
            *result = buffer(len)?;
            result.resize(len, 0);
            for entry in entries.iter().filter(|e| has(set, e.fd as u32) && e.found & found != 0) {
                if let Some(byte) = result.get_mut(entry.fd as usize / 8) {
                    *byte |= 1 << (entry.fd % 8);
                    total += 1;
                }
            }
        }
        if total > 0 || until.rest() == Some(0) || entries.iter().all(|e| e.found == 0) {
            for (result, set) in results.iter().zip(sets) {
                if set != 0 {
                    t.memory().write(set, result)?;
                }
            }
            return Ok(total);
        }
        // Say, an error of which only POLLPRI was asked: Linux would wait on for that.
        entries.retain(|e| e.found == 0);
    }
}
