// SPDX-License-Identifier: MIT OR Apache-2.0

//! What wakes the thread that stands by: the doorbell, a signal to be passed on, or another thread's nudge.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// See the [module](self).
pub struct Bell {
    signals: OwnedFd,
    nudge: OwnedFd,
}

impl Bell {
    /// Nudged once: somebody has to begin. `signals` is from [`crate::sys::take_signals`].
    pub fn new(signals: OwnedFd) -> io::Result<Self> {
        Ok(Self { signals, nudge: eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)? })
    }

    /// The signals that have come.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Has whoever waits, or waits next, look after everything.
    pub fn nudge(&self) {
        // Fails if it has been nudged as often as can be counted.
        let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes());
    }

    /// Forgets nudges: who calls this looks after everything now.
    pub fn calm(&self) {
        // Fails if there was none.
        let _ = rustix::io::read(&self.nudge, &mut [0; 8]);
    }

    /// Waits for all of them; false: for too long.
    pub fn wait(&self, door: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
        let mut fds = [door, self.signals.as_fd(), self.nudge.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&limit)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;

    #[test]
    fn a_nudge_stays_until_somebody_is_calm() {
        let (door, ring) = pipe().unwrap();
        let (signals, _signal) = pipe().unwrap();
        let bell = Bell::new(signals).unwrap();
        let rings = || bell.wait(door.as_fd(), Duration::from_millis(1)).unwrap();
        assert!(rings() && rings());
        bell.calm();
        bell.calm();
        assert!(!rings());
        bell.nudge();
        bell.nudge();
        assert!(rings());
        bell.calm();
        assert!(!rings());
        rustix::io::write(&ring, b"x").unwrap();
        assert!(rings());
    }
}
