// SPDX-License-Identifier: MIT OR Apache-2.0

//! What /proc and /sys say of the machine: an isle, with its CPUs and its memory, all on one node.

use crate::kept::Name;
use crate::mem::frames;
use crate::sched;
use crate::syscall::paths::{Own, DT_DIR, DT_REG};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use hermit_plat::time;

const NS: u64 = 1_000_000_000;

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

/// What a path leads to that is about the whole machine.
pub fn of_isle(path: &[u8]) -> Option<Own> {
    let path = core::str::from_utf8(path).ok()?;
    let text = |text: String| Some(Own::Text(text.into_bytes()));
    match path {
        "/proc/cpuinfo" => return text(cpuinfo()),
        "/proc/meminfo" => return text(meminfo("")),
        "/proc/uptime" => return text(uptime()),
        "/proc/stat" => return text(stat()),
        "/proc/loadavg" => return text(loadavg()),
        "/etc/resolv.conf" => return text(resolvers()?),
        _ => {}
    }
    let below = |base: &str| path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(rest) = below(CPUS) {
        return Some(cpus(rest.trim_matches('/')).unwrap_or(Own::Nothing));
    }
    if let Some(rest) = below(NODES) {
        return Some(nodes(rest.trim_matches('/')).unwrap_or(Own::Nothing));
    }
    None
}

/// resolv.conf(5), where the isle was told who knows names; else Linux's is as good.
fn resolvers() -> Option<String> {
    let stack = crate::net::lock()?;
    let servers = &stack.lease.as_ref()?.terms.servers;
    let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
    (!servers.is_empty()).then(|| lines.collect())
}

fn directory<'a>(directories: impl Iterator<Item = String>, texts: impl Iterator<Item = &'a str>) -> Own {
    let directories = directories.map(|name| Name { name: name.into_bytes(), kind: DT_DIR });
    let texts = texts.map(|name| Name { name: name.as_bytes().to_vec(), kind: DT_REG });
    Own::Directory(directories.chain(texts).collect())
}

/// The number behind a word.
fn numbered(name: &str, word: &str) -> Option<usize> {
    let digits = name.strip_prefix(word)?;
    digits.parse().ok().filter(|n: &usize| format!("{n}") == digits)
}

/// Files of each CPU about where it is, as of one with a core of its own in one package.
const TOPOLOGY: [&str; 13] = [
    "physical_package_id",
    "die_id",
    "cluster_id",
    "core_id",
    "thread_siblings",
    "thread_siblings_list",
    "core_cpus",
    "core_cpus_list",
    "core_siblings",
    "core_siblings_list",
    "package_cpus",
    "package_cpus_list",
    "die_cpus_list",
];

/// What is below the directory of CPUs.
fn cpus(rest: &str) -> Option<Own> {
    const TEXTS: [&str; 6] = ["online", "possible", "present", "offline", "isolated", "kernel_max"];
    let count = sched::cpu_count();
    let text = |text: String| Some(Own::Text(text.into_bytes()));
    let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
    match (first, rest) {
        ("", _) => return Some(directory((0..count).map(|cpu| format!("cpu{cpu}")), TEXTS.into_iter())),
        ("online" | "possible" | "present", "") => return text(list(count)),
        ("offline" | "isolated", "") => return text(String::from("\n")),
        ("kernel_max", "") => return text(format!("{}\n", count.saturating_sub(1))),
        _ => {}
    }
    let cpu = numbered(first, "cpu").filter(|cpu| *cpu < count)?;
    match rest.strip_prefix("topology").map(|name| name.trim_matches('/')) {
        None if rest.is_empty() => {
            let directories = ["topology", "node0"].map(String::from);
            Some(directory(directories.into_iter(), ["online"].into_iter()))
        }
        None if rest == "online" => text(String::from("1\n")),
        None => node(rest.strip_prefix("node0")?.trim_matches('/')),
        Some("") => Some(directory(core::iter::empty(), TOPOLOGY.into_iter())),
        Some("physical_package_id" | "die_id") => text(String::from("0\n")),
        Some("core_id" | "cluster_id" | "thread_siblings_list" | "core_cpus_list") => text(format!("{cpu}\n")),
        Some("thread_siblings" | "core_cpus") => text(mask(cpu..cpu + 1)),
        Some("core_siblings" | "package_cpus") => text(mask(0..count)),
        Some("core_siblings_list" | "package_cpus_list" | "die_cpus_list") => text(list(count)),
        Some(_) => None,
    }
}

/// What is below the directory of nodes.
fn nodes(rest: &str) -> Option<Own> {
    const TEXTS: [&str; 5] = ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"];
    match rest {
        "" => Some(directory(core::iter::once(String::from("node0")), TEXTS.into_iter())),
        _ if TEXTS.contains(&rest) => Some(Own::Text(list(1).into_bytes())),
        _ => node(rest.strip_prefix("node0")?.trim_matches('/')),
    }
}

fn node(name: &str) -> Option<Own> {
    const TEXTS: [&str; 4] = ["cpulist", "cpumap", "distance", "meminfo"];
    let count = sched::cpu_count();
    let text = match name {
        "" => return Some(directory((0..count).map(|cpu| format!("cpu{cpu}")), TEXTS.into_iter())),
        "cpulist" => list(count),
        "cpumap" => mask(0..count),
        "distance" => String::from("10\n"),
        "meminfo" => meminfo("Node 0 "),
        _ if name.starts_with("cpu") => return cpus(name),
        _ => return None,
    };
    Some(Own::Text(text.into_bytes()))
}

/// Numbers from 0, as a list of cpulist format.
pub fn list(count: usize) -> String {
    match count {
        0 | 1 => String::from("0\n"),
        count => format!("0-{}\n", count - 1),
    }
}

/// CPUs as Linux prints a bitmap: words of 32 bits, the highest first.
fn mask(cpus: core::ops::Range<usize>) -> String {
    let count = sched::cpu_count().max(1);
    let words = count.div_ceil(32);
    let word =
        |index: usize| (0..32).filter(|bit| cpus.contains(&(index * 32 + bit))).fold(0u32, |w, bit| w | 1 << bit);
    let texts: Vec<String> = (0..words).rev().map(|index| format!("{:08x}", word(index))).collect();
    let text = texts.join(",");
    // Of the highest word no more digits than it has CPUs for.
    let digits = (count - (words - 1) * 32).div_ceil(4);
    format!("{}\n", text.get(8 - digits..).unwrap_or(&text))
}

/// proc_stat(5): what CPUs have done isn't counted in ticks here.
fn stat() -> String {
    let idle = time::monotonic_ns() / (NS / crate::stack::CLOCK_TICKS);
    let count = sched::cpu_count();
    let mut text = format!("cpu  0 0 0 {} 0 0 0 0 0 0\n", idle * count as u64);
    for cpu in 0..count {
        let _ = writeln!(text, "cpu{cpu} 0 0 0 {idle} 0 0 0 0 0 0");
    }
    let began = time::realtime_ns().saturating_sub(time::monotonic_ns()) / NS;
    let _ = write!(text, "intr 0\nctxt 0\nbtime {began}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n");
    text
}

/// proc_loadavg(5): nobody takes the average.
fn loadavg() -> String {
    String::from("0.00 0.00 0.00 1/1 1\n")
}

/// proc_meminfo(5), or that of a node, whose lines begin otherwise.
fn meminfo(prefix: &str) -> String {
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
        let _ = writeln!(text, "{prefix}{:<15} {kib:>8} kB", format!("{name}:"));
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
    fn the_trees_are_consistent() {
        let mut paths = Vec::from([String::from(CPUS), String::from(NODES)]);
        let mut texts = 0;
        while let Some(path) = paths.pop() {
            match of_isle(path.as_bytes()) {
                Some(Own::Directory(names)) if path.len() < 70 => {
                    let child = |n: &Name| format!("{path}/{}", String::from_utf8_lossy(&n.name));
                    paths.extend(names.iter().map(child));
                }
                Some(Own::Directory(_)) => {}
                Some(Own::Text(text)) => {
                    assert!(text.ends_with(b"\n"), "{path}");
                    texts += 1;
                }
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(texts > 20, "{texts}");
        for path in ["/cpu99", "/cpu0/cache", "/cpu00", "/cpuidle"] {
            assert_eq!(of_isle(format!("{CPUS}{path}").as_bytes()), Some(Own::Nothing), "{path}");
        }
        assert_eq!(of_isle(b"/sys/devices/system/cpufreq"), None);
        assert_eq!(of_isle(b"/proc/version"), None);
    }

    #[test]
    fn cpuinfo_has_a_paragraph_a_cpu() {
        let text = cpuinfo();
        assert!(text.starts_with("processor\t: 0\nvendor_id\t: ") && text.ends_with("\n\n"), "{text}");
    }
}
