// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which of the proxy's descriptors belong to the application.

use rustix::fs::{FileType, fstat, fstatfs};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of a local file system: reading and writing don't wait for anybody.
    Local,
    /// Another file that is a regular one to stat(2), maybe of the network or of /proc.
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

impl Kind {
    pub fn of(fd: impl AsFd) -> Self {
        match fstat(&fd) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            _ => return Self::Other,
        }
        match fstatfs(&fd) {
            Ok(fs) if LOCAL.contains(&(fs.f_type as u64)) => Self::Local,
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

    /// The application has a new one.
    pub fn add(&self, fd: BorrowedFd<'_>) {
        use std::os::fd::AsRawFd;
        let kind = Kind::of(fd);
        self.map().insert(fd.as_raw_fd(), kind);
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
    use std::os::fd::AsRawFd;

    #[test]
    fn starts_with_the_standard_ones_and_follows_open_and_close() {
        let set = Descriptors::default();
        assert!((0..3).all(|fd| set.kind(fd).is_some()));
        let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
        let fd = pipe.as_raw_fd();
        assert_eq!(set.kind(fd), None);
        set.add(pipe.as_fd());
        assert_eq!(set.kind(fd), Some(Kind::Other));
        assert!(set.remove(fd) && !set.remove(fd));
        assert!(set.remove(0) && set.kind(0).is_none());
    }

    #[test]
    fn proc_is_not_local() {
        assert_eq!(Kind::of(std::fs::File::open("/proc/version").unwrap()), Kind::Regular);
        assert_eq!(Kind::of(crate::program::tests::memfd(b"x")), Kind::Local);
    }
}
