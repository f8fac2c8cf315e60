// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals of an application: what it wants to happen, and what happens. Handlers are remembered
//! but not called yet.

use crate::errno::Errno;

/// Signals by name, and how many there are.
pub mod number {
    pub use linux_raw_sys::general::{
        SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGTRAP, SIGTSTP, SIGTTIN,
        SIGTTOU, SIGURG, SIGWINCH,
    };
    pub const LAST: u32 = 64;
}

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;

/// The kernel's struct sigaction: handler, flags, restorer, mask.
pub type Action = [u64; 4];

/// The bit of a signal in a set.
pub const fn bit(signal: u32) -> u64 {
    1 << ((signal - 1) & 63)
}

const UNBLOCKABLE: u64 = bit(number::SIGKILL) | bit(number::SIGSTOP);

/// What a signal does if the application hasn't said otherwise (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Default_ {
    Terminate,
    Ignore,
    /// Stopping an application isn't possible: ignored as well.
    Stop,
}

fn default_action(signal: u32) -> Default_ {
    match signal {
        number::SIGCHLD | number::SIGURG | number::SIGWINCH | number::SIGCONT => Default_::Ignore,
        number::SIGSTOP | number::SIGTSTP | number::SIGTTIN | number::SIGTTOU => Default_::Stop,
        _ => Default_::Terminate,
    }
}

/// What becomes of a signal that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ends the application.
    Deadly,
    /// Nothing happens.
    Ignored,
    /// It waits until it is unblocked.
    Pending,
    /// There is a handler, which can't be called yet.
    Handler,
}

/// The signals of one application.
#[derive(Debug)]
pub struct Signals {
    actions: [Action; number::LAST as usize],
    blocked: u64,
    pending: u64,
    /// sigaltstack(2): sp, flags, size.
    pub stack: [u64; 3],
}

impl Default for Signals {
    fn default() -> Self {
        const SS_DISABLE: u64 = 2;
        Self { actions: [[0; 4]; number::LAST as usize], blocked: 0, pending: 0, stack: [0, SS_DISABLE, 0] }
    }
}

impl Signals {
    fn action(&self, signal: u32) -> Action {
        self.actions.get(signal.wrapping_sub(1) as usize).copied().unwrap_or_default()
    }

    /// What happens to a signal if it comes now.
    pub fn fate(&self, signal: u32) -> Fate {
        if signal == number::SIGKILL {
            return Fate::Deadly;
        }
        if self.blocked & bit(signal) != 0 {
            return Fate::Pending;
        }
        match (self.action(signal)[0], default_action(signal)) {
            (SIG_IGN, _) | (SIG_DFL, Default_::Ignore | Default_::Stop) => Fate::Ignored,
            (SIG_DFL, Default_::Terminate) => Fate::Deadly,
            _ => Fate::Handler,
        }
    }

    /// The set of signals that would end the application if they came now.
    pub fn deadly(&self) -> u64 {
        (1..=number::LAST).filter(|s| self.fate(*s) == Fate::Deadly).map(bit).fold(0, |set, b| set | b)
    }

    /// Remembers a signal that is blocked.
    pub fn hold(&mut self, signal: u32) {
        self.pending |= bit(signal);
    }

    /// A pending signal that isn't blocked any more, if there is one; it isn't pending any more then.
    pub fn take(&mut self) -> Option<u32> {
        let ready = self.pending & !self.blocked;
        let signal = (ready != 0).then(|| ready.trailing_zeros() + 1)?;
        self.pending &= !bit(signal);
        Some(signal)
    }

    /// rt_sigpending(2).
    pub fn pending(&self) -> u64 {
        self.pending & self.blocked
    }

    /// rt_sigaction(2): returns what was.
    pub fn set_action(&mut self, signal: u64, new: Option<Action>) -> Result<Action, Errno> {
        let index = usize::try_from(signal).ok().and_then(|s| s.checked_sub(1)).ok_or(Errno::EINVAL)?;
        let action = self.actions.get_mut(index).ok_or(Errno::EINVAL)?;
        let old = *action;
        if let Some(new) = new {
            if UNBLOCKABLE & (1 << index) != 0 {
                return Err(Errno::EINVAL);
            }
            *action = new;
            let [.., mask] = action;
            *mask &= !UNBLOCKABLE;
        }
        Ok(old)
    }

    /// rt_sigprocmask(2): returns what was.
    pub fn set_mask(&mut self, how: u64, set: Option<u64>) -> Result<u64, Errno> {
        let old = self.blocked;
        if let Some(set) = set {
            let set = set & !UNBLOCKABLE;
            self.blocked = match how as u32 {
                0 => old | set,
                1 => old & !set,
                2 => set,
                _ => return Err(Errno::EINVAL),
            };
        }
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_linux() {
        let signals = Signals::default();
        assert_eq!(signals.fate(15), Fate::Deadly);
        assert_eq!(signals.fate(number::SIGCHLD), Fate::Ignored);
        assert_eq!(signals.fate(64), Fate::Deadly);
        assert_eq!(signals.deadly() & (bit(9) | bit(17) | bit(2)), bit(9) | bit(2));
    }

    #[test]
    fn blocked_signals_wait() {
        let mut signals = Signals::default();
        signals.set_mask(0, Some(u64::MAX)).unwrap();
        assert_eq!(signals.fate(15), Fate::Pending);
        assert_eq!(signals.fate(9), Fate::Deadly);
        signals.hold(15);
        assert_eq!((signals.take(), signals.pending()), (None, bit(15)));
        signals.set_mask(1, Some(bit(15))).unwrap();
        assert_eq!((signals.take(), signals.take()), (Some(15), None));
        assert_eq!(signals.set_mask(7, Some(0)), Err(Errno::EINVAL));
    }

    #[test]
    fn actions_are_kept() {
        let mut signals = Signals::default();
        assert_eq!(signals.set_action(2, Some([SIG_IGN, 0, 0, 0])), Ok([0; 4]));
        assert_eq!(signals.fate(2), Fate::Ignored);
        assert_eq!(signals.set_action(2, Some([0x1234, 4, 5, u64::MAX])), Ok([1, 0, 0, 0]));
        assert_eq!(signals.fate(2), Fate::Handler);
        assert_eq!(signals.set_action(2, None), Ok([0x1234, 4, 5, !UNBLOCKABLE]));
        for bad in [0, 65, u64::MAX] {
            assert_eq!(signals.set_action(bad, None), Err(Errno::EINVAL));
        }
        assert_eq!(signals.set_action(9, Some([1, 0, 0, 0])), Err(Errno::EINVAL));
    }
}
