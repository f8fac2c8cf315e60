// SPDX-License-Identifier: MIT OR Apache-2.0
//! Byte streams with an end, over a serial port that has none.
//!
//! A frame is a little-endian length of four bytes and that many bytes; length 0 ends the stream.
//! Launcher and guest agent both use this; each port carries one stream in one direction.

use std::io::{self, Read, Write};

pub const LARGEST: usize = 64 * 1024;

/// Sends `data`, which must not be longer than `LARGEST`. Empty data would end the stream, so it
/// is not sent.
pub fn send(port: &mut impl Write, data: &[u8]) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut frame = Vec::with_capacity(4 + data.len());
    frame.extend((data.len() as u32).to_le_bytes());
    frame.extend(data);
    port.write_all(&frame)
}

pub fn send_end(port: &mut impl Write) -> io::Result<()> {
    port.write_all(&0u32.to_le_bytes())
}

/// Receives one frame; `None` is the end of the stream.
pub fn receive(port: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    port.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LARGEST {
        let text = format!("a frame of {length} bytes: the other side is out of step");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if length == 0 {
        return Ok(None);
    }
    let mut data = vec![0; length];
    port.read_exact(&mut data)?;
    Ok(Some(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_binary_safe_and_end() {
        let mut wire = Vec::new();
        send(&mut wire, b"\r\n\0\x03\xff").unwrap();
        send(&mut wire, b"").unwrap();
        send_end(&mut wire).unwrap();
        let mut wire = &wire[..];
        assert_eq!(receive(&mut wire).unwrap().unwrap(), b"\r\n\0\x03\xff");
        assert_eq!(receive(&mut wire).unwrap(), None);
        assert!(receive(&mut wire).is_err());
    }

    #[test]
    fn nonsense_lengths_are_refused() {
        assert!(receive(&mut &[0xff; 8][..]).is_err());
    }
}
