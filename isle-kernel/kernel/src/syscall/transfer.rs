// SPDX-License-Identifier: MIT OR Apache-2.0

//! read(2), write(2) and their families: any number of buffers, one request per as many pieces as a
//! request can hold.
//!
//! Programs rightly expect that a transfer from or to a file isn't cut short for reasons of memory layout, so what
//! doesn't fit into one request goes on in the next. Only where the next read might wait although there are
//! bytes to return already, that is where one can't seek, one request has to do.

use super::{kept, nr, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::File;
use crate::link::Call;
use crate::mem::access::{element, Pieces};
use crate::mem::space::Access;
use crate::offload::MAX_TRANSFER;
use crate::signal::number::SIGPIPE;
use crate::signal::{self, Info};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::channel::SEGMENTS;
use hermit_plat::abi::offload;
use hermit_plat::user;

/// Most buffers of one call (IOV_MAX).
const MAX_BUFFERS: u64 = 1024;
/// Most bytes of one call (Linux: MAX_RW_COUNT).
const MAX_BYTES: u64 = 0x7fff_f000;

/// A buffer of the application's.
#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    len: u64,
}

/// A transfer, and how far it has come.
struct Transfer<'a> {
    number: u32,
    access: Access,
    fd: i32,
    /// Where in the file; `None`: at its position.
    offset: Option<u64>,
    buffers: &'a [Buffer],
    done: u64,
    len: u64,
}

pub fn read(t: &mut Thread, [fd, address, len, ..]: [u64; 6]) -> Outcome {
    run(t, fd, &[Buffer { address, len }], None, Access::Write)
}

pub fn write(t: &mut Thread, [fd, address, len, ..]: [u64; 6]) -> Outcome {
    run(t, fd, &[Buffer { address, len }], None, Access::Read)
}

pub fn pread(t: &mut Thread, [fd, address, len, offset, ..]: [u64; 6]) -> Outcome {
    run(t, fd, &[Buffer { address, len }], Some(offset), Access::Write)
}

pub fn pwrite(t: &mut Thread, [fd, address, len, offset, ..]: [u64; 6]) -> Outcome {
    run(t, fd, &[Buffer { address, len }], Some(offset), Access::Read)
}

pub fn readv(t: &mut Thread, [fd, list, count, ..]: [u64; 6], offset: Option<u64>) -> Outcome {
    let buffers = buffers(t, list, count)?;
    run(t, fd, &buffers, offset, Access::Write)
}

pub fn writev(t: &mut Thread, [fd, list, count, ..]: [u64; 6], offset: Option<u64>) -> Outcome {
    let buffers = buffers(t, list, count)?;
    run(t, fd, &buffers, offset, Access::Read)
}

/// The offset of preadv2(2) and pwritev2(2), which may be "the current one"; flags aren't offered.
pub fn offset(a: [u64; 6]) -> Result<Option<u64>, Errno> {
    match (a[5] as u32, a[3]) {
        (0, u64::MAX) => Ok(None),
        (0, offset) => Ok(Some(offset)),
        _ => Err(Errno::EINVAL),
    }
}

fn buffers(t: &mut Thread, list: u64, count: u64) -> Result<Vec<Buffer>, Errno> {
    if count > MAX_BUFFERS {
        return Err(Errno::EINVAL);
    }
    // It stays while the call waits.
    let mut all = crate::mem::buffer(count as usize)?;
    for index in 0..count {
        let [address, len] = t.memory().read_words(element(list, index, 16)?)?;
        if len > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        all.push(Buffer { address, len });
    }
    Ok(all)
}

fn run(t: &mut Thread, fd: u64, buffers: &[Buffer], offset: Option<u64>, access: Access) -> Outcome {
    if offset.is_some_and(|o| o > i64::MAX as u64) {
        return Err(Errno::EINVAL.into());
    }
    let file = t.files().get(fd)?.clone();
    let Some(remote) = file.remote_fd() else {
        let buffers: Vec<_> = buffers.iter().map(|b| (b.address, b.len)).collect();
        if access != Access::Write {
            return kept::write(t, &file, &buffers, offset);
        }
        return kept::read(t, &file, &buffers, offset);
    };
    // A length that no buffer can have is wrong at once, not where memory ends.
    if buffers.iter().any(|b| b.address.checked_add(b.len).is_none_or(|end| end > user::END)) {
        return Err(Errno::EFAULT.into());
    }
    let number = match (access, offset) {
        (Access::Write, None) => nr::__NR_read,
        (Access::Write, Some(_)) => nr::__NR_pread64,
        (_, None) => nr::__NR_write,
        (_, Some(_)) => nr::__NR_pwrite64,
    };
    let len = buffers.iter().fold(0u64, |sum, b| sum.saturating_add(b.len)).min(MAX_BYTES);
    let mut transfer = Transfer { number, access, fd: remote, offset, buffers, done: 0, len };
    loop {
        match transfer.step(t) {
            // What has been transferred counts, whatever stopped it.
            Err(Fail::Errno(_) | Fail::Restart) if transfer.done > 0 => return Ok(transfer.done),
            Err(fail) => {
                if fail == Fail::Errno(Errno::EPIPE) && access == Access::Read {
                    // Nobody reads any more (write(2)).
                    signal::send(&t.process, Some(&t.task), Info::kernel(SIGPIPE))?;
                }
                return Err(fail);
            }
            Ok(true) => return Ok(transfer.done),
            Ok(false) if number == nr::__NR_read && !can_seek(t, &file)? => return Ok(transfer.done),
            Ok(false) => {}
        }
    }
}

impl Transfer<'_> {
    /// Makes one request; true if it was the last.
    fn step(&mut self, t: &mut Thread) -> Result<bool, Fail> {
        let call = offload::find(self.number, 0).ok_or(Errno::ENOSYS)?;
        let mut pieces = Pieces::of(&t.task);
        let held = self.gather(t, &mut pieces)?;
        let offset = self.offset.map_or(0, |o| o.saturating_add(self.done));
        let request = Call {
            number: self.number,
            args: [self.fd as u64, 1, held, offset, 0, 0],
            lens: [0, held, 0, 0, 0, 0],
            pieces,
            ..Call::default()
        };
        let count = t.post(&call, &request)?;
        self.done += count;
        Ok(count < held || self.done >= self.len || held == 0)
    }

    /// The pieces that come next, as many as fit.
    fn gather(&self, t: &mut Thread, pieces: &mut Pieces) -> Result<u64, Errno> {
        let room = (self.len - self.done).min(MAX_TRANSFER);
        let mut skip = self.done;
        let mut held = 0;
        for buffer in self.buffers {
            if skip >= buffer.len {
                skip -= buffer.len;
                continue;
            }
            let address = buffer.address.checked_add(skip).ok_or(Errno::EFAULT);
            let want = (buffer.len - skip).min(room - held);
            skip = 0;
            if want == 0 {
                break;
            }
            match address.and_then(|a| t.memory().pieces(a, want, self.access, SEGMENTS, pieces)) {
                Ok(got) => {
                    held += got;
                    if got < want {
                        break;
                    }
                }
                // What came before is transferred first.
                Err(_) if held > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(held)
    }
}

/// True if reading from the file never waits for somebody to write to it.
fn can_seek(t: &mut Thread, file: &Arc<File>) -> Result<bool, Fail> {
    if let Some(known) = file.can_seek() {
        return Ok(known);
    }
    let Some(fd) = file.remote_fd() else { return Ok(true) };
    let call = offload::find(nr::__NR_lseek, 0).ok_or(Errno::ENOSYS)?;
    let args = [fd as u64, 0, nr::SEEK_CUR.into(), 0, 0, 0];
    let can = match t.post(&call, &Call { number: call.number, args, ..Call::default() }) {
        Ok(_) => true,
        Err(Fail::Errno(_)) => false,
        Err(end) => return Err(end),
    };
    file.set_can_seek(can);
    Ok(can)
}
