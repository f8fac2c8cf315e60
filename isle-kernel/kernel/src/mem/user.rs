// SPDX-License-Identifier: MIT OR Apache-2.0

//! A thread's access to the memory of its process, for system calls: as that of [`Space`], but what has to be read from a
//! file first is. So no lock may be held.

use super::access::Pieces;
use super::space::{Access, Space};
use crate::errno::{Errno, Fail};
use crate::mapped;
use crate::thread::Thread;
use alloc::vec::Vec;

/// See [`Thread::memory`].
#[derive(Clone, Copy)]
pub struct Memory<'a>(&'a Thread);

impl<'a> Memory<'a> {
    pub fn of(thread: &'a Thread) -> Self {
        Self(thread)
    }

    /// Runs something that may have to begin again, and so must not have changed anything when it fails.
    pub fn access<R>(self, mut access: impl FnMut(&mut Space) -> Result<R, Errno>) -> Result<R, Errno> {
        loop {
            let missing = {
                let mut space = self.0.space();
                match access(&mut space) {
                    Err(Errno::MISSING) => space.missing.take().ok_or(Errno::EFAULT)?,
                    other => return other,
                }
            };
            mapped::load(self.0, &missing).map_err(|fail| match fail {
                Fail::Errno(Errno::ENOMEM) => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })?;
        }
    }

    /// Copies all of `to.len()` bytes from the application.
    pub fn read(self, address: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.access(|space| space.read(address, to))
    }

    /// Copies all of `from` to the application.
    pub fn write(self, address: u64, from: &[u8]) -> Result<(), Errno> {
        self.access(|space| space.write(address, from))
    }

    /// A number that the application has.
    pub fn read_u32(self, address: u64) -> Result<u32, Errno> {
        self.access(|space| space.read_u32(address))
    }

    /// A number that the application has.
    pub fn read_u64(self, address: u64) -> Result<u64, Errno> {
        self.access(|space| space.read_u64(address))
    }

    /// Consecutive numbers that the application has.
    pub fn read_words<const N: usize>(self, address: u64) -> Result<[u64; N], Errno> {
        self.access(|space| space.read_words(address))
    }

    /// Writes consecutive numbers.
    pub fn write_words(self, address: u64, words: &[u64]) -> Result<(), Errno> {
        self.access(|space| space.write_words(address, words))
    }

    /// The bytes of a string, without its NUL. ENAMETOOLONG: no NUL within `max` bytes.
    pub fn read_string(self, address: u64, max: usize) -> Result<Vec<u8>, Errno> {
        self.access(|space| space.read_string(address, max))
    }

    /// The pieces of a buffer, see [`Space::pieces`].
    pub fn pieces(self, address: u64, len: u64, access: Access, max: usize, list: &mut Pieces) -> Result<u64, Errno> {
        self.access(|space| space.pieces(address, len, access, max, list))
    }
}
