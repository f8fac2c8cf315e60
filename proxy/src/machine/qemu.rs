// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU: starting it, and ending it.

use super::settings::{Kind, MachineSettings};
use crate::failure::Failure;
use crate::sys;
use hermit_abi::machine::CARD_SLOT;
use rustix::fs::MemfdFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A running QEMU, which ends when this is dropped, and also if we die.
pub struct Qemu {
    child: Mutex<Child>,
    /// Our end of the machine's second serial port.
    pub bell: TcpStream,
    /// So that nobody else has the port.
    _listener: TcpListener,
    /// What it and the isle kernel say.
    words: File,
}

fn memfd(name: &str) -> Result<File, Failure> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC);
    fd.map(File::from).map_err(|e| Failure::new(format!("Linux gives no memory: {e}")))
}

/// A port of the loopback, which nobody else may have.
fn listen(port: u16, purpose: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
        Failure::new(format!("port {port}, for {purpose}, can't be had: {e}; set HERMIT_PORT to another one"))
    })
}

/// The two ends of a connection by a port.
fn connection(listener: &TcpListener) -> std::io::Result<(TcpStream, TcpStream)> {
    let ours = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (theirs, from) = listener.accept()?;
        // Somebody else may be as fast.
        if from == ours.local_addr()? {
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}

/// KVM where it works: on some machines its device can be opened, though no guest runs there; their processors don't say that they can.
fn accelerator() -> &'static str {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let can = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let opens = File::options().read(true).write(true).open("/dev/kvm").is_ok();
    if can && opens { "kvm" } else { EMULATION }
}

const EMULATION: &str = "tcg,thread=multi";

/// Says that it is slow, if it is.
pub fn note() -> Option<&'static str> {
    (accelerator() == EMULATION).then_some("there is no KVM here, so QEMU emulates the CPUs, which is slow")
}

/// QEMU's `-device` for the network card, where `hermit_abi::machine` has it. Its address is another one for each port, so that
/// machines on one network differ.
fn card(settings: &MachineSettings) -> String {
    let [high, low] = settings.port.to_be_bytes();
    let common = format!("netdev=net,mac=02:48:45:52:{high:02x}:{low:02x},event_idx=off,indirect_desc=off");
    match settings.kind {
        Kind::Q35 => {
            format!("virtio-net-pci,{common},disable-legacy=on,vectors=0,romfile=,addr={CARD_SLOT:#x}")
        }
        Kind::Microvm => format!("virtio-net-device,{common}"),
    }
}

/// Starts a machine with the isle kernel.
pub fn start(settings: &MachineSettings, image: &Path, memory: &File) -> Result<Qemu, Failure> {
    let monitor = settings.port + 1;
    let listener = listen(settings.port, "the calls of the application")?;
    // QEMU would say it in its own words.
    drop(listen(monitor, "QEMU's monitor")?);
    settings.network.check()?;
    let no_bell = |e| Failure::new(format!("can't connect to port {}: {e}", settings.port));
    let (bell, theirs) = connection(&listener).map_err(no_bell)?;
    let words = memfd("hermit-words")?;
    let cannot_share = |e| Failure::new(format!("can't share a file with QEMU: {e}"));
    let for_qemu = words.try_clone().map_err(cannot_share)?;
    let inherited = [memory.as_fd(), theirs.as_fd(), for_qemu.as_fd()];
    for fd in inherited {
        fcntl_setfd(fd, FdFlags::empty()).map_err(|e| cannot_share(e.into()))?;
    }
    let [memory_fd, bell_fd, words_fd] = inherited.map(|fd| fd.as_raw_fd());
    let machine = match settings.kind {
        Kind::Q35 => "q35,memory-backend=memory",
        Kind::Microvm => {
            "microvm,memory-backend=memory,pit=off,pic=off,rtc=off,isa-serial=on,acpi=off,ioapic2=off"
        }
    };
    let mut command = Command::new(&settings.qemu);
    command
        .args(["-machine", machine, "-accel", accelerator(), "-cpu", "max"])
        .args(["-global", "virtio-mmio.force-legacy=false"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-smp", &format!("{0},sockets=1,cores={0},threads=1", settings.cpus)])
        .args(["-m", &format!("size={}M", settings.memory >> 20)])
        .arg("-object")
        .arg(format!(
            "memory-backend-file,id=memory,size={},mem-path=/proc/self/fd/{memory_fd},share=on",
            settings.memory
        ))
        .arg("-kernel")
        .arg(image)
        .args([
            "-chardev",
            &format!("file,id=console,path=/proc/self/fd/{words_fd},append=on"),
            "-serial",
            "chardev:console",
        ])
        .args([
            "-chardev",
            &format!("socket,id=bell,fd={bell_fd}"),
            "-device",
            "isa-serial,chardev=bell,index=1",
        ])
        .args(["-monitor", &format!("telnet:127.0.0.1:{monitor},server=on,wait=off")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(for_qemu.try_clone().map_err(cannot_share)?);
    if let Some(backend) = settings.network.backend() {
        command.args(["-netdev", &backend, "-device", &card(settings)]);
    }
    sys::end_with_us(&mut command);
    let child = command.spawn().map_err(|e| {
        let name = settings.qemu.to_string_lossy();
        Failure::new(match e.kind() {
            ErrorKind::NotFound => {
                format!("there is no {name}: install QEMU (Debian: qemu-system-x86), or set HERMIT_QEMU to where it is")
            }
            _ => format!("can't run {name}: {e}; HERMIT_QEMU says which QEMU to run"),
        })
    });
    // The application's own programs have nothing to do with it.
    for fd in inherited {
        fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|e| cannot_share(e.into()))?;
    }
    Ok(Qemu { child: Mutex::new(child?), bell, _listener: listener, words })
}

impl Qemu {
    /// What QEMU or the isle kernel have said, if anything.
    pub fn words(&self) -> String {
        let mut text = Vec::new();
        let Ok(mut file) = self.words.try_clone() else { return String::new() };
        if file.rewind().is_err() || file.read_to_end(&mut text).is_err() {
            return String::new();
        }
        match String::from_utf8_lossy(&text).trim() {
            "" => "QEMU ended without a word".to_owned(),
            words => words.replace('\n', "; "),
        }
    }
}

impl Qemu {
    /// Ends it, and waits until it has.
    pub fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(|e| e.into_inner());
        // If it has ended by itself, that is all right.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.end();
    }
}
