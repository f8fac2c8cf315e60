// SPDX-License-Identifier: MIT OR Apache-2.0

//! File descriptors of an application: small numbers that stand for descriptors of its proxy, or for
//! a text that the kernel itself provides.

use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU8, AtomicUsize, Ordering};

/// Open files at most (RLIMIT_NOFILE).
pub const MAX: usize = 1024;

/// Values of [`File::seek`].
const UNKNOWN: u8 = 0;
const SEEKS: u8 = 1;
const CANNOT_SEEK: u8 = 2;

/// What dup(2) shares.
#[derive(Debug)]
pub struct File {
    pub kind: Kind,
    /// Status flags as of open(2), for fcntl(2).
    pub flags: AtomicU32,
    /// Whether lseek(2) works, once that is known.
    seek: AtomicU8,
}

/// Where the contents of a file are.
#[derive(Debug)]
pub enum Kind {
    /// A descriptor of the proxy.
    Remote(i32),
    /// A text, and how far it has been read.
    Text { text: Vec<u8>, position: AtomicUsize },
}

impl File {
    /// A text.
    pub fn text(text: Vec<u8>) -> Self {
        let kind = Kind::Text { text, position: AtomicUsize::new(0) };
        Self { kind, flags: AtomicU32::new(0), seek: AtomicU8::new(SEEKS) }
    }

    /// Whether lseek(2) works, if that is known.
    pub fn can_seek(&self) -> Option<bool> {
        match self.seek.load(Ordering::Relaxed) {
            UNKNOWN => None,
            seek => Some(seek == SEEKS),
        }
    }

    /// Remembers whether lseek(2) works.
    pub fn set_can_seek(&self, can: bool) {
        self.seek.store(if can { SEEKS } else { CANNOT_SEEK }, Ordering::Relaxed);
    }

    /// A file of the proxy's.
    pub fn remote(fd: i32, flags: u32) -> Self {
        Self { kind: Kind::Remote(fd), flags: AtomicU32::new(flags), seek: AtomicU8::new(UNKNOWN) }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    file: Arc<File>,
    close_on_exec: bool,
}

/// The table.
#[derive(Debug)]
pub struct Files {
    entries: Vec<Option<Entry>>,
}

impl Default for Files {
    /// Standard input, output and error are the proxy's.
    fn default() -> Self {
        const READ_WRITE: u32 = 2;
        let standard = |fd| Some(Entry { file: Arc::new(File::remote(fd, READ_WRITE)), close_on_exec: false });
        Self { entries: (0..3).map(standard).collect() }
    }
}

impl Files {
    /// Without any.
    pub fn empty() -> Self {
        Self { entries: Vec::new() }
    }

    /// The same once more, for a child process.
    pub fn try_clone(&self) -> Result<Self, Errno> {
        let mut entries = crate::mem::buffer(self.entries.len())?;
        entries.extend(self.entries.iter().cloned());
        Ok(Self { entries })
    }

    /// All that is in it.
    pub fn into_files(self) -> impl Iterator<Item = Arc<File>> {
        self.entries.into_iter().flatten().map(|entry| entry.file)
    }

    /// Takes those out that don't outlive execve(2).
    pub fn close_on_exec_all(&mut self) -> Vec<Arc<File>> {
        let gone = self.entries.iter_mut().filter(|entry| entry.as_ref().is_some_and(|entry| entry.close_on_exec));
        gone.filter_map(Option::take).map(|entry| entry.file).collect()
    }

    /// Those that a command on Linux gets: their numbers, here and the proxy's.
    pub fn inherited(&self) -> impl Iterator<Item = (i32, i32)> + '_ {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(number, entry)| {
            let entry = entry.as_ref().filter(|entry| !entry.close_on_exec)?;
            match entry.file.kind {
                Kind::Remote(fd) => Some((number as i32, fd)),
                Kind::Text { .. } => None,
            }
        })
    }

    fn entry(&self, fd: u64) -> Result<&Entry, Errno> {
        // Linux looks at the lower half of the register only.
        let entry = self.entries.get(fd as u32 as usize);
        entry.and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    /// The file behind a descriptor.
    pub fn get(&self, fd: u64) -> Result<&Arc<File>, Errno> {
        Ok(&self.entry(fd)?.file)
    }

    /// The proxy's descriptor behind a descriptor.
    pub fn remote(&self, fd: u64) -> Result<i32, Errno> {
        match self.get(fd)?.kind {
            Kind::Remote(fd) => Ok(fd),
            Kind::Text { .. } => Err(Errno::EBADF),
        }
    }

    /// True if another descriptor can be had.
    pub fn has_room(&self) -> bool {
        self.lowest_free(0).is_some()
    }

    fn lowest_free(&self, from: usize) -> Option<usize> {
        let used = self.entries.iter().skip(from).position(Option::is_none);
        let fd = used.map_or(self.entries.len().max(from), |at| from + at);
        (fd < MAX).then_some(fd)
    }

    fn put(&mut self, fd: usize, file: Arc<File>, close_on_exec: bool) -> Option<Arc<File>> {
        if fd >= self.entries.len() {
            self.entries.resize_with(fd + 1, || None);
        }
        let entry = self.entries.get_mut(fd)?;
        entry.replace(Entry { file, close_on_exec }).map(|old| old.file)
    }

    /// A new descriptor, the lowest that is free and at least `from`.
    pub fn open(&mut self, file: Arc<File>, from: u64, close_on_exec: bool) -> Result<u64, Errno> {
        let from = usize::try_from(from).ok().filter(|f| *f < MAX).ok_or(Errno::EINVAL)?;
        let fd = self.lowest_free(from).ok_or(Errno::EMFILE)?;
        self.put(fd, file, close_on_exec);
        Ok(fd as u64)
    }

    /// Makes `to` stand for the file of `from`. Returns what `to` was if that is to be closed now.
    pub fn replace(&mut self, from: u64, to: u64, close_on_exec: bool) -> Result<Option<File>, Errno> {
        let file = self.get(from)?.clone();
        let to = usize::try_from(to).ok().filter(|t| *t < MAX).ok_or(Errno::EBADF)?;
        Ok(self.put(to, file, close_on_exec).and_then(|old| Arc::try_unwrap(old).ok()))
    }

    /// Closes a descriptor. Returns its file if nothing else stands for it.
    pub fn close(&mut self, fd: u64) -> Result<Option<File>, Errno> {
        self.entry(fd)?;
        let entry = self.entries.get_mut(fd as u32 as usize).and_then(Option::take);
        Ok(entry.and_then(|e| Arc::try_unwrap(e.file).ok()))
    }

    /// All descriptors from `first` to `last` that are in use.
    pub fn in_range(&self, first: u32, last: u32) -> Vec<u64> {
        let used = self.entries.iter().enumerate().filter(|(_, e)| e.is_some());
        used.map(|(fd, _)| fd as u64).filter(|fd| (u64::from(first)..=u64::from(last)).contains(fd)).collect()
    }

    /// FD_CLOEXEC.
    pub fn close_on_exec(&self, fd: u64) -> Result<bool, Errno> {
        Ok(self.entry(fd)?.close_on_exec)
    }

    /// Sets FD_CLOEXEC.
    pub fn set_close_on_exec(&mut self, fd: u64, on: bool) -> Result<(), Errno> {
        self.entry(fd)?;
        if let Some(Some(entry)) = self.entries.get_mut(fd as u32 as usize) {
            entry.close_on_exec = on;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(files: &mut Files, remote: i32) -> u64 {
        files.open(Arc::new(File::remote(remote, 0)), 0, false).unwrap()
    }

    fn remote_of(file: Option<File>) -> Option<i32> {
        match file?.kind {
            Kind::Remote(fd) => Some(fd),
            Kind::Text { .. } => None,
        }
    }

    #[test]
    fn the_lowest_number_is_given() {
        let mut files = Files::default();
        assert_eq!(open(&mut files, 17), 3);
        assert_eq!(open(&mut files, 18), 4);
        assert_eq!(remote_of(files.close(3).unwrap()), Some(17));
        assert!(files.get(3).is_err() && files.close(3).is_err());
        assert_eq!(files.open(Arc::new(File::remote(5, 0)), 10, true), Ok(10));
        assert_eq!(open(&mut files, 19), 3);
        assert_eq!(files.remote(3), Ok(19));
        assert!(files.close_on_exec(10).unwrap() && !files.close_on_exec(3).unwrap());
    }

    #[test]
    fn duplicates_share_until_the_last_goes() {
        let mut files = Files::default();
        let fd = open(&mut files, 17);
        assert!(files.replace(fd, 1, false).unwrap().is_some(), "the old 1 goes");
        assert!(files.close(fd).unwrap().is_none());
        assert_eq!(remote_of(files.close(1).unwrap()), Some(17));
        assert_eq!(files.replace(fd, 7, false).err(), Some(Errno::EBADF));
        assert_eq!(files.replace(0, u64::MAX, false).err(), Some(Errno::EBADF));
        assert_eq!(files.replace(0, 0, false).unwrap().map(|_| ()), None, "stays itself");
        assert_eq!(files.remote(0), Ok(0));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut files = Files::default();
        for _ in 3..MAX {
            open(&mut files, 9);
        }
        assert!(!files.has_room());
        assert_eq!(files.open(Arc::new(File::remote(1, 0)), 0, false), Err(Errno::EMFILE));
        assert_eq!(files.open(Arc::new(File::remote(1, 0)), MAX as u64, false), Err(Errno::EINVAL));
        assert_eq!(files.in_range(1000, u32::MAX).len(), 24);
    }
}
