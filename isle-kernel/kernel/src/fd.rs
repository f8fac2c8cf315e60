// SPDX-License-Identifier: MIT OR Apache-2.0

//! File descriptors of an application: small numbers that stand for descriptors of its proxy, or for
//! something that the kernel itself provides.

use crate::errno::Errno;
use crate::kept::Kept;
use crate::mem;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use spin::Mutex;

/// Descriptors that a table can have at most (Linux: sysctl fs.nr_open).
pub const MAX: usize = 1 << 20;

/// Values of [`File::seek`].
const UNKNOWN: u8 = 0;
const SEEKS: u8 = 1;
const CANNOT_SEEK: u8 = 2;

/// Descriptors of the proxy's that nothing stands for any more, to be closed by whoever comes by.
#[derive(Debug, Default)]
pub struct Closing {
    list: Mutex<Vec<i32>>,
    any: AtomicBool,
}

impl Closing {
    /// True if there may be some.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Takes one.
    pub fn take(&self) -> Option<i32> {
        let mut list = self.list.lock();
        let fd = list.pop();
        self.any.store(!list.is_empty(), Ordering::Relaxed);
        fd
    }

    /// Adds one.
    pub fn add(&self, fd: i32) {
        let mut list = self.list.lock();
        if list.try_reserve(1).is_err() {
            log::error!("no kernel memory to have descriptor {fd} closed");
            return;
        }
        list.push(fd);
        self.any.store(true, Ordering::Relaxed);
    }
}

/// A descriptor of the proxy's, which is to be closed when this goes.
#[derive(Debug)]
pub struct Remote {
    fd: i32,
    closing: Arc<Closing>,
}

impl Remote {
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// It is the caller's to close.
    pub fn release(mut self) -> i32 {
        core::mem::replace(&mut self.fd, -1)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.fd >= 0 {
            self.closing.add(self.fd);
        }
    }
}

/// What dup(2) shares.
#[derive(Debug)]
pub struct File {
    pub kind: Kind,
    /// Whether lseek(2) works, once that is known.
    seek: AtomicU8,
}

/// Where the contents of a file are.
#[derive(Debug)]
pub enum Kind {
    /// A descriptor of the proxy.
    Remote(Remote),
    /// On the isle.
    Kept(Kept),
    /// A set of epoll(7), which is the proxy's but for what the isle keeps.
    Epoll(Remote, crate::kept::Watched),
}

impl File {
    /// Something that the isle keeps.
    pub fn kept(kept: Kept) -> Self {
        Self { kind: Kind::Kept(kept), seek: AtomicU8::new(SEEKS) }
    }

    /// A file of the proxy's.
    pub fn remote(fd: i32, closing: &Arc<Closing>) -> Self {
        Self { kind: Kind::Remote(Remote { fd, closing: closing.clone() }), seek: AtomicU8::new(UNKNOWN) }
    }

    /// A set of epoll(7).
    pub fn epoll(fd: i32, closing: &Arc<Closing>) -> Self {
        let remote = Remote { fd, closing: closing.clone() };
        Self { kind: Kind::Epoll(remote, Default::default()), seek: AtomicU8::new(CANNOT_SEEK) }
    }

    /// The proxy's descriptor.
    pub fn remote_fd(&self) -> Option<i32> {
        match &self.kind {
            Kind::Remote(remote) | Kind::Epoll(remote, _) => Some(remote.fd),
            Kind::Kept(_) => None,
        }
    }

    /// The proxy's descriptor, which is the caller's to close.
    pub fn release(self) -> Option<i32> {
        match self.kind {
            Kind::Remote(remote) | Kind::Epoll(remote, _) => Some(remote.release()),
            Kind::Kept(_) => None,
        }
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
    /// None below it is free.
    first_free: usize,
    /// RLIMIT_NOFILE.
    limit: usize,
}

impl Files {
    /// Without any.
    pub fn empty() -> Self {
        Self { entries: Vec::new(), first_free: 0, limit: 0 }
    }

    /// The same once more, for a child process.
    pub fn try_clone(&self) -> Result<Self, Errno> {
        let mut entries = mem::buffer(self.entries.len())?;
        entries.extend(self.entries.iter().cloned());
        Ok(Self { entries, ..*self })
    }

    /// Takes the first one from `from` on out that doesn't outlive execve(2); `from` is behind it then.
    pub fn take_close_on_exec(&mut self, from: &mut usize) -> Option<Arc<File>> {
        let closes = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.close_on_exec);
        let at = *from + self.entries.iter().skip(*from).position(closes)?;
        *from = at + 1;
        self.first_free = self.first_free.min(at);
        self.entries.get_mut(at)?.take().map(|entry| entry.file)
    }

    /// Those that a command on Linux gets: their numbers, here and the proxy's.
    pub fn inherited(&self) -> impl Iterator<Item = (i32, i32)> + '_ {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(number, entry)| {
            let entry = entry.as_ref().filter(|entry| !entry.close_on_exec)?;
            Some((number as i32, entry.file.remote_fd()?))
        })
    }

    /// Standard input, output and error, which are the proxy's.
    pub fn standard(closing: &Arc<Closing>) -> Self {
        let entry = |fd| Some(Entry { file: Arc::new(File::remote(fd, closing)), close_on_exec: false });
        Self { entries: (0..3).map(entry).collect(), first_free: 3, limit: 1024 }
    }

    /// RLIMIT_NOFILE is another now.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = usize::try_from(limit).unwrap_or(MAX).min(MAX);
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
        self.get(fd)?.remote_fd().ok_or(Errno::EBADF)
    }

    /// True if another descriptor can be had.
    pub fn has_room(&self) -> bool {
        self.lowest_free(0).is_some()
    }

    fn lowest_free(&self, from: usize) -> Option<usize> {
        let from = from.max(self.first_free);
        let used = self.entries.iter().skip(from).position(Option::is_none);
        let fd = used.map_or(self.entries.len().max(from), |at| from + at);
        (fd < self.limit).then_some(fd)
    }

    fn put(&mut self, fd: usize, file: Arc<File>, close_on_exec: bool) -> Result<Option<Arc<File>>, Errno> {
        if fd >= self.entries.len() {
            // Twice as long as before, as Vec does it, but never the end of the isle.
            let more = (fd + 1).max(self.entries.len() * 2) - self.entries.len();
            let len = (self.entries.len() + more) * size_of::<Option<Entry>>();
            if mem::is_scarce(len) || self.entries.try_reserve(more).is_err() {
                return Err(Errno::ENOMEM);
            }
            self.entries.resize_with(fd + 1, || None);
        }
        let entry = self.entries.get_mut(fd).ok_or(Errno::EBADF)?;
        let old = entry.replace(Entry { file, close_on_exec });
        if fd == self.first_free {
            self.first_free += 1;
        }
        Ok(old.map(|old| old.file))
    }

    /// A new descriptor, the lowest that is free and at least `from`.
    pub fn open(&mut self, file: Arc<File>, from: u64, close_on_exec: bool) -> Result<u64, Errno> {
        let from = usize::try_from(from).ok().filter(|f| *f < self.limit).ok_or(Errno::EINVAL)?;
        let fd = self.lowest_free(from).ok_or(Errno::EMFILE)?;
        self.put(fd, file, close_on_exec)?;
        Ok(fd as u64)
    }

    /// Makes `to` stand for the file of `from`. Returns what `to` was.
    pub fn replace(&mut self, from: u64, to: u64, close_on_exec: bool) -> Result<Option<Arc<File>>, Errno> {
        let file = self.get(from)?.clone();
        let to = usize::try_from(to).ok().filter(|t| *t < self.limit).ok_or(Errno::EBADF)?;
        self.put(to, file, close_on_exec)
    }

    /// Closes a descriptor. Returns its file, for which others may stand.
    pub fn close(&mut self, fd: u64) -> Result<Arc<File>, Errno> {
        self.entry(fd)?;
        let at = fd as u32 as usize;
        let entry = self.entries.get_mut(at).and_then(Option::take);
        self.first_free = self.first_free.min(at);
        entry.map(|e| e.file).ok_or(Errno::EBADF)
    }

    /// Numbers that the table has room for as it is; as Linux's at least 64.
    pub fn span(&self) -> u32 {
        self.entries.len().next_power_of_two().max(64) as u32
    }

    /// All descriptors from `first` to `last` that are in use.
    pub fn in_range(&self, first: u32, last: u32) -> Result<Vec<u64>, Errno> {
        let used = || {
            let used = self.entries.iter().enumerate().filter(|(_, e)| e.is_some());
            used.map(|(fd, _)| fd as u64).filter(|fd| (u64::from(first)..=u64::from(last)).contains(fd))
        };
        let mut all = mem::buffer(used().count())?;
        all.extend(used());
        Ok(all)
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

    fn table() -> (Files, Arc<Closing>) {
        let closing = Arc::default();
        (Files::standard(&closing), closing)
    }

    fn file(remote: i32, closing: &Arc<Closing>) -> Arc<File> {
        Arc::new(File::remote(remote, closing))
    }

    #[test]
    fn the_lowest_number_is_given() {
        let (mut files, closing) = table();
        let open = |files: &mut Files, remote| files.open(file(remote, &closing), 0, false).unwrap();
        assert_eq!(open(&mut files, 17), 3);
        assert_eq!(open(&mut files, 18), 4);
        assert_eq!(Arc::try_unwrap(files.close(3).unwrap()).unwrap().release(), Some(17));
        assert!(files.get(3).is_err() && files.close(3).is_err());
        assert_eq!(files.open(file(5, &closing), 10, true), Ok(10));
        assert_eq!(open(&mut files, 19), 3);
        assert_eq!(open(&mut files, 20), 5);
        assert_eq!(files.remote(3), Ok(19));
        assert!(files.close_on_exec(10).unwrap() && !files.close_on_exec(3).unwrap());
        assert!(!closing.any());
    }

    #[test]
    fn duplicates_share_until_the_last_goes() {
        let (mut files, closing) = table();
        let fd = files.open(file(17, &closing), 0, false).unwrap();
        assert!(files.replace(fd, 1, false).unwrap().is_some());
        assert_eq!((closing.take(), closing.any()), (Some(1), false), "the old 1 goes");
        let elsewhere = files.try_clone().unwrap();
        drop((files.close(fd).unwrap(), files.close(1).unwrap()));
        assert!(!closing.any(), "a child has it still");
        drop(elsewhere);
        assert_eq!(closing.take(), Some(17));
        assert_eq!(files.replace(fd, 7, false).err(), Some(Errno::EBADF));
        assert_eq!(files.replace(0, u64::MAX, false).err(), Some(Errno::EBADF));
        drop(files.replace(0, 0, false).unwrap());
        assert_eq!(files.remote(0), Ok(0), "stays itself");
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut files, closing) = table();
        for _ in 3..1024 {
            files.open(file(9, &closing), 0, false).unwrap();
        }
        assert!(!files.has_room());
        assert_eq!(files.open(file(1, &closing), 0, false), Err(Errno::EMFILE));
        assert_eq!(files.open(file(1, &closing), 1024, false), Err(Errno::EINVAL));
        assert_eq!(files.in_range(1000, u32::MAX).unwrap().len(), 24);
        files.set_limit(u64::MAX);
        assert_eq!(files.open(file(1, &closing), 0, false), Ok(1024));
        files.set_limit(10);
        assert_eq!(files.open(file(1, &closing), 0, false), Err(Errno::EMFILE));
        assert!(files.get(1000).is_ok(), "what is open stays so");
    }
}
