// SPDX-License-Identifier: MIT OR Apache-2.0

//! Turns the arguments of a system call into a request, by the table in `hermit_abi::offload`, and
//! checks what comes back.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::errno::Errno;
use crate::fd::{File, Files};
use crate::link::Call;
use crate::mem::access::{Piece, Pieces};
use crate::mem::space::{Access, Space};
use alloc::sync::Arc;
use hermit_plat::abi::channel::SEGMENTS;
use hermit_plat::abi::offload::{self, Arg};
use linux_raw_sys::general as nr;

/// Longest path, with its NUL.
const PATH_MAX: usize = 4096;

/// Most bytes of one request. Memory is given for all of it, even if little comes.
pub const MAX_TRANSFER: u64 = 8 << 20;

/// Most elements of an array that a call writes: no more come at once.
const MAX_ELEMENTS: u64 = 4096;

/// The value of a directory's descriptor that means the working directory.
pub const AT_FDCWD: i32 = -100;

/// Where a buffer comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// The address that is the argument.
    #[default]
    Address,
    /// Likewise, and that there is a string of this length, without its NUL, is known.
    Text(u64),
    /// The kernel.
    Kernel(Piece),
}

/// What descriptors mean.
pub struct Place<'a> {
    pub files: &'a Files,
    /// The working directory, if it isn't the proxy's own.
    pub cwd: Option<&'a Arc<File>>,
}

impl Place<'_> {
    /// The proxy's descriptor; the request holds the file.
    fn file(&self, fd: u64, request: &mut Call) -> Result<i32, Errno> {
        let file = self.files.get(fd)?;
        Self::hold(file, request);
        file.remote_fd().ok_or(Errno::EINVAL)
    }

    /// That of a directory. What isn't one is an error only if it is looked at, which is Linux's to say.
    fn directory(&self, fd: u64, request: &mut Call) -> i32 {
        match self.cwd {
            Some(cwd) if fd as i32 == AT_FDCWD => {
                Self::hold(cwd, request);
                cwd.remote_fd().unwrap_or(-1)
            }
            None if fd as i32 == AT_FDCWD => AT_FDCWD,
            _ => self.file(fd, request).unwrap_or(-1),
        }
    }

    fn hold(file: &Arc<File>, request: &mut Call) {
        if let Some(free) = request.files.iter_mut().find(|f| f.is_none()) {
            *free = Some(file.clone());
        }
    }
}

/// Prepares a call; its buffers go into `pieces`.
pub fn prepare(
    call: &offload::Call,
    args: [u64; 6],
    given: &[Given; 6],
    pieces: Pieces,
    space: &mut Space,
    place: &Place<'_>,
) -> Result<Call, Errno> {
    let mut request = Call { number: call.number, args, pieces, ..Call::default() };
    // Lengths of buffers may come out shorter than they were asked for.
    let mut shorter: [Option<u64>; 6] = [None; 6];
    for (((index, arg), value), given) in call.args.iter().enumerate().zip(args).zip(given) {
        let mut len = 0;
        let new = match arg {
            Arg::Absent => 0,
            Arg::Scalar => value,
            Arg::Fd => place.file(value, &mut request)? as u64,
            Arg::DirFd => place.directory(value, &mut request) as u64,
            _ if let Given::Kernel(piece) = given => {
                len = piece.len;
                request.pieces.add(*piece)?;
                1
            }
            Arg::Path | Arg::Text => {
                len = match given {
                    Given::Text(len) => *len,
                    _ => space.read_string(value, PATH_MAX)?.len() as u64,
                }
                .saturating_add(1);
                buffer(space, &mut request, value, len, Access::Read, false)?;
                1
            }
            Arg::In(_) | Arg::Out(_) if value == 0 => 0,
            Arg::In(n) | Arg::Out(n) => {
                let access = if matches!(arg, Arg::In(_)) { Access::Read } else { Access::Write };
                let wanted = args.get(usize::from(*n)).copied().unwrap_or(0).min(MAX_TRANSFER);
                len = buffer(space, &mut request, value, wanted, access, true)?;
                request.is_short |= len < wanted;
                if let Some(slot) = shorter.get_mut(usize::from(*n)) {
                    *slot = Some(len);
                }
                1
            }
            Arg::OutArray(..) | Arg::OutStruct(_) | Arg::InStruct(_) | Arg::InOutStruct(_) if value == 0 => 0,
            // Only ever the kernel's own.
            Arg::OutSized(_) | Arg::Length | Arg::InOutArray(..) => 0,
            Arg::OutArray(n, size) => {
                let slot = usize::from(*n);
                let count = args.get(slot).copied().unwrap_or(0).min(MAX_ELEMENTS);
                let wanted = count.saturating_mul(u64::from(*size));
                len = buffer(space, &mut request, value, wanted, Access::Write, false)?;
                if let Some(slot) = shorter.get_mut(slot) {
                    *slot = Some(count);
                }
                1
            }
            Arg::OutStruct(size) | Arg::InOutStruct(size) => {
                len = buffer(space, &mut request, value, u64::from(*size), Access::Write, false)?;
                1
            }
            Arg::InStruct(size) => {
                len = buffer(space, &mut request, value, u64::from(*size), Access::Read, false)?;
                1
            }
        };
        if let (Some(a), Some(l)) = (request.args.get_mut(index), request.lens.get_mut(index)) {
            *a = new;
            *l = len;
        }
    }
    for (arg, len) in request.args.iter_mut().zip(shorter) {
        if let Some(len) = len {
            *arg = len;
        }
    }
    Ok(request)
}

/// Adds a buffer to a request; returns its length there.
fn buffer(
    space: &mut Space,
    request: &mut Call,
    address: u64,
    len: u64,
    access: Access,
    may_be_short: bool,
) -> Result<u64, Errno> {
    let held = space.pieces(address, len, access, SEGMENTS, &mut request.pieces)?;
    if held < len && !may_be_short {
        return Err(Errno::EFAULT);
    }
    Ok(held)
}

/// What a call that has failed fails with: that a buffer is too small may be since a part of it isn't there.
pub fn failure(request: &Call, errno: Errno) -> Errno {
    let is_too_small =
        matches!((request.number, errno), (nr::__NR_getcwd, Errno::ERANGE) | (nr::__NR_getdents64, Errno::EINVAL));
    match request.is_short && is_too_small {
        true => Errno::EFAULT,
        false => errno,
    }
}

/// Checks the result of a call that the proxy has made.
pub fn check(call: &offload::Call, request: &Call, result: i64) -> Result<u64, Errno> {
    let value = u64::try_from(result).map_err(|_| Errno::from_result(result))?;
    // The result counts what is in the first buffer that has a length.
    let most = call.args.iter().zip(request.lens).find_map(|(arg, len)| match arg {
        Arg::In(_) | Arg::Out(_) => Some(len),
        Arg::OutArray(_, size) => Some(len.checked_div(u64::from(*size)).unwrap_or(0)),
        _ => None,
    });
    if !call.measures && most.is_some_and(|most| value > most) {
        return Err(Errno::EIO);
    }
    if call.makes_fd && i32::try_from(value).is_err() {
        return Err(Errno::EIO);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::Closing;
    use crate::mem::areas::{Area, Kind};
    use crate::mem::space::tests::world;
    use hermit_plat::paging::Prot;

    const AT: u64 = 1 << 20;

    fn space() -> Space {
        let mut space = Space::new().unwrap();
        space.map(Area::private(AT, AT + 0x4000, Prot::READ_WRITE, Kind::Mapping)).unwrap();
        space
    }

    fn prepare_number(number: u32, args: [u64; 6]) -> Result<Call, Errno> {
        let mut space = space();
        space.write(AT, b"/etc/passwd\0").unwrap();
        let call = offload::find(number, args[1]).unwrap();
        let closing = Arc::<Closing>::default();
        let files = Files::standard(&closing);
        let place = Place { files: &files, cwd: None };
        prepare(&call, args, &Default::default(), Pieces::default(), &mut space, &place)
    }

    #[test]
    fn a_read_has_a_buffer_and_a_length() {
        let _world = world();
        let call = prepare_number(0, [0, AT + 1, 100, 0, 0, 0]).unwrap();
        assert_eq!(call.args, [0, 1, 100, 0, 0, 0]);
        assert_eq!(call.lens, [0, 100, 0, 0, 0, 0]);
        assert_eq!(call.pieces.len(), 1);
        // Runs off the mapping: a short transfer.
        let call = prepare_number(0, [0, AT + 0x3ff0, 100, 0, 0, 0]).unwrap();
        assert_eq!((call.args[2], call.lens[1]), (16, 16));
        let whole = prepare_number(nr::__NR_getcwd, [AT, 16, 0, 0, 0, 0]).unwrap();
        let cut = prepare_number(nr::__NR_getcwd, [AT + 0x3ff0, 100, 0, 0, 0, 0]).unwrap();
        assert_eq!((failure(&whole, Errno::ERANGE), failure(&cut, Errno::ERANGE)), (Errno::ERANGE, Errno::EFAULT));
        assert_eq!(failure(&cut, Errno::ENOENT), Errno::ENOENT);
        assert_eq!(prepare_number(0, [0, AT - 1, 100, 0, 0, 0]).unwrap_err(), Errno::EFAULT);
        assert_eq!(prepare_number(0, [7, AT, 100, 0, 0, 0]).unwrap_err(), Errno::EBADF);
    }

    #[test]
    fn a_path_counts_its_nul() {
        let _world = world();
        let call = prepare_number(257, [AT_FDCWD as u64, AT, 0, 0, 0, 0]).unwrap();
        assert_eq!((call.args[0] as i32, call.args[1], call.lens[1]), (AT_FDCWD, 1, 12));
        assert_eq!(prepare_number(257, [AT_FDCWD as u64, 0, 0, 0, 0, 0]).unwrap_err(), Errno::EFAULT);
    }

    #[test]
    fn structures_are_whole_or_not_at_all() {
        let _world = world();
        assert_eq!(prepare_number(5, [1, AT, 0, 0, 0, 0]).unwrap().lens[1], 144);
        assert_eq!(prepare_number(5, [1, AT + 0x3ff0, 0, 0, 0, 0]).unwrap_err(), Errno::EFAULT);
    }

    #[test]
    fn an_array_is_there_as_a_whole() {
        let _world = world();
        let wait = offload::find(offload::EPOLL_WAIT, 0).unwrap();
        let call = prepare_number(offload::EPOLL_WAIT, [0, AT, 10, 5, 0, 0]).unwrap();
        assert_eq!((call.args[2], call.lens[1]), (10, 120));
        assert_eq!((check(&wait, &call, 10), check(&wait, &call, 11)), (Ok(10), Err(Errno::EIO)));
        let short = prepare_number(offload::EPOLL_WAIT, [0, AT + 0x4000 - 30, 10, 5, 0, 0]);
        assert_eq!(short.unwrap_err(), Errno::EFAULT);
        assert_eq!(prepare_number(offload::EPOLL_WAIT, [0, AT, u64::MAX, 5, 0, 0]).unwrap_err(), Errno::EFAULT);
    }

    #[test]
    fn results_are_checked() {
        let _world = world();
        let read = offload::find(0, 0).unwrap();
        let request = prepare_number(0, [0, AT, 100, 0, 0, 0]).unwrap();
        assert_eq!(check(&read, &request, 100), Ok(100));
        assert_eq!(check(&read, &request, 101), Err(Errno::EIO));
        assert_eq!(check(&read, &request, -2), Err(Errno::ENOENT));
        assert_eq!(check(&read, &request, i64::MIN), Err(Errno::EIO));
        let send = offload::find(offload::special::SENDMSG, 0).unwrap();
        let request = Call { lens: [0, 100, 0, 0, 16, 0], ..Call::default() };
        assert_eq!((check(&send, &request, 100), check(&send, &request, 101)), (Ok(100), Err(Errno::EIO)));
        let measure = offload::find(nr::__NR_getxattr, 0).unwrap();
        assert_eq!(check(&measure, &Call::default(), 5), Ok(5));
        let open = offload::find(257, 0).unwrap();
        assert_eq!(check(&open, &Call::default(), 1 << 31), Err(Errno::EIO));
        assert_eq!(check(&open, &Call::default(), 5), Ok(5));
    }
}
