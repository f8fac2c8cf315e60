// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much memory a machine may have without starving the host.

use std::fs;

use anyhow::{ensure, Context, Result};

/// Left for QEMU itself and for everybody else, in MiB.
const RESERVE: u64 = 512;

/// Smaller sizes are of no use: nothing would be left to lend.
const SMALLEST: u64 = 1024;

/// `None` if `wanted` MiB fit, else the largest size that does.
pub fn fit(wanted: u64) -> Result<Option<u64>> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let available = available(&text).context("/proc/meminfo has no MemAvailable")?;
    let most = usable(available);
    ensure!(
        most >= SMALLEST.min(wanted),
        "the host has only {available} MiB of free memory, the machine needs {SMALLEST}: free some"
    );
    Ok((wanted > most).then_some(most))
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024)
}

/// Whole GiB while there are some, since nodes are made of whole memory blocks.
fn usable(available: u64) -> u64 {
    let rest = available.saturating_sub(RESERVE);
    rest / 1024 * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_understood() {
        let text = "MemTotal:  100 kB\nMemAvailable:    4194304 kB\n";
        assert_eq!(available(text), Some(4096));
        assert_eq!(available("MemTotal: 1 kB"), None);
    }

    #[test]
    fn the_host_keeps_a_reserve() {
        assert_eq!(usable(4096), 3072);
        assert_eq!(usable(100), 0);
    }
}
