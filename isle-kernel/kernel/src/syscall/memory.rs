// SPDX-License-Identifier: MIT OR Apache-2.0

//! mmap(2) and its family.

use super::{nr, Outcome};
use crate::errno::{Errno, Fail};
use crate::link::Call;
use crate::mem::access::{element, Pieces};
use crate::mem::areas::{Area, Kind};
use crate::mem::space::{Access, Space};
use crate::mem::{page_down, page_up, LOWEST};
use crate::offload::MAX_TRANSFER;
use crate::thread::Thread;
use alloc::vec::Vec;
use hermit_plat::abi::channel::SEGMENTS;
use hermit_plat::abi::{offload, PAGE_SIZE};
use hermit_plat::paging::Prot;
use hermit_plat::user;

/// A page-aligned range within an application's addresses.
fn range(start: u64, len: u64, errno: Errno) -> Result<(u64, u64), Errno> {
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let end = start.checked_add(page_up(len).ok_or(errno)?).filter(|e| *e <= user::END);
    Ok((start, end.ok_or(errno)?))
}

fn prot(bits: u64) -> Result<Prot, Errno> {
    // GROWSDOWN and GROWSUP aren't offered.
    if bits & !u64::from(nr::PROT_READ | nr::PROT_WRITE | nr::PROT_EXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let has = |bit: u32| bits & u64::from(bit) != 0;
    let (write, exec) = (has(nr::PROT_WRITE), has(nr::PROT_EXEC));
    Ok(Prot { read: write || exec || has(nr::PROT_READ), write, exec })
}

pub fn mmap(t: &mut Thread, [address, len, bits, flags, fd, offset]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    let has = |flag: u32| flags & flag != 0;
    let prot = prot(bits)?;
    if len == 0 || offset % PAGE_SIZE != 0 {
        return Err(Errno::EINVAL.into());
    }
    let len = page_up(len).filter(|l| *l < user::END).ok_or(Errno::ENOMEM)?;
    if offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::EOVERFLOW.into());
    }
    let shared = match flags & nr::MAP_TYPE {
        nr::MAP_PRIVATE => false,
        nr::MAP_SHARED | nr::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    let file = if has(nr::MAP_ANONYMOUS) { None } else { Some(remote_file(t, fd)?) };
    if file.is_some() && shared && prot.write {
        // Nobody would see what is written: better say so.
        return Err(Errno::ENODEV.into());
    }
    let promised = file.is_some() || (!has(nr::MAP_NORESERVE) && prot.write);
    let first = if file.is_some() { Prot::READ_WRITE } else { prot };
    let start = {
        let mut space = t.space();
        if promised && len > space.limit() {
            return Err(Errno::ENOMEM.into());
        }
        let place = place(&space, address, len, flags)?;
        let kind = if file.is_some() { Kind::File } else { Kind::Mapping };
        let area = Area { start: place.start(), end: place.start() + len, prot: first, kind };
        match place {
            Place::Free(_) => space.map_new(area)?,
            Place::Wanted(_) => space.map(area)?,
        }
        area.start
    };
    let end = start + len;
    if let Some(fd) = file {
        let loaded = load(t, fd, start, len, offset).and_then(|()| Ok(t.space().protect(start, end, prot)?));
        if let Err(fail) = loaded {
            // Nothing is left of what failed; the error is what the caller hears.
            let _ = t.space().unmap(start, end);
            return Err(fail);
        }
    } else if has(nr::MAP_POPULATE) && !prot.is_none() {
        // As much as there is: the rest comes on touch or not at all.
        let mut at = start;
        while at < end {
            let next = end.min(at.saturating_add(MAX_TRANSFER));
            if t.space().populate(at, next).is_err() {
                break;
            }
            t.check_end()?;
            at = next;
        }
    }
    Ok(start)
}

fn remote_file(t: &Thread, fd: u64) -> Result<i32, Errno> {
    t.files().get(fd)?.remote_fd().ok_or(Errno::ENODEV)
}

/// Where a mapping goes.
#[derive(Clone, Copy)]
enum Place {
    /// Where nothing is.
    Free(u64),
    /// There, whatever is there.
    Wanted(u64),
}

impl Place {
    fn start(self) -> u64 {
        match self {
            Self::Free(start) | Self::Wanted(start) => start,
        }
    }
}

fn place(space: &Space, address: u64, len: u64, flags: u32) -> Result<Place, Errno> {
    let fits = |start: u64| start >= LOWEST && start.checked_add(len).is_some_and(|e| e <= user::END);
    if flags & (nr::MAP_FIXED | nr::MAP_FIXED_NOREPLACE) != 0 {
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if address < LOWEST {
            return Err(Errno::EPERM);
        }
        if !fits(address) {
            return Err(Errno::ENOMEM);
        }
        if flags & nr::MAP_FIXED_NOREPLACE != 0 && !space.areas.is_free(address, address + len) {
            return Err(Errno::EEXIST);
        }
        return Ok(Place::Wanted(address));
    }
    let hint = page_down(address);
    if hint != 0 && fits(hint) && space.areas.is_free(hint, hint + len) {
        return Ok(Place::Free(hint));
    }
    space.find_gap(len).map(Place::Free).ok_or(Errno::ENOMEM)
}

/// Reads a file into a mapping: private mappings are copies from the start. What lies behind the file's end
/// stays zero.
fn load(t: &mut Thread, fd: i32, start: u64, len: u64, offset: u64) -> Result<(), Fail> {
    let call = offload::find(nr::__NR_pread64, 0).ok_or(Errno::ENOSYS)?;
    let mut done = 0;
    while done < len {
        let mut pieces = Pieces::of(&t.task);
        let want = (len - done).min(MAX_TRANSFER);
        let held = t.memory().pieces(start + done, want, Access::Write, SEGMENTS, &mut pieces)?;
        let request = Call {
            number: call.number,
            args: [fd as u64, 1, held, offset + done, 0, 0],
            lens: [0, held, 0, 0, 0, 0],
            pieces,
            ..Call::default()
        };
        match t.post(&call, &request) {
            Ok(0) => break,
            Ok(count) => done += count,
            // The descriptor is there, so it isn't open for reading.
            Err(Fail::Errno(Errno::EBADF)) => return Err(Errno::EACCES.into()),
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

pub fn munmap(t: &mut Thread, start: u64, len: u64) -> Outcome {
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let (start, end) = range(start, len, Errno::EINVAL)?;
    t.space().unmap(start, end)?;
    Ok(0)
}

pub fn mprotect(t: &mut Thread, start: u64, len: u64, bits: u64) -> Outcome {
    let prot = prot(bits)?;
    let (start, end) = range(start, len, Errno::ENOMEM)?;
    if start < end {
        t.space().protect(start, end, prot)?;
    }
    Ok(0)
}

/// Calls that have nothing to do here but check their range.
pub fn check(t: &mut Thread, start: u64, len: u64) -> Outcome {
    let (start, end) = range(page_down(start), len, Errno::ENOMEM)?;
    if start < end && !t.space().areas.is_covered(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    Ok(0)
}

/// msync(2): what is written here, nobody else sees.
pub fn msync(t: &mut Thread, start: u64, len: u64, flags: u64) -> Outcome {
    let known = u64::from(nr::MS_ASYNC | nr::MS_INVALIDATE | nr::MS_SYNC);
    let both = u64::from(nr::MS_ASYNC | nr::MS_SYNC);
    if flags & !known != 0 || flags & both == both || !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    check(t, start, len)
}

pub fn madvise(t: &mut Thread, start: u64, len: u64, advice: u64) -> Outcome {
    let (start, end) = range(start, len, Errno::EINVAL)?;
    let advice = advice as u32;
    let known = matches!(
        advice,
        nr::MADV_NORMAL
            | nr::MADV_RANDOM
            | nr::MADV_SEQUENTIAL
            | nr::MADV_WILLNEED
            | nr::MADV_DONTNEED
            | nr::MADV_FREE
            | nr::MADV_DONTFORK
            | nr::MADV_DOFORK
            | nr::MADV_HUGEPAGE
            | nr::MADV_NOHUGEPAGE
            | nr::MADV_DONTDUMP
            | nr::MADV_DODUMP
    );
    if !known {
        return Err(Errno::EINVAL.into());
    }
    let mut space = t.space();
    if advice == nr::MADV_DONTNEED && start < end {
        // What came from a file would have to be read again: it stays.
        let is_memory = |a: &Area| matches!(a.kind, Kind::Heap | Kind::Stack | Kind::Mapping);
        let memory = space.areas.overlapping(start, end).filter(is_memory);
        for area in memory.collect::<Vec<_>>() {
            space.discard(area.start.max(start), area.end.min(end))?;
        }
    }
    if start < end && !space.areas.is_covered(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    Ok(0)
}

pub fn mincore(t: &mut Thread, start: u64, len: u64, to: u64) -> Outcome {
    let (start, end) = range(start, len, Errno::ENOMEM)?;
    if !t.space().areas.is_covered(start, end) {
        return Err(Errno::ENOMEM.into());
    }
    for index in 0..(end - start) / PAGE_SIZE {
        if index % 4096 == 0 {
            t.check_end()?;
        }
        let here = t.space().tables().lookup(start + index * PAGE_SIZE).is_some();
        t.memory().write(element(to, index, 1)?, &[here.into()])?;
    }
    Ok(0)
}

pub fn mremap(t: &mut Thread, [old, old_len, new_len, flags, new_address, _]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    let may_move = flags & nr::MREMAP_MAYMOVE != 0;
    let fixed = flags & nr::MREMAP_FIXED != 0;
    let known = nr::MREMAP_MAYMOVE | nr::MREMAP_FIXED;
    if flags & !known != 0 || (fixed && !may_move) || new_len == 0 || old_len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let (old, old_end) = range(old, old_len, Errno::EFAULT)?;
    let new_len = page_up(new_len).filter(|l| *l < user::END).ok_or(Errno::ENOMEM)?;
    let mut space = t.space();
    let area = space.areas.find(old).filter(|a| old_end <= a.end && a.kind != Kind::Clock).ok_or(Errno::EFAULT)?;
    let old_len = old_end - old;
    if fixed {
        let (to, to_end) = range(new_address, new_len, Errno::EINVAL)?;
        if to < LOWEST || (to < old_end && old < to_end) {
            return Err(Errno::EINVAL.into());
        }
        return relocate(&mut space, &area, old, old_len, to, new_len);
    }
    if new_len <= old_len {
        space.unmap(old + new_len, old_end)?;
        return Ok(old);
    }
    if new_len - old_len > space.limit() {
        return Err(Errno::ENOMEM.into());
    }
    let new_end = old.checked_add(new_len).filter(|e| *e <= user::END);
    if let Some(new_end) = new_end {
        if space.areas.is_free(old_end, new_end) {
            space.map(Area { start: old_end, end: new_end, ..area })?;
            return Ok(old);
        }
    }
    if !may_move {
        return Err(Errno::ENOMEM.into());
    }
    let to = space.find_gap(new_len).ok_or(Errno::ENOMEM)?;
    relocate(&mut space, &area, old, old_len, to, new_len)
}

/// Moves a mapping. What is at the new place goes.
fn relocate(space: &mut Space, area: &Area, old: u64, old_len: u64, to: u64, new_len: u64) -> Outcome {
    space.map(Area { start: to, end: to + new_len, prot: area.prot, kind: area.kind })?;
    let len = old_len.min(new_len);
    if let Err(errno) = space.move_pages(old, to, len) {
        // Everything back to where it was, for which the page tables are still there.
        space.move_pages(to, old, len)?;
        space.unmap(to, to + new_len)?;
        return Err(errno.into());
    }
    space.unmap(old, old + old_len)?;
    Ok(to)
}
