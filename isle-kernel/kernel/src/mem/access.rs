// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's access to an application's memory: through its page tables and the direct map, never by its addresses,
//! so that no pointer an application passes can make the kernel fault. Memory is given on the way, as on a touch.

use super::frames;
use super::pins::Chain;
use super::space::{Access, Fault, Space};
use super::{is_scarce, reserve};
use crate::errno::Errno;
use crate::sched::Task;
use alloc::vec::Vec;
use hermit_plat::app_memory;
use hermit_plat::user;
use smallvec::{smallvec, SmallVec};
use zerocopy::IntoBytes;

/// A contiguous part of application memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Pool offset.
    pub offset: u64,
    pub len: u64,
}

/// The buffers of a forwarded call. Where other threads could give their memory back meanwhile, it is
/// pinned until this is dropped.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Most buffers are in one piece.
    list: SmallVec<[Piece; 2]>,
    /// `None`: nobody else could.
    pins: Option<Chain>,
}

impl Pieces {
    /// None yet, for a call of this thread.
    pub fn of(task: &Task) -> Self {
        Self { list: SmallVec::new(), pins: task.process.root.is_shared().then(Chain::default) }
    }

    /// One that only the caller knows of.
    pub fn one(piece: Piece) -> Self {
        Self { list: smallvec![piece], pins: None }
    }

    /// Some that only the caller knows of.
    pub fn of_list(list: Vec<Piece>) -> Self {
        Self { list: SmallVec::from_vec(list), pins: None }
    }

    /// Appends one.
    pub fn add(&mut self, piece: Piece) -> Result<(), Errno> {
        reserve_small(&mut self.list)?;
        if let Some(pins) = &mut self.pins {
            frames::shared().lock().pin(pins, piece.offset, piece.len)?;
        }
        self.list.push(piece);
        Ok(())
    }

    /// Makes the last one longer.
    fn extend(&mut self, piece: Piece) {
        if let Some(pins) = &self.pins {
            frames::shared().lock().pin_more(pins, piece.len);
        }
        if let Some(last) = self.list.last_mut() {
            last.len += piece.len;
        }
    }

    /// Forgets what was added since the list had that length.
    fn go_back(&mut self, len: usize) {
        while self.list.len() > len {
            self.list.pop();
            if let Some(pins) = &mut self.pins {
                frames::shared().lock().release_first(pins);
            }
        }
    }

    /// Pins them for as long as the proxy of a slot lives.
    pub fn leave_to(&self, slot: usize) {
        let mut frames = frames::shared().lock();
        for piece in &self.list {
            frames.leave_to(slot, piece.offset, piece.len);
        }
    }
}

impl core::ops::Deref for Pieces {
    type Target = [Piece];

    fn deref(&self) -> &[Piece] {
        &self.list
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(pins) = self.pins.as_mut().filter(|pins| !pins.is_empty()) {
            frames::shared().lock().release(pins);
        }
    }
}

/// Goes along pieces, from their first byte on.
#[derive(Debug)]
pub struct Cursor<'a> {
    rest: &'a [Piece],
    /// Bytes of the first one that are done.
    done: u64,
}

impl<'a> Cursor<'a> {
    pub fn new(pieces: &'a [Piece]) -> Self {
        Self { rest: pieces, done: 0 }
    }

    /// Where the next bytes are, at most `len` and at least one. `None`: there are no more.
    fn next(&mut self, len: usize) -> Option<(u64, usize)> {
        loop {
            let first = self.rest.first()?;
            let left = first.len.saturating_sub(self.done);
            if left > 0 {
                let (at, now) = (first.offset + self.done, left.min(len as u64));
                self.done += now;
                return Some((at, now as usize));
            }
            self.rest = self.rest.get(1..)?;
            self.done = 0;
        }
    }

    /// Copies the next bytes out. False: there are not so many.
    pub fn read(&mut self, to: &mut [u8]) -> bool {
        let mut rest = to;
        while !rest.is_empty() {
            let Some((at, len)) = self.next(rest.len()) else { return false };
            let (now, later) = rest.split_at_mut(len);
            if app_memory::get().read(at, now).is_err() {
                return false;
            }
            rest = later;
        }
        true
    }

    /// Copies bytes to the next places. False: there are not so many.
    pub fn write(&mut self, from: &[u8]) -> bool {
        let mut rest = from;
        while !rest.is_empty() {
            let Some((at, len)) = self.next(rest.len()) else { return false };
            let (now, later) = rest.split_at(len);
            if app_memory::get().write(at, now).is_err() {
                return false;
            }
            rest = later;
        }
        true
    }
}

/// Makes room for one more piece; it may be refused.
fn reserve_small(list: &mut SmallVec<[Piece; 2]>) -> Result<(), Errno> {
    let grows = list.len() == list.capacity();
    let wanted = list.len().saturating_mul(4 * size_of::<Piece>());
    if grows && (is_scarce(wanted) || list.try_reserve(1).is_err()) {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// The address of an element of an array.
pub fn element(array: u64, index: u64, size: u64) -> Result<u64, Errno> {
    index.checked_mul(size).and_then(|o| array.checked_add(o)).ok_or(Errno::EFAULT)
}

impl Space {
    /// Where an address is, and how many bytes follow it in its page.
    fn resolve(&mut self, address: u64, access: Access) -> Result<Piece, Errno> {
        for _ in 0..2 {
            if let Some(page) = self.tables().lookup(address).filter(|page| access.is_allowed(page.prot)) {
                let within = address & (page.size.bytes() - 1);
                return Ok(Piece { offset: page.offset + within, len: page.size.bytes() - within });
            }
            match self.fault(address, access) {
                Ok(()) => {}
                Err(Fault::NoMemory) => return Err(Errno::ENOMEM),
                Err(Fault::NotMapped | Fault::NotAllowed) => return Err(Errno::EFAULT),
                Err(Fault::Missing(missing)) => {
                    self.missing = Some(missing);
                    return Err(Errno::MISSING);
                }
            }
        }
        Err(Errno::EFAULT)
    }

    /// Walks a buffer piece by piece until `each` returns false or the buffer ends. Returns how many
    /// bytes were walked, or an error if not even the first byte can be accessed.
    fn walk(
        &mut self,
        address: u64,
        len: u64,
        access: Access,
        mut each: impl FnMut(Piece) -> bool,
    ) -> Result<u64, Errno> {
        let end = address.checked_add(len).filter(|e| *e <= user::END).ok_or(Errno::EFAULT)?;
        let mut at = address;
        while at < end {
            let piece = match self.resolve(at, access) {
                Ok(piece) => Piece { len: piece.len.min(end - at), ..piece },
                Err(errno) if at == address || errno == Errno::MISSING => return Err(errno),
                Err(_) => break,
            };
            if !each(piece) {
                break;
            }
            at += piece.len;
        }
        Ok(at - address)
    }

    /// Copies all of `to.len()` bytes from the application.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), Errno> {
        let mut rest = &mut to[..];
        let len = rest.len() as u64;
        let done = self.walk(address, len, Access::Read, |piece| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(piece.len as usize);
            rest = later;
            app_memory::get().read(piece.offset, now).is_ok()
        })?;
        if done == len {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies all of `from` to the application.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut rest = from;
        let len = rest.len() as u64;
        let done = self.walk(address, len, Access::Write, |piece| {
            let (now, later) = rest.split_at(piece.len as usize);
            rest = later;
            app_memory::get().write(piece.offset, now).is_ok()
        })?;
        if done == len {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// A number that the application has.
    pub fn read_u32(&mut self, address: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a word at once; EFAULT also if it isn't aligned.
    pub fn load_u32(&mut self, address: u64) -> Result<u32, Errno> {
        if let Some(word) = self.tables.load_u32(address) {
            return Ok(word);
        }
        let piece = self.resolve_word(address, Access::Read)?;
        app_memory::get().load_u32(piece.offset).map_err(|_| Errno::EFAULT)
    }

    /// Changes a word atomically; returns what it was.
    pub fn update_u32(&mut self, address: u64, change: impl FnMut(u32) -> u32) -> Result<u32, Errno> {
        let piece = self.resolve_word(address, Access::Write)?;
        app_memory::get().update_u32(piece.offset, change).map_err(|_| Errno::EFAULT)
    }

    fn resolve_word(&mut self, address: u64, access: Access) -> Result<Piece, Errno> {
        if !address.is_multiple_of(4) || address >= user::END {
            return Err(Errno::EFAULT);
        }
        self.resolve(address, access)
    }

    /// A number that the application has.
    pub fn read_u64(&mut self, address: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Consecutive numbers that the application has.
    pub fn read_words<const N: usize>(&mut self, address: u64) -> Result<[u64; N], Errno> {
        let mut words = [0; N];
        self.read(address, words.as_mut_bytes())?;
        Ok(words)
    }

    /// Writes consecutive numbers.
    pub fn write_words(&mut self, address: u64, words: &[u64]) -> Result<(), Errno> {
        self.write(address, words.as_bytes())
    }

    /// The bytes of a string, without its NUL. ENAMETOOLONG: no NUL within `max` bytes.
    pub fn read_string(&mut self, address: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        let mut found = false;
        let mut no_memory = false;
        let room = (user::END.saturating_sub(address)).min(max as u64);
        if room == 0 {
            return Err(Errno::EFAULT);
        }
        self.walk(address, room, Access::Read, |piece| {
            let mut bytes = [0; 256];
            let mut at = 0;
            while at < piece.len && !found {
                let now = (piece.len - at).min(bytes.len() as u64) as usize;
                let Some(part) = bytes.get_mut(..now) else { return false };
                if app_memory::get().read(piece.offset + at, part).is_err() {
                    return false;
                }
                let end = part.iter().position(|b| *b == 0);
                no_memory = reserve(&mut text, end.unwrap_or(now)).is_err();
                if no_memory {
                    return false;
                }
                text.extend(part.iter().take(end.unwrap_or(now)));
                found = end.is_some();
                at += now as u64;
            }
            !found
        })?;
        match found {
            _ if no_memory => Err(Errno::ENOMEM),
            true => Ok(text),
            false if text.len() as u64 >= room && room == max as u64 => Err(Errno::ENAMETOOLONG),
            false => Err(Errno::EFAULT),
        }
    }

    /// Appends the pieces of a buffer to a list of at most `max`, joined where they are neighbours;
    /// returns the bytes that they hold, which may be fewer than `len`.
    pub fn pieces(
        &mut self,
        address: u64,
        len: u64,
        access: Access,
        max: usize,
        list: &mut Pieces,
    ) -> Result<u64, Errno> {
        let before = list.len();
        let (mut held, mut refused) = (0, None);
        let walked = self.walk(address, len, access, |piece| {
            let room = list.len() < max;
            match list.last() {
                Some(last) if last.offset + last.len == piece.offset && held > 0 => list.extend(piece),
                _ if room => refused = list.add(piece).err(),
                _ => return false,
            }
            if refused.is_some() {
                return false;
            }
            held += piece.len;
            true
        });
        if let Err(errno) = refused.map_or(walked, Err) {
            list.go_back(before);
            return Err(errno);
        }
        Ok(held)
    }
}
