// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals: what an application has asked for, and what happens by default.
//!
//! Handlers are kept but not called yet.

use linux_raw_sys::general as c;

pub const KILL: u32 = c::SIGKILL;

const IGNORE: u64 = 1;

/// struct sigaction as the kernel has it on x86-64: handler, flags, restorer, mask.
pub type Action = [u64; 4];

pub struct Signals {
    actions: [Action; 64],
    /// Bit `n - 1` for signal `n`.
    pub blocked: u64,
    /// sigaltstack(2): address, flags, size.
    pub alternate_stack: [u64; 3],
}

fn bit(signal: u32) -> u64 {
    1u64.checked_shl(signal.wrapping_sub(1)).unwrap_or(0)
}

impl Signals {
    pub fn new() -> Self {
        // SS_DISABLE
        Self { actions: [[0; 4]; 64], blocked: 0, alternate_stack: [0, 2, 0] }
    }

    pub fn action(&self, signal: u32) -> Option<Action> {
        self.actions.get(signal.checked_sub(1)? as usize).copied()
    }

    /// `None`: no such signal, or one whose action can't be changed.
    pub fn set_action(&mut self, signal: u32, action: Action) -> Option<()> {
        if signal == c::SIGKILL || signal == c::SIGSTOP {
            return None;
        }
        *self.actions.get_mut(signal.checked_sub(1)? as usize)? = action;
        Some(())
    }

    pub fn set_blocked(&mut self, mask: u64) {
        self.blocked = mask & !bit(c::SIGKILL) & !bit(c::SIGSTOP);
    }

    /// Whether a signal that is sent ends the application: its action is the default one, and that is to end.
    pub fn is_deadly(&self, signal: u32) -> bool {
        if signal == c::SIGKILL {
            return true;
        }
        if self.blocked & bit(signal) != 0 {
            return false;
        }
        let [handler, ..] = self.action(signal).unwrap_or([0; 4]);
        // A handler can't be called yet: what would have to be handled ends the application.
        handler != IGNORE && !is_ignored_by_default(signal)
    }

    /// The first deadly one of some pending signals, and which of them are to be forgotten.
    pub fn first_deadly(&self, pending: u64) -> (Option<u32>, u64) {
        let deadly = (1..=64).find(|&s| pending & bit(s) != 0 && self.is_deadly(s));
        (deadly, pending & !self.blocked)
    }
}

/// Signals whose default action is not to end (signal(7)). Stopping isn't there yet.
fn is_ignored_by_default(signal: u32) -> bool {
    matches!(
        signal,
        c::SIGCHLD | c::SIGURG | c::SIGWINCH | c::SIGCONT | c::SIGSTOP | c::SIGTSTP | c::SIGTTIN | c::SIGTTOU
    )
}
