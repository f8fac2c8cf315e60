// SPDX-License-Identifier: MIT OR Apache-2.0

//! Application memory for what the kernel itself asks Linux: no program ever sees it.

use super::access::{Piece, Pieces};
use super::frames::{self, Taken};
use crate::errno::Errno;
use alloc::vec::Vec;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::app_memory;
use hermit_plat::paging::{Size, Wanted};

/// A piece of it that goes back by itself. If the application is ended while Linux uses it, the proxy's mapping ends before
/// the memory is used again (see [`Pieces::leave_to`]).
pub struct Scratch {
    taken: Taken,
}

impl Scratch {
    /// Most bytes of one.
    pub const MAX: u64 = Size::Large.bytes();

    /// Takes so many bytes, or more.
    pub fn take(len: u64) -> Result<Self, Errno> {
        let taken = match len {
            0..=PAGE_SIZE => frames::take_small(1),
            len if len <= Self::MAX => frames::take_large(Wanted::Anywhere),
            _ => return Err(Errno::E2BIG),
        };
        let taken = taken.ok_or(Errno::ENOMEM)?;
        frames::shared().lock().note_overwritten(&taken);
        Ok(Self { taken })
    }

    /// Takes as much as is needed for some bytes, and puts them there.
    pub fn with(bytes: &[u8]) -> Result<Self, Errno> {
        let this = Self::take(bytes.len() as u64)?;
        app_memory::get().write(this.taken.offset, bytes).map_err(|_| Errno::EIO)?;
        Ok(this)
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> u64 {
        self.taken.len
    }

    /// Its first bytes, as the buffer of a request.
    pub fn pieces(&self, len: u64) -> Pieces {
        Pieces::one(Piece { offset: self.taken.offset, len: len.min(self.taken.len) })
    }

    /// Its first bytes.
    pub fn bytes(&self, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = super::buffer(len)?;
        bytes.resize(len, 0);
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Copies its first bytes.
    pub fn read(&self, to: &mut [u8]) -> Result<(), Errno> {
        if to.len() as u64 > self.taken.len {
            return Err(Errno::EIO);
        }
        app_memory::get().read(self.taken.offset, to).map_err(|_| Errno::EIO)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        frames::shared().lock().give_all(&self.taken);
    }
}
