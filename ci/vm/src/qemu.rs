// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's command line and what its versions can do.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::shape::{Apic, Method, Shape};

/// A QEMU executable and where its firmware is, if not where it looks by itself.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub program: PathBuf,
    pub firmware: Vec<PathBuf>,
    pub version: (u32, u32),
}

/// What the machine boots and is connected to.
#[derive(Debug)]
pub struct Wiring<'a> {
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub cmdline: &'a str,
    pub console: Console<'a>,
    /// A folder that the guest may write to.
    pub share: Option<&'a Path>,
    /// A directory tree that the guest may read only.
    pub root: Option<&'a Path>,
    /// Names of virtio-serial ports and the sockets that QEMU inherits for them.
    pub ports: &'a [(&'a str, RawFd)],
}

#[derive(Debug)]
pub enum Console<'a> {
    Log(&'a Path),
    /// The person's terminal; a copy goes to the log.
    Terminal(&'a Path),
}

impl Qemu {
    pub fn find(program: &Path) -> Result<Self> {
        let output = Command::new(program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}: install QEMU or set HERMIT_QEMU", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(version) = parse_version(&text) else {
            bail!("{} --version says nothing that looks like QEMU", program.display());
        };
        // A package that was unpacked into a private folder still looks for /usr/share.
        let firmware = match program.parent().and_then(Path::parent) {
            Some(usr) if usr != Path::new("/usr") => ["share/qemu", "share/seabios"]
                .map(|dir| usr.join(dir))
                .into_iter()
                .filter(|dir| dir.is_dir())
                .collect(),
            _ => Vec::new(),
        };
        Ok(Qemu { program: program.to_path_buf(), firmware, version })
    }

    /// Under TCG, x2APIC came with QEMU 9.0.
    pub fn has_x2apic(&self) -> bool {
        self.version.0 >= 9
    }

    /// Refuses a shape that this QEMU cannot give.
    pub fn check(&self, shape: &Shape) -> Result<()> {
        if shape.apic == Apic::X2apic && !self.has_x2apic() {
            bail!(
                "APIC=x2apic needs QEMU 9 or newer, {} is {}.{}: take it from your distribution's \
                 backports, or use APIC=xapic",
                self.program.display(),
                self.version.0,
                self.version.1
            );
        }
        Ok(())
    }

    pub fn arguments(&self, shape: &Shape, wiring: &Wiring<'_>) -> Vec<String> {
        let mut args = Args(Vec::new());
        for dir in &self.firmware {
            args.push("-L", dir.display());
        }
        args.0.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(String::from));
        args.push("-display", "none");
        clock(&mut args, shape);
        processors(&mut args, shape);
        memory(&mut args, shape);
        args.push("-kernel", wiring.kernel.display());
        args.push("-initrd", wiring.initrd.display());
        args.push("-append", wiring.cmdline);
        match wiring.console {
            Console::Log(log) => args.push("-serial", format!("file:{}", log.display())),
            Console::Terminal(log) => {
                let log = escape(log);
                args.push("-chardev", format!("stdio,id=tty,signal=off,logfile={log}"));
                args.push("-serial", "chardev:tty");
            }
        }
        if !wiring.ports.is_empty() {
            args.push("-device", "virtio-serial-pci,max_ports=16");
        }
        for (number, (name, fd)) in wiring.ports.iter().enumerate() {
            // Port 0 is special to the guest (it may become hvc0), so start at 1.
            let number = number + 1;
            args.push("-chardev", format!("socket,id=port{number},fd={fd}"));
            args.push("-device", format!("virtserialport,nr={number},chardev=port{number},name={name}"));
        }
        let folders = [(wiring.share, "host", ""), (wiring.root, "root", ",readonly=on")];
        for (folder, tag, access) in folders {
            let Some(folder) = folder else { continue };
            let path = escape(folder);
            // A tree may reach over several file systems, whose inodes must stay distinct.
            let kind = "security_model=none,multidevs=remap";
            args.push("-virtfs", format!("local,path={path},mount_tag={tag},{kind}{access}"));
        }
        args.0
    }
}

struct Args(Vec<String>);

impl Args {
    fn push(&mut self, option: &str, value: impl std::fmt::Display) {
        self.0.extend([option.to_string(), value.to_string()]);
    }
}

/// What the machine's time is.
fn clock(args: &mut Args, shape: &Shape) {
    if shape.method == Some(Method::Icount) {
        args.push("-accel", "tcg,thread=single");
        // A nanosecond for each instruction; while all CPUs idle, time goes on to the next event at once.
        args.push("-icount", "shift=0,sleep=off");
        args.push("-rtc", "base=2026-01-01T00:00:00,clock=vm");
    } else {
        args.push("-accel", "tcg,thread=multi");
    }
}

fn processors(args: &mut Args, shape: &Shape) {
    let without = match shape.method {
        None => "",
        // TCG executes "rep movsb" byte by byte, which distorts whatever copies or clears memory.
        Some(Method::Mttcg) => ",-erms,-fsrm",
        // And random numbers come from the host.
        Some(Method::Icount) => ",-erms,-fsrm,-rdrand,-rdseed",
    };
    // Under icount QEMU's HPET ticks twice as fast as it should, so that Linux takes the APIC timer for a broken one.
    let hpet = if shape.method == Some(Method::Icount) { ",hpet=off" } else { "" };
    match shape.apic {
        Apic::Xapic => {
            args.push("-machine", format!("q35{hpet}"));
            args.push("-cpu", format!("max,-x2apic{without}"));
        }
        // Linux takes x2APIC by itself only where interrupts are remapped.
        Apic::X2apic => {
            args.push("-machine", format!("q35,kernel-irqchip=split{hpet}"));
            args.push("-cpu", format!("max,+x2apic{without}"));
            args.push("-device", "intel-iommu,intremap=on,eim=on");
        }
    }
    // One socket a CPU: CPUs of one cache on different nodes make Linux warn.
    let cpus = shape.vcpus;
    args.push("-smp", format!("{cpus},sockets={cpus},cores=1,threads=1"));
}

fn memory(args: &mut Args, shape: &Shape) {
    args.push("-m", format!("{}M", shape.mem_mib));
    let nodes = shape.cpus_of_nodes().into_iter().zip(shape.mem_of_nodes());
    for (node, (cpus, mib)) in nodes.enumerate() {
        args.push("-object", format!("memory-backend-ram,id=mem{node},size={mib}M"));
        let cpus: String = cpus.iter().map(|cpu| format!(",cpus={cpu}")).collect();
        args.push("-numa", format!("node,nodeid={node},memdev=mem{node}{cpus}"));
    }
    for from in 0..shape.nodes {
        for to in (0..shape.nodes).filter(|to| *to != from) {
            args.push("-numa", format!("dist,src={from},dst={to},val=20"));
        }
    }
}

/// QEMU splits option values at commas; a doubled comma stands for one.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let rest = text.split_once("version ")?.1;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(shape: &Shape) -> String {
        let qemu = Qemu { program: "qemu".into(), firmware: vec![], version: (10, 0) };
        let wiring = Wiring {
            kernel: Path::new("/k"),
            initrd: Path::new("/i"),
            cmdline: "quiet",
            console: Console::Log(Path::new("/log")),
            share: Some(Path::new("/a,b")),
            root: Some(Path::new("/")),
            ports: &[("hermit.ctl", 7)],
        };
        qemu.arguments(shape, &wiring).join(" ")
    }

    #[test]
    fn nodes_have_memory_cpus_and_distances() {
        let line = command_line(&Shape::default());
        assert!(line.contains("-object memory-backend-ram,id=mem1,size=1024M"));
        assert!(line.contains("-numa node,nodeid=1,memdev=mem1,cpus=2,cpus=3"));
        assert!(line.contains("-numa dist,src=0,dst=1,val=20"));
        assert!(line.contains("-cpu max,-x2apic"));
        assert!(!line.contains("iommu"));
    }

    #[test]
    fn x2apic_comes_with_interrupt_remapping() {
        let line = command_line(&Shape { apic: Apic::X2apic, ..Shape::default() });
        assert!(line.contains("intel-iommu,intremap=on,eim=on"));
        assert!(line.contains("q35,kernel-irqchip=split"));
    }

    #[test]
    fn time_is_measured_in_the_way_that_was_asked_for() {
        let line = |method| command_line(&Shape { method, ..Shape::default() });
        let usual = line(None);
        assert!(usual.contains("-accel tcg,thread=multi") && usual.contains("-cpu max,-x2apic -"));
        let multi = line(Some(Method::Mttcg));
        assert!(multi.contains("-accel tcg,thread=multi") && multi.contains("-cpu max,-x2apic,-erms,-fsrm -"));
        let counted = line(Some(Method::Icount));
        assert!(counted.contains("-accel tcg,thread=single -icount shift=0,sleep=off -rtc base="));
        assert!(counted.contains(",-erms,-fsrm,-rdrand,-rdseed") && counted.contains("-machine q35,hpet=off"));
    }

    #[test]
    fn paths_and_ports() {
        let line = command_line(&Shape::default());
        assert!(line.contains("path=/a,,b,mount_tag=host,security_model=none,multidevs=remap -"));
        assert!(line.ends_with("path=/,mount_tag=root,security_model=none,multidevs=remap,readonly=on"));
        assert!(line.contains("-chardev socket,id=port1,fd=7"));
        assert!(line.contains("virtserialport,nr=1,chardev=port1,name=hermit.ctl"));
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version("QEMU emulator version 10.0.2 (Debian)"), Some((10, 0)));
        assert_eq!(parse_version("QEMU emulator version 7.2.22"), Some((7, 2)));
        assert_eq!(parse_version("no"), None);
    }
}
