// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages of sockets: sendmsg(2) and recvmsg(2) with an `offload::Envelope`.

use crate::perform::{Performer, buffer, error};
use crate::request::{Argument, Checked};
use crate::sys::{self, Message};
use hermit_abi::offload::{CONTROL_MAX, ENVELOPE_CONTROL, ENVELOPE_LEN, ENVELOPE_NAME, NAME_MAX};

/// Most bytes of one message: what doesn't fit is sent or received as a stream's next part.
const MAX_DATA: u64 = 4 << 20;

/// struct cmsghdr(3): a length of 8 bytes, level and type.
const HEADER: usize = 16;

/// Calls `f` with all descriptors in control messages.
fn for_rights(control: &mut [u8], mut f: impl FnMut(i32) -> Result<(), i32>) -> Result<(), i32> {
    let mut rest = &*control;
    while let Some((header, _)) = rest.split_first_chunk::<HEADER>() {
        let word = |at: usize| {
            header.get(at..at + 4).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b))
        };
        let len = usize::try_from(word(0)).unwrap_or(0);
        let Some(data) = rest.get(HEADER..len) else { return Err(libc::EINVAL) };
        let kind = (i32::try_from(word(8)), i32::try_from(word(12)));
        if kind == (Ok(libc::SOL_SOCKET), Ok(libc::SCM_RIGHTS)) {
            for fd in data.chunks_exact(4) {
                f(fd.first_chunk().map_or(-1, |b| i32::from_ne_bytes(*b)))?;
            }
        }
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(())
}

fn field(envelope: &[u8], at: usize) -> usize {
    let bytes = envelope.get(at..).and_then(|e| e.first_chunk());
    bytes.map_or(usize::MAX, |b| usize::try_from(u32::from_ne_bytes(*b)).unwrap_or(usize::MAX))
}

impl Performer {
    /// sendmsg(2).
    pub fn send_message(&self, checked: &Checked) -> i64 {
        let take = |i: usize, most: u64| -> Result<Vec<u8>, i32> {
            let Some(scatter) = buffer(checked, i) else { return Ok(Vec::new()) };
            let mut bytes = vec![0; usize::try_from(scatter.len.min(most)).map_err(|_| libc::ENOBUFS)?];
            self.get(scatter, 0, &mut bytes).map_err(|_| libc::EFAULT)?;
            Ok(bytes)
        };
        let sent = (|| {
            let (mut data, mut envelope) = (take(1, MAX_DATA)?, take(4, ENVELOPE_LEN as u64)?);
            envelope.resize(ENVELOPE_LEN, 0);
            let (name_len, control_len) = (field(&envelope, 0), field(&envelope, 4));
            let (head, control) = envelope.split_at_mut(ENVELOPE_CONTROL);
            let name =
                head.get_mut(ENVELOPE_NAME..).and_then(|n| n.get_mut(..name_len)).ok_or(libc::EINVAL)?;
            let control = control.get_mut(..control_len).ok_or(libc::EINVAL)?;
            for_rights(control, |fd| self.descriptors.kind(fd).map(|_| ()).ok_or(libc::EBADF))?;
            let mut message = Message { name, data: &mut data, control, flags: 0 };
            Ok(sys::send_message(checked.fd(), &mut message, checked.scalar(3)))
        })();
        sent.unwrap_or_else(error)
    }

    /// recvmsg(2).
    pub fn receive_message(&self, checked: &Checked) -> i64 {
        let Some(Argument::InOut(place)) = checked.arguments.get(4) else { return error(libc::EFAULT) };
        let mut envelope = vec![0; ENVELOPE_LEN];
        if self.get(place, 0, &mut envelope).is_err() {
            return error(libc::EFAULT);
        }
        let (name_len, control_len) =
            (field(&envelope, 0).min(NAME_MAX), field(&envelope, 4).min(CONTROL_MAX));
        let out = buffer(checked, 1);
        let len = out.map_or(0, |o| o.len.min(MAX_DATA));
        let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
        let (head, control) = envelope.split_at_mut(ENVELOPE_CONTROL);
        let name = head.get_mut(ENVELOPE_NAME..).and_then(|n| n.get_mut(..name_len)).unwrap_or_default();
        let control = control.get_mut(..control_len).unwrap_or_default();
        let mut message = Message { name, data: &mut data, control: &mut *control, flags: 0 };
        let (result, lens) = sys::receive_message(checked.fd(), &mut message, checked.scalar(3));
        let flags = message.flags;
        if result < 0 {
            return result;
        }
        // The application's from now on, or nobody's if the message is broken.
        let received = control.get_mut(..lens.1).unwrap_or_default();
        let added = for_rights(received, |fd| self.adopt(fd));
        if let Err(errno) = added {
            return error(errno);
        }
        for (at, value) in [(0, lens.0), (4, lens.1), (8, flags)] {
            let value = u32::try_from(value).unwrap_or(0);
            if let Some(field) = envelope.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_ne_bytes());
            }
        }
        let moved = usize::try_from(result).map_or(data.len(), |n| n.min(data.len()));
        let written = out.is_none_or(|out| self.put(out, 0, data.get(..moved).unwrap_or_default()).is_ok());
        if !written || self.put(place, 0, &envelope).is_err() {
            return error(libc::EFAULT);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(fds: &[i32]) -> Vec<u8> {
        let mut bytes = ((HEADER + fds.len() * 4) as u64).to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(libc::SCM_RIGHTS.to_ne_bytes());
        fds.iter().for_each(|fd| bytes.extend(fd.to_ne_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn descriptors_are_found_in_control_messages() {
        let mut seen = Vec::new();
        let mut control = [rights(&[3, 4, 5]), rights(&[6])].concat();
        for_rights(&mut control, |fd| {
            seen.push(fd);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [3, 4, 5, 6]);
        assert_eq!(for_rights(&mut control, |_| Err(7)), Err(7));
    }

    #[test]
    fn broken_control_messages_are_refused() {
        for len in [0u64, 15, 1000, u64::MAX] {
            let mut control = rights(&[3]);
            control[..8].copy_from_slice(&len.to_ne_bytes());
            assert!(for_rights(&mut control, |_| Ok(())).is_err(), "{len}");
        }
        assert_eq!(for_rights(&mut [0; 7], |_| Ok(())), Ok(()), "too short for one");
    }
}
