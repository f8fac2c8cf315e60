// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables that several CPUs run on at once, and what these remember of them.
//!
//! The kernel never uses an application's addresses, so only CPUs in ring 3 need to be told when something was unmapped.
//! A change raises the page table's `generation`. A CPU says that it is in ring 3 before it looks at the generation;
//! who makes a change looks at that afterwards. So either the CPU sees the new generation and forgets what it
//! remembers, or it is seen in ring 3, interrupted, and waited for. That wait is short: ring 3 takes interrupts.
//!
//! While a CPU goes from one page table to another it may still use the first and already the second, so it says that it has
//! neither ([`on_isle::CHANGING`]): who wants to know waits until it has arrived.

use crate::paging::table::Table;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A set of CPUs that any of them may change.
pub struct CpuSet(Box<[AtomicU64]>);

impl CpuSet {
    /// An empty set for so many CPUs.
    pub fn new(count: usize) -> Self {
        Self((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().into())
    }

    pub fn insert(&self, cpu: usize) {
        if let Some(word) = self.0.get(cpu / 64) {
            word.fetch_or(1 << (cpu % 64), Ordering::SeqCst);
        }
    }

    pub fn remove(&self, cpu: usize) {
        if let Some(word) = self.0.get(cpu / 64) {
            word.fetch_and(!(1 << (cpu % 64)), Ordering::SeqCst);
        }
    }

    pub fn contains(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|w| w.load(Ordering::SeqCst) & (1 << (cpu % 64)) != 0)
    }

    /// All that are in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut bits = word.load(Ordering::SeqCst);
            core::iter::from_fn(move || {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit)
            })
        })
    }
}

/// At most so many pages are forgotten one by one on the CPU that changes them.
const FEW: usize = 32;

/// What a CPU may remember of entries that were changed: of those that weren't present, nothing.
pub(crate) struct Stale {
    /// As many as `count` says are there, [`FEW`] at most; the rest isn't even cleared, since nearly always there is one or none.
    pages: [MaybeUninit<u64>; FEW],
    /// How many pages and tables there are, also where there are too many to say which.
    count: usize,
}

impl Stale {
    pub const fn nothing() -> Self {
        Self { pages: [const { MaybeUninit::uninit() }; FEW], count: 0 }
    }

    /// Adds a page, or a table, which the first of its addresses stands for: to forget a page is to forget all tables on the
    /// way to any page (SDM vol. 3, 4.10.4.1).
    pub fn add(&mut self, virt: u64) {
        if let Some(page) = self.pages.get_mut(self.count) {
            page.write(virt);
        }
        self.count += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The pages, if they are few.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    fn few(&self) -> Option<&[u64]> {
        let pages = self.pages.get(..self.count)?;
        // SAFETY: `add` has written the first `count`, which are all there.
        Some(unsafe { core::slice::from_raw_parts(pages.as_ptr().cast(), pages.len()) })
    }
}

/// What CPUs have to agree about that run on the same page table: its root, which is there as long as this.
pub struct Root {
    table: Table,
    physical: u64,
    generation: AtomicU64,
    /// All CPUs that run on it, and some that once did.
    cpus: CpuSet,
    /// More than one CPU may run on it at the same time.
    is_shared: AtomicBool,
}

impl Root {
    /// Takes over a table that nobody frees.
    pub(crate) fn new(table: Table) -> Self {
        let count = crate::shared::try_get().map_or(1, |s| s.cpus.len());
        let physical = table.physical();
        Self {
            table,
            physical,
            generation: AtomicU64::new(1),
            cpus: CpuSet::new(count),
            is_shared: AtomicBool::new(false),
        }
    }

    #[cfg(not(target_os = "none"))]
    pub(crate) fn wait_until_unused(&self) {}

    #[cfg(not(target_os = "none"))]
    pub(crate) fn changed(&self, _: &Stale) {
        let _ = (self.physical, &self.cpus);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// True if no CPU remembers anything from before the last change.
    pub(crate) fn is_settled(&self) -> bool {
        #[cfg(target_os = "none")]
        return self.on_isle_settled();
        #[cfg(not(target_os = "none"))]
        true
    }

    /// True if more than one CPU may run on it at the same time.
    pub fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Has to be called before a second CPU may run on it.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Returns when every CPU that runs on it has been out of ring 3 at least for a moment.
    pub fn synchronize(&self) {
        self.changed(&Stale::nothing());
    }

    /// Makes it this CPU's page table.
    pub fn activate(&self) {
        #[cfg(target_os = "none")]
        self.load();
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        leave();
        self.wait_until_unused();
        self.table.free();
    }
}

#[cfg(target_os = "none")]
mod on_isle {
    use super::{Ordering, Root, Stale};
    use crate::cpu::{self, PerCpu};
    use crate::{apic, boot, kmap};

    /// In place of a page table: the CPU is on its way from one to another.
    pub(super) const CHANGING: u64 = u64::MAX;

    /// Loads a page table, which forgets all that the CPU remembers.
    fn load(root: u64) {
        // SAFETY: a PML4 whose upper half is the kernel's.
        unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack)) }
    }

    /// Goes from one page table to another; `flushed`: up to which change of that one nothing will be remembered.
    fn change(cpu: &PerCpu, root: u64, flushed: u64) {
        // Others see these stores in this order, which x86 keeps; nothing is moved over the load of CR3.
        cpu.root.store(CHANGING, Ordering::Release);
        load(root);
        cpu.flushed.store(flushed, Ordering::Release);
        cpu.root.store(root, Ordering::Release);
    }

    /// Makes no application's page table this CPU's.
    pub fn leave() {
        let cpu = cpu::current();
        if cpu.root.load(Ordering::Relaxed) != kmap::root() {
            change(cpu, kmap::root(), 0);
        }
    }

    impl Root {
        pub(super) fn load(&self) {
            let cpu = cpu::current();
            if cpu.root.load(Ordering::Relaxed) != self.physical {
                self.cpus.insert(cpu.index);
                // Asked for before the load, which forgets everything: a change in between is seen by `enter`.
                change(cpu, self.physical, self.generation.load(Ordering::SeqCst));
            }
        }

        /// Has to be called right before ring 3 is entered, with interrupts off.
        pub(crate) fn enter(&self) {
            let cpu = cpu::current();
            // Where nobody else changes the page table, nobody looks either.
            let ordering = if self.is_shared() { Ordering::SeqCst } else { Ordering::Relaxed };
            cpu.in_user.store(true, ordering);
            let generation = self.generation.load(Ordering::SeqCst);
            if cpu.flushed.load(Ordering::Relaxed) != generation {
                // In this order: who reads `flushed` then knows that it is true.
                load(self.physical);
                cpu.flushed.store(generation, Ordering::SeqCst);
            }
        }

        /// Makes all CPUs forget what is stale. Interrupts those that are in ring 3.
        pub(crate) fn changed(&self, stale: &Stale) {
            let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
            let me = cpu::current();
            if me.root.load(Ordering::Relaxed) == self.physical {
                match stale.few() {
                    Some(pages) if me.flushed.load(Ordering::Relaxed) == generation - 1 => {
                        for virt in pages {
                            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(*virt));
                        }
                    }
                    _ => load(self.physical),
                }
                me.flushed.store(generation, Ordering::SeqCst);
            }
            if !self.is_shared() {
                return;
            }
            let behind = |index: usize| {
                boot::per_cpu(index).is_some_and(|cpu| {
                    cpu.in_user.load(Ordering::SeqCst)
                        && cpu.root.load(Ordering::SeqCst) == self.physical
                        && cpu.flushed.load(Ordering::SeqCst) < generation
                })
            };
            let others = || self.cpus.iter().filter(|cpu| *cpu != me.index && behind(*cpu));
            for cpu in others() {
                apic::kick(cpu);
            }
            while others().next().is_some() {
                core::hint::spin_loop();
            }
        }

        /// Waits for CPUs that are about to leave it.
        pub(crate) fn wait_until_unused(&self) {
            let runs = |index| {
                boot::per_cpu(index)
                    .is_some_and(|cpu| [self.physical, CHANGING].contains(&cpu.root.load(Ordering::SeqCst)))
            };
            while self.cpus.iter().any(runs) {
                core::hint::spin_loop();
            }
        }

        pub(super) fn on_isle_settled(&self) -> bool {
            let generation = self.generation.load(Ordering::SeqCst);
            self.cpus.iter().all(|index| {
                boot::per_cpu(index).is_none_or(|cpu| {
                    // In this order: if it is another page table's, this one was left since, or is loaded anew.
                    let flushed = cpu.flushed.load(Ordering::SeqCst);
                    match cpu.root.load(Ordering::SeqCst) {
                        CHANGING => false,
                        root => root != self.physical || flushed >= generation,
                    }
                })
            })
        }
    }
}

#[cfg(target_os = "none")]
pub use on_isle::leave;

/// There is no page table on the host.
#[cfg(not(target_os = "none"))]
pub fn leave() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pages_are_told_apart() {
        let mut stale = Stale::nothing();
        assert!(stale.is_empty());
        for page in 0..FEW as u64 {
            assert_eq!(stale.few().map(<[u64]>::len), Some(page as usize));
            stale.add(page << 12);
        }
        assert_eq!(stale.few().and_then(<[u64]>::last), Some(&((FEW as u64 - 1) << 12)));
        stale.add(0);
        assert!(stale.few().is_none() && !stale.is_empty());
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = CpuSet::new(130);
        for cpu in [0, 63, 64, 129] {
            set.insert(cpu);
        }
        set.remove(63);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 129]);
        assert!(set.contains(129) && !set.contains(63) && !set.contains(4000));
    }
}
