// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fills the memory of a virtual machine: page tables, boot information, shared structures.

use super::settings::{Kind, MachineSettings};
use crate::failure::Failure;
use crate::shm::{Memory, OutOfRange};
use hermit_abi::boot::{BootInfo, DIRECT_MAP, MAGIC, MAX_RANGES, Range};
use hermit_abi::control::{Control, NO_DOORBELL};
use hermit_abi::cpu::Cpu;
use hermit_abi::image::TrampolineArgs;
use hermit_abi::load::elf::Elf;
use hermit_abi::load::layout::Layout;
use hermit_abi::load::pagetable::{self, Access, Builder, Tables};
use hermit_abi::machine::{
    FIRMWARE, IMAGE, LAUNCH, LOW_TABLES, Launch, MAGIC as LAUNCH_MAGIC, SERIAL_DOORBELL,
};
use hermit_abi::net::{Addresses, Net};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::mem::offset_of;
use std::sync::atomic::Ordering;

impl Kind {
    /// How much of so much memory is below 4 GiB; the rest is above (QEMU, `hw/i386/pc_q35.c`, `hw/i386/microvm.c`).
    fn low(self, len: u64) -> u64 {
        match self {
            Self::Q35 if len >= 0xb000_0000 => 2 << 30,
            Self::Q35 => len,
            Self::Microvm => len.min(0xc000_0000),
        }
    }
}

/// What is in the memory.
pub struct Loaded {
    pub layout: Layout,
    /// All up to the end of the kernel part, by physical address.
    pub memory: Memory,
    /// Where application memory is in the file: offset and length.
    pub app_memory: Vec<(u64, usize)>,
}

/// Memory for a machine, all zero.
pub fn memory(len: u64) -> Result<File, Failure> {
    let there = available();
    if len > there {
        return Err(Failure::new(format!(
            "HERMIT_MEM is {} MiB, but this machine has only {} MiB left; make it smaller",
            len >> 20,
            there >> 20
        )));
    }
    let cannot = |e| {
        Failure::new(format!("Linux gives no memory for the virtual machine: {e}; try a smaller HERMIT_MEM"))
    };
    let fd = rustix::fs::memfd_create("hermit", MemfdFlags::CLOEXEC).map_err(|e| cannot(e.into()))?;
    let file = File::from(fd);
    file.set_len(len).map_err(cannot)?;
    Ok(file)
}

/// Bytes that Linux could give.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let all = kib("MemAvailable:").zip(kib("SwapFree:")).map(|(memory, swap)| (memory + swap) << 10);
    // If it doesn't say, it may try.
    all.unwrap_or(u64::MAX)
}

impl Tables for Memory {
    type Error = OutOfRange;

    fn read(&self, table: u64, index: u64) -> Result<u64, OutOfRange> {
        let mut bytes = [0; 8];
        self.read(table.saturating_add(index * 8), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&self, table: u64, index: u64, entry: u64) -> Result<(), OutOfRange> {
        self.write(table.saturating_add(index * 8), &entry.to_le_bytes())
    }
}

/// Physical ranges that an isle kernel may use, of a machine of so much memory; and where they are in the file.
fn ranges(kind: Kind, len: u64) -> Vec<(Range, u64)> {
    let low = kind.low(len);
    let first = (Range { start: IMAGE, len: low - FIRMWARE - IMAGE }, IMAGE);
    let second = (Range { start: 4 << 30, len: len - low }, low);
    [first, second].into_iter().filter(|(range, _)| range.len > 0).collect()
}

impl Loaded {
    pub fn new(image: &[u8], file: &File, settings: &MachineSettings, tsc_khz: u32) -> Result<Self, Failure> {
        let elf = Elf::parse(image).map_err(|problem| {
            Failure::new(format!("the file for HERMIT_KERNEL is not an isle kernel: it {problem}"))
        })?;
        let places = ranges(settings.kind, settings.memory);
        let ranges: Vec<Range> = places.iter().map(|(range, _)| *range).collect();
        let too_small = || Failure::new("HERMIT_MEM is too small for so many CPUs; make it larger");
        let layout = Layout::plan_at(IMAGE, &ranges, elf.len, settings.cpus).ok_or_else(too_small)?;
        let end = IMAGE + layout.kernel_part.len;
        if ranges.first().is_none_or(|first| layout.kernel_part.len > first.len / 2) {
            return Err(too_small());
        }
        let cannot = |e| Failure::new(format!("can't map the memory of the virtual machine: {e}"));
        let memory = Memory::new(file, 0, usize::try_from(end).unwrap_or(usize::MAX)).map_err(cannot)?;
        let this = Self { app_memory: Vec::new(), layout, memory };
        // All of it lies in the kernel part, which is mapped.
        this.fill(&elf, &ranges, settings, tsc_khz).map_err(|OutOfRange| too_small())?;
        let app_memory = places.iter().zip(this.layout.app_memory(&ranges)).map(|((range, offset), rest)| {
            (offset + (rest.start - range.start), usize::try_from(rest.len).unwrap_or(usize::MAX))
        });
        Ok(Self { app_memory: app_memory.collect(), ..this })
    }

    fn fill(
        &self,
        elf: &Elf<'_>,
        ranges: &[Range],
        settings: &MachineSettings,
        tsc_khz: u32,
    ) -> Result<(), OutOfRange> {
        let Self { layout, memory, .. } = self;
        let mut tables = Builder::new(memory, layout.tables, || OutOfRange)?;
        for range in ranges {
            let access = Access { writable: true, executable: false };
            tables.map(DIRECT_MAP + range.start, range.start, range.len, access)?;
        }
        for segment in elf.segments() {
            let segment = segment.map_err(|_| OutOfRange)?;
            let place = layout.image.start + (segment.address - elf.base);
            let len = segment.memory_len.next_multiple_of(hermit_abi::PAGE_SIZE);
            let access = Access { writable: segment.writable, executable: segment.executable };
            tables.map(segment.address, place, len, access)?;
        }
        // Where the isle kernel tells its time, and how it starts.
        let low = Range { start: LAUNCH, len: hermit_abi::PAGE_SIZE };
        tables.map(
            DIRECT_MAP + low.start,
            low.start,
            low.len,
            Access { writable: true, executable: false },
        )?;
        let page_table = tables.root();
        pagetable::trampoline(memory, LOW_TABLES, memory, page_table)?;
        let args = TrampolineArgs {
            low_page_table: LOW_TABLES,
            entry: elf.entry,
            stack: DIRECT_MAP + layout.stack_top(0),
            boot_info: DIRECT_MAP + layout.boot_info,
            cpu: 0,
            page_table,
        };
        memory.put(LAUNCH + offset_of!(Launch, magic) as u64, &LAUNCH_MAGIC)?;
        let low_end = settings.kind.low(settings.memory);
        memory.put(LAUNCH + offset_of!(Launch, low_end) as u64, &low_end)?;
        memory.put(LAUNCH + offset_of!(Launch, args) as u64, &args)?;
        memory.put(layout.boot_info, &self.boot_info(ranges, page_table, settings, tsc_khz))?;
        memory.view::<Control>(layout.control)?.doorbell.store(SERIAL_DOORBELL.into(), Ordering::Relaxed);
        let no_doorbell = u64::from(NO_DOORBELL);
        memory.put(layout.net + offset_of!(Net, doorbell) as u64, &no_doorbell)?;
        for index in 0..settings.cpus {
            // QEMU numbers the APICs of one socket from 0 on.
            let at = layout.cpus + u64::from(index) * size_of::<Cpu>() as u64;
            let cpu = memory.view::<Cpu>(at)?;
            cpu.apic_id.store(index, Ordering::Relaxed);
            cpu.linux_cpu.store(index, Ordering::Relaxed);
        }
        Ok(())
    }

    fn boot_info(
        &self,
        ranges: &[Range],
        page_table: u64,
        settings: &MachineSettings,
        tsc_khz: u32,
    ) -> BootInfo {
        let layout = &self.layout;
        let mut app_memory = [Range::default(); MAX_RANGES];
        let mut range_count = 0;
        for (to, from) in app_memory.iter_mut().zip(layout.app_memory(ranges)) {
            *to = from;
            range_count += 1;
        }
        BootInfo {
            magic: MAGIC,
            version: hermit_abi::VERSION,
            isle: 0,
            cpu_count: settings.cpus,
            app_slots: layout.slots,
            range_count,
            tsc_khz,
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
            // No network yet.
            addresses: Addresses::default(),
            tsc_at_boot: 0,
            app_memory,
        }
    }
}
