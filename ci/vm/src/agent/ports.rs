// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the launcher's virtio-serial ports by name; there is no udev to do so.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{bail, Context, Result};

const SYSFS: &str = "/sys/class/virtio-ports";

pub fn open(name: &str) -> Result<File> {
    // The host announces ports one by one while the driver starts.
    for _ in 0..500 {
        if let Some(device) = find(name) {
            return File::options()
                .read(true)
                .write(true)
                .open(&device)
                .with_context(|| format!("cannot open {}", device.display()));
        }
        sleep(Duration::from_millis(10));
    }
    bail!("there is no port {name}: the guest kernel needs CONFIG_VIRTIO_CONSOLE and CONFIG_VIRTIO_PCI");
}

fn find(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir(SYSFS).ok()?;
    ports.flatten().find_map(|port| {
        let found = fs::read_to_string(port.path().join("name")).ok()?;
        (found.trim_end() == name).then(|| PathBuf::from("/dev").join(port.file_name()))
    })
}
