// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls on sockets. Those of AF_UNIX are Linux's, those of AF_INET and AF_INET6 are in `inet`.

use super::open::{new_descriptor, new_pair};
use super::{inet, nr, sockopt, Outcome};
use crate::errno::Errno;
use crate::fd::File;
use crate::mem::scratch::Scratch;
use crate::thread::Thread;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::offload::NAME_MAX;

const AF_UNIX: u32 = 1;
/// Bytes of a family, and of struct sockaddr_un.
const FAMILY_LEN: usize = 2;
const UNIX_LEN: usize = 110;

/// Longest value of an option.
const OPTION_MAX: u32 = 1 << 16;

/// A file, which is to stay open, and the proxy's descriptor.
pub fn remote(t: &Thread, fd: u64) -> Result<(Arc<File>, i32), Errno> {
    let file = t.files().get(fd)?.clone();
    let remote = file.remote_fd().ok_or(Errno::ENOTSOCK)?;
    Ok((file, remote))
}

fn check_family(family: u64) -> Result<(), Errno> {
    match family as u32 {
        AF_UNIX => Ok(()),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// SOCK_NONBLOCK and SOCK_CLOEXEC are named like the flags of open(2).
pub fn socket(t: &mut Thread, a: [u64; 6]) -> Outcome {
    if inet::is_ours(a[0]) {
        return inet::socket(t, a);
    }
    check_family(a[0])?;
    new_descriptor(t, a[1] as u32, |t| t.forward(nr::__NR_socket, a))
}

pub fn socketpair(t: &mut Thread, a: [u64; 6]) -> Outcome {
    check_family(a[0])?;
    new_pair(t, nr::__NR_socketpair, a, 3, a[3], a[1] as u32)
}

/// A name that the application has, as the proxy is to see it: a relative path begins at the working directory.
pub fn read_name(t: &Thread, at: u64, len: u64) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len as i32).ok().filter(|l| *l <= NAME_MAX).ok_or(Errno::EINVAL)?;
    let mut name = alloc::vec![0; len];
    t.memory().read(at, &mut name)?;
    let cwd = t.process.fs.lock().cwd.clone();
    let (Some(cwd), Some(first)) = (cwd.and_then(|c| c.remote_fd()), name.get(FAMILY_LEN)) else { return Ok(name) };
    if *first == 0 || *first == b'/' || !name.starts_with(&(AF_UNIX as u16).to_le_bytes()) {
        return Ok(name);
    }
    let path = name.split_off(FAMILY_LEN);
    name.extend(format!("/proc/self/fd/{cwd}/").bytes());
    name.extend(path.iter().take_while(|b| **b != 0));
    name.push(0);
    if name.len() > UNIX_LEN {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(name)
}

pub fn bind(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, at, len, ..] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::bind(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    let name = read_name(t, at, len)?;
    // The file gets the permissions of the socket (Linux: unix_bind_bsd()), where the proxy has no umask.
    let permissions = u64::from(0o777 & !t.process.fs.lock().umask);
    t.ask(nr::__NR_fchmod, [remote as u64, permissions, 0, 0, 0, 0], &[])?;
    named(t, nr::__NR_bind, remote, &name)
}

pub fn connect(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, at, len, ..] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::connect(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    let name = read_name(t, at, len)?;
    named(t, nr::__NR_connect, remote, &name)
}

fn named(t: &mut Thread, number: u32, remote: i32, name: &[u8]) -> Outcome {
    let mut scratch = Scratch::new(name.len())?;
    let place = scratch.put(name)?;
    let buffers: &[_] = if name.is_empty() { &[] } else { &[(1, place)] };
    t.ask(number, [remote as u64, 0, name.len() as u64, 0, 0, 0], buffers)
}

pub fn accept(t: &mut Thread, [fd, to, len, ..]: [u64; 6]) -> Outcome {
    accept4(t, [fd, to, len, 0, 0, 0])
}

pub fn accept4(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, to, len, flags, ..] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::accept(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    new_descriptor(t, flags as u32, |t| {
        if to == 0 {
            return t.ask(nr::__NR_accept4, [remote as u64, 0, 0, flags, 0, 0], &[]);
        }
        sized(t, nr::__NR_accept4, [remote as u64, 0, 0, flags, 0, 0], 1, [to, len], NAME_MAX as u32)
    })
}

pub fn listen(t: &mut Thread, a: [u64; 6]) -> Outcome {
    match inet::socket_of(t, a[0])? {
        Some(file) => inet::listen(inet::of(&file)?, a[1]),
        None => t.forward(nr::__NR_listen, a),
    }
}

pub fn shutdown(t: &mut Thread, a: [u64; 6]) -> Outcome {
    match inet::socket_of(t, a[0])? {
        Some(file) => inet::shutdown(inet::of(&file)?, a[1]),
        None => t.forward(nr::__NR_shutdown, a),
    }
}

pub fn getsockname(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, to, len, ..] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::getsockname(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    sized(t, nr::__NR_getsockname, [remote as u64, 0, 0, 0, 0, 0], 1, [to, len], NAME_MAX as u32)
}

pub fn getpeername(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, to, len, ..] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::getpeername(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    sized(t, nr::__NR_getpeername, [remote as u64, 0, 0, 0, 0, 0], 1, [to, len], NAME_MAX as u32)
}

pub fn setsockopt(t: &mut Thread, a: [u64; 6]) -> Outcome {
    match inet::socket_of(t, a[0])? {
        Some(file) => sockopt::setsockopt(t, inet::of(&file)?, a),
        None => t.forward(nr::__NR_setsockopt, a),
    }
}

pub fn getsockopt(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, level, option, to, len, _] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return sockopt::getsockopt(t, inet::of(&file)?, a);
    }
    let (_file, remote) = remote(t, fd)?;
    sized(t, nr::__NR_getsockopt, [remote as u64, level, option, 0, 0, 0], 3, [to, len], OPTION_MAX)
}

/// A call whose argument `at` it writes, and the next is the length of that, which the application has at `len`: it is told
/// how much there is, and gets what fits.
fn sized(t: &mut Thread, number: u32, args: [u64; 6], at: usize, [to, len]: [u64; 2], most: u32) -> Outcome {
    let room = t.memory().read_u32(len)?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let room = room.min(most);
    let mut scratch = Scratch::new(room as usize + 16)?;
    let (place, place_len) = (scratch.room(room as usize)?, scratch.put(&room.to_le_bytes())?);
    let buffers = [(at, place), (at + 1, place_len)];
    let result = t.ask(number, args, if room == 0 { buffers.get(1..).unwrap_or(&[]) } else { &buffers })?;
    let there = u32::from_le_bytes(scratch.get_array(place_len)?);
    let mut bytes = scratch.get(place)?;
    bytes.truncate(there as usize);
    t.memory().write(to, &bytes)?;
    t.memory().write(len, &there.to_le_bytes())?;
    Ok(result)
}
