// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages of sockets: send(2) and recv(2) and their families. Data go through memory of the kernel's, so that a message
//! is one wherever its parts are; descriptors that go along are translated.

use super::socket::{read_name, remote};
use super::{inet, time, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::File;
use crate::mem::access::element;
use crate::mem::scratch::Scratch;
use crate::signal::number::SIGPIPE;
use crate::signal::{self, Info};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::offload::{special, CONTROL_MAX, ENVELOPE_CONTROL, ENVELOPE_LEN, ENVELOPE_NAME, NAME_MAX};

/// Most bytes of one request. No datagram is longer, and a stream's sender and receiver go on.
const MAX_DATA: u64 = 1 << 20;
/// Most buffers of a message, most messages of one call (IOV_MAX, UIO_MAXIOV).
const MAX_BUFFERS: u64 = 1024;

const MSG_CTRUNC: u32 = 0x8;
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_DONTWAIT: u32 = 0x40;
const MSG_WAITFORONE: u32 = 0x1_0000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

/// struct cmsghdr(3): a length of 8 bytes, level, type; and SOL_SOCKET, SCM_RIGHTS.
const HEADER: usize = 16;
const RIGHTS: (u32, u32) = (1, 1);

/// struct msghdr, and struct mmsghdr.
const MSGHDR: u64 = 56;
const MMSGHDR: u64 = 64;

/// A message, as the application describes it.
#[derive(Default)]
struct Message {
    buffers: Vec<(u64, u64)>,
    name: u64,
    name_len: u32,
    control: u64,
    control_len: u64,
}

impl Message {
    fn plain(address: u64, len: u64) -> Self {
        Self { buffers: Vec::from([(address, len)]), ..Self::default() }
    }

    fn read(t: &Thread, at: u64) -> Result<Self, Errno> {
        let [name, name_len, list, count, control, control_len, _] = t.memory().read_words(at)?;
        if count > MAX_BUFFERS {
            return Err(Errno::EMSGSIZE);
        }
        if (name_len as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        // They stay while the call waits.
        let mut buffers = crate::mem::buffer(count as usize)?;
        for index in 0..count {
            let [address, len] = t.memory().read_words(element(list, index, 16)?)?;
            if len > i64::MAX as u64 {
                return Err(Errno::EINVAL);
            }
            buffers.push((address, len));
        }
        Ok(Self { buffers, name, name_len: name_len as u32, control, control_len })
    }

    fn len(&self) -> u64 {
        self.buffers.iter().fold(0, |sum, (_, len)| len.saturating_add(sum))
    }
}

/// Calls `f` with each descriptor in control messages, and puts what it returns there.
fn for_rights(control: &mut [u8], mut f: impl FnMut(u32) -> Result<u32, Errno>) -> Result<(), Errno> {
    let mut rest = control;
    while rest.len() >= HEADER {
        let word = |at: usize| rest.get(at..).and_then(|r| r.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
        let (len, high, kind) = (word(0) as usize, word(4), (word(8), word(12)));
        let end = len.next_multiple_of(8).min(rest.len());
        if high != 0 || len < HEADER || len > rest.len() {
            return Err(Errno::EINVAL);
        }
        let (now, later) = core::mem::take(&mut rest).split_at_mut(end);
        if kind == RIGHTS {
            for fd in now.get_mut(HEADER..len).unwrap_or_default().chunks_exact_mut(4) {
                let number = fd.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
                fd.copy_from_slice(&f(number)?.to_le_bytes());
            }
        }
        rest = later;
    }
    Ok(())
}

pub fn sendto(t: &mut Thread, [fd, data, len, flags, name, name_len]: [u64; 6]) -> Outcome {
    let mut message = Message::plain(data, len);
    (message.name, message.name_len) = (name, name_len as u32);
    send(t, fd, &message, flags as u32)
}

pub fn sendmsg(t: &mut Thread, [fd, at, flags, ..]: [u64; 6]) -> Outcome {
    let message = Message::read(t, at)?;
    send(t, fd, &message, flags as u32)
}

pub fn sendmmsg(t: &mut Thread, [fd, list, count, flags, ..]: [u64; 6]) -> Outcome {
    let count = u64::from(count as u32).min(MAX_BUFFERS);
    for index in 0..count {
        let sent = (|| {
            let at = element(list, index, MMSGHDR)?;
            let message = Message::read(t, at)?;
            let sent = send(t, fd, &message, flags as u32)? as u32;
            t.memory().write(at.wrapping_add(MSGHDR), &sent.to_le_bytes())?;
            Ok(())
        })();
        match sent {
            Ok(()) => {}
            Err(Fail::Ended) => return Err(Fail::Ended),
            Err(_) if index > 0 => return Ok(index),
            Err(fail) => return Err(fail),
        }
    }
    Ok(count)
}

fn send(t: &mut Thread, fd: u64, message: &Message, flags: u32) -> Outcome {
    if let Some(file) = inet::socket_of(t, fd)? {
        let name = (message.name, message.name_len);
        return inet::send(t, inet::of(&file)?, &message.buffers, Some(name), flags);
    }
    let (_file, remote) = remote(t, fd)?;
    let name = match message.name {
        0 => Vec::new(),
        at => read_name(t, at, message.name_len.into())?,
    };
    let mut control = Vec::new();
    if message.control != 0 && message.control_len > 0 {
        control
            .resize(usize::try_from(message.control_len).ok().filter(|l| *l <= CONTROL_MAX).ok_or(Errno::ENOMEM)?, 0);
        t.memory().read(message.control, &mut control)?;
    }
    // They stay open until the message is on its way.
    let mut files: Vec<Arc<File>> = Vec::new();
    for_rights(&mut control, |fd| {
        let file = t.files().get(fd.into())?.clone();
        let remote = file.remote_fd().ok_or(Errno::EBADF)?;
        files.push(file);
        Ok(remote as u32)
    })?;
    let mut envelope = Vec::new();
    envelope.extend((name.len() as u32).to_le_bytes());
    envelope.extend((control.len() as u32).to_le_bytes());
    envelope.resize(ENVELOPE_NAME, 0);
    envelope.extend(&name);
    if !control.is_empty() {
        envelope.resize(ENVELOPE_CONTROL, 0);
        envelope.extend(&control);
    }
    let total = message.len();
    let mut done = 0;
    loop {
        let now = (total - done).min(MAX_DATA);
        let mut scratch = Scratch::new(now as usize + envelope.len() + 16)?;
        let data = gather(t, message, done, now)?;
        let places = (scratch.put(&data)?, scratch.put(&envelope)?);
        let args = [remote as u64, 0, now, flags.into(), 0, envelope.len() as u64];
        let buffers = [(1, places.0), (4, places.1)];
        match t.ask(special::SENDMSG, args, if now == 0 { buffers.get(1..).unwrap_or(&[]) } else { &buffers }) {
            Ok(sent) => {
                done += sent.min(now);
                if sent < now || done >= total {
                    return Ok(done);
                }
                // What goes along went with the first part.
                envelope.truncate(ENVELOPE_NAME);
                envelope.fill(0);
            }
            Err(Fail::Ended) => return Err(Fail::Ended),
            Err(_) if done > 0 => return Ok(done),
            Err(fail) => {
                if fail == Fail::Errno(Errno::EPIPE) && flags & MSG_NOSIGNAL == 0 {
                    // Nobody reads any more (send(2)).
                    signal::send(&t.process, Some(&t.task), Info::kernel(SIGPIPE))?;
                }
                return Err(fail);
            }
        }
    }
}

fn gather(t: &Thread, message: &Message, mut skip: u64, len: u64) -> Result<Vec<u8>, Errno> {
    let mut data = crate::mem::buffer(len as usize)?;
    for (address, part) in &message.buffers {
        let skipped = skip.min(*part);
        skip -= skipped;
        let now = (part - skipped).min(len - data.len() as u64);
        let start = data.len();
        data.resize(start + now as usize, 0);
        if let Some(place) = data.get_mut(start..) {
            t.memory().read(address.wrapping_add(skipped), place)?;
        }
    }
    Ok(data)
}

pub fn recvfrom(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [fd, data, len, flags, name, name_len] = a;
    if let Some(file) = inet::socket_of(t, fd)? {
        return inet::recvfrom(t, inet::of(&file)?, a);
    }
    let mut message = Message::plain(data, len);
    if name != 0 {
        let room = t.memory().read_u32(name_len)?;
        if (room as i32) < 0 {
            return Err(Errno::EINVAL.into());
        }
        (message.name, message.name_len) = (name, room);
    }
    let received = receive(t, fd, &message, flags as u32)?;
    if name != 0 {
        t.memory().write(name_len, &received.name_len.to_le_bytes())?;
    }
    Ok(received.count)
}

pub fn recvmsg(t: &mut Thread, [fd, at, flags, ..]: [u64; 6]) -> Outcome {
    let message = Message::read(t, at)?;
    receive_to(t, fd, &message, at, flags as u32)
}

/// Receives, and fills in the rest of a struct msghdr.
fn receive_to(t: &mut Thread, fd: u64, message: &Message, at: u64, flags: u32) -> Outcome {
    if let Some(file) = inet::socket_of(t, fd)? {
        let name = [message.name, message.name_len.into()];
        return inet::receive_to(t, inet::of(&file)?, &message.buffers, name, at, flags);
    }
    let received = receive(t, fd, message, flags)?;
    if message.name != 0 {
        t.memory().write(at.wrapping_add(8), &received.name_len.to_le_bytes())?;
    }
    t.memory().write(at.wrapping_add(40), &received.control_len.to_le_bytes())?;
    t.memory().write(at.wrapping_add(48), &received.flags.to_le_bytes())?;
    Ok(received.count)
}

pub fn recvmmsg(t: &mut Thread, [fd, list, count, flags, timeout, _]: [u64; 6]) -> Outcome {
    let mut flags = flags as u32;
    let end = match timeout {
        0 => None,
        at => Some(hermit_plat::time::monotonic_ns().saturating_add(time::read_timespec(t, at)?)),
    };
    let count = u64::from(count as u32).min(MAX_BUFFERS);
    for index in 0..count {
        let received = (|| {
            let at = element(list, index, MMSGHDR)?;
            let message = Message::read(t, at)?;
            let count = receive_to(t, fd, &message, at, flags & !MSG_WAITFORONE)? as u32;
            t.memory().write(at.wrapping_add(MSGHDR), &count.to_le_bytes())?;
            Ok(())
        })();
        match received {
            Ok(()) if end.is_some_and(|end| hermit_plat::time::monotonic_ns() >= end) => return Ok(index + 1),
            Ok(()) => {}
            Err(Fail::Ended) => return Err(Fail::Ended),
            Err(_) if index > 0 => return Ok(index),
            Err(fail) => return Err(fail),
        }
        if flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
    }
    Ok(count)
}

struct Received {
    count: u64,
    name_len: u32,
    control_len: u64,
    flags: u32,
}

fn receive(t: &mut Thread, fd: u64, message: &Message, flags: u32) -> Result<Received, Fail> {
    let (_file, remote) = remote(t, fd)?;
    let room = message.len().min(MAX_DATA);
    let name_room = if message.name == 0 { 0 } else { message.name_len.min(NAME_MAX as u32) };
    let control_room = if message.control == 0 { 0 } else { message.control_len.min(CONTROL_MAX as u64) };
    let mut envelope = Vec::new();
    envelope.extend(name_room.to_le_bytes());
    envelope.extend((control_room as u32).to_le_bytes());
    envelope.resize(ENVELOPE_LEN, 0);
    let mut scratch = Scratch::new(room as usize + ENVELOPE_LEN + 16)?;
    let (data, place) = (scratch.room(room as usize)?, scratch.put(&envelope)?);
    let buffers = [(1, data), (4, place)];
    let args = [remote as u64, 0, room, flags.into(), 0, 0];
    let count = t.ask(special::RECVMSG, args, if room == 0 { buffers.get(1..).unwrap_or(&[]) } else { &buffers })?;
    let mut bytes = scratch.get(data)?;
    bytes.truncate(count as usize);
    let mut rest = bytes.as_slice();
    for (address, len) in &message.buffers {
        let (now, later) = rest.split_at((*len).min(rest.len() as u64) as usize);
        t.memory().write(*address, now)?;
        rest = later;
    }
    envelope = scratch.get(place)?;
    let word = |at: usize| envelope.get(at..).and_then(|e| e.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
    let (name_len, control_len, mut result_flags) = (word(0), word(4), word(8));
    if message.name != 0 {
        let name = envelope.get(ENVELOPE_NAME..).unwrap_or_default();
        let there = name_len.min(name_room) as usize;
        t.memory().write(message.name, name.get(..there).unwrap_or_default())?;
    }
    let control = envelope.get_mut(ENVELOPE_CONTROL..).unwrap_or_default();
    let control = control.get_mut(..control_len.min(control_room as u32) as usize).unwrap_or_default();
    let closing = t.process.link.closing.clone();
    let close_on_exec = flags & MSG_CMSG_CLOEXEC != 0;
    let translated = for_rights(control, |fd| {
        let file = Arc::new(File::remote(fd as i32, &closing));
        Ok(t.files().open(file, 0, close_on_exec).unwrap_or_else(|_| {
            // Linux leaves out what there is no room for.
            result_flags |= MSG_CTRUNC;
            u64::from(u32::MAX)
        }) as u32)
    });
    // What the proxy says isn't the application's fault.
    translated.map_err(|_| Errno::EIO)?;
    t.memory().write(message.control, control)?;
    result_flags &= !MSG_CMSG_CLOEXEC | flags & MSG_CMSG_CLOEXEC;
    Ok(Received { count, name_len, control_len: control.len() as u64, flags: result_flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_translated() {
        let mut control = Vec::from([0; 48]);
        control[0] = 20;
        (control[8], control[12]) = (1, 1);
        control[16] = 5;
        control[24] = 24;
        (control[32], control[36]) = (1, 2);
        control[40] = 5;
        assert_eq!(for_rights(&mut control, |fd| Ok(fd + 70)), Ok(()));
        assert_eq!((control[16], control[40]), (75, 5), "credentials stay");
        assert_eq!(for_rights(&mut control, |_| Err(Errno::EBADF)), Err(Errno::EBADF));
        for len in [0, 15, 49] {
            control[0] = len;
            assert_eq!(for_rights(&mut control, Ok), Err(Errno::EINVAL), "{len}");
        }
    }
}
