// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files of /proc and /sys that tell of the isle and not of Linux: proc(5), sysfs(5). Here those of the process.

mod maps;
mod system;

use crate::sched;
use crate::stack::CLOCK_TICKS;
use crate::thread::Thread;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::cpu;

const NS: u64 = 1_000_000_000;

pub use system::of_isle;

/// What `/proc/self/<name>` says.
pub fn of_process(t: &Thread, name: &[u8]) -> Option<Vec<u8>> {
    let text = match name {
        // Without kernel memory for it, it isn't there.
        b"maps" => return maps::maps(t).ok(),
        b"stat" => stat(t),
        b"statm" => statm(t),
        b"status" => status(t),
        b"limits" => limits(t),
        b"comm" => format!("{}\n", String::from_utf8_lossy(&t.name)),
        b"cmdline" => {
            let program = t.process.program();
            return Some(program.strings().take(program.arg_count).flat_map(|a| [a, b"\0"].concat()).collect());
        }
        _ => return None,
    };
    Some(text.into_bytes())
}

/// Names and units of the limits in the order of their numbers.
const LIMIT_NAMES: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(t: &Thread) -> String {
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let value = |limit: u64| if limit == u64::MAX { String::from("unlimited") } else { format!("{limit}") };
    for ((name, unit), [soft, hard]) in LIMIT_NAMES.iter().zip(*t.process.limits.lock()) {
        let _ = write!(text, "{name:<25} {:<20} {:<20} ", value(soft), value(hard));
        let _ = if unit.is_empty() { writeln!(text) } else { writeln!(text, "{unit:<10}") };
    }
    text
}

/// proc_pid_stat(5). What there is nothing to say about is 0.
fn stat(t: &Thread) -> String {
    let startup = t.process.startup();
    let name = String::from_utf8_lossy(&t.name);
    let ticks = |ns: u64| ns / (NS / CLOCK_TICKS);
    let (user, threads) = (ticks(t.process.run_ns()), t.process.thread_count());
    let start = ticks(t.process.started_ns);
    let (resident, _) = t.space().resident();
    let size: u64 = t.space().areas.iter().map(|a| a.end - a.start).sum();
    let (pid, ppid, pages) = (startup.pid, startup.ppid, resident / 4096);
    let (pgid, sid, nice) = (startup.pgid, startup.sid, t.process.nice.load(Ordering::Relaxed));
    let priority = 20 + nice;
    // Fields 1 to 24, then 25 to 37, 38 to 52.
    let mut text = format!(
        "{pid} ({name}) R {ppid} {pgid} {sid} 0 -1 0 0 0 0 0 {user} 0 0 0 {priority} {nice} {threads} 0 {start} {size} {pages}"
    );
    text += " 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17";
    // A text that is written to a string can't fail.
    let _ = writeln!(text, " {} 0 0 0 0 0 0 0 0 0 0 0 0 0", cpu::index());
    text
}

fn statm(t: &Thread) -> String {
    let pages = t.space().resident().0 / 4096;
    let size = t.space().areas.iter().map(|a| a.end - a.start).sum::<u64>() / 4096;
    format!("{size} {pages} 0 0 0 {pages} 0\n")
}

fn status(t: &Thread) -> String {
    let startup = t.process.startup();
    let (resident, peak) = t.space().resident();
    let tables = t.space().tables().tables() as u64 * PAGE_SIZE;
    let size: u64 = t.space().areas.iter().map(|a| a.end - a.start).sum();
    let mut text = String::new();
    let pid = startup.pid;
    let lines = [
        ("Name", String::from_utf8_lossy(&t.name).into_owned()),
        ("State", String::from("R (running)")),
        ("Tgid", format!("{pid}")),
        ("Pid", format!("{}", t.tid())),
        ("PPid", format!("{}", startup.ppid)),
        ("TracerPid", String::from("0")),
        ("Umask", format!("{:04o}", t.process.fs.lock().umask)),
        ("Uid", format!("{}\t{}\t{}\t{1}", startup.uid, startup.euid, startup.suid)),
        ("Gid", format!("{}\t{}\t{}\t{1}", startup.gid, startup.egid, startup.sgid)),
        ("Groups", startup.groups.iter().fold(String::new(), |all, g| all + &format!("{g} "))),
        ("VmSize", format!("{:8} kB", size >> 10)),
        ("VmHWM", format!("{:8} kB", peak >> 10)),
        ("VmRSS", format!("{:8} kB", resident >> 10)),
        ("VmPTE", format!("{:8} kB", tables >> 10)),
        ("Threads", format!("{}", t.process.thread_count())),
        ("SigPnd", format!("{:016x}", t.task.pending.lock().set())),
        ("ShdPnd", format!("{:016x}", t.process.signals.lock().pending.set())),
        ("SigBlk", format!("{:016x}", t.task.blocked.load(Ordering::SeqCst))),
        ("Cpus_allowed_list", String::from(system::list(sched::cpu_count()).trim_end())),
        ("Mems_allowed_list", String::from("0")),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name}:\t{value}");
    }
    text
}
