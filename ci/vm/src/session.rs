// SPDX-License-Identifier: MIT OR Apache-2.0
//! One request in one machine: boot, run, collect the status, end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::child::{Machine, Terminal};
use crate::cmdline;
use crate::control::{ports, Message};
use crate::logs::Logs;
use crate::pump;
use crate::qemu::{Console, Qemu, Wiring};
use crate::request::Request;
use crate::shape::Shape;

/// From QEMU's start to the program's start; a debug kernel on a busy host needs half a minute.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// From the program's end until its last output has arrived.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// From the end of the program's time until the guest has told why it is not ready.
const EXPLAIN_LIMIT: Duration = Duration::from_secs(20);
/// From the program's end until the guest has powered off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// What stays the same from machine to machine.
#[derive(Debug)]
pub struct Setup {
    pub qemu: Qemu,
    /// The folder of built things; `KERNEL/bzImage` and `KERNEL/hermit.ko` are in it.
    pub build: PathBuf,
    /// The folder of the guest's own files.
    pub guest: PathBuf,
    pub logs: PathBuf,
}

/// Where the program's streams go on this side.
pub struct Streams {
    pub stdin: Box<dyn Read + Send>,
    pub stdout: Box<dyn Write + Send>,
    pub stderr: Box<dyn Write + Send>,
}

#[derive(Debug)]
pub enum Event {
    Guest(Message),
    /// QEMU closed the control port: it has ended.
    Gone,
    /// A stream of the program has ended here.
    StreamEnded,
    /// Nobody reads our standard output any more.
    OutputBroken,
    /// A signal to the launcher, to be passed on.
    Signal(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Exited(u8),
    TimedOut,
    /// As well, and the guest doesn't even answer the launcher any more.
    Stuck,
    OutputBroken,
    /// The person asked twice for the end.
    Interrupted,
}

impl Outcome {
    /// The status that a shell would report.
    pub fn status(self) -> u8 {
        match self {
            Outcome::Exited(status) => status,
            Outcome::TimedOut | Outcome::Stuck => 124,
            Outcome::Interrupted => 130,
            Outcome::OutputBroken => 141,
        }
    }
}

/// Runs `request`; an error means that the machine failed, not the program.
pub fn run(
    setup: &Setup,
    shape: &Shape,
    request: &Request,
    logs: &Logs,
    streams: Streams,
    signals: impl FnOnce(Sender<Event>) -> Result<()>,
) -> Result<Outcome> {
    let mut session = Session::start(setup, shape, request, logs, streams)?;
    signals(session.sender.clone())?;
    let mut outcome = session.serve(shape.timeout).with_context(|| logs.tail())?;
    if request.explain && outcome == Outcome::TimedOut && !session.is_explained() {
        outcome = Outcome::Stuck;
    }
    if request.power_off && matches!(outcome, Outcome::Exited(_)) {
        let status = session.machine.wait(POWER_OFF_LIMIT)?;
        if status.is_none() {
            bail!("the guest did not power off in time\n{}", logs.tail());
        }
        if !status.is_some_and(|status| status.success()) {
            bail!("QEMU failed at the end\n{}", logs.tail());
        }
    }
    Ok(outcome)
}

/// A shell for a person on the machine's serial console.
pub fn shell(setup: &Setup, shape: &Shape, request: &Request, logs: &Logs) -> Result<()> {
    let (program, args) = command(setup, shape, request, logs, &[], true)?;
    let terminal = crate::terminal::Saved::take();
    let mut machine = Machine::start(program, &args, vec![], &logs.qemu, Terminal::Attached)?;
    let ended = crate::terminal::until_signal(|| machine.wait(Duration::from_millis(200)))?;
    drop(machine);
    drop(terminal);
    match ended {
        Some(status) if !status.success() => bail!("QEMU failed\n{}", logs.tail()),
        _ => Ok(()),
    }
}

struct Session {
    machine: Machine,
    control: UnixStream,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Session {
    fn start(setup: &Setup, shape: &Shape, request: &Request, logs: &Logs, streams: Streams) -> Result<Session> {
        let mut ours = Vec::new();
        let mut theirs: Vec<OwnedFd> = Vec::new();
        for _ in ports::ALL {
            let (our, their) = UnixStream::pair()?;
            ours.push(our);
            theirs.push(their.into());
        }
        let fds: Vec<_> = ports::ALL.iter().zip(&theirs).map(|(name, fd)| (*name, fd.as_raw_fd())).collect();
        let (program, args) = command(setup, shape, request, logs, &fds, false)?;
        let machine = Machine::start(program, &args, theirs, &logs.qemu, Terminal::Detached)?;

        let (sender, events) = channel();
        let mut ours = ours.into_iter();
        let mut next = || ours.next().context("fewer ports than names");
        let control = next()?;
        pump::input(streams.stdin, next()?);
        pump::output(next()?, streams.stdout, sender.clone());
        pump::output(next()?, streams.stderr, sender.clone());
        pump::log(next()?, fs::File::create(&logs.kernel)?);
        let reader = BufReader::new(control.try_clone()?);
        let to_main = sender.clone();
        thread::spawn(move || read_control(reader, &to_main));
        Ok(Session { machine, control, sender, events })
    }

    /// Has the guest's Linux log where everything waits; says whether it did.
    fn is_explained(&mut self) -> bool {
        let deadline = Instant::now() + EXPLAIN_LIMIT;
        // Failure means that QEMU has ended, which no answer tells.
        let _ = writeln!(self.control, "{}", Message::Explain);
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Guest(Message::Explained)) => return true,
                Ok(Event::Gone) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Follows the request to the program's end.
    fn serve(&mut self, timeout: Duration) -> Result<Outcome> {
        let mut deadline = Instant::now() + BOOT_LIMIT;
        let mut started = false;
        let mut interrupts = 0;
        let mut open_streams = 2;
        let mut exited = None;
        loop {
            if let (Some(status), 0) = (exited, open_streams) {
                return Ok(Outcome::Exited(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Guest(Message::Started)) => {
                    started = true;
                    deadline = Instant::now() + timeout;
                }
                Ok(Event::Guest(Message::Exited(status))) => {
                    exited = Some(status);
                    deadline = Instant::now() + DRAIN_LIMIT;
                }
                Ok(Event::Guest(Message::Failed(reason))) => bail!("the guest failed: {reason}"),
                Ok(Event::Guest(Message::Signal(_) | Message::Explain | Message::Explained)) => {}
                Ok(Event::StreamEnded) => open_streams -= 1,
                Ok(Event::OutputBroken) => return Ok(Outcome::OutputBroken),
                Ok(Event::Signal(number)) => {
                    interrupts += 1;
                    if interrupts > 1 || !started {
                        return Ok(Outcome::Interrupted);
                    }
                    // Failure means that QEMU has ended, which the next event tells.
                    let _ = writeln!(self.control, "{}", Message::Signal(number));
                }
                // What the program printed last may still be on its way here: the streams end by themselves.
                Ok(Event::Gone) if exited.is_some() => {}
                Ok(Event::Gone) if started => bail!("the virtual machine died under the program"),
                Ok(Event::Gone) => bail!("the virtual machine died while it booted"),
                Err(RecvTimeoutError::Timeout) if exited.is_some() => {
                    bail!("the program ended but its output did not arrive")
                }
                Err(RecvTimeoutError::Timeout) if started => return Ok(Outcome::TimedOut),
                Err(_) => bail!("the guest did not boot within {} s", BOOT_LIMIT.as_secs()),
            }
        }
    }
}

/// Writes the initramfs and gives QEMU's command line.
fn command<'a>(
    setup: &'a Setup,
    shape: &Shape,
    request: &Request,
    logs: &Logs,
    ports: &[(&str, i32)],
    terminal: bool,
) -> Result<(&'a Path, Vec<String>)> {
    setup.qemu.check(shape)?;
    shape.validate()?;
    let built = setup.build.join(&shape.kernel);
    let kernel = built.join("bzImage");
    if !kernel.exists() {
        bail!("{} is missing: build it first (make)", kernel.display());
    }
    let places = [("build", setup.build.as_path()), ("kernel", built.as_path()), ("guest", setup.guest.as_path())];
    request.write_initrd(&logs.initrd, &setup.guest.join("image.list"), &places)?;
    let wiring = Wiring {
        kernel: &kernel,
        initrd: &logs.initrd,
        cmdline: &cmdline::build(shape),
        console: if terminal { Console::Terminal(&logs.console) } else { Console::Log(&logs.console) },
        share: request.share.as_deref(),
        root: request.root.as_ref().map(|root| root.dir.as_path()),
        ports,
    };
    Ok((&setup.qemu.program, setup.qemu.arguments(shape, &wiring)))
}

fn read_control(reader: impl BufRead, events: &Sender<Event>) {
    for line in reader.lines().map_while(Result::ok) {
        if let Some(message) = Message::parse(&line) {
            if events.send(Event::Guest(message)).is_err() {
                return;
            }
        }
    }
    // The main thread may have finished already.
    let _ = events.send(Event::Gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(events: Vec<Event>) -> Result<Outcome> {
        let log = Path::new("/dev/null");
        let args = ["60".to_string()];
        let machine = Machine::start(Path::new("sleep"), &args, vec![], log, Terminal::Detached).unwrap();
        let (control, _guest) = UnixStream::pair().unwrap();
        let (sender, receiver) = channel();
        for event in events {
            sender.send(event).unwrap();
        }
        Session { machine, control, sender, events: receiver }.serve(Duration::from_secs(10))
    }

    #[test]
    fn output_may_come_after_the_machines_end() {
        use Event::{Gone, Guest, StreamEnded};
        let started = || Guest(Message::Started);
        let exited = || Guest(Message::Exited(3));
        let outcome = served(vec![started(), exited(), Gone, StreamEnded, StreamEnded]);
        assert_eq!(outcome.unwrap(), Outcome::Exited(3));
        assert!(served(vec![started(), StreamEnded, StreamEnded, Gone]).is_err());
    }
}
