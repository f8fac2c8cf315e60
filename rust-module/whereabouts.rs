// SPDX-License-Identifier: GPL-2.0

//! On which CPU those are for whom an isle rings: its proxy, or programs that send to it. Its interrupt is best taken there: whoever
//! waits then is woken without another one. Depends on nothing, so it is tested on the host.

use core::sync::atomic::{AtomicU32, Ordering};

const NOBODY: u32 = u32::MAX;

/// So many rings in a row on another CPU than theirs are no accident.
const PATIENCE: u32 = 32;

/// Where they are. All of it is a hint: what gets lost between CPUs comes again.
pub struct Whereabouts {
    cpu: AtomicU32,
    /// What rings were compared with last, and how often that was elsewhere.
    candidate: AtomicU32,
    rings: AtomicU32,
}

impl Whereabouts {
    pub const fn new() -> Self {
        Self { cpu: AtomicU32::new(NOBODY), candidate: AtomicU32::new(NOBODY), rings: AtomicU32::new(0) }
    }

    /// One of them is on this CPU; or it was nobody in particular.
    pub fn seen(&self, cpu: Option<u32>) {
        // Mostly it is the same, and the line stays shared.
        if let Some(cpu) = cpu.filter(|cpu| *cpu != self.cpu.load(Ordering::Relaxed)) {
            self.cpu.store(cpu, Ordering::Relaxed);
        }
    }

    /// The isle has rung on a CPU. Returns where it should ring instead, once that is sure.
    pub fn rang(&self, here: u32) -> Option<u32> {
        let wanted = self.cpu.load(Ordering::Relaxed);
        let is_new = self.candidate.swap(wanted, Ordering::Relaxed) != wanted;
        if is_new || wanted == here || wanted == NOBODY {
            self.rings.store(0, Ordering::Relaxed);
            return None;
        }
        let rings = self.rings.load(Ordering::Relaxed).wrapping_add(1);
        self.rings.store(rings % PATIENCE, Ordering::Relaxed);
        (rings >= PATIENCE).then_some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_follow_who_is_elsewhere_for_long() {
        let place = Whereabouts::new();
        assert!((0..1000).all(|_| place.rang(0).is_none()), "nobody is there");
        place.seen(Some(0));
        assert!((0..1000).all(|_| place.rang(0).is_none()), "it is there");
        place.seen(Some(3));
        assert_eq!((0..1000).position(|_| place.rang(0).is_some()), Some(PATIENCE as usize));
        place.seen(None);
        assert_eq!((0..1000).find_map(|_| place.rang(0)), Some(3), "it could not be moved");
        assert!((0..1000).all(|_| place.rang(3).is_none()));
        for n in 0..1000 {
            place.seen(Some(n % 2));
            assert_eq!(place.rang(2), None, "it is now here and now there");
        }
    }
}
