// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU as a child process that cannot outlive the launcher.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::{fcntl_setfd, FdFlags};
use rustix::process::{getppid, set_parent_process_death_signal, Pid, Signal};

/// A running QEMU; dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Machine(Child);

/// Whether QEMU reads the person's terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    Detached,
    Attached,
}

impl Machine {
    /// Starts QEMU with `inherit` open in it, its messages going to `log`.
    pub fn start(
        program: &Path,
        args: &[String],
        inherit: Vec<OwnedFd>,
        log: &Path,
        terminal: Terminal,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args);
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        if terminal == Terminal::Detached {
            // A process group of its own, so that Ctrl-C reaches the launcher only.
            command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?);
        }
        command.stderr(log);
        let launcher = rustix::process::getpid();
        // SAFETY: the closure runs between fork and exec and makes plain system calls only; it
        // neither allocates nor takes a lock.
        unsafe { command.pre_exec(move || prepare(launcher, &inherit)) };
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        // `command` owns the inherited sockets; dropping it here leaves QEMU's as the only ones,
        // so that the launcher sees the end of file when QEMU ends.
        drop(command);
        Ok(Machine(child))
    }

    /// Waits at most `limit` for QEMU to end by itself.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if QEMU has ended and been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In the child, before exec: die with the launcher, and keep the sockets open.
fn prepare(launcher: Pid, inherit: &[OwnedFd]) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The launcher may have died before the line above took effect.
    if getppid() != Some(launcher) {
        return Err(io::Error::from(rustix::io::Errno::CHILD));
    }
    for fd in inherit {
        fcntl_setfd(fd.as_fd(), FdFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(seconds: &str) -> Machine {
        let args = [seconds.to_string()];
        Machine::start(Path::new("sleep"), &args, vec![], Path::new("/dev/null"), Terminal::Detached).unwrap()
    }

    #[test]
    fn the_wait_is_bounded_and_drop_kills() {
        let mut machine = sleep("60");
        assert!(machine.wait(Duration::from_millis(30)).unwrap().is_none());
        let pid = machine.0.id();
        drop(machine);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn an_end_is_noticed() {
        assert!(sleep("0").wait(Duration::from_secs(10)).unwrap().unwrap().success());
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let start =
            |program| Machine::start(Path::new(program), &[], vec![], Path::new("/dev/null"), Terminal::Detached);
        assert!(start("/nonexistent/qemu").is_err());
    }
}
