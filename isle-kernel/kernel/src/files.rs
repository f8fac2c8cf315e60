// SPDX-License-Identifier: MIT OR Apache-2.0

//! The descriptors of an application. Each stands for one of the proxy's.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use linux_raw_sys::errno::{EBADF, EINVAL, EMFILE};

/// Most descriptors of an application (RLIMIT_NOFILE).
pub const MAX_FILES: i32 = 1024;

/// A descriptor of the proxy, which all duplicates on the isle share.
#[derive(Debug)]
pub struct Remote(pub i32);

#[derive(Clone)]
struct Entry {
    remote: Arc<Remote>,
    close_on_exec: bool,
}

pub struct Files(BTreeMap<i32, Entry>);

impl Files {
    /// Standard input, output and error are the proxy's.
    pub fn new() -> Self {
        let standard = |n| (n, Entry { remote: Arc::new(Remote(n)), close_on_exec: false });
        Self((0..3).map(standard).collect())
    }

    /// The proxy's descriptor.
    pub fn remote(&self, fd: i32) -> Result<i32, u32> {
        self.0.get(&fd).map(|e| e.remote.0).ok_or(EBADF)
    }

    pub fn contains(&self, fd: i32) -> bool {
        self.0.contains_key(&fd)
    }

    fn lowest_free(&self, from: i32) -> Result<i32, u32> {
        (from..MAX_FILES).find(|fd| !self.0.contains_key(fd)).ok_or(EMFILE)
    }

    /// A new descriptor for one of the proxy's. If there is no room, the proxy's comes back.
    pub fn add(&mut self, remote: i32, close_on_exec: bool) -> Result<i32, Remote> {
        match self.lowest_free(0) {
            Ok(fd) => {
                self.0.insert(fd, Entry { remote: Arc::new(Remote(remote)), close_on_exec });
                Ok(fd)
            }
            Err(_) => Err(Remote(remote)),
        }
    }

    /// Another descriptor for the same file: the lowest free one that is at least `from`.
    pub fn duplicate(&mut self, fd: i32, from: i32, close_on_exec: bool) -> Result<i32, u32> {
        let remote = self.0.get(&fd).ok_or(EBADF)?.remote.clone();
        if !(0..MAX_FILES).contains(&from) {
            return Err(EINVAL);
        }
        let new = self.lowest_free(from)?;
        self.0.insert(new, Entry { remote, close_on_exec });
        Ok(new)
    }

    /// Another descriptor with this number for the same file. Returns what has to be closed on Linux.
    pub fn duplicate_to(&mut self, fd: i32, new: i32, close_on_exec: bool) -> Result<Option<i32>, u32> {
        let remote = self.0.get(&fd).ok_or(EBADF)?.remote.clone();
        if !(0..MAX_FILES).contains(&new) {
            return Err(EBADF);
        }
        let old = self.0.insert(new, Entry { remote, close_on_exec });
        Ok(old.and_then(|e| Arc::into_inner(e.remote)).map(|r| r.0))
    }

    /// Removes a descriptor. Returns what has to be closed on Linux: nothing while there are duplicates.
    pub fn remove(&mut self, fd: i32) -> Result<Option<i32>, u32> {
        let entry = self.0.remove(&fd).ok_or(EBADF)?;
        Ok(Arc::into_inner(entry.remote).map(|r| r.0))
    }

    pub fn close_on_exec(&self, fd: i32) -> Result<bool, u32> {
        self.0.get(&fd).map(|e| e.close_on_exec).ok_or(EBADF)
    }

    pub fn set_close_on_exec(&mut self, fd: i32, to: bool) -> Result<(), u32> {
        self.0.get_mut(&fd).ok_or(EBADF)?.close_on_exec = to;
        Ok(())
    }
}
