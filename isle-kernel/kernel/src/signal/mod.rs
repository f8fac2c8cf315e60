// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals: what an application wants to happen, what is pending, and who gets it.

pub mod deliver;
pub mod info;

use crate::errno::{End, Errno};
use crate::mem::is_scarce;
use crate::process::Process;
use crate::sched::{self, Task};
use crate::thread::Thread;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
pub use deliver::Trap;
pub use info::Info;

/// Signals by name, and how many there are.
pub mod number {
    pub use linux_raw_sys::general::{
        SIGABRT, SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGPROF, SIGQUIT,
        SIGSEGV, SIGSTOP, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGVTALRM, SIGWINCH,
    };
    pub const LAST: u32 = 64;
    /// The first real-time signal, of which several may be pending.
    pub const FIRST_QUEUED: u32 = 32;
}

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;

/// Flags of sigaction(2).
pub mod flag {
    pub const ONSTACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const NODEFER: u64 = 0x4000_0000;
    pub const RESETHAND: u64 = 0x8000_0000;
    pub const RESTORER: u64 = 0x0400_0000;
}

/// The kernel's struct sigaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

/// The bit of a signal in a set.
pub const fn bit(signal: u32) -> u64 {
    1 << (signal.wrapping_sub(1) & 63)
}

pub const UNBLOCKABLE: u64 = bit(number::SIGKILL) | bit(number::SIGSTOP);

/// Most signals that can be queued, as RLIMIT_SIGPENDING has it.
const MAX_QUEUED: usize = 1024;

/// Room for so many signals is kept once they have been taken.
const KEPT: usize = 64;

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

/// What becomes of a signal that nobody blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ends the application.
    Deadly,
    /// Nothing happens.
    Ignored,
    /// Its handler is called.
    Handled(Action),
}

/// Signals that were sent and not taken yet.
#[derive(Debug, Default)]
pub struct Pending {
    queue: VecDeque<Info>,
    /// Those of which nothing more is known, since there was no room in the queue.
    bare: u64,
}

impl Pending {
    /// The set of them.
    pub fn set(&self) -> u64 {
        self.queue.iter().fold(self.bare, |set, info| set | bit(info.signal))
    }

    /// Adds one; EAGAIN: too many, or no kernel memory. Of a signal that isn't a real-time signal the first counts, and it
    /// always has room (Linux: __send_signal_locked()).
    pub fn push(&mut self, info: Info) -> Result<(), Errno> {
        let is_queued = info.signal >= number::FIRST_QUEUED;
        if !is_queued && self.set() & bit(info.signal) != 0 {
            return Ok(());
        }
        if self.queue.len() < MAX_QUEUED && self.has_room() {
            self.queue.push_back(info);
        } else if is_queued {
            return Err(Errno::EAGAIN);
        } else {
            self.bare |= bit(info.signal);
        }
        Ok(())
    }

    /// Makes room for one more. The queues of all threads together may be as long as kernel memory.
    fn has_room(&mut self) -> bool {
        let len = self.queue.len();
        len < self.queue.capacity() || (!is_scarce(4 * len * size_of::<Info>()) && self.queue.try_reserve(1).is_ok())
    }

    /// Takes one of a set: those of faults first, then the lowest number, then the oldest.
    pub fn take(&mut self, set: u64) -> Option<Info> {
        let signal = first_of(self.set() & set)?;
        if self.bare & bit(signal) != 0 {
            self.bare &= !bit(signal);
            // As Linux has it then: from nobody (collect_signal()).
            return Some(Info::user(signal, info::code::USER, 0, 0));
        }
        let at = self.queue.iter().position(|i| i.signal == signal)?;
        let taken = self.queue.remove(at);
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
        }
        taken
    }

    /// The signal of this timer that is still pending.
    fn of_timer(&mut self, signal: u32, id: u32) -> Option<&mut Info> {
        self.queue.iter_mut().find(|i| i.signal == signal && i.timer_id() == Some(id))
    }

    /// Drops all of a signal.
    pub fn forget(&mut self, signal: u32) {
        self.bare &= !bit(signal);
        self.queue.retain(|i| i.signal != signal);
    }
}

/// The signal of a set that comes first (Linux: next_signal()).
fn first_of(set: u64) -> Option<u32> {
    const SYNCHRONOUS: u64 =
        bit(number::SIGSEGV) | bit(number::SIGBUS) | bit(number::SIGILL) | bit(number::SIGTRAP) | bit(number::SIGFPE);
    let first = if set & SYNCHRONOUS != 0 { set & SYNCHRONOUS } else { set };
    (first != 0).then(|| first.trailing_zeros() + 1)
}

/// What the threads of an application share.
#[derive(Debug)]
pub struct Signals {
    actions: [Action; number::LAST as usize],
    pub pending: Pending,
    /// The process is a stand-in: whatever comes is passed on.
    takes_all: bool,
}

impl Default for Signals {
    fn default() -> Self {
        Self { actions: [Action::default(); number::LAST as usize], pending: Pending::default(), takes_all: false }
    }
}

impl Signals {
    fn action(&self, signal: u32) -> Action {
        self.actions.get(signal.wrapping_sub(1) as usize).copied().unwrap_or_default()
    }

    /// Those of a new process: nothing is pending.
    pub fn inherited(&self) -> Self {
        Self { actions: self.actions, pending: Pending::default(), takes_all: false }
    }

    /// Gives all signals that have a handler their default action, as execve(2) does.
    pub fn reset(&mut self) {
        for action in &mut self.actions {
            let handler = if action.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// From now on no signal does anything by itself.
    pub fn take_all(&mut self) {
        self.takes_all = true;
    }

    /// The set of signals that are ignored on purpose.
    pub fn ignored(&self) -> u64 {
        (1..=number::LAST).filter(|signal| self.action(*signal).handler == SIG_IGN).fold(0, |set, s| set | bit(s))
    }

    /// True if the process wants to hear how its children end (wait(2), NOTES).
    pub fn wants_children(&self, signal: u32) -> bool {
        const NO_CHILD_WAIT: u64 = 2;
        let action = self.action(number::SIGCHLD);
        signal != number::SIGCHLD || (action.handler != SIG_IGN && action.flags & NO_CHILD_WAIT == 0)
    }

    /// What happens to a signal that nobody blocks.
    pub fn fate(&self, signal: u32) -> Fate {
        let action = self.action(signal);
        if self.takes_all {
            return Fate::Handled(action);
        }
        if signal == number::SIGKILL {
            return Fate::Deadly;
        }
        match (action.handler, default_action(signal)) {
            (SIG_IGN, _) | (SIG_DFL, Default_::Ignore | Default_::Stop) => Fate::Ignored,
            (SIG_DFL, Default_::Terminate) => Fate::Deadly,
            _ => Fate::Handled(action),
        }
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
            *action = Action { mask: new.mask & !UNBLOCKABLE, ..new };
            let signal = signal as u32;
            if self.fate(signal) == Fate::Ignored {
                self.pending.forget(signal);
            }
        }
        Ok(old)
    }

    /// The action of a signal whose handler is about to be called.
    fn begin_handler(&mut self, signal: u32) -> Action {
        let action = self.action(signal);
        if action.flags & flag::RESETHAND != 0 {
            if let Some(slot) = self.actions.get_mut(signal.wrapping_sub(1) as usize) {
                slot.handler = SIG_DFL;
            }
        }
        action
    }
}

/// Sends the signal of a timer, or counts one more overrun of what is still pending; returns the overruns.
pub fn send_of_timer(process: &Process, to: Option<&Arc<Task>>, info: Info, id: u32) -> Result<u32, Errno> {
    let counted = match to {
        Some(task) => task.pending.lock().of_timer(info.signal, id).map(|i| i.overrun_more(info.overrun())),
        None => process.signals.lock().pending.of_timer(info.signal, id).map(|i| i.overrun_more(info.overrun())),
    };
    if let Some(overrun) = counted {
        return Ok(overrun);
    }
    send(process, to, info)?;
    Ok(info.overrun())
}

/// Sends a signal to a thread, or to whichever thread of the process wants it.
pub fn send(process: &Process, to: Option<&Arc<Task>>, info: Info) -> Result<(), Errno> {
    let signal = bit(info.signal);
    let blocks = |task: &Task| task.blocked.load(Ordering::SeqCst) & signal != 0;
    let awaits = |task: &Task| task.waits_for.load(Ordering::SeqCst) & signal != 0;
    let mut signals = process.signals.lock();
    let receiver = match to {
        Some(task) => Some(task.clone()),
        None => {
            let waiting = process.find_thread(awaits);
            waiting.or_else(|| process.find_thread(|t| !blocks(t))).or_else(|| process.find_thread(|_| true))
        }
    };
    let Some(receiver) = receiver else { return Err(Errno::ESRCH) };
    let free = !blocks(&receiver);
    match signals.fate(info.signal) {
        Fate::Ignored if free => return Ok(()),
        Fate::Deadly if free || info.signal == number::SIGKILL => {
            drop(signals);
            process.end(End::signal(info.signal));
            return Ok(());
        }
        _ => {}
    }
    match to {
        Some(task) => task.pending.lock().push(info)?,
        None => signals.pending.push(info)?,
    }
    drop(signals);
    if free {
        receiver.notify();
    } else if awaits(&receiver) {
        receiver.stir();
        sched::wake(&receiver);
    }
    Ok(())
}

/// True if a signal is pending that the thread doesn't block.
pub fn has_due(task: &Task) -> bool {
    let open = !task.blocked.load(Ordering::SeqCst);
    let shared = task.process.signals.lock().pending.set();
    (shared | task.pending.lock().set()) & open != 0
}

/// All signals that are pending for a thread.
pub fn pending(task: &Task) -> u64 {
    let shared = task.process.signals.lock().pending.set();
    shared | task.pending.lock().set()
}

/// Takes a pending signal of a set.
pub fn take(task: &Task, set: u64) -> Option<Info> {
    let own = task.pending.lock().take(set);
    own.or_else(|| task.process.signals.lock().pending.take(set))
}

/// Takes the next signal whose handler has to be called. Those that are ignored are dropped; a deadly
/// one ends the process.
pub fn take_due(thread: &mut Thread) -> Option<(Info, Action)> {
    loop {
        let open = !thread.task.blocked.load(Ordering::SeqCst);
        let info = take(&thread.task, open)?;
        let mut signals = thread.process.signals.lock();
        match signals.fate(info.signal) {
            Fate::Ignored => {}
            Fate::Handled(_) => return Some((info, signals.begin_handler(info.signal))),
            Fate::Deadly => {
                drop(signals);
                thread.process.end(End::signal(info.signal));
                return None;
            }
        }
    }
}

/// The handler of a signal that can't wait; `None` if there is none, or it is blocked: then it is deadly.
pub fn forced_handler(thread: &Thread, signal: u32) -> Option<Action> {
    if thread.task.blocked.load(Ordering::SeqCst) & bit(signal) != 0 {
        return None;
    }
    let mut signals = thread.process.signals.lock();
    match signals.fate(signal) {
        Fate::Handled(_) => Some(signals.begin_handler(signal)),
        Fate::Deadly | Fate::Ignored => None,
    }
}

/// Sets which signals a thread blocks; returns which it did.
pub fn set_blocked(task: &Arc<Task>, blocked: u64) -> u64 {
    let blocked = blocked & !UNBLOCKABLE;
    let old = task.blocked.swap(blocked, Ordering::SeqCst);
    let shared = task.process.signals.lock().pending.set();
    if (shared | task.pending.lock().set()) & !blocked != 0 {
        task.notify();
    }
    pass_on(task, shared & blocked & !old);
    old
}

/// A thread no longer takes signals of its process that it may have been told of: others are told (Linux:
/// retarget_shared_pending()).
fn pass_on(from: &Task, mut signals: u64) {
    while signals != 0 {
        let signal = signals & signals.wrapping_neg();
        signals ^= signal;
        let takes = |task: &Task| {
            let wanted = !task.blocked.load(Ordering::SeqCst) | task.waits_for.load(Ordering::SeqCst);
            task.serial() != from.serial() && wanted & signal != 0
        };
        if let Some(other) = from.process.find_thread(takes) {
            other.notify();
        }
    }
}

/// As [`pass_on`], by a thread that its process doesn't know any more (Linux: exit_signals()).
pub fn leave(task: &Task) {
    let shared = task.process.signals.lock().pending.set();
    pass_on(task, shared & !task.blocked.load(Ordering::SeqCst));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(at: u64) -> Action {
        Action { handler: at, flags: 4, restorer: 5, mask: u64::MAX }
    }

    #[test]
    fn defaults_are_those_of_linux() {
        let signals = Signals::default();
        assert_eq!(signals.fate(15), Fate::Deadly);
        assert_eq!(signals.fate(number::SIGCHLD), Fate::Ignored);
        assert_eq!(signals.fate(64), Fate::Deadly);
    }

    #[test]
    fn actions_are_kept() {
        let mut signals = Signals::default();
        assert_eq!(
            signals.set_action(2, Some(Action { handler: SIG_IGN, ..Action::default() })),
            Ok(Action::default())
        );
        assert_eq!(signals.fate(2), Fate::Ignored);
        signals.set_action(2, Some(handler(0x1234))).unwrap();
        let kept = Action { mask: !UNBLOCKABLE, ..handler(0x1234) };
        assert_eq!(signals.fate(2), Fate::Handled(kept));
        assert_eq!(signals.set_action(2, None), Ok(kept));
        for bad in [0, 65, u64::MAX] {
            assert_eq!(signals.set_action(bad, None), Err(Errno::EINVAL));
        }
        assert_eq!(signals.set_action(9, Some(handler(1))), Err(Errno::EINVAL));
    }

    #[test]
    fn a_handler_may_be_for_once() {
        let mut signals = Signals::default();
        signals.set_action(10, Some(Action { flags: flag::RESETHAND, ..handler(0x1000) })).unwrap();
        assert_eq!(signals.begin_handler(10).handler, 0x1000);
        assert_eq!(signals.fate(10), Fate::Deadly);
    }

    #[test]
    fn pending_signals_come_in_order() {
        let mut pending = Pending::default();
        for (signal, code) in [(40, 1), (15, 1), (15, 2), (40, 2), (11, 1)] {
            pending.push(Info { signal, code, ..Info::default() }).unwrap();
        }
        let mut taken = || pending.take(u64::MAX).map(|i| (i.signal, i.code));
        assert_eq!(taken(), Some((11, 1)), "faults first");
        assert_eq!(taken(), Some((15, 1)), "one of a kind");
        assert_eq!((taken(), taken(), taken()), (Some((40, 1)), Some((40, 2)), None));
    }

    #[test]
    fn without_kernel_memory_signals_are_refused_or_bare() {
        let mut pending = Pending::default();
        let scarcity = hermit_plat::scarcity::Scarcity::begin();
        assert_eq!(pending.push(Info { signal: 40, ..Info::default() }), Err(Errno::EAGAIN));
        assert_eq!(pending.push(Info { signal: 15, code: 7, ..Info::default() }), Ok(()));
        drop(scarcity);
        assert_eq!(pending.set(), bit(15));
        pending.push(Info { signal: 40, ..Info::default() }).unwrap();
        assert_eq!(pending.take(u64::MAX), Some(Info::user(15, info::code::USER, 0, 0)));
        assert_eq!(pending.set(), bit(40));
        for count in 1.. {
            if pending.push(Info { signal: 41, ..Info::default() }) == Err(Errno::EAGAIN) {
                assert_eq!(count, MAX_QUEUED);
                break;
            }
        }
        assert_eq!(
            pending.push(Info { signal: 10, ..Info::default() }),
            Ok(()),
            "there is always room for one of a kind"
        );
        assert_eq!((pending.set() & bit(10), pending.take(bit(10)).map(|i| i.signal)), (bit(10), Some(10)));
    }

    #[test]
    fn ignoring_forgets() {
        let mut signals = Signals::default();
        signals.pending.push(Info { signal: 10, ..Info::default() }).unwrap();
        signals.set_action(10, Some(Action { handler: SIG_IGN, ..Action::default() })).unwrap();
        assert_eq!(signals.pending.set(), 0);
    }
}
