// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mapped files: what is touched is read, what was written to shared mappings is written back.

use crate::errno::{Errno, Fail};
use crate::fd::File;
use crate::link::Call;
use crate::mem::access::{Piece, Pieces};
use crate::mem::areas::Dirty;
use crate::mem::frames::{self, Taken};
use crate::mem::is_scarce;
use crate::mem::object::{Held, Missing, Object, Source, PER_LARGE};
use crate::mem::scratch::Scratch;
use crate::offload::AT_FDCWD;
use crate::syscall::number;
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use hermit_plat::abi::channel::SEGMENTS;
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::app_memory;
use hermit_plat::paging::{Size, Wanted};
use spin::Once;

/// Small pages that are read at once.
const WINDOW: u64 = 64;

/// Bytes of kernel memory that this may take: lists of pieces, and entries of the object.
const PER_LOAD: usize = 16 << 10;

/// What fstat(2) says of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Device and inode.
    pub key: (u64, u64),
    pub mode: u32,
    pub device: u64,
    pub len: u64,
    pub modified: [u64; 2],
}

/// fstat(2) of one of the proxy's descriptors.
pub fn stat(t: &Thread, fd: i32) -> Result<Stat, Fail> {
    stat_by(fd, &|call| t.process.link.call_patiently(&t.task, call))
}

fn stat_by(fd: i32, post: &dyn Fn(&Call) -> Result<i64, Fail>) -> Result<Stat, Fail> {
    const LEN: u64 = 144;
    let scratch = Scratch::new(LEN as usize)?;
    let call = Call {
        number: number::FSTAT,
        args: [fd as u64, 1, 0, 0, 0, 0],
        lens: [0, LEN, 0, 0, 0, 0],
        pieces: scratch.pieces(LEN),
        ..Call::default()
    };
    post(&call)?;
    let bytes = scratch.bytes(LEN as usize)?;
    let word = |at: usize| {
        let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    };
    Ok(Stat {
        key: (word(0), word(8)),
        mode: word(24) as u32,
        device: word(40),
        len: word(48).min(i64::MAX as u64),
        modified: [word(88), word(96)],
    })
}

/// The object of a file that is to be mapped; `write`: as MAP_SHARED, by a descriptor that may write. `None`: it is
/// /dev/zero.
pub fn object_of(t: &Thread, file: &Arc<File>, write: bool) -> Result<Option<Arc<Object>>, Fail> {
    const REGULAR: u32 = 0o100_000;
    const CHARACTER: u32 = 0o020_000;
    const TYPE: u32 = 0o170_000;
    /// Its device number, see Linux's Documentation/admin-guide/devices.txt.
    const ZERO: u64 = (1 << 8) | 5;
    let fd = file.remote_fd().ok_or(Errno::ENODEV)?;
    let stat = stat(t, fd)?;
    if stat.mode & TYPE == CHARACTER && stat.device == ZERO {
        return Ok(None);
    }
    if stat.mode & TYPE != REGULAR {
        return Err(Errno::ENODEV.into());
    }
    let object = match t.process.objects.find(stat.key, stat.len, stat.modified) {
        Some(object) => object,
        None => {
            // By a descriptor of its own, since the program will close the one it has.
            let source = Source {
                reader: duplicate(t, fd)?,
                writer: Once::new(),
                len: AtomicU64::new(stat.len),
                modified: stat.modified,
            };
            let object = Object::of_file(source);
            t.process.objects.add(stat.key, &object);
            object
        }
    };
    if let Some(source) = object.source().filter(|source| write && source.writer.get().is_none()) {
        let writer = duplicate(t, fd)?;
        source.writer.call_once(|| writer);
    }
    Ok(Some(object))
}

/// The object of a file that nobody else will close.
pub fn object_of_program(t: &Thread, file: Arc<File>) -> Result<Arc<Object>, Fail> {
    let fd = file.remote_fd().ok_or(Errno::ENODEV)?;
    let stat = stat(t, fd)?;
    if let Some(object) = t.process.objects.find(stat.key, stat.len, stat.modified) {
        return Ok(object);
    }
    let len = AtomicU64::new(stat.len);
    let object = Object::of_file(Source { reader: file, writer: Once::new(), len, modified: stat.modified });
    t.process.objects.add(stat.key, &object);
    Ok(object)
}

/// Opens a file for reading, for the kernel.
pub fn open(t: &Thread, path: &[u8]) -> Result<Arc<File>, Fail> {
    const CLOSE_ON_EXEC: u64 = 0o2_000_000;
    let cwd = t.process.fs.lock().cwd.clone();
    let directory = cwd.as_ref().and_then(|cwd| cwd.remote_fd()).unwrap_or(AT_FDCWD);
    let mut path = path.to_vec();
    path.push(0);
    let scratch = Scratch::with(&path)?;
    let call = Call {
        number: number::OPENAT,
        args: [directory as u64, 1, CLOSE_ON_EXEC, 0, 0, 0],
        lens: [0, path.len() as u64, 0, 0, 0, 0],
        pieces: scratch.pieces(path.len() as u64),
        ..Call::default()
    };
    let fd = t.process.link.call_patiently(&t.task, &call)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EIO)?;
    Ok(Arc::new(File::remote(fd, &t.process.link.closing)))
}

/// The absolute path of one of the proxy's descriptors.
pub fn path_of(t: &Thread, fd: i32) -> Result<Vec<u8>, Fail> {
    const ROOM: u64 = 4096;
    let link = alloc::format!("/proc/self/fd/{fd}\0");
    let scratch = Scratch::with(link.as_bytes())?;
    let target = Scratch::new(ROOM as usize)?;
    let mut pieces: Vec<Piece> = scratch.pieces(link.len() as u64).to_vec();
    pieces.extend(target.pieces(ROOM).iter());
    let call = Call {
        number: number::READLINKAT,
        args: [AT_FDCWD as u64, 1, 1, ROOM, 0, 0],
        lens: [0, link.len() as u64, ROOM, 0, 0, 0],
        pieces: Pieces::of_list(pieces),
        ..Call::default()
    };
    let len = t.process.link.call_patiently(&t.task, &call)?;
    Ok(target.bytes(usize::try_from(len).map_err(|_| Errno::EIO)?)?)
}

/// Bytes of a file, as many of those that are asked for as there are.
pub fn bytes(t: &Thread, fd: i32, offset: u64, len: usize) -> Result<Vec<u8>, Fail> {
    let scratch = Scratch::new(len)?;
    let count = read(t, fd, &scratch.pieces(len as u64), offset)?;
    Ok(scratch.bytes(count as usize)?)
}

/// Flags of an open file, as F_GETFL has them.
pub fn flags(t: &Thread, fd: i32) -> Result<u32, Fail> {
    const F_GETFL: u64 = 3;
    let call = Call { number: number::FCNTL, args: [fd as u64, F_GETFL, 0, 0, 0, 0], ..Call::default() };
    Ok(t.process.link.call_patiently(&t.task, &call)? as u32)
}

fn duplicate(t: &Thread, fd: i32) -> Result<Arc<File>, Fail> {
    let call = Call { number: number::DUP, args: [fd as u64, 0, 0, 0, 0, 0], ..Call::default() };
    let fd = t.process.link.call_patiently(&t.task, &call)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EIO)?;
    Ok(Arc::new(File::remote(fd, &t.process.link.closing)))
}

/// Frames that go back by themselves, but for those that were taken out.
struct Batch {
    taken: Vec<Taken>,
    /// Those that are somebody's, from the first on.
    used: usize,
}

impl Batch {
    /// Small frames, exactly so many, in as few pieces as a request can have.
    fn small(count: u64) -> Result<Self, Errno> {
        let mut this = Self { taken: Vec::new(), used: 0 };
        while this.count() < count {
            let taken = frames::take_small(count - this.count()).ok_or(Errno::ENOMEM)?;
            let prepared = prepare(&taken);
            this.taken.push(taken);
            prepared?;
        }
        if this.taken.len() > SEGMENTS {
            return Err(Errno::ENOMEM);
        }
        Ok(this)
    }

    fn count(&self) -> u64 {
        self.taken.iter().map(|taken| taken.len / PAGE_SIZE).sum()
    }

    /// Pool offsets of all.
    fn frames(&self) -> impl Iterator<Item = u64> + '_ {
        self.taken.iter().flat_map(|taken| (0..taken.len).step_by(PAGE_SIZE as usize).map(|at| taken.offset + at))
    }

    fn pieces(&self) -> Vec<Piece> {
        self.taken.iter().map(|taken| Piece { offset: taken.offset, len: taken.len }).collect()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut frames = frames::shared().lock();
        for offset in self.frames().skip(self.used) {
            frames.give(offset, Size::Small);
        }
    }
}

/// Reads what is missing, and what is around it. ENXIO: there is no such page in the file.
pub fn load(t: &Thread, missing: &Missing) -> Result<(), Fail> {
    if is_scarce(PER_LOAD) {
        return Err(Errno::ENOMEM.into());
    }
    let source = missing.object.source().ok_or(Errno::EIO)?;
    let fd = source.reader.remote_fd().ok_or(Errno::EIO)?;
    if missing.large && load_large(t, missing, fd)? {
        return Ok(());
    }
    let index = missing.index;
    let (first, end) = window(&missing.object, index);
    let is_there = || missing.object.pages().find(index).is_some();
    let around = load_small(t, &missing.object, fd, first, end);
    if !is_there() && end - first > 1 {
        // There isn't memory for all, or the file has become shorter: then the one that is needed.
        load_small(t, &missing.object, fd, index, index + 1)?;
    } else {
        around?;
    }
    is_there().then_some(()).ok_or(Errno::ENXIO.into())
}

/// Reads pages from `first` to `end` into small frames, as far as the file has them.
fn load_small(t: &Thread, object: &Object, fd: i32, first: u64, end: u64) -> Result<(), Fail> {
    let mut batch = Batch::small(end - first)?;
    let count = read(t, fd, &batch.pieces(), byte(first)?)?;
    let whole = count.div_ceil(PAGE_SIZE) as usize;
    if count % PAGE_SIZE != 0 {
        if let Some(last) = batch.frames().nth(whole - 1) {
            let (begin, rest) = (count % PAGE_SIZE, PAGE_SIZE - count % PAGE_SIZE);
            app_memory::get().zero(last + begin, rest).map_err(|_| Errno::EIO)?;
        }
    }
    let mut twice = Vec::new();
    {
        let mut pages = object.pages();
        for (number, offset) in batch.frames().take(whole).enumerate() {
            if !pages.insert(first + number as u64, offset, Size::Small) {
                twice.push(offset);
            }
        }
    }
    batch.used = whole;
    for offset in twice {
        // Another thread has read it meanwhile.
        frames::shared().lock().give(offset, Size::Small);
    }
    Ok(())
}

/// The pages around a missing one that are missing as well.
fn window(object: &Object, index: u64) -> (u64, u64) {
    let low = index - index % WINDOW;
    let high = (low + WINDOW).min(object.file_pages()).max(index + 1);
    let pages = object.pages();
    let is_missing = |at: &u64| pages.find(*at).is_none();
    let first = (low..index).rev().take_while(is_missing).last().unwrap_or(index);
    let end = (index + 1..high).take_while(is_missing).last().map_or(index + 1, |last| last + 1);
    (first, end)
}

/// What was taken is going to be overwritten, by Linux. To an emulator that is none of the machine's doing: code that was there
/// would still be run as it was, unless the machine itself writes there.
fn prepare(taken: &Taken) -> Result<(), Errno> {
    if hermit_plat::shared::is_machine() {
        return taken.zero().map_err(|_| Errno::EIO);
    }
    frames::shared().lock().note_overwritten(taken);
    Ok(())
}

/// Reads 2 MiB at once into a large frame; false if that isn't possible.
fn load_large(t: &Thread, missing: &Missing, fd: i32) -> Result<bool, Fail> {
    let first = missing.index - missing.index % PER_LARGE;
    let is_whole =
        first + PER_LARGE <= missing.object.source().map_or(0, |s| s.len.load(Ordering::Relaxed)) / PAGE_SIZE;
    if !is_whole || !missing.object.pages().are_missing(first, PER_LARGE) {
        return Ok(false);
    }
    let Some(taken) = frames::take_large(Wanted::Anywhere) else { return Ok(false) };
    prepare(&taken)?;
    let pieces = [Piece { offset: taken.offset, len: LARGE_PAGE_SIZE }];
    let mut added = false;
    let count = read(t, fd, &pieces, byte(first)?);
    if count == Ok(LARGE_PAGE_SIZE) {
        added = missing.object.pages().insert(first, taken.offset, Size::Large);
    }
    if !added {
        frames::shared().lock().give_all(&taken);
    }
    count?;
    Ok(added)
}

/// Where a page begins in its file.
fn byte(number: u64) -> Result<u64, Errno> {
    number.checked_mul(PAGE_SIZE).ok_or(Errno::ENXIO)
}

/// Reads a file from an offset on, until the pieces are full or it ends. Returns how many bytes there are.
fn read(t: &Thread, fd: i32, pieces: &[Piece], start: u64) -> Result<u64, Fail> {
    let len: u64 = pieces.iter().map(|piece| piece.len).sum();
    if start > i64::MAX as u64 - len {
        return Err(Errno::ENXIO.into());
    }
    let mut done = 0;
    while done < len {
        let rest = len - done;
        let call = Call {
            number: number::PREAD64,
            args: [fd as u64, 1, rest, start + done, 0, 0],
            lens: [0, rest, 0, 0, 0, 0],
            pieces: Pieces::of_list(skip(pieces, done)),
            ..Call::default()
        };
        match t.process.link.call_patiently(&t.task, &call)? as u64 {
            0 => break,
            count if count <= rest => done += count,
            _ => return Err(Errno::EIO.into()),
        }
    }
    Ok(done)
}

/// What is left of pieces behind their first bytes.
fn skip(pieces: &[Piece], mut bytes: u64) -> Vec<Piece> {
    let mut rest = Vec::new();
    for piece in pieces {
        let skipped = bytes.min(piece.len);
        bytes -= skipped;
        if skipped < piece.len {
            rest.push(Piece { offset: piece.offset + skipped, len: piece.len - skipped });
        }
    }
    rest
}

/// Writes back what was written to shared mappings of files from `start` to `end`.
pub fn write_back(t: &Thread, start: u64, end: u64) -> Result<(), Fail> {
    write_back_by(t, start, end, &|call| t.process.link.call_patiently(&t.task, call))
}

/// Writes back all that a process has mapped, though it ends; errors are nobody's.
pub fn write_back_at_end(t: &Thread) {
    write_back_by(t, 0, hermit_plat::user::END, &|call| t.process.link.call_to_the_end(&t.task, call)).ok();
}

/// See [`write_back`]; `post` makes the calls.
fn write_back_by(t: &Thread, start: u64, end: u64, post: &dyn Fn(&Call) -> Result<i64, Fail>) -> Result<(), Fail> {
    let mut at = start;
    while let Some(dirty) = take_dirty(t, at, end) {
        at = dirty.next;
        let object = &dirty.object;
        let Some(source) = object.source() else { continue };
        let Some(fd) = source.writer.get().and_then(|writer| writer.remote_fd()) else { continue };
        // What lies behind the end of the file is nobody's.
        let len = stat_by(fd, post)?.len;
        let mut from = dirty.first;
        while let Some((number, held)) = object.next_dirty(from, dirty.end) {
            from = number + held.pages();
            if !object.is_forked.load(Ordering::Relaxed) {
                object.clean(number);
            }
            if let Err(fail) = write(fd, number * PAGE_SIZE, &held, len, post) {
                object.pages().set_dirty(number);
                return Err(fail);
            }
        }
    }
    Ok(())
}

/// A file has been made shorter by one of the proxy's descriptors: what processes have mapped of what is gone is gone for them too.
pub fn cut(t: &Thread, fd: i32) -> Result<(), Fail> {
    if t.process.objects.is_empty() {
        return Ok(());
    }
    let stat = stat(t, fd)?;
    let Some(object) = t.process.objects.get(stat.key) else { return Ok(()) };
    let pages = stat.len.div_ceil(PAGE_SIZE);
    for process in t.process.family.members() {
        let mut space = process.space.lock();
        let mut at = 0;
        // Not a list of them: there may be many.
        loop {
            let next = space.areas.overlapping(at, hermit_plat::user::END).next();
            let Some(area) = next else { break };
            at = area.end;
            let Some(backing) = area.backing.as_ref().filter(|b| Arc::ptr_eq(&b.object, &object)) else { continue };
            let gone = area.start.saturating_add(pages.saturating_sub(backing.first).saturating_mul(PAGE_SIZE));
            if gone < area.end {
                // Without memory for page tables a part of a large page stays.
                space.discard(gone.max(area.start), area.end).ok();
            }
        }
    }
    object.set_len(stat.len);
    Ok(())
}

/// The first mapping in a range that may have to be written. From now on the first write to each of these pages is noticed again.
fn take_dirty(t: &Thread, start: u64, end: u64) -> Option<Dirty> {
    let mut space = t.space();
    let dirty = space.areas.first_dirty(start, end)?;
    // Of whole frames: other areas may show the same, or what is beside it in a large one.
    let (first, last) = (dirty.first - dirty.first % PER_LARGE, dirty.end.next_multiple_of(PER_LARGE));
    if space.watch(&dirty.object, first, last).is_err() {
        // Without memory for page tables: then it is written once more some time.
        dirty.object.is_forked.store(true, Ordering::Relaxed);
    }
    Some(dirty)
}

/// Writes a frame to where it belongs in a file of a length.
fn write(fd: i32, at: u64, held: &Held, len: u64, post: &dyn Fn(&Call) -> Result<i64, Fail>) -> Result<(), Fail> {
    let want = held.size.bytes().min(len.saturating_sub(at));
    let mut done = 0;
    while done < want {
        let rest = want - done;
        let call = Call {
            number: number::PWRITE64,
            args: [fd as u64, 1, rest, at + done, 0, 0],
            lens: [0, rest, 0, 0, 0, 0],
            pieces: Pieces::one(Piece { offset: held.offset + done, len: rest }),
            ..Call::default()
        };
        match u64::try_from(post(&call)?) {
            Ok(count @ 1..) if count <= rest => done += count,
            _ => return Err(Errno::EIO.into()),
        }
    }
    Ok(())
}
