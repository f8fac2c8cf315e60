// SPDX-License-Identifier: MIT OR Apache-2.0
//! The requested program and its streams.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use hermit_vm::control::request;
use hermit_vm::frames;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::process::{wait, Pid, WaitOptions};

/// Starts the request's command, in a process group of its own and with pipes.
pub fn start() -> Result<Child> {
    let mut words = zero_ended(request::ARGV)?.into_iter().map(OsString::from_vec);
    let program = words.next().context("the request names no program")?;
    let mut command = Command::new(&program);
    command.args(words).process_group(0);
    for line in zero_ended(request::ENVIRONMENT)? {
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            let value = OsString::from_vec(line[equals + 1..].to_vec());
            command.env(OsString::from_vec(line[..equals].to_vec()), value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {}", program.to_string_lossy()))
}

fn zero_ended(file: &str) -> Result<Vec<Vec<u8>>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {file}"))?;
    let mut words: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    words.pop();
    Ok(words)
}

/// The launcher's input into the program, until either ends.
pub fn feed(mut port: impl BufRead + Send + 'static, mut stdin: ChildStdin) {
    thread::spawn(move || {
        while let Ok(Some(data)) = frames::receive(&mut port) {
            if stdin.write_all(&data).is_err() {
                break;
            }
        }
        drop(stdin);
        // A program that reads no further must not block the launcher.
        let _ = io::copy(&mut port, &mut io::sink());
    });
}

/// One of the program's output streams to the launcher. After the program's end, which makes
/// `exited` readable, only what is in the pipe by then is sent, so that a daemon that it left
/// behind does not hold the request open.
pub fn drain(
    mut pipe: impl Read + AsFd + Send + 'static,
    mut port: File,
    exited: &Arc<OwnedFd>,
) -> JoinHandle<io::Result<()>> {
    let exited = Arc::clone(exited);
    thread::spawn(move || {
        let mut buffer = vec![0; frames::LARGEST];
        loop {
            let readable = {
                let interest = PollFlags::IN;
                let mut fds = [PollFd::new(&pipe, interest), PollFd::new(&*exited, interest)];
                poll(&mut fds, None)?;
                !fds[0].revents().is_empty()
            };
            if !readable {
                break;
            }
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => frames::send(&mut port, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        frames::send_end(&mut port)
    })
}

/// Collects ended processes, as process 1 must, until `main` is among them; gives its status.
pub fn reap_until(main: Pid) -> Result<u8> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let by_signal = status.terminating_signal().map(|signal| 128 + signal);
                let status = status.exit_status().or(by_signal).unwrap_or(255);
                return Ok(u8::try_from(status).unwrap_or(255));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the program"),
        }
    }
}
