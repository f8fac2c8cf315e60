// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sockets of AF_INET and AF_INET6, which are the isle's own.

use super::{interface, nr, number, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::{File, Kind};
use crate::kept::Kept;
use crate::link::Call;
use crate::mem::access::{Cursor, Pieces};
use crate::mem::scratch::Scratch;
use crate::mem::space::Access;
use crate::net::address;
use crate::net::socket::{Received, Socket};
use crate::sched::{self, Woken};
use crate::signal::number::SIGPIPE;
use crate::signal::{self, Info};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::time::monotonic_ns;
use linux_raw_sys::net::{
    AF_INET, AF_INET6, AF_UNSPEC, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK,
    MSG_TRUNC, MSG_WAITALL, SOCK_DGRAM, SOCK_STREAM,
};
use smoltcp::wire::IpEndpoint;

/// Most bytes that are moved at once.
const CHUNK: u64 = 256 << 10;
/// No datagram is longer.
const LONGEST: u64 = 1 << 16;
/// Longest address.
const NAME_MAX: u64 = 128;
/// Protocols that socket(2) may name.
const TCP: u32 = 6;
const UDP: u32 = 17;
/// ioctl(2) requests.
const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;

/// A file that is a socket of these families, if it is one.
pub fn socket_of(t: &Thread, fd: u64) -> Result<Option<Arc<File>>, Errno> {
    let file = t.files().get(fd)?.clone();
    Ok(matches!(file.kind, Kind::Kept(Kept::Socket(_))).then_some(file))
}

/// The socket in such a file.
pub fn of(file: &File) -> Result<&Socket, Errno> {
    match &file.kind {
        Kind::Kept(Kept::Socket(socket)) => Ok(socket),
        _ => Err(Errno::ENOTSOCK),
    }
}

fn open(t: &mut Thread, socket: Socket, flags: u32) -> Outcome {
    socket.flags.store((flags & nr::O_NONBLOCK) as usize, Ordering::Relaxed);
    let file = Arc::new(File::kept(Kept::Socket(socket)));
    Ok(t.files().open(file, 0, flags & nr::O_CLOEXEC != 0)?)
}

pub fn socket(t: &mut Thread, [family, kind, protocol, ..]: [u64; 6]) -> Outcome {
    let flags = kind as u32 & (nr::O_NONBLOCK | nr::O_CLOEXEC);
    let is_stream = match (kind as u32 & !flags, protocol as u32) {
        (SOCK_STREAM, 0 | TCP) => true,
        (SOCK_DGRAM, 0 | UDP) => false,
        (SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT.into()),
        _ => return Err(Errno::ESOCKTNOSUPPORT.into()),
    };
    crate::net::wait_for_address(&t.task);
    let socket = Socket::new(is_stream, family as u32 == AF_INET6)?;
    open(t, socket, flags)
}

/// Whether a family is one of these.
pub fn is_ours(family: u64) -> bool {
    matches!(family as u32, AF_INET | AF_INET6)
}

fn read_name(t: &Thread, at: u64, len: u64) -> Result<Vec<u8>, Errno> {
    let len = u64::from(len as u32);
    if len > NAME_MAX {
        return Err(Errno::EINVAL);
    }
    let mut name = alloc::vec![0; len as usize];
    t.memory().read(at, &mut name)?;
    Ok(name)
}

/// Writes an address to where there is room for so much of it, and how long it is.
fn write_name(t: &Thread, name: &[u8], to: u64, len_at: u64) -> Result<(), Errno> {
    let room = t.memory().read_u32(len_at)?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    t.memory().write(to, name.get(..room as usize).unwrap_or(name))?;
    t.memory().write(len_at, &(name.len() as u32).to_le_bytes())
}

pub fn bind(t: &mut Thread, socket: &Socket, [_, at, len, ..]: [u64; 6]) -> Outcome {
    let name = read_name(t, at, len)?;
    socket.bind(address::parse(&name, socket.is_v6)?)?;
    Ok(0)
}

pub fn listen(socket: &Socket, backlog: u64) -> Outcome {
    socket.listen(backlog as i32)?;
    Ok(0)
}

/// Tries until there is a result, or the socket may not wait for one any longer.
fn wait_for<T>(
    t: &mut Thread,
    socket: &Socket,
    may_wait: bool,
    timeout: Option<u64>,
    mut attempt: impl FnMut(&mut Thread, bool) -> Result<Option<T>, Fail>,
) -> Result<T, Fail> {
    let deadline = timeout.map(|ns| monotonic_ns().saturating_add(ns));
    let mut is_first = true;
    loop {
        let edges = socket.notice.edges();
        if let Some(result) = attempt(t, is_first)? {
            return Ok(result);
        }
        is_first = false;
        if !may_wait {
            return Err(Errno::EAGAIN.into());
        }
        let task = t.task.clone();
        socket.notice.add(&task);
        let woken = sched::wait(&task, deadline, &|| socket.notice.edges() != edges);
        socket.notice.remove(&task);
        match woken {
            Woken::Ready => {}
            Woken::TimedOut => return Err(Errno::EAGAIN.into()),
            Woken::Interrupted => {
                t.check_end()?;
                // With a timeout it isn't begun again (signal(7)).
                return Err(if timeout.is_some() { Errno::EINTR.into() } else { Fail::Restart });
            }
        }
    }
}

pub fn connect(t: &mut Thread, socket: &Socket, [_, at, len, ..]: [u64; 6]) -> Outcome {
    let name = read_name(t, at, len)?;
    if address::family(&name)? == AF_UNSPEC {
        socket.disconnect()?;
        return Ok(0);
    }
    let to = address::parse(&name, socket.is_v6)?;
    let may_wait = !socket.is_non_blocking();
    let timeout = socket.options().timeouts[1];
    let result = wait_for(t, socket, may_wait, timeout, |_, is_first| Ok(socket.connect(to, is_first)?));
    match result {
        Err(Fail::Errno(Errno::EAGAIN)) => Err(Errno::EINPROGRESS.into()),
        other => other.map(|()| 0),
    }
}

pub fn accept(t: &mut Thread, socket: &Socket, [_, to, len, flags, ..]: [u64; 6]) -> Outcome {
    let flags = flags as u32;
    if flags & !(nr::O_NONBLOCK | nr::O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if !t.files().has_room() {
        return Err(Errno::EMFILE.into());
    }
    let may_wait = !socket.is_non_blocking();
    let timeout = socket.options().timeouts[0];
    let (new, from) = wait_for(t, socket, may_wait, timeout, |_, _| Ok(socket.accept()?))?;
    if to != 0 {
        write_name(t, &address::format(from, socket.is_v6), to, len)?;
    }
    open(t, new, flags)
}

/// The pieces of buffers that come after `skip`, at most `len` bytes; and how many those are.
fn pieces(
    t: &Thread,
    buffers: &[(u64, u64)],
    mut skip: u64,
    len: u64,
    access: Access,
) -> Result<(Pieces, usize), Errno> {
    let mut list = Pieces::of(&t.task);
    let mut held = 0;
    for (address, part) in buffers {
        let skipped = skip.min(*part);
        skip -= skipped;
        let wanted = (part - skipped).min(len - held);
        if wanted == 0 {
            continue;
        }
        match t.memory().pieces(address.wrapping_add(skipped), wanted, access, usize::MAX, &mut list) {
            Ok(now) => held += now,
            Err(errno) if held == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok((list, held as usize))
}

fn total(buffers: &[(u64, u64)]) -> u64 {
    buffers.iter().fold(0, |sum, (_, len)| len.saturating_add(sum))
}

/// Sends what is in buffers; `name` is an address that the program has, and its length.
pub fn send(t: &mut Thread, socket: &Socket, buffers: &[(u64, u64)], name: Option<(u64, u32)>, flags: u32) -> Outcome {
    if flags & MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let to = match name {
        Some((at, len)) if at != 0 && !socket.is_stream => {
            Some(address::parse(&read_name(t, at, len.into())?, socket.is_v6)?)
        }
        _ => None,
    };
    let len = total(buffers);
    if !socket.is_stream && len > u64::from(u16::MAX) {
        return Err(Errno::EMSGSIZE.into());
    }
    let mut done = 0;
    loop {
        let (list, now) = match pieces(t, buffers, done, (len - done).min(CHUNK), Access::Read) {
            Err(_) if done > 0 => return Ok(done),
            other => other?,
        };
        if !socket.is_stream && (now as u64) < len {
            return Err(Errno::EFAULT.into());
        }
        let (sent, result) = send_pieces(t, socket, &list, now, to, flags);
        done += sent;
        match result {
            Ok(()) if done >= len => return Ok(done),
            Ok(()) => {}
            Err(fail) => return told(t, done, fail, flags),
        }
    }
}

/// Sends `len` bytes: how many of them, and why no more.
fn send_pieces(
    t: &mut Thread,
    socket: &Socket,
    list: &Pieces,
    len: usize,
    to: Option<IpEndpoint>,
    flags: u32,
) -> (u64, Result<(), Fail>) {
    let may_wait = !socket.is_non_blocking() && flags & MSG_DONTWAIT == 0;
    let timeout = socket.options().timeouts[1];
    let mut from = Cursor::new(list);
    let mut sent = 0;
    let result = wait_for(t, socket, may_wait, timeout, |_, _| {
        let Some(more) = socket.send(&mut from, len - sent, to)? else { return Ok(None) };
        sent += more;
        Ok((sent >= len).then_some(()))
    });
    (sent as u64, result)
}

/// What a call returns that could not send any more.
fn told(t: &mut Thread, done: u64, fail: Fail, flags: u32) -> Outcome {
    match fail {
        Fail::Ended => Err(Fail::Ended),
        _ if done > 0 => Ok(done),
        fail => {
            if fail == Fail::Errno(Errno::EPIPE) && flags & MSG_NOSIGNAL == 0 {
                signal::send(&t.process, Some(&t.task), Info::kernel(SIGPIPE))?;
            }
            Err(fail)
        }
    }
}

/// sendfile(2): to a socket of the isle's own, what Linux reads goes by the kernel's memory.
pub fn sendfile(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [out, source, at, count, ..] = a;
    let Some(file) = socket_of(t, out)? else { return t.forward(nr::__NR_sendfile, a) };
    let socket = of(&file)?;
    let source_file = t.files().get(source)?.clone();
    let fd = source_file.remote_fd().filter(|_| socket.is_stream).ok_or(Errno::EINVAL)?;
    let seek = |t: &mut Thread, to: u64, how: u32| t.forward(nr::__NR_lseek, [source, to, how.into(), 0, 0, 0]);
    let begin = if at == 0 { seek(t, 0, nr::SEEK_CUR) } else { Ok(t.memory().read_u64(at)?) };
    let begin = begin.map_err(|fail| if fail == Fail::Errno(Errno::ESPIPE) { Errno::EINVAL.into() } else { fail })?;
    let mut done = 0;
    let mut result = Ok(());
    while done < count && result.is_ok() {
        let len = (count - done).min(CHUNK);
        let scratch = Scratch::new(len as usize)?;
        let call = Call {
            number: number::PREAD64,
            args: [fd as u64, 1, len, begin.saturating_add(done), 0, 0],
            lens: [0, len, 0, 0, 0, 0],
            pieces: scratch.pieces(len),
            ..Call::default()
        };
        let got = match t.process.link.call_patiently(&t.task, &call) {
            Ok(got) => (got as u64).min(len),
            Err(_) if done > 0 => break,
            Err(fail) => return Err(fail),
        };
        if got == 0 {
            break;
        }
        let (sent, ended) = send_pieces(t, socket, &scratch.pieces(got), got as usize, None, 0);
        done += sent;
        result = ended;
    }
    if done > 0 {
        let end = begin.saturating_add(done);
        if at == 0 {
            seek(t, end, nr::SEEK_SET)?;
        } else {
            t.memory().write(at, &end.to_le_bytes())?;
        }
    }
    match result {
        Ok(()) => Ok(done),
        Err(fail) => told(t, done, fail, 0),
    }
}

/// Receives into buffers: how much that was, from whom, and whether there was more of a datagram.
pub fn receive(
    t: &mut Thread,
    socket: &Socket,
    buffers: &[(u64, u64)],
    flags: u32,
) -> Result<(u64, Option<IpEndpoint>, u32), Fail> {
    if flags & (MSG_OOB | MSG_ERRQUEUE) != 0 {
        return Err(if flags & MSG_OOB != 0 { Errno::EINVAL } else { Errno::EAGAIN }.into());
    }
    let len = total(buffers);
    let may_wait = !socket.is_non_blocking() && flags & MSG_DONTWAIT == 0;
    let peeks = flags & MSG_PEEK != 0;
    let wants_all = flags & MSG_WAITALL != 0 && socket.is_stream && !peeks;
    let timeout = socket.options().timeouts[0];
    let mut done = 0;
    loop {
        let room = (len - done).min(if socket.is_stream { CHUNK } else { LONGEST });
        let (list, room) = match pieces(t, buffers, done, room, Access::Write) {
            Err(_) if done > 0 => return Ok((done, None, 0)),
            other => other?,
        };
        let mut to = Cursor::new(&list);
        let result = wait_for(t, socket, may_wait, timeout, |_, _| Ok(socket.receive(&mut to, room, peeks)?));
        let Received { count, from, len: whole } = match result {
            Err(Fail::Ended) => return Err(Fail::Ended),
            Err(_) if done > 0 => return Ok((done, None, 0)),
            other => other?,
        };
        done += count as u64;
        if !socket.is_stream {
            let is_cut = whole > count;
            let told = if flags & MSG_TRUNC != 0 { whole } else { count };
            return Ok((told as u64, from, if is_cut { MSG_TRUNC } else { 0 }));
        }
        if count == 0 || done >= len || !wants_all {
            return Ok((done, None, 0));
        }
    }
}

/// recvfrom(2).
pub fn recvfrom(t: &mut Thread, socket: &Socket, [_, data, len, flags, name, name_len]: [u64; 6]) -> Outcome {
    let (count, from, _) = receive(t, socket, &[(data, len)], flags as u32)?;
    if name != 0 {
        match from {
            Some(from) => write_name(t, &address::format(from, socket.is_v6), name, name_len)?,
            None => t.memory().write(name_len, &[0; 4])?,
        }
    }
    Ok(count)
}

/// What recvmsg(2) fills in besides the data: of a struct msghdr at `at`.
pub fn receive_to(
    t: &mut Thread,
    socket: &Socket,
    buffers: &[(u64, u64)],
    [name, room]: [u64; 2],
    at: u64,
    flags: u32,
) -> Outcome {
    let (count, from, mut found) = receive(t, socket, buffers, flags)?;
    let bytes = from.map(|from| address::format(from, socket.is_v6)).unwrap_or_default();
    if name != 0 {
        let there = bytes.get(..room as usize).unwrap_or(&bytes);
        t.memory().write(name, there)?;
        t.memory().write(at.wrapping_add(8), &(bytes.len() as u32).to_le_bytes())?;
    }
    t.memory().write(at.wrapping_add(40), &0u64.to_le_bytes())?;
    found |= flags & MSG_CMSG_CLOEXEC;
    t.memory().write(at.wrapping_add(48), &found.to_le_bytes())?;
    Ok(count)
}

pub fn shutdown(socket: &Socket, how: u64) -> Outcome {
    let (read, write) = match how as u32 {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL.into()),
    };
    socket.shutdown(read, write)?;
    Ok(0)
}

pub fn getsockname(t: &mut Thread, socket: &Socket, [_, to, len, ..]: [u64; 6]) -> Outcome {
    write_name(t, &address::format(socket.local()?, socket.is_v6), to, len)?;
    Ok(0)
}

pub fn getpeername(t: &mut Thread, socket: &Socket, [_, to, len, ..]: [u64; 6]) -> Outcome {
    write_name(t, &address::format(socket.peer()?, socket.is_v6), to, len)?;
    Ok(0)
}

pub fn ioctl(t: &mut Thread, socket: &Socket, request: u32, at: u64) -> Outcome {
    let (input, output) = match request {
        FIONREAD | SIOCOUTQ => socket.queued()?,
        _ => return interface::ioctl(t, request, at),
    };
    let count = if request == FIONREAD { input } else { output };
    t.memory().write(at, &(count as u32).to_le_bytes())?;
    Ok(0)
}
