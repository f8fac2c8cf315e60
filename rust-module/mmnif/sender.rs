// SPDX-License-Identifier: GPL-2.0

//! On which CPU programs send to an isle. Its packets are best looked for there: whoever waits for them then is woken without
//! another interrupt. Depends on nothing, so it is tested on the host.

use core::sync::atomic::{AtomicU32, Ordering};

const NOBODY: u32 = u32::MAX;

/// So many rings in a row on another CPU than the sender's are no accident.
const PATIENCE: u32 = 32;

/// The CPU of whoever sends. All of it is a hint: what gets lost between CPUs comes again.
pub struct Sender {
    cpu: AtomicU32,
    /// Whom rings were compared with last, and how often he was elsewhere.
    candidate: AtomicU32,
    rings: AtomicU32,
}

impl Sender {
    pub const fn new() -> Self {
        Self { cpu: AtomicU32::new(NOBODY), candidate: AtomicU32::new(NOBODY), rings: AtomicU32::new(0) }
    }

    /// Something was sent, by a program on this CPU or by nobody in particular.
    pub fn sent(&self, cpu: Option<u32>) {
        // Mostly it is the same, and the line stays shared.
        if let Some(cpu) = cpu.filter(|cpu| *cpu != self.cpu.load(Ordering::Relaxed)) {
            self.cpu.store(cpu, Ordering::Relaxed);
        }
    }

    /// The isle has rung on a CPU. Returns where it should ring instead, once that is sure.
    pub fn rang(&self, here: u32) -> Option<u32> {
        let sender = self.cpu.load(Ordering::Relaxed);
        let is_new = self.candidate.swap(sender, Ordering::Relaxed) != sender;
        if is_new || sender == here || sender == NOBODY {
            self.rings.store(0, Ordering::Relaxed);
            return None;
        }
        let rings = self.rings.load(Ordering::Relaxed).wrapping_add(1);
        self.rings.store(rings % PATIENCE, Ordering::Relaxed);
        (rings >= PATIENCE).then_some(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_follow_who_keeps_sending_from_elsewhere() {
        let sender = Sender::new();
        assert!((0..1000).all(|_| sender.rang(0).is_none()), "nobody sends");
        sender.sent(Some(0));
        assert!((0..1000).all(|_| sender.rang(0).is_none()), "it is there");
        sender.sent(Some(3));
        assert_eq!((0..1000).position(|_| sender.rang(0).is_some()), Some(PATIENCE as usize));
        sender.sent(None);
        assert_eq!((0..1000).find_map(|_| sender.rang(0)), Some(3), "it could not be moved");
        assert!((0..1000).all(|_| sender.rang(3).is_none()));
        for n in 0..1000 {
            sender.sent(Some(n % 2));
            assert_eq!(sender.rang(2), None, "it is now here and now there");
        }
    }
}
