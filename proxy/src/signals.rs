// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which signals go to the application, and when one of them ends it by force.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// A second SIGINT within this time means it.
const TWICE: Duration = Duration::from_secs(1);

/// An isle that hasn't even taken a signal for so long won't do anything any more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Real-time signals; 32 and 33 are the C library's own.
const REAL_TIME: RangeInclusive<i32> = 34..=64;

const FORWARDED: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// All signals that are passed on. Job control (SIGTSTP and its like) stays with the proxy, and what was
/// ignored when it started, as by nohup(1), stays ignored.
pub fn forwarded() -> Vec<i32> {
    let all = FORWARDED.iter().copied().chain(REAL_TIME);
    all.filter(|signal| !crate::sys::is_ignored(*signal)).collect()
}

/// What to do with a signal.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Forward,
    /// End the application without asking it.
    End,
}

/// Notices an isle that doesn't care.
#[derive(Default)]
pub struct Policy {
    last_interrupt: Option<Instant>,
    /// When to lose patience, and with which signal the user wanted it to end.
    deadline: Option<(Instant, i32)>,
}

impl Policy {
    /// A signal has come.
    pub fn on_signal(&mut self, signal: i32, now: Instant) -> Action {
        if signal == libc::SIGINT {
            let before = self.last_interrupt.replace(now);
            if before.is_some_and(|before| now.duration_since(before) <= TWICE) {
                return Action::End;
            }
        }
        if matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGQUIT | libc::SIGHUP)
            && self.deadline.is_none()
        {
            self.deadline = now.checked_add(PATIENCE).map(|at| (at, signal));
        }
        Action::Forward
    }

    /// The isle has taken all signals: the application does with them what it likes.
    pub fn on_taken(&mut self) {
        self.deadline = None;
    }

    /// How long to wait for something to happen, at most `limit`.
    pub fn wait(&self, limit: Duration, now: Instant) -> Duration {
        self.deadline.map_or(limit, |(at, _)| at.saturating_duration_since(now).min(limit))
    }

    /// The signal to end the application with, if patience has run out.
    pub fn expired(&self, now: Instant) -> Option<i32> {
        self.deadline.filter(|(at, _)| *at <= now).map(|(_, signal)| signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{SIGINT, SIGTERM, SIGUSR1};

    #[test]
    fn two_interrupts_within_a_second() {
        let start = Instant::now();
        let mut policy = Policy::default();
        assert_eq!(policy.on_signal(SIGINT, start), Action::Forward);
        assert_eq!(policy.on_signal(SIGTERM, start), Action::Forward);
        let later = start + Duration::from_millis(1500);
        assert_eq!(policy.on_signal(SIGINT, later), Action::Forward);
        assert_eq!(policy.on_signal(SIGINT, later + Duration::from_millis(900)), Action::End);
    }

    #[test]
    fn patience() {
        let start = Instant::now();
        let late = start + PATIENCE;
        let mut policy = Policy::default();
        policy.on_signal(SIGUSR1, start);
        assert_eq!(policy.expired(late), None);
        policy.on_signal(SIGTERM, start);
        assert_eq!((policy.expired(start), policy.expired(late)), (None, Some(SIGTERM)));
        assert_eq!(policy.wait(Duration::from_secs(9), start), PATIENCE);
        policy.on_taken();
        assert_eq!((policy.expired(late), policy.wait(PATIENCE, late)), (None, PATIENCE));
    }

    #[test]
    fn those_that_stop_fault_or_belong_to_others_stay() {
        let forwarded = forwarded();
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGTSTP, libc::SIGSEGV, libc::SIGBUS] {
            assert!(!forwarded.contains(&signal));
        }
        for signal in [libc::SIGPIPE, libc::SIGCHLD, 32, 33] {
            assert!(!forwarded.contains(&signal));
        }
        assert!(forwarded.contains(&SIGTERM) && forwarded.contains(&64));
    }
}
