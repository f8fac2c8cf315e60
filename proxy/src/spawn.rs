// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands that the application runs on Linux: `special::SPAWN`, `WAIT` and `SIGNAL_CHILD`.
//!
//! They are children of the proxy, and stay alive when it ends.

use crate::descriptors::Descriptors;
use crate::rearrange;
use crate::sys::child::{self, Command};
use hermit_abi::spawn::{HEADER_LEN, MAX_UMASK, PAIR_LEN, PROXYS_CWD, Pair, SpawnBlock, flag};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a block says, checked but for its descriptors' owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Spawn<'a> {
    pub header: SpawnBlock,
    /// For each number in the child the proxy's descriptor.
    pub descriptors: BTreeMap<i32, i32>,
    pub path: &'a CStr,
    pub argv: Vec<&'a CStr>,
    pub envp: Vec<&'a CStr>,
}

impl<'a> Spawn<'a> {
    /// `None` if the block is malformed.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let header = SpawnBlock::from_bytes(header);
        let SpawnBlock { len, argc, envc, pairs, cwd, umask, flags, pgroup, .. } = header;
        let is_sound = usize::try_from(len) == Ok(bytes.len())
            && cwd >= PROXYS_CWD
            && umask <= MAX_UMASK
            && flags & !flag::ALL == 0
            && pgroup >= 0;
        if !is_sound {
            return None;
        }
        let pairs_len = usize::try_from(pairs).ok()?.checked_mul(PAIR_LEN)?;
        let (pairs, strings) = rest.split_at_checked(pairs_len)?;
        let mut descriptors = BTreeMap::new();
        for pair in pairs.chunks_exact(PAIR_LEN).filter_map(|bytes| bytes.first_chunk()) {
            let Pair { child, proxy } = Pair::from_bytes(pair);
            match descriptors.entry(child) {
                Entry::Vacant(place) if child >= 0 && proxy >= 0 => place.insert(proxy),
                _ => return None,
            };
        }
        let mut strings = Strings(strings);
        let path = strings.next()?;
        let argv = strings.take(argc)?;
        let envp = strings.take(envc)?;
        strings.0.is_empty().then_some(Self { header, descriptors, path, argv, envp })
    }
}

/// Strings that haven't been taken yet.
struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn next(&mut self) -> Option<&'a CStr> {
        let string = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = self.0.get(string.count_bytes()..)?.get(1..)?;
        Some(string)
    }

    fn take(&mut self, count: u32) -> Option<Vec<&'a CStr>> {
        let count = usize::try_from(count).ok()?;
        // Each has its NUL at least: no more is allocated than was sent.
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| self.next()).collect()
    }
}

/// As wait(2) has it.
fn wait_status(ended: &WaitIdStatus) -> Option<u32> {
    const CORE_DUMPED: u32 = 0x80;
    let signal = || ended.terminating_signal().map(i32::cast_unsigned);
    if let Some(code) = ended.exit_status() {
        return Some((code.cast_unsigned() & 0xff) << 8);
    }
    if ended.dumped() { signal().map(|signal| signal | CORE_DUMPED) } else { signal() }
}

/// The children that haven't been waited for, each with a descriptor that means it and no later one of that number (pidfd_open(2)).
#[derive(Default)]
pub struct Children(Mutex<BTreeMap<i32, Arc<OwnedFd>>>);

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Children {
    fn map(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what a block says and returns the child's number. All errors are errnos. `path_of` may put another path in the place
    /// of the block's.
    pub fn spawn<'a>(
        &self,
        block: &'a [u8],
        own: &Descriptors,
        path_of: impl FnOnce(&'a CStr) -> &'a CStr,
    ) -> Result<i32, i32> {
        let Spawn { header, descriptors, path, argv, envp } = Spawn::parse(block).ok_or(libc::EINVAL)?;
        let cwd = (header.cwd != PROXYS_CWD).then_some(header.cwd);
        if descriptors.values().copied().chain(cwd).any(|fd| own.kind(fd).is_none()) {
            return Err(libc::EBADF);
        }
        let command = Command {
            path: path_of(path),
            argv: &argv,
            envp: &envp,
            cwd,
            umask: header.umask,
            new_session: header.flags & flag::NEW_SESSION != 0,
            group: (header.flags & flag::SET_PGROUP != 0).then_some(header.pgroup),
            blocked: header.blocked,
            ignored: header.ignored,
            steps: &rearrange::plan(&descriptors),
        };
        let (pid, end) = child::spawn(&command).map_err(|e| errno(&e))?;
        self.map().insert(pid, Arc::new(end));
        Ok(pid)
    }

    /// Waits until a child has ended and returns its wait status.
    pub fn wait(&self, pid: i32) -> Result<u32, i32> {
        let end = self.map().get(&pid).cloned().ok_or(libc::ECHILD)?;
        // By the descriptor it is this child, whatever becomes of its number. If somebody else waits as well, one of the two gets
        // ECHILD.
        let ended =
            waitid(WaitId::PidFd(end.as_fd()), WaitIdOptions::EXITED).map_err(|e| e.raw_os_error())?;
        let mut children = self.map();
        if children.get(&pid).is_some_and(|now| Arc::ptr_eq(now, &end)) {
            children.remove(&pid);
        }
        ended.as_ref().and_then(wait_status).ok_or(libc::EIO)
    }

    /// Sends a signal to a child.
    pub fn signal(&self, pid: i32, signal: i32) -> Result<(), i32> {
        let end = self.map().get(&pid).cloned().ok_or(libc::ESRCH)?;
        child::send_signal(end.as_fd(), signal).map_err(|e| errno(&e))
    }
}

#[cfg(test)]
#[path = "spawn_tests.rs"]
mod tests;
