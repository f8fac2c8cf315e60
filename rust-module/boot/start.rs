// SPDX-License-Identifier: GPL-2.0

//! Starting CPUs, one after another, by INIT and SIPI through the trampoline below 1 MiB.

use super::image::Image;
use super::load::Loaded;
use crate::abi::boot::{Range, DIRECT_MAP};
use crate::abi::cpu;
use crate::abi::image::{TrampolineArgs, TRAMPOLINE_ARGS};
use crate::abi::load::pagetable;
use crate::abi::PAGE_SIZE;
use crate::kapi::apic::{self, ApicId};
use crate::kapi::shm::{self, Mapping};
use crate::kapi::time;
use crate::partition::cpus::LentCpus;
use core::sync::atomic::Ordering;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

/// How long one CPU may take from SIPI to its life sign, and the isle from then to "running".
const CPU_TIMEOUT_MS: u64 = 5_000;
const ISLE_TIMEOUT_MS: u64 = 10_000;

/// The area below 1 MiB where CPUs start, one at a time.
#[pin_data]
pub struct Trampoline {
    #[pin]
    area: Mutex<Range>,
}

impl Trampoline {
    /// ENODEV on platforms where CPUs can't be lent.
    pub fn new() -> Result<Arc<Self>> {
        if apic::is_overridden() {
            pr_err!("this platform starts CPUs in its own way (SEV-ES or the like), so none can be lent\n");
            return Err(ENODEV);
        }
        let Some(area) = shm::trampoline_area() else {
            pr_err!("the kernel found no memory below 1 MiB where lent CPUs could start\n");
            return Err(ENODEV);
        };
        Arc::pin_init(pin_init!(Self { area <- new_mutex!(area, "hermit:trampoline") }), GFP_KERNEL)
    }
}

/// Starts all CPUs and waits until the isle runs. ETIMEDOUT: one did not come up.
pub fn start(node: u32, trampoline: &Trampoline, image: &Image, loaded: &Loaded, cpus: &LentCpus) -> Result {
    let elf = image.elf().map_err(|_| ENOEXEC)?;
    let mut args = TrampolineArgs {
        low_page_table: 0,
        entry: loaded.entry,
        stack: 0,
        boot_info: DIRECT_MAP + loaded.shared.layout.boot_info,
        cpu: 0,
        page_table: loaded.page_table,
    };
    for (index, &number) in cpus.numbers().iter().enumerate() {
        let apic_id = cpus.apic_id(index).ok_or(EINVAL)?;
        args.cpu = index as u64;
        args.stack = DIRECT_MAP + loaded.shared.layout.stack_top(index as u32);
        let came = {
            let area = trampoline.area.lock();
            start_one(*area, apic_id, elf.trampoline, &mut args, loaded, index)?
        };
        if !came {
            pr_err!(
                "isle{node}: CPU {number} (APIC id {:#x}) did not come up; see /sys/hermit/isle{node}/log\n",
                apic_id.raw()
            );
            return Err(time::etimedout());
        }
    }
    let shared = &loaded.shared;
    time::wait_until(ISLE_TIMEOUT_MS, || shared.is_running() || shared.is_crashed());
    if !shared.is_running() {
        pr_err!("isle{node}: the isle kernel did not get ready; see /sys/hermit/isle{node}/log\n");
        return Err(time::etimedout());
    }
    Ok(())
}

fn start_one(
    area: Range,
    apic_id: ApicId,
    code: &[u8],
    args: &mut TrampolineArgs,
    loaded: &Loaded,
    index: usize,
) -> Result<bool> {
    let low = Mapping::new(area)?;
    low.zero(area.start, area.len)?;
    low.write(area.start, code)?;
    let tables = area.start + PAGE_SIZE;
    args.low_page_table = tables;
    pagetable::trampoline(&low, tables, &loaded.shared.memory, loaded.page_table)?;
    low.write_value(area.start + TRAMPOLINE_ARGS, args)?;

    let alive = || {
        loaded
            .shared
            .cpus()
            .is_ok_and(|cpus| cpus.get(index).is_some_and(|c| c.state.load(Ordering::Acquire) == cpu::state::READY))
            || loaded.shared.is_crashed()
    };
    // SDM vol. 3, "Typical AP Initialization Sequence": INIT, 10 ms, SIPI, 200 us, SIPI if need be.
    let page = (area.start / PAGE_SIZE) as u8;
    apic_id.send_init();
    time::sleep_us(10_000);
    apic_id.send_startup(page);
    if !time::wait_until(10, alive) {
        apic_id.send_startup(page);
    }
    let came = time::wait_until(CPU_TIMEOUT_MS, alive) && !loaded.shared.is_crashed();
    if !came {
        // Whatever it does, it must leave the trampoline to others.
        apic_id.send_init();
        time::sleep_us(1_000);
    }
    Ok(came)
}
