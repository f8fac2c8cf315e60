// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a closed door to a place on a running isle, with a sentence for all that may go wrong.

use crate::door::Device;
use crate::failure::Failure;
use crate::settings::Settings;
use hermit_abi::channel::CHANNEL_SIZE;
use hermit_abi::door::Attachment;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long somebody else's start or stop of the isle may take.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Files of an isle in sysfs.
pub struct Sysfs(String);

impl Sysfs {
    pub fn new(isle: u32) -> Self {
        Self(format!("/sys/hermit/isle{isle}"))
    }

    fn read(&self, file: &str) -> String {
        let text = fs::read(format!("{}/{file}", self.0)).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// A state, with a reason if it is "crashed".
    pub fn state(&self) -> String {
        self.read("state")
    }

    pub fn log(&self) -> io::Result<Vec<u8>> {
        fs::read(format!("{}/log", self.0))
    }
}

/// Opens the door of an isle.
pub fn open(isle: u32) -> Result<Device, Failure> {
    let path = format!("/dev/hermit/isle{isle}");
    let explain = |e: io::Error| match e.kind() {
        ErrorKind::NotFound if !Path::new("/sys/hermit").exists() => {
            "hermit.ko is not loaded: run insmod hermit.ko".to_owned()
        }
        ErrorKind::NotFound if Path::new(&format!("/sys/hermit/isle{isle}")).exists() => {
            format!("{path} is missing, though the isle is there: mount a devtmpfs at /dev")
        }
        ErrorKind::NotFound => {
            let isles = isles();
            format!("there is no isle {isle}; set HERMIT_ISLE to one of: {isles}")
        }
        ErrorKind::PermissionDenied => {
            format!("permission denied on {path}: run as root, or have root give you access to it")
        }
        _ if Errno::from_io_error(&e) == Some(Errno::NXIO)
            || Errno::from_io_error(&e) == Some(Errno::NODEV) =>
        {
            "hermit.ko is not loaded: run insmod hermit.ko".to_owned()
        }
        _ => format!("can't open {path}: {e}"),
    };
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file: File = file.map_err(|e| Failure::new(explain(e)))?;
    Ok(Device::new(file))
}

fn isles() -> String {
    let entries = fs::read_dir("/sys/hermit").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("isle")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Takes a place on the isle, which is started if it doesn't run.
pub fn attach(device: &Device, settings: &Settings, sysfs: &Sysfs) -> Result<Attachment, Failure> {
    let began = Instant::now();
    let mut had_stopped = false;
    loop {
        match device.attach() {
            Ok(attachment) => return check(attachment),
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NODEV) => {}
            Err(e) => return Err(explain_attach(&e, settings, sysfs)),
        }
        match device.start_isle(&settings.cpus) {
            Ok(()) => continue,
            // Somebody else starts or stops it right now; a CPU in use is the other meaning.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::BUSY) && began.elapsed() < PATIENCE => {
                let state = sysfs.state();
                let comes_or_goes = ["starting", "running", "stopping"].iter().any(|s| state.starts_with(s));
                // It may have stopped just now; but not twice.
                if !comes_or_goes && (had_stopped || !state.starts_with("stopped")) {
                    return Err(explain_start(&e, settings, &state));
                }
                had_stopped |= !comes_or_goes;
            }
            Err(e) => return Err(explain_start(&e, settings, &sysfs.state())),
        }
        thread::sleep(PAUSE);
    }
}

fn check(attachment: Attachment) -> Result<Attachment, Failure> {
    let Attachment { version, channel_len, app_memory_len, .. } = attachment;
    if version != hermit_abi::VERSION || channel_len < CHANNEL_SIZE as u64 {
        return Err(Failure::new(format!(
            "this proxy speaks version {} of the protocol, hermit.ko version {version}: \
             use proxy, module and isle kernel of one build",
            hermit_abi::VERSION
        )));
    }
    if app_memory_len == 0 {
        return Err(Failure::new(
            "the isle has no memory for applications: write a larger size to its file memory",
        ));
    }
    Ok(attachment)
}

fn explain_attach(e: &io::Error, settings: &Settings, sysfs: &Sysfs) -> Failure {
    let isle = settings.isle;
    let state = sysfs.state();
    Failure::new(match Errno::from_io_error(e) {
        _ if state.starts_with("crashed") => crashed(isle, &state),
        Some(Errno::BUSY) => format!(
            "isle {isle} already runs as many applications as it has CPUs: wait for one to end, \
             or start the isle on more CPUs"
        ),
        _ => format!("can't attach to isle {isle}: {e}; the kernel log (dmesg) may say more"),
    })
}

fn crashed(isle: u32, state: &str) -> String {
    format!(
        "isle {isle} has {state}; see /sys/hermit/isle{isle}/log, then write -1 to /sys/hermit/isle{isle}/cpus to stop it"
    )
}

/// Says why the isle could not be started.
fn explain_start(e: &io::Error, settings: &Settings, state: &str) -> Failure {
    let Settings { isle, cpus, .. } = settings;
    let files = format!("/sys/hermit/isle{isle}");
    Failure::new(match Errno::from_io_error(e) {
        _ if state.starts_with("crashed") => crashed(*isle, state),
        Some(Errno::BUSY) => format!(
            "isle {isle} can't have CPU {cpus}: it is busy (lent to another isle, offline, or kept by Linux); \
             set HERMIT_CPUS to others (dmesg says which is busy)"
        ),
        Some(Errno::INVAL) => format!(
            "HERMIT_CPUS={cpus} is not a list of CPUs for an isle: they must exist (see /sys/devices/system/cpu/present), \
             and CPU 0 stays with Linux"
        ),
        Some(Errno::NOMEM) => format!(
            "isle {isle} can't get memory: boot Linux with movablecore= or movable_node so that memory can be lent, \
             or ask for less in {files}/memory (dmesg says what was tried)"
        ),
        Some(Errno::TIMEDOUT) => format!(
            "a CPU of isle {isle} did not come up in time; see {files}/log and the kernel log (dmesg)"
        ),
        Some(Errno::NOEXEC) => format!(
            "the image in {files}/path is not an isle kernel, or not of this build: write the name of another one to it"
        ),
        Some(Errno::NOENT) => {
            format!("isle {isle} has no kernel to boot: write the name of its image to {files}/path")
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            format!("you may not start isle {isle}: run as root, or have root start it by {files}/cpus")
        }
        Some(Errno::INTR) => format!("the start of isle {isle} was interrupted"),
        _ => format!("can't start isle {isle} on CPU {cpus}: {e}; the kernel log (dmesg) may say more"),
    })
}

/// The sentence for an isle that stopped or crashed under its application.
pub fn explain_loss(isle: u32, sysfs: &Sysfs) -> Failure {
    let state = sysfs.state();
    Failure::new(if state.starts_with("crashed") {
        crashed(isle, &state)
    } else {
        format!("isle {isle} was stopped while its application ran")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spin::Spin;

    #[test]
    fn each_error_of_a_start_says_what_to_do() {
        let settings =
            Settings { isle: 3, cpus: "2-3".into(), machine: None, verbose: false, spin: Spin::MAX };
        let sentence = |e: Errno| explain_start(&e.into(), &settings, "stopped").sentence;
        assert!(sentence(Errno::BUSY).contains("HERMIT_CPUS"));
        assert!(sentence(Errno::INVAL).starts_with("HERMIT_CPUS=2-3"));
        assert!(sentence(Errno::NOMEM).contains("movablecore="));
        assert!(sentence(Errno::TIMEDOUT).contains("/sys/hermit/isle3/log"));
        assert!(sentence(Errno::NOEXEC).contains("/sys/hermit/isle3/path"));
        assert!(sentence(Errno::NOENT).contains("/sys/hermit/isle3/path"));
        let crashed = explain_start(&Errno::BUSY.into(), &settings, "crashed: page fault").sentence;
        assert!(crashed.contains("crashed: page fault") && crashed.contains("write -1"));
    }

    #[test]
    fn no_module() {
        if !Path::new("/sys/hermit").exists() {
            assert!(open(0).err().unwrap().sentence.contains("insmod hermit.ko"));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let good = Attachment {
            version: hermit_abi::VERSION,
            slot: 0,
            channel_len: CHANNEL_SIZE as u64,
            app_memory_len: 1,
            tsc_khz: 1,
        };
        assert!(check(good).is_ok());
        assert!(check(Attachment { version: 0, ..good }).is_err());
        assert!(check(Attachment { channel_len: 4096, ..good }).is_err());
        assert!(check(Attachment { app_memory_len: 0, ..good }).is_err());
    }
}
