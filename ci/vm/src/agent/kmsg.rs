// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's log, from its first record on, to the launcher as it grows.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A line of the log that shows how far it has been sent.
const MARK: &str = "hermit-agent: so far";

pub struct Follower {
    mark_seen: Mutex<Receiver<()>>,
}

/// Sends every record of /dev/kmsg to `port`, as it is.
pub fn follow(port: File) -> Result<Follower> {
    let log = File::open("/dev/kmsg").context("cannot read /dev/kmsg")?;
    let (sender, mark_seen) = channel();
    thread::spawn(move || copy(log, port, &sender));
    Ok(Follower { mark_seen: Mutex::new(mark_seen) })
}

impl Follower {
    /// Waits until all that has been logged so far has been sent.
    pub fn flush(&self) {
        let Ok(mark_seen) = self.mark_seen.lock() else { return };
        if write(MARK).is_ok() {
            // A launcher that no longer reads is no reason to hang here.
            let _ = mark_seen.recv_timeout(Duration::from_secs(2));
        }
    }
}

/// Adds a line.
fn write(line: &str) -> io::Result<()> {
    File::options().write(true).open("/dev/kmsg")?.write_all(format!("<6>{line}\n").as_bytes())
}

/// Has Linux log the stacks of its CPUs, then those of all tasks, and last those of the blocked ones. Before that,
/// what the isles say of themselves, twice: so it is seen what still counts.
pub fn explain() -> io::Result<()> {
    for pause in [1, 0] {
        for file in ["state", "stats"] {
            for isle in 0.. {
                let Ok(text) = fs::read_to_string(format!("/sys/hermit/isle{isle}/{file}")) else { break };
                for line in text.lines() {
                    write(&format!("isle{isle} {file}: {line}"))?;
                }
            }
        }
        thread::sleep(Duration::from_secs(pause));
    }
    let mut trigger = File::options().write(true).open("/proc/sysrq-trigger")?;
    for key in ["l", "t", "w"] {
        trigger.write_all(key.as_bytes())?;
    }
    Ok(())
}

fn copy(mut log: File, mut port: File, mark_seen: &Sender<()>) {
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(count) => {
                if port.write_all(&record[..count]).is_err() {
                    return;
                }
                if record[..count].windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
                    let _ = mark_seen.send(());
                }
            }
            // EPIPE: records were overwritten before they could be read; the next read goes on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
