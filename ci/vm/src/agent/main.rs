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
    let log = Arc::new(kmsg::follow(ports::open(names::KMSG)?)?);
    let result = run(&control, &log);
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
fn run(control: &File, log: &Arc<kmsg::Follower>) -> Result<u8> {
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
    let log = Arc::clone(log);
    thread::spawn(move || obey(from_launcher, to_launcher, group, &log));

    let status = program::reap_until(group)?;
    rustix::io::write(&exited, &1u64.to_ne_bytes())?;
    for stream in [out, err] {
        // A stream that broke has already shown itself to the launcher, which closed it.
        let _ = stream.join();
    }
    Ok(status)
}

fn obey(from_launcher: impl BufRead, mut to_launcher: impl Write, group: Pid, log: &kmsg::Follower) {
    for line in from_launcher.lines().map_while(Result::ok) {
        match Message::parse(&line) {
            Some(Message::Signal(number)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    // No such group: the program has just ended.
                    let _ = rustix::process::kill_process_group(group, signal);
                }
            }
            Some(Message::Explain) => {
                if let Err(error) = kmsg::explain() {
                    println!("hermit-agent: /proc/sysrq-trigger: {error}");
                }
                log.flush();
                // The launcher waits for it no longer than for a guest that is stuck.
                let _ = writeln!(to_launcher, "{}", Message::Explained);
            }
            _ => {}
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
