// SPDX-License-Identifier: GPL-2.0

//! Fills an isle's memory: image, page tables, boot information, shared structures.

use super::image::Image;
use super::shared::Shared;
use crate::abi::boot::{BootInfo, Range, DIRECT_MAP, DIRECT_MAP_SIZE, MAGIC, MAX_RANGES};
use crate::abi::clock::{Clock, Sample, Steering};
use crate::abi::control::{Control, NO_DOORBELL};
use crate::abi::cpu::Cpu;
use crate::abi::load::layout::Layout;
use crate::abi::load::pagetable::{Access, Builder};
use crate::abi::net::Net;
use crate::kapi::apic::ApicId;
use crate::kapi::shm::Mapping;
use crate::kapi::time;
use crate::mmnif;
use crate::partition::{cpus::LentCpus, memory::LentMemory};
use core::sync::atomic::Ordering;
use kernel::prelude::*;
use kernel::sync::Arc;

/// An isle's memory, ready for its first CPU.
pub struct Loaded {
    pub shared: Arc<Shared>,
    /// The isle's PML4.
    pub page_table: u64,
    /// Virtual address of the image's entry point.
    pub entry: u64,
    /// What the isle's clock page says.
    pub clock: Steering,
}

/// Loads an image. ENOMEM: there is too little memory for it.
pub fn load(node: u32, image: &Image, memory: &LentMemory, cpus: &LentCpus) -> Result<Loaded> {
    let elf = image.elf().map_err(|_| ENOEXEC)?;
    let ranges = memory.ranges();
    if ranges.iter().any(|r| r.start + r.len > DIRECT_MAP_SIZE) {
        pr_err!("isle{node}: memory above 64 TiB can't be used\n");
        return Err(ENOMEM);
    }
    let count = cpus.numbers().len();
    let layout = Layout::plan(ranges, elf.len, count as u32).ok_or_else(|| {
        pr_err!("isle{node}: too little memory in one piece; ask for more in /sys/hermit/isle{node}/memory\n");
        ENOMEM
    })?;
    let mapping = Mapping::new(layout.kernel_part)?;
    // No old secrets of Linux, and no old structures.
    mapping.zero(layout.kernel_part.start, layout.pool.start - layout.kernel_part.start)?;

    let mut tables = Builder::new(&mapping, layout.tables, || ENOMEM)?;
    for range in ranges {
        let access = Access { writable: true, executable: false };
        tables.map(DIRECT_MAP + range.start, range.start, range.len, access)?;
    }
    for segment in elf.segments() {
        let segment = segment.map_err(|_| ENOEXEC)?;
        let place = layout.image.start + (segment.address - elf.base);
        mapping.write(place, segment.data)?;
        let len = segment.memory_len.next_multiple_of(crate::abi::PAGE_SIZE);
        let access = Access { writable: segment.writable, executable: segment.executable };
        tables.map(segment.address, place, len, access)?;
    }
    let page_table = tables.root();

    let now = time::undisturbed(time::sample);
    write_boot_info(node, &mapping, &layout, ranges, page_table, count, &now)?;
    let clock = Steering::start(&now, time::tsc_khz());
    mapping.get::<Clock>(layout.clock)?.publish(&clock);
    mapping.get::<Control>(layout.control)?.doorbell.store(NO_DOORBELL.into(), Ordering::Relaxed);
    mapping.get::<Net>(layout.net)?.doorbell.store(NO_DOORBELL.into(), Ordering::Relaxed);
    let table = mapping.slice::<Cpu>(layout.cpus, count)?;
    for (entry, (&number, apic_id)) in table.iter().zip(cpus.numbers().iter().zip(cpus.apic_ids())) {
        entry.apic_id.store(ApicId::raw(apic_id), Ordering::Relaxed);
        entry.linux_cpu.store(number, Ordering::Relaxed);
    }
    let entry = elf.entry;
    let shared = Arc::new(Shared::new(mapping, layout, count)?, GFP_KERNEL)?;
    Ok(Loaded { shared, page_table, entry, clock })
}

fn write_boot_info(
    node: u32,
    mapping: &Mapping,
    layout: &Layout,
    ranges: &[Range],
    page_table: u64,
    cpus: usize,
    now: &Sample,
) -> Result {
    let mut app_memory = [Range::default(); MAX_RANGES];
    let mut range_count = 0;
    for (to, from) in app_memory.iter_mut().zip(layout.app_memory(ranges)) {
        *to = from;
        range_count += 1;
    }
    let info = BootInfo {
        magic: MAGIC,
        version: crate::abi::VERSION,
        isle: node,
        cpu_count: cpus as u32,
        app_slots: layout.slots,
        range_count,
        tsc_khz: time::tsc_khz(),
        page_table,
        image: layout.image,
        kernel_part: layout.kernel_part,
        kernel_pool: layout.pool,
        control: layout.control,
        cpus: layout.cpus,
        log: layout.log,
        apps: layout.apps,
        channels: layout.channels,
        clock: layout.clock,
        net: layout.net,
        addresses: mmnif::addresses(node)?,
        tsc_at_boot: now.tsc,
        app_memory,
    };
    mapping.write_value(layout.boot_info, &info)
}
