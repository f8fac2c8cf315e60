// SPDX-License-Identifier: GPL-2.0

//! `/sys/hermit/isleX/`: the files by which an administrator rules isles.

use crate::isle::{Isle, Isles, Life};
use crate::kapi::sysfs::{BinFile, BinOps, Directory, File, Ops};
use crate::partition::cpulist;
use crate::partition::size;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use kernel::c_str;
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::BStr;

/// Text that doesn't fit in a page is cut, so these never fail for that.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let _ = write!($out, $($arg)*);
    }};
}

static PATH: Ops<Isle> = Ops {
    name: c_str!("path"),
    show: |isle, out| {
        isle.with_path(|path| {
            put!(out, "{}\n", BStr::from_bytes(path));
            Ok(())
        })
    },
    store: Some(|isle, text| isle.set_path(text)),
};

static CPUS: Ops<Isle> = Ops {
    name: c_str!("cpus"),
    show: |isle, out| {
        let view = isle.view.lock();
        match view.running() {
            Some(running) => put!(out, "{}\n", cpulist::Shown(running.cpus.numbers())),
            None => put!(out, "-1\n"),
        }
        Ok(())
    },
    store: Some(|isle, text| match text.trim_ascii() {
        b"-1" => isle.stop(),
        list => isle.start(list).map(|_| ()),
    }),
};

static MEMORY: Ops<Isle> = Ops {
    name: c_str!("memory"),
    show: |isle, out| {
        let wanted = isle.memory();
        let view = isle.view.lock();
        match view.running() {
            Some(running) => {
                let ranges = running.memory.ranges();
                put!(out, "{}", size::Shown(ranges.iter().map(|r| r.len).sum()));
                for range in ranges {
                    put!(out, " {:#x}-{:#x}", range.start, range.start + range.len - 1);
                }
                put!(out, "\n");
            }
            None => put!(out, "{}\n", size::Shown(wanted)),
        }
        Ok(())
    },
    store: Some(|isle, text| isle.set_memory(text)),
};

static STATE: Ops<Isle> = Ops {
    name: c_str!("state"),
    show: |isle, out| {
        let view = isle.view.lock();
        match &view.life {
            Life::Stopped => put!(out, "stopped"),
            Life::Starting => put!(out, "starting"),
            Life::Stopping => put!(out, "stopping"),
            Life::Running(running) if running.shared.is_crashed() => {
                put!(out, "crashed: ");
                running.shared.crash_reason(|c| {
                    put!(out, "{c}");
                });
            }
            Life::Running(_) => put!(out, "running"),
        }
        put!(out, "\n");
        Ok(())
    },
    store: None,
};

static STATS: Ops<Isle> = Ops {
    name: c_str!("stats"),
    show: |isle, out| {
        put!(out, "cpu interrupts faults syscalls offloads switches\n");
        let view = isle.view.lock();
        let Some(running) = view.running() else { return Ok(()) };
        for (number, cpu) in running.cpus.numbers().iter().zip(running.shared.cpus()?) {
            let [a, b, c, d, e] = [&cpu.interrupts, &cpu.faults, &cpu.syscalls, &cpu.offloads, &cpu.switches]
                .map(|counter| counter.load(Ordering::Relaxed));
            put!(out, "{number} {a} {b} {c} {d} {e}\n");
        }
        Ok(())
    },
    store: None,
};

static LOG: BinOps<Isle> = BinOps { name: c_str!("log"), read: |isle, offset, buffer| isle.read_log(offset, buffer) };

/// The files of one isle, and their directory, which goes last.
struct Entry {
    _files: [File<Isle>; 5],
    _log: BinFile<Isle>,
    _dir: Directory,
}

/// `/sys/hermit` and all that is in it.
pub struct Tree {
    _entries: KVec<Entry>,
    _root: Directory,
}

impl Tree {
    pub fn new(isles: &Isles) -> Result<Self> {
        let root = Directory::new(c_str!("hermit"), None)?;
        let mut entries = KVec::new();
        for isle in isles.iter() {
            let name = kernel::str::CString::try_from_fmt(fmt!("isle{}", isle.node))?;
            let dir = Directory::new(&name, Some(&root))?;
            let file = |ops| File::new(&dir, isle.clone(), ops);
            let files = [file(&PATH)?, file(&CPUS)?, file(&MEMORY)?, file(&STATE)?, file(&STATS)?];
            let log = BinFile::new(&dir, isle.clone(), &LOG)?;
            entries.push(Entry { _files: files, _log: log, _dir: dir }, GFP_KERNEL)?;
        }
        Ok(Self { _entries: entries, _root: root })
    }
}
