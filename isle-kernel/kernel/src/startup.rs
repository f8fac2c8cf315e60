// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the proxy says about the program to run: parsed, since the proxy is another process's word.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;
use hermit_plat::abi::offload::{StartBlock, LIMITS};

/// Numbers of processes are below this (Linux: PID_MAX_LIMIT).
pub const PID_LIMIT: u32 = 1 << 22;

/// Longest path.
const PATH_MAX: usize = 4096;

/// A program to run.
#[derive(Clone, Debug, Default)]
pub struct Startup {
    /// Arguments, environment and path, each with its NUL. They may be long, and children have the same.
    strings: Arc<Vec<u8>>,
    pub arg_count: usize,
    pub env_count: usize,
    /// Absolute path of the program.
    pub path: Vec<u8>,
    pub exe_fd: i32,
    pub exe_size: u64,
    pub pid: u32,
    pub ppid: u32,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    pub random: [u8; 16],
    pub suid: u32,
    pub sgid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub umask: u32,
    /// getrlimit(2): soft and hard, by number.
    pub limits: [[u64; 2]; LIMITS],
    /// getgroups(2).
    pub groups: Arc<Vec<u32>>,
    /// Linux's name.
    pub host_name: Vec<u8>,
}

/// Takes fields off the front of a block.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }
}

impl Startup {
    /// Parses a [`StartBlock`] and what follows it.
    pub fn parse(mut block: Vec<u8>) -> Option<Self> {
        let mut r = Reader(&block);
        if r.count()? != block.len() {
            return None;
        }
        let mut this = Self {
            arg_count: r.count()?,
            env_count: r.count()?,
            exe_fd: i32::try_from(r.u32()?).ok()?,
            exe_size: r.bytes().map(u64::from_le_bytes)?,
            pid: r.u32().filter(|pid| (1..PID_LIMIT).contains(pid))?,
            ppid: r.u32()?,
            uid: r.u32()?,
            euid: r.u32()?,
            gid: r.u32()?,
            egid: r.u32()?,
            random: r.bytes()?,
            suid: r.u32()?,
            sgid: r.u32()?,
            pgid: r.u32()?,
            sid: r.u32()?,
            umask: r.u32()?,
            ..Self::default()
        };
        let group_count = r.count()?;
        for limit in this.limits.iter_mut().flatten() {
            *limit = u64::from_le_bytes(r.bytes()?);
        }
        let groups = r.0.get(..group_count.checked_mul(4)?)?;
        let groups: Vec<u32> =
            groups.chunks_exact(4).filter_map(|g| Some(u32::from_le_bytes(g.try_into().ok()?))).collect();
        block.drain(..groups.len().checked_mul(4)?.checked_add(size_of::<StartBlock>())?);
        this.groups = Arc::new(groups);
        let before = this.arg_count.checked_add(this.env_count)?;
        let strings: Vec<&[u8]> = texts(&block).skip(before).take(3).collect();
        // Both are short; nothing follows.
        let [path, host_name] = *strings.as_slice() else { return None };
        if path.len() > PATH_MAX || host_name.len() > PATH_MAX {
            return None;
        }
        let (path, host_name) = (path.to_vec(), host_name.to_vec());
        let end = block.iter().rposition(|b| *b == 0)?.checked_sub(host_name.len())?;
        block.truncate(end);
        (this.strings, this.path, this.host_name) = (Arc::new(block), path, host_name);
        Some(this)
    }

    /// Of the same process, with another program. `None`: a string is too long.
    pub fn executed(
        &self,
        arguments: &[Vec<u8>],
        environment: &[Vec<u8>],
        path: Vec<u8>,
        exe_fd: i32,
        exe_size: u64,
    ) -> Option<Self> {
        let all = || arguments.iter().chain(environment).chain([&path]);
        let mut len: usize = 0;
        for text in all() {
            len = len.checked_add(text.len())?.checked_add(1)?;
        }
        let mut strings = crate::mem::buffer(len).ok()?;
        for text in all() {
            strings.extend(text);
            strings.push(0);
        }
        let (arg_count, env_count) = (arguments.len(), environment.len());
        let strings = Arc::new(strings);
        Some(Self { strings, arg_count, env_count, path, exe_fd, exe_size, ..self.clone() })
    }

    /// The same for a child process.
    pub fn of_child(&self, pid: u32, ppid: u32, random: [u8; 16]) -> Self {
        Self { pid, ppid, random, ..self.clone() }
    }

    /// Arguments, environment and path, without their NULs.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        texts(&self.strings)
    }

    /// Arguments, environment and path as they are, each with its NUL.
    pub fn raw_strings(&self) -> &[u8] {
        &self.strings
    }
}

/// Strings that are each ended by a NUL, without it.
fn texts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // What follows the last NUL is no string.
    let whole = bytes.iter().rposition(|b| *b == 0).and_then(|last| bytes.get(..last));
    whole.into_iter().flat_map(|text| text.split(|b| *b == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(args: &[&str], env: &[&str], path: &str) -> Vec<u8> {
        let mut b = Vec::new();
        for word in [0, args.len() as u32, env.len() as u32, 3] {
            b.extend(word.to_le_bytes());
        }
        b.extend(4096u64.to_le_bytes());
        for id in [100u32, 1, 1000, 1000, 1001, 1001] {
            b.extend(id.to_le_bytes());
        }
        b.extend([7; 16]);
        for word in [1002u32, 1003, 90, 80, 0o22, 2] {
            b.extend(word.to_le_bytes());
        }
        for limit in 0..2 * LIMITS as u64 {
            b.extend(limit.to_le_bytes());
        }
        b.extend([50u32, 51].iter().flat_map(|g| g.to_le_bytes()));
        for s in args.iter().chain(env).chain([&path, &"node"]) {
            b.extend(s.as_bytes());
            b.push(0);
        }
        let len = b.len() as u32;
        b[..4].copy_from_slice(&len.to_le_bytes());
        b
    }

    #[test]
    fn a_block_is_read() {
        let s = Startup::parse(block(&["./a", ""], &["X=1"], "/tmp/a")).unwrap();
        assert_eq!(s.strings().collect::<Vec<_>>(), [b"./a".as_slice(), b"", b"X=1", b"/tmp/a"]);
        assert_eq!((s.arg_count, s.env_count, s.path.as_slice()), (2, 1, b"/tmp/a".as_slice()));
        assert_eq!((s.exe_fd, s.exe_size, s.pid, s.ppid, s.uid, s.egid), (3, 4096, 100, 1, 1000, 1001));
        assert_eq!(s.random, [7; 16]);
        assert_eq!((s.suid, s.sgid, s.pgid, s.sid, s.umask), (1002, 1003, 90, 80, 0o22));
        assert_eq!((s.limits[7], s.groups.as_slice()), ([14, 15], [50, 51].as_slice()));
        assert_eq!(s.host_name, b"node");
    }

    #[test]
    fn processes_have_numbers_that_linux_has() {
        let with = |pid: u32| {
            let mut b = block(&["./a"], &[], "/tmp/a");
            b[24..28].copy_from_slice(&pid.to_le_bytes());
            Startup::parse(b).map(|s| s.pid)
        };
        assert_eq!((with(1), with(PID_LIMIT - 1)), (Some(1), Some(PID_LIMIT - 1)));
        assert!([0, PID_LIMIT, 0x8000_0000, u32::MAX].iter().all(|pid| with(*pid).is_none()));
    }

    proptest! {
        #[test]
        fn garbage_is_refused(changes in prop::collection::vec((0..380usize, any::<u8>()), 1..6), cut in 0..380usize) {
            let mut b = block(&["./a", "b"], &["X=1"], "/tmp/a");
            for (at, byte) in changes {
                if let Some(b) = b.get_mut(at) {
                    *b = byte;
                }
            }
            if let Some(s) = Startup::parse(b.clone()) {
                prop_assert_eq!(s.strings().count(), s.arg_count + s.env_count + 1);
            }
            b.truncate(cut.min(b.len() - 1));
            prop_assert!(Startup::parse(b).is_none());
        }
    }
}
