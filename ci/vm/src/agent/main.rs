// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's end of the launcher: runs the request as process 1 and reports how it ended.
//!
//! `/init` has prepared the system and then became this program. If it ends, Linux panics, which
//! the launcher notices.

mod kmsg;
mod ports;
mod program;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use hermit_vm::control::{ports as names, request, Message};
use hermit_vm::frames;
use rustix::event::{eventfd, EventfdFlags};
use rustix::process::{Pid, Signal};
use rustix::system::{reboot, RebootCommand};

fn main() {
    if let Err(error) = serve() {
        println!("hermit-agent: {error:#}");
        power_off();
    }
}

fn serve() -> Result<()> {
    let mut control = ports::open(names::CONTROL)?;
    let log = kmsg::follow(ports::open(names::KMSG)?)?;
    let result = run(&control);
    log.flush();
    let message = match &result {
        Ok(status) => Message::Exited(*status),
        Err(error) => Message::Failed(format!("{error:#}")),
    };
    rustix::fs::sync();
    writeln!(control, "{message}").context("cannot report to the launcher")?;
    if Path::new(request::POWER_OFF).exists() || result.is_err() {
        power_off();
    }
    // The launcher ends the machine.
    loop {
        thread::park();
    }
}

/// Runs the program to its end, with all that it printed sent; gives its status.
fn run(control: &File) -> Result<u8> {
    let stdin = ports::open(names::STDIN)?;
    let stdout = ports::open(names::STDOUT)?;
    let mut stderr = ports::open(names::STDERR)?;
    let mut to_launcher = control.try_clone()?;
    writeln!(to_launcher, "{}", Message::Started)?;

    let mut child = match program::start() {
        Ok(child) => child,
        Err(error) => {
            frames::send(&mut stderr, format!("{error:#}\n").as_bytes())?;
            frames::send_end(&mut stderr)?;
            frames::send_end(&mut { stdout })?;
            return Ok(127);
        }
    };
    let group = Pid::from_child(&child);
    let exited = Arc::new(eventfd(0, EventfdFlags::empty())?);
    let taken = "the program's streams are pipes";
    program::feed(BufReader::new(stdin), child.stdin.take().context(taken)?);
    let out = program::drain(child.stdout.take().context(taken)?, stdout, &exited);
    let err = program::drain(child.stderr.take().context(taken)?, stderr, &exited);
    let from_launcher = BufReader::new(control.try_clone()?);
    thread::spawn(move || pass_signals(from_launcher, group));

    let status = program::reap_until(group)?;
    rustix::io::write(&exited, &1u64.to_ne_bytes())?;
    for stream in [out, err] {
        // A stream that broke has already shown itself to the launcher, which closed it.
        let _ = stream.join();
    }
    Ok(status)
}

fn pass_signals(from_launcher: impl BufRead, group: Pid) {
    for line in from_launcher.lines().map_while(Result::ok) {
        if let Some(Message::Signal(number)) = Message::parse(&line) {
            if let Some(signal) = Signal::from_named_raw(number) {
                // No such group: the program has just ended.
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
    }
}

fn power_off() {
    rustix::fs::sync();
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        println!("hermit-agent: cannot power off: {error}");
    }
    thread::sleep(Duration::from_secs(3600));
}
