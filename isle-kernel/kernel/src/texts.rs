// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files of /proc and /sys that tell of the isle and not of Linux: proc(5), sysfs(5).

use crate::mem::frames;
use crate::sched;
use crate::stack::CLOCK_TICKS;
use crate::thread::Thread;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::{cpu, time};

const NS: u64 = 1_000_000_000;

/// What `/proc/self/<name>` says.
pub fn of_process(t: &Thread, name: &[u8]) -> Option<String> {
    match name {
        b"stat" => Some(stat(t)),
        b"statm" => Some(statm(t)),
        b"status" => Some(status(t)),
        b"comm" => Some(format!("{}\n", String::from_utf8_lossy(&t.name))),
        b"cmdline" => {
            let startup = t.process.startup();
            let arguments = startup.strings().take(startup.arg_count);
            Some(arguments.fold(String::new(), |all, a| all + &String::from_utf8_lossy(a) + "\0"))
        }
        _ => None,
    }
}

/// What a file of the whole machine says.
pub fn of_isle(path: &[u8]) -> Option<String> {
    match path {
        b"/proc/cpuinfo" => Some(cpuinfo()),
        b"/proc/meminfo" => Some(meminfo()),
        b"/proc/uptime" => Some(uptime()),
        b"/sys/devices/system/cpu/online"
        | b"/sys/devices/system/cpu/possible"
        | b"/sys/devices/system/cpu/present"
        | b"/sys/devices/system/node/node0/cpulist" => Some(list(sched::cpu_count())),
        b"/sys/devices/system/node/online"
        | b"/sys/devices/system/node/possible"
        | b"/sys/devices/system/node/has_memory"
        | b"/sys/devices/system/node/has_cpu" => Some(list(1)),
        _ => None,
    }
}

/// Numbers from 0, as a list of cpulist format.
fn list(count: usize) -> String {
    match count {
        0 | 1 => String::from("0\n"),
        count => format!("0-{}\n", count - 1),
    }
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
    // Fields 1 to 24, then 25 to 37, 38 to 52.
    let mut text = format!(
        "{pid} ({name}) R {ppid} {pid} {pid} 0 -1 0 0 0 0 0 {user} 0 0 0 20 0 {threads} 0 {start} {size} {pages}"
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
        ("Uid", format!("{0}\t{1}\t{1}\t{1}", startup.uid, startup.euid)),
        ("Gid", format!("{0}\t{1}\t{1}\t{1}", startup.gid, startup.egid)),
        ("VmSize", format!("{:8} kB", size >> 10)),
        ("VmHWM", format!("{:8} kB", peak >> 10)),
        ("VmRSS", format!("{:8} kB", resident >> 10)),
        ("VmPTE", format!("{:8} kB", tables >> 10)),
        ("Threads", format!("{}", t.process.thread_count())),
        ("Cpus_allowed_list", String::from(list(sched::cpu_count()).trim_end())),
        ("Mems_allowed_list", String::from("0")),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name}:\t{value}");
    }
    text
}

fn meminfo() -> String {
    let (used, all) = {
        let frames = frames::shared().lock();
        (frames.used(), frames.len())
    };
    let free = (all - used) >> 10;
    let mut text = String::new();
    for (name, kib) in [
        ("MemTotal", all >> 10),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
    ] {
        let _ = writeln!(text, "{:<15} {kib:>8} kB", format!("{name}:"));
    }
    text
}

fn uptime() -> String {
    let ns = time::monotonic_ns();
    format!("{}.{:02} 0.00\n", ns / NS, ns % NS / 10_000_000)
}

fn cpuinfo() -> String {
    let mut text = String::new();
    let model = hermit_plat::cpu_model();
    for cpu in 0..sched::cpu_count() {
        let _ = write!(text, "processor\t: {cpu}\n{model}");
        let _ = writeln!(
            text,
            "physical id\t: 0\nsiblings\t: {0}\ncore id\t\t: {cpu}\ncpu cores\t: {0}\n",
            sched::cpu_count()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_those_of_linux() {
        assert_eq!((list(1).as_str(), list(4).as_str()), ("0\n", "0-3\n"));
    }

    #[test]
    fn cpuinfo_has_a_paragraph_a_cpu() {
        let text = cpuinfo();
        assert!(text.starts_with("processor\t: 0\nvendor_id\t: ") && text.ends_with("\n\n"), "{text}");
    }
}
