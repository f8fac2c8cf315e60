// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual machine's shape: the variables VCPUS, NODES, MEM, APIC, KERNEL, TIMEOUT, APPEND and METHOD.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};

pub const MIB: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apic {
    Xapic,
    X2apic,
}

/// A machine in which time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Time is the number of instructions executed, by all CPUs in turn.
    Icount,
    /// Time is the host's; the CPUs run side by side.
    Mttcg,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub vcpus: u32,
    pub nodes: u32,
    /// Memory of the whole machine in MiB; the nodes get equal parts.
    pub mem_mib: u64,
    pub apic: Apic,
    /// Which built kernel to boot: `normal` or `debug`.
    pub kernel: String,
    /// How long the request may take, not counting the boot.
    pub timeout: Duration,
    /// More words for the kernel's command line.
    pub append: String,
    /// For benchmarks; tests have none.
    pub method: Option<Method>,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            vcpus: 4,
            nodes: 2,
            mem_mib: 2048,
            apic: Apic::Xapic,
            kernel: "normal".into(),
            timeout: Duration::from_secs(60),
            append: String::new(),
            method: None,
        }
    }
}

impl Shape {
    /// Sets one variable. An empty value leaves the default, as an unset make variable does.
    /// Returns false when `key` is not one of the machine's variables.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        let known = ["VCPUS", "NODES", "MEM", "APIC", "KERNEL", "TIMEOUT", "APPEND", "METHOD"];
        if !known.contains(&key) {
            return Ok(false);
        }
        if value.is_empty() {
            return Ok(true);
        }
        match key {
            "VCPUS" => self.vcpus = number(key, value, 2, 64)? as u32,
            "NODES" => self.nodes = number(key, value, 1, 16)? as u32,
            "MEM" => self.mem_mib = parse_mem(value)?,
            "TIMEOUT" => self.timeout = Duration::from_secs(number(key, value, 1, 86400)?),
            "APPEND" => self.append = value.into(),
            "APIC" => {
                self.apic = match value {
                    "xapic" => Apic::Xapic,
                    "x2apic" => Apic::X2apic,
                    _ => bail!("APIC={value}: write xapic or x2apic"),
                }
            }
            "METHOD" => {
                self.method = match value {
                    "icount" => Some(Method::Icount),
                    "mttcg" => Some(Method::Mttcg),
                    _ => bail!("METHOD={value}: write icount or mttcg"),
                }
            }
            _ => {
                ensure!(["normal", "debug"].contains(&value), "KERNEL={value}: write normal or debug");
                self.kernel = value.into();
            }
        }
        Ok(true)
    }

    /// Refuses combinations that cannot boot or cannot lend anything.
    pub fn validate(&self) -> Result<()> {
        let per_node = self.mem_mib / u64::from(self.nodes);
        ensure!(
            per_node >= 256,
            "MEM={}M on NODES={} leaves {per_node} MiB a node: give each at least 256 MiB",
            self.mem_mib,
            self.nodes
        );
        Ok(())
    }

    /// The CPUs of each node, as even as it goes, lower nodes first; later nodes may have none.
    pub fn cpus_of_nodes(&self) -> Vec<Vec<u32>> {
        let (cpus, nodes) = (self.vcpus, self.nodes);
        let share = cpus / nodes;
        let larger = cpus % nodes;
        let mut next = 0;
        (0..nodes)
            .map(|node| {
                let count = share + u32::from(node < larger);
                next += count;
                (next - count..next).collect()
            })
            .collect()
    }

    /// Each node's memory in MiB: equal parts in whole memory blocks (128 MiB), the rest to node 0.
    pub fn mem_of_nodes(&self) -> Vec<u64> {
        const BLOCK: u64 = 128;
        let nodes = u64::from(self.nodes);
        let part = (self.mem_mib / nodes / BLOCK).max(1) * BLOCK;
        let mut parts = vec![part; self.nodes as usize];
        parts[0] = self.mem_mib - part * (nodes - 1);
        parts
    }
}

fn number(key: &str, value: &str, min: u64, max: u64) -> Result<u64> {
    let number: u64 = value.parse().with_context(|| format!("{key}={value}: write a whole number"))?;
    ensure!((min..=max).contains(&number), "{key}={value}: write a number from {min} to {max}");
    Ok(number)
}

/// `2G`, `512M`, or a bare number of MiB; the result is in MiB.
pub fn parse_mem(text: &str) -> Result<u64> {
    let wrong = || format!("MEM={text}: write a size such as 2G or 1536M");
    let split = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (digits, suffix) = text.split_at(split);
    let number: u64 = digits.parse().with_context(wrong)?;
    let mib = match suffix {
        "G" | "g" | "GiB" => number.checked_mul(1024),
        "M" | "m" | "MiB" | "" => Some(number),
        _ => None,
    };
    mib.filter(|mib| (1..1 << 20).contains(mib)).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(vcpus: u32, nodes: u32, mem_mib: u64) -> Shape {
        Shape { vcpus, nodes, mem_mib, ..Shape::default() }
    }

    #[test]
    fn cpus_are_spread_evenly_and_in_order() {
        assert_eq!(shape(4, 2, 2048).cpus_of_nodes(), [vec![0, 1], vec![2, 3]]);
        assert_eq!(shape(5, 3, 2048).cpus_of_nodes(), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(shape(2, 4, 2048).cpus_of_nodes(), [vec![0], vec![1], vec![], vec![]]);
    }

    #[test]
    fn memory_parts_are_whole_blocks_and_add_up() {
        assert_eq!(shape(4, 2, 2048).mem_of_nodes(), [1024, 1024]);
        assert_eq!(shape(4, 3, 2048).mem_of_nodes(), [768, 640, 640]);
        assert_eq!(shape(4, 3, 2048).mem_of_nodes().iter().sum::<u64>(), 2048);
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_mem("2G").unwrap(), 2048);
        assert_eq!(parse_mem("1536M").unwrap(), 1536);
        assert_eq!(parse_mem("512").unwrap(), 512);
        for wrong in ["", "G", "2T", "-1G", "1.5G", "0", "99999999999999999999G"] {
            assert!(parse_mem(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_are_checked() {
        let mut shape = Shape::default();
        assert!(shape.set("VCPUS", "10").unwrap());
        assert!(shape.set("MEM", "").unwrap());
        assert!(!shape.set("APP", "x").unwrap());
        assert_eq!((shape.vcpus, shape.mem_mib), (10, 2048));
        assert!(shape.set("VCPUS", "1").is_err());
        assert!(shape.set("APIC", "pic").is_err());
        assert!(shape.set("KERNEL", "fast").is_err());
        assert!(shape.set("METHOD", "kvm").is_err());
        assert!(shape.set("METHOD", "").unwrap() && shape.method.is_none());
        assert!(shape.set("METHOD", "icount").unwrap());
        assert_eq!(shape.method, Some(Method::Icount));
        assert!(Shape { nodes: 4, mem_mib: 512, ..Shape::default() }.validate().is_err());
    }
}
