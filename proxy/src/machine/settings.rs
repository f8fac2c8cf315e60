// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the environment says of a virtual machine.

use super::network::Network;
use crate::failure::Failure;
use hermit_abi::machine::MAX_CPUS;
use std::ffi::OsString;
use std::path::PathBuf;

/// Least memory that the isle kernel and a program fit in.
const LEAST: u64 = 96 << 20;

/// QEMU's machines that the isle kernel runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a PC is.
    Q35,
    /// What a program needs.
    Microvm,
}

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSettings {
    /// `HERMIT_MACHINE`
    pub kind: Kind,
    /// `HERMIT_QEMU`
    pub qemu: OsString,
    /// `HERMIT_CPUS`: how many.
    pub cpus: u32,
    /// `HERMIT_MEM`, in bytes.
    pub memory: u64,
    /// `HERMIT_PORT`
    pub port: u16,
    /// `HERMIT_NET` and `HERMIT_APP_PORT`
    pub network: Network,
}

impl MachineSettings {
    /// Reads the variables through `text`, which has a default for each.
    pub fn parse(text: impl Fn(&str, &str) -> Result<String, Failure>) -> Result<Self, Failure> {
        let kind = match text("HERMIT_MACHINE", "q35")?.as_str() {
            "q35" => Kind::Q35,
            "microvm" => Kind::Microvm,
            other => return Err(Failure::new(format!("HERMIT_MACHINE={other}: write q35 or microvm"))),
        };
        let qemu = text("HERMIT_QEMU", "qemu-system-x86_64")?.into();
        let cpus = text("HERMIT_CPUS", "1")?;
        let cpus = cpus.parse().ok().filter(|n| (1..=MAX_CPUS).contains(n)).ok_or_else(|| {
            Failure::new(format!(
                "HERMIT_CPUS={cpus}: with HERMIT_ISLE=qemu this is how many CPUs the virtual machine has, 1 to {MAX_CPUS}"
            ))
        })?;
        let memory = text("HERMIT_MEM", "2G")?;
        let bytes =
            size(&memory).filter(|bytes| *bytes >= LEAST && *bytes <= hermit_abi::boot::DIRECT_MAP_SIZE / 2);
        let memory = bytes.ok_or_else(|| {
            Failure::new(format!("HERMIT_MEM={memory}: write at least {}M, such as 512M or 6G", LEAST >> 20))
        })?;
        let port = text("HERMIT_PORT", "18766")?;
        let port = port.parse().ok().filter(|port| (1..u16::MAX).contains(port)).ok_or_else(|| {
            Failure::new(format!("HERMIT_PORT={port}: not a TCP port, which is a number from 1 to 65534"))
        })?;
        let network = Network::parse(&text("HERMIT_NET", "user")?, &text("HERMIT_APP_PORT", "")?)?;
        Ok(Self { kind, qemu, cpus, memory, port, network })
    }
}

/// Bytes of a size such as 512M or 6G, a multiple of 2 MiB.
fn size(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()? {
        b'M' | b'm' => (text.get(..text.len() - 1)?, 20),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 30),
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    bytes.is_multiple_of(hermit_abi::LARGE_PAGE_SIZE).then_some(bytes)
}

/// The isle kernel, and where it is.
pub struct Image {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Where the isle kernel is looked for: `HERMIT_KERNEL`, or else beside the proxy, then where packages put it.
pub fn read_image() -> Result<Image, Failure> {
    let named = std::env::var_os("HERMIT_KERNEL").filter(|name| !name.is_empty()).map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("isle-kernel")));
    let places = match named {
        Some(path) => vec![path],
        None => beside
            .into_iter()
            .chain(["/usr/lib/hermit/isle-kernel".into(), "/boot/isle-kernel".into()])
            .collect(),
    };
    let mut last = None;
    for path in places {
        match std::fs::read(&path) {
            Ok(bytes) => return Ok(Image { path, bytes }),
            Err(e) => last = Some((path, e)),
        }
    }
    let (path, e) = last.unwrap_or_else(|| (PathBuf::new(), std::io::ErrorKind::NotFound.into()));
    Err(Failure::new(format!(
        "the isle kernel can't be read ({}: {e}): set HERMIT_KERNEL to the file build/isle-kernel of a build of HermitCore",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(vars: &[(&str, &str)]) -> Result<MachineSettings, Failure> {
        MachineSettings::parse(|name, default| {
            Ok(vars.iter().find(|(n, _)| *n == name).map_or(default, |(_, value)| value).to_owned())
        })
    }

    #[test]
    fn defaults_and_values() {
        let expected = MachineSettings {
            kind: Kind::Q35,
            qemu: "qemu-system-x86_64".into(),
            cpus: 1,
            memory: 2 << 30,
            port: 18766,
            network: Network::User(Vec::new()),
        };
        assert_eq!(parse(&[]), Ok(expected.clone()));
        let some = parse(&[("HERMIT_CPUS", "4"), ("HERMIT_MEM", "6G"), ("HERMIT_PORT", "1")]);
        assert_eq!(some, Ok(MachineSettings { cpus: 4, memory: 6 << 30, port: 1, ..expected }));
    }

    #[test]
    fn bad_values_are_named() {
        for (name, values) in [
            ("HERMIT_CPUS", ["0", "1000", "2-3"].as_slice()),
            ("HERMIT_MEM", &["1M", "100T", "513", "97M", "", "G", "-1G", "99999999999999999999G"]),
            ("HERMIT_MACHINE", &["pc", ""]),
            ("HERMIT_PORT", &["0", "65535", "x", "-1"]),
        ] {
            for value in values {
                let failure = parse(&[(name, value)]).unwrap_err();
                assert!(failure.sentence.starts_with(&format!("{name}={value}: ")), "{failure:?}");
            }
        }
    }
}
