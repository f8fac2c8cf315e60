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
    /// Bytes that [`room`](Self::room) has given out.
    used: u64,
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
        Ok(Self { taken, used: 0 })
    }

    /// Takes room for several parts, of so many bytes in all and some between them; too many are ENOMEM.
    pub fn new(len: usize) -> Result<Self, Errno> {
        match len as u64 {
            len if len <= Self::MAX => Self::take(len),
            _ => Err(Errno::ENOMEM),
        }
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

    /// Puts bytes behind those parts that there are.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Piece, Errno> {
        let piece = self.room(bytes.len())?;
        app_memory::get().write(piece.offset, bytes).map_err(|_| Errno::EIO)?;
        Ok(piece)
    }

    /// Room for a part behind those that there are, with whatever is in it.
    pub fn room(&mut self, len: usize) -> Result<Piece, Errno> {
        // Each begins with a word.
        let start = self.used.next_multiple_of(8);
        let end = start.checked_add(len as u64).filter(|e| *e <= self.taken.len).ok_or(Errno::ENOMEM)?;
        self.used = end;
        Ok(Piece { offset: self.taken.offset + start, len: len as u64 })
    }

    /// What a part is now.
    pub fn get(&self, piece: Piece) -> Result<Vec<u8>, Errno> {
        let mut bytes = super::buffer(piece.len as usize)?;
        bytes.resize(piece.len as usize, 0);
        app_memory::get().read(piece.offset, &mut bytes).map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }

    /// What a part of known length is now.
    pub fn get_array<const N: usize>(&self, piece: Piece) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        app_memory::get().read(piece.offset, &mut bytes).map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        frames::shared().lock().give_all(&self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::space::tests::world;

    #[test]
    fn it_comes_back() {
        let _world = world();
        let before = frames::shared().lock().used();
        for len in [0, 1, 4096, 4097, 300_000, 2 << 20] {
            let mut scratch = Scratch::new(len).unwrap();
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let piece = scratch.put(&bytes).unwrap();
            assert_eq!(scratch.get(piece).unwrap(), bytes);
            assert!(scratch.room(2 << 20).is_err() || len == 0);
        }
        assert_eq!(frames::shared().lock().used(), before);
        assert_eq!(Scratch::new((2 << 20) + 1).err(), Some(Errno::ENOMEM));
    }

    #[test]
    fn parts_lie_apart() {
        let _world = world();
        let mut scratch = Scratch::new(100).unwrap();
        let [a, b] = [b"abc", b"def"].map(|bytes| scratch.put(bytes).unwrap());
        assert_eq!((scratch.get_array(a), scratch.get_array(b)), (Ok(*b"abc"), Ok(*b"def")));
    }
}
