// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which of the proxy's descriptors belong to the application.

use crate::sys;
use rustix::fs::{FileType, fstat, fstatfs};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of a local file system: reading and writing don't wait for anybody.
    Local,
    /// A file that is a regular one to stat(2), of /proc.
    Proc,
    /// Another one, maybe of the network.
    Regular,
    Other,
}

/// File systems whose files are [`Kind::Local`] (include/uapi/linux/magic.h).
const LOCAL: &[u64] = &[
    0xef53,      // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x794c_7630, // overlayfs
    0x4d44,      // FAT
    0x7371_7368, // squashfs
];

/// The file system of /proc, likewise.
const PROC: u64 = 0x9fa0;

impl Kind {
    pub fn of(fd: impl AsFd) -> Self {
        match fstat(&fd) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            _ => return Self::Other,
        }
        match fstatfs(&fd) {
            Ok(fs) if LOCAL.contains(&(fs.f_type as u64)) => Self::Local,
            Ok(fs) if fs.f_type as u64 == PROC => Self::Proc,
            _ => Self::Regular,
        }
    }
}

/// The application's descriptors: 0, 1, 2 and what it has opened.
pub struct Descriptors(Mutex<BTreeMap<i32, Kind>>);

impl Default for Descriptors {
    fn default() -> Self {
        use rustix::stdio::{stderr, stdin, stdout};
        let standard = [stdin(), stdout(), stderr()].into_iter().zip(0..);
        Self(Mutex::new(standard.map(|(fd, number)| (number, Kind::of(fd))).collect()))
    }
}

impl Descriptors {
    fn map(&self) -> MutexGuard<'_, BTreeMap<i32, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if it isn't the application's.
    pub fn kind(&self, fd: i32) -> Option<Kind> {
        self.map().get(&fd).copied()
    }

    /// The application has a new one. EACCES: it must not have it, since whoever writes to the proxy's own memory makes it do
    /// whatever he likes.
    pub fn add(&self, fd: BorrowedFd<'_>) -> Result<(), i32> {
        let kind = Kind::of(fd);
        if kind == Kind::Proc && sys::is_own_memory(fd.as_raw_fd()) {
            return Err(libc::EACCES);
        }
        self.map().insert(fd.as_raw_fd(), kind);
        Ok(())
    }

    /// To be called before it is closed: afterwards the number may be somebody else's. False if it wasn't
    /// the application's.
    pub fn remove(&self, fd: i32) -> bool {
        self.map().remove(&fd).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_with_the_standard_ones_and_follows_open_and_close() {
        let set = Descriptors::default();
        assert!((0..3).all(|fd| set.kind(fd).is_some()));
        let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
        let fd = pipe.as_raw_fd();
        assert_eq!(set.kind(fd), None);
        set.add(pipe.as_fd()).unwrap();
        assert_eq!(set.kind(fd), Some(Kind::Other));
        assert!(set.remove(fd) && !set.remove(fd));
        assert!(set.remove(0) && set.kind(0).is_none());
    }

    #[test]
    fn its_own_memory_is_nobodys() {
        let set = Descriptors::default();
        for path in ["/proc/self/mem", "/proc/thread-self/mem", "/proc/self/task/../mem"] {
            let memory = std::fs::File::open(path).unwrap();
            assert_eq!(set.add(memory.as_fd()), Err(libc::EACCES), "{path}");
            assert_eq!(set.kind(memory.as_raw_fd()), None);
        }
    }

    #[test]
    fn proc_is_not_local() {
        assert_eq!(Kind::of(std::fs::File::open("/proc/version").unwrap()), Kind::Proc);
        assert_eq!(Kind::of(crate::program::tests::memfd(b"x")), Kind::Local);
    }
}
