// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log files of one machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{flock, FlockOperation};

/// Assertions of QEMU that fail now and then, whatever the guest does, each with its reason.
const EMULATOR_BUGS: &[(&str, &str)] =
    &[("iotlb_to_section: Assertion", STALE_DEVICE), ("msix_table_mmio_write: Assertion", STALE_DEVICE)];

/// The entry then leads to no device or to another one, at an address which that doesn't have.
const STALE_DEVICE: &str =
    "QEMU 10.0, multi-threaded TCG: a CPU uses its TLB entry of a device while another one has the table replaced";

#[derive(Debug)]
pub struct Logs {
    /// What the guest wrote to its serial port.
    pub console: PathBuf,
    /// Linux's log in the format of /dev/kmsg.
    pub kernel: PathBuf,
    /// What QEMU itself said.
    pub qemu: PathBuf,
    /// The initramfs, removed with this value.
    pub initrd: PathBuf,
    /// Held while the machine runs, so that a second one takes other names.
    _lock: File,
}

impl Logs {
    /// Takes the names `NAME.*.log` in `dir`, or `NAME-2.*.log` and so on where a running machine has them.
    pub fn open(dir: &Path, name: &str) -> Result<Logs> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut number = 1;
        loop {
            let base = if number == 1 { name.to_string() } else { format!("{name}-{number}") };
            let path = |kind: &str| dir.join(format!("{base}.{kind}"));
            let console = path("console.log");
            let lock = File::options().create(true).append(true).open(&console);
            let lock = lock.with_context(|| format!("cannot write {}", console.display()))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                number += 1;
                continue;
            }
            let logs = Logs {
                console,
                kernel: path("kernel.log"),
                qemu: path("qemu.log"),
                initrd: path("initrd"),
                _lock: lock,
            };
            for log in [&logs.console, &logs.kernel, &logs.qemu] {
                File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
            }
            return Ok(logs);
        }
    }

    /// Which known bug of QEMU's own has ended it, if one has.
    pub fn emulator_bug(&self) -> Option<&'static str> {
        let said = fs::read(&self.qemu).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        EMULATOR_BUGS.iter().map(|(text, _)| *text).find(|text| said.contains(text))
    }

    /// The last lines of QEMU's and the console's log, for a person who has to find out why.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for log in [&self.qemu, &self.console] {
            let content = fs::read(log).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = content.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(12)) {
                text.push_str(&format!("  | {line}\n"));
            }
        }
        text + &format!("  logs: {} and {}", self.console.display(), self.kernel.display())
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.initrd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_assertions_are_bugs_of_the_emulator() {
        let dir = std::env::temp_dir().join(format!("hermit-vm-bugs-{}", std::process::id()));
        let logs = Logs::open(&dir, "run").unwrap();
        fs::write(&logs.qemu, "qemu: system/physmem.c:2678: iotlb_to_section: Assertion `x' failed.\n").unwrap();
        assert_eq!(logs.emulator_bug(), Some("iotlb_to_section: Assertion"));
        fs::write(&logs.qemu, "qemu: hw/pci/msix.c:228: msix_table_mmio_write: Assertion `x' failed.\n").unwrap();
        assert_eq!(logs.emulator_bug(), Some("msix_table_mmio_write: Assertion"));
        fs::write(&logs.qemu, "qemu: other: Assertion `x' failed.\n").unwrap();
        assert_eq!(logs.emulator_bug(), None);
        drop(logs);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn two_machines_never_share_a_log() {
        let dir = std::env::temp_dir().join(format!("hermit-vm-logs-{}", std::process::id()));
        let first = Logs::open(&dir, "run").unwrap();
        let second = Logs::open(&dir, "run").unwrap();
        assert!(first.console.ends_with("run.console.log"));
        assert!(second.console.ends_with("run-2.console.log"));
        drop(first);
        let third = Logs::open(&dir, "run").unwrap();
        assert!(third.console.ends_with("run.console.log"));
        drop((second, third));
        fs::remove_dir_all(&dir).unwrap();
    }
}
