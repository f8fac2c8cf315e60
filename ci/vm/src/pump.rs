// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that carry the program's streams between the ports and this process.
//!
//! They are never joined: each ends when its port does, and at the latest with the process.

use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use crate::frames;
use crate::session::Event;

/// Our standard input into the guest, with its end.
pub fn input(mut from: Box<dyn Read + Send>, mut port: UnixStream) {
    thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; frames::LARGEST];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => frames::send(&mut port, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An input that cannot be read (a closed descriptor, say) is an empty one.
                Err(_) => break,
            }
        }
        frames::send_end(&mut port)?;
        // Closing our end now could overtake the data inside QEMU: stay until QEMU goes.
        let _ = port.read(&mut [0]);
        Ok(())
    });
}

/// A stream of the program to wherever it goes here.
pub fn output(port: UnixStream, mut to: Box<dyn Write + Send>, events: Sender<Event>) {
    thread::spawn(move || {
        let mut port = BufReader::with_capacity(frames::LARGEST, port);
        while let Ok(Some(data)) = frames::receive(&mut port) {
            if to.write_all(&data).and_then(|()| to.flush()).is_err() {
                let _ = events.send(Event::OutputBroken);
                return;
            }
        }
        let _ = events.send(Event::StreamEnded);
        // Stay, so that QEMU keeps its connection until it ends.
        let _ = port.read(&mut [0]);
    });
}

/// Linux's log, unframed: it is text, and what has arrived counts even if the guest dies.
pub fn log(mut port: UnixStream, mut to: impl Write + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = port.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
}
