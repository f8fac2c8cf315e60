// SPDX-License-Identifier: GPL-2.0

//! Lent CPUs: off line for Linux, and they stay so until they are given back.

use super::cpulist::{self, Problem};
use crate::kapi::{apic, cpu};
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::c_str;
use kernel::prelude::*;

/// Which CPUs are lent, by Linux's number. Read by the hotplug callback, hence atomic and static.
static LENT: [AtomicU64; cpu::NR_CPUS.div_ceil(64)] = [const { AtomicU64::new(0) }; cpu::NR_CPUS.div_ceil(64)];

fn lent_word(cpu: u32) -> Option<(&'static AtomicU64, u64)> {
    Some((LENT.get(cpu as usize / 64)?, 1 << (cpu % 64)))
}

fn is_lent(cpu: u32) -> bool {
    lent_word(cpu).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
}

/// Refuses to bring lent CPUs on line, as long as it lives.
pub struct OnlineGuard {
    _hook: cpu::StartupHook,
}

impl OnlineGuard {
    pub fn new() -> Result<Self> {
        extern "C" fn may_start(cpu: u32) -> i32 {
            if is_lent(cpu) {
                EBUSY.to_errno()
            } else {
                0
            }
        }
        Ok(Self { _hook: cpu::StartupHook::new(c_str!("hermit:lent"), may_start)? })
    }
}

/// One CPU, marked as lent while this lives.
struct Claim(u32);

impl Claim {
    fn new(cpu: u32) -> Result<Self> {
        let (word, bit) = lent_word(cpu).ok_or(EINVAL)?;
        if word.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return Err(EBUSY);
        }
        Ok(Self(cpu))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((word, bit)) = lent_word(self.0) {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

/// A CPU that Linux doesn't run any more.
struct LentCpu {
    apic_id: apic::ApicId,
    claim: Option<Claim>,
}

impl LentCpu {
    fn take(node: u32, claim: Claim) -> Result<Self> {
        let cpu = claim.0;
        let apic_id = apic::ApicId::of_cpu(cpu).ok_or(EINVAL)?;
        cpu::remove(cpu).inspect_err(|e| {
            pr_err!("isle{node}: CPU {cpu} can't be taken off line ({})\n", e.to_errno());
        })?;
        Ok(Self { apic_id, claim: Some(claim) })
    }
}

impl Drop for LentCpu {
    fn drop(&mut self) {
        // Whatever it does now, it stops here: INIT leaves it waiting for Linux's SIPI.
        self.apic_id.send_init();
        let Some(claim) = self.claim.take() else { return };
        let cpu = claim.0;
        // Linux may have it again.
        drop(claim);
        if let Err(e) = cpu::add(cpu) {
            pr_err!(
                "CPU {cpu} does not come on line again ({}); try: echo 1 > /sys/devices/system/cpu/cpu{cpu}/online\n",
                e.to_errno()
            );
        }
    }
}

/// The CPUs of one isle; given back on drop.
pub struct LentCpus {
    // The order matters: CPUs come back before broadcasts do.
    cpus: KVec<LentCpu>,
    numbers: KVec<u32>,
    _no_shorthand: apic::NoShorthand,
}

impl LentCpus {
    /// Takes all CPUs in `numbers`, or none.
    pub fn take(node: u32, numbers: KVec<u32>) -> Result<Self> {
        // Claim all of them first, so that a list which overlaps another isle's takes nothing off line.
        let mut claims = KVec::with_capacity(numbers.len(), GFP_KERNEL)?;
        for &cpu in numbers.iter() {
            let claim = Claim::new(cpu).inspect_err(|_| {
                pr_err!("isle{node}: CPU {cpu} is lent to another isle\n");
            })?;
            claims.push(claim, GFP_KERNEL)?;
        }
        for &cpu in numbers.iter() {
            if !cpu::is_online(cpu) {
                pr_err!("isle{node}: CPU {cpu} is off line; bring it on line first\n");
                return Err(EINVAL);
            }
        }
        let mut this = Self {
            cpus: KVec::with_capacity(numbers.len(), GFP_KERNEL)?,
            numbers,
            _no_shorthand: apic::NoShorthand::new(),
        };
        for claim in claims {
            this.cpus.push(LentCpu::take(node, claim)?, GFP_KERNEL)?;
        }
        Ok(this)
    }

    /// Linux's numbers, ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub fn apic_ids(&self) -> impl Iterator<Item = apic::ApicId> + '_ {
        self.cpus.iter().map(|c| c.apic_id)
    }

    pub fn apic_id(&self, index: usize) -> Option<apic::ApicId> {
        self.cpus.get(index).map(|c| c.apic_id)
    }
}

/// The CPUs in a list that a user wrote, as far as that can be told without taking them.
pub fn parse(node: u32, text: &[u8]) -> Result<KVec<u32>> {
    let mut numbers = KVec::new();
    let mut result = Ok(());
    let parsed = cpulist::parse(text, cpu::NR_CPUS as u32, |cpu| {
        if result.is_ok() {
            result = numbers.push(cpu, GFP_KERNEL).map_err(Error::from);
        }
    });
    result?;
    if let Err(problem) = parsed {
        let why = match problem {
            Problem::Syntax => "is not a list of CPUs such as 2, 2-3 or 2,4",
            Problem::TooLarge => "names a CPU that this kernel can't have",
            Problem::Twice => "names a CPU twice, or isn't in ascending order",
        };
        pr_err!("isle{node}: what was written to cpus {why}\n");
        return Err(EINVAL);
    }
    for &cpu in numbers.iter() {
        let why = match cpu {
            0 => "has to stay with Linux",
            _ if !cpu::is_possible(cpu) => "does not exist",
            _ => continue,
        };
        pr_err!("isle{node}: CPU {cpu} {why}\n");
        return Err(EINVAL);
    }
    Ok(numbers)
}
