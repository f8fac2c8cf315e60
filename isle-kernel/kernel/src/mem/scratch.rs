// SPDX-License-Identifier: MIT OR Apache-2.0

//! Application memory of the kernel's own, for the time of a forwarded call: what the proxy reads there or writes to it,
//! no program sees.

use super::access::{Piece, Pieces};
use super::frames::{self, Taken};
use crate::errno::Errno;
use alloc::vec::Vec;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::app_memory;
use hermit_plat::paging::{Size, Wanted};

/// Memory that goes back by itself. If the proxy may still be at work on it, it is held until that is gone
/// (see [`super::access::Pieces::leave_to`]).
pub struct Scratch {
    taken: Taken,
    used: u64,
}

impl Scratch {
    /// Most bytes of one.
    pub const MAX: u64 = Size::Large.bytes();

    /// Room for `len` bytes, up to a large page.
    pub fn new(len: usize) -> Result<Self, Errno> {
        let pages = (len as u64).div_ceil(PAGE_SIZE).max(1);
        let small = if pages <= 64 { frames::take_small(pages) } else { None };
        let taken = match small {
            Some(taken) if taken.len >= len as u64 => taken,
            few => {
                if let Some(few) = few {
                    frames::shared().lock().give_all(&few);
                }
                frames::take_large(Wanted::Anywhere).ok_or(Errno::ENOMEM)?
            }
        };
        let this = Self { taken, used: 0 };
        if this.taken.len < len as u64 {
            return Err(Errno::ENOMEM);
        }
        Ok(this)
    }

    /// Puts bytes behind those that are there.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Piece, Errno> {
        let piece = self.room(bytes.len())?;
        app_memory::get().write(piece.offset, bytes).map_err(|_| Errno::EIO)?;
        Ok(piece)
    }

    /// Room for `len` bytes behind those that are there, whatever they are.
    pub fn room(&mut self, len: usize) -> Result<Piece, Errno> {
        // Each begins with a word, whatever it is.
        let start = self.used.next_multiple_of(8);
        let end = start.checked_add(len as u64).filter(|e| *e <= self.taken.len).ok_or(Errno::ENOMEM)?;
        self.used = end;
        Ok(Piece { offset: self.taken.offset + start, len: len as u64 })
    }

    /// Exactly as much as is needed for some bytes, which are put there.
    pub fn with(bytes: &[u8]) -> Result<Self, Errno> {
        let mut this = Self::new(bytes.len())?;
        this.put(bytes)?;
        Ok(this)
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> u64 {
        self.taken.len
    }

    /// Its first bytes, as the buffer of a request.
    pub fn pieces(&self, len: u64) -> Pieces {
        Pieces::one(self.first(len))
    }

    /// Its first bytes, as they are now.
    pub fn bytes(&self, len: usize) -> Result<Vec<u8>, Errno> {
        self.get(self.first(len as u64))
    }

    fn first(&self, len: u64) -> Piece {
        Piece { offset: self.taken.offset, len: len.min(self.taken.len) }
    }

    /// What is there now.
    pub fn get(&self, piece: Piece) -> Result<Vec<u8>, Errno> {
        let mut bytes = super::buffer(piece.len as usize)?;
        bytes.resize(piece.len as usize, 0);
        app_memory::get().read(piece.offset, &mut bytes).map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }

    /// What is there now, of a known length.
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
