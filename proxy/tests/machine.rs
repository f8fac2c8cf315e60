// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs in virtual machines of their own. Needs QEMU and what `make build` makes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Each machine has two ports, which other tests leave alone.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    NEXT.fetch_add(2, Ordering::Relaxed)
}

fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build").join(name);
    assert!(path.exists(), "{} is missing: make build makes it", path.display());
    path
}

fn hello() -> PathBuf {
    built("apps-plain/hello-c")
}

fn machine(cpus: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
    command.envs([("HERMIT_ISLE", "qemu"), ("HERMIT_MEM", "512M")]);
    command.env("HERMIT_CPUS", cpus.to_string()).env("HERMIT_PORT", port().to_string());
    command.env("HERMIT_KERNEL", built("isle-kernel")).env_remove("HERMIT_VERBOSE");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit status and the only line on standard error.
fn failure(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let line = text(&stderr);
    assert!(line.starts_with("proxy: ") && line.lines().count() == 1, "{line}");
    (status.code().unwrap(), line)
}

/// How many QEMUs there are with a port.
fn qemus(port: u16) -> usize {
    let monitor = format!("telnet:127.0.0.1:{},", port + 1);
    let command = |entry: &fs::DirEntry| text(&fs::read(entry.path().join("cmdline")).unwrap_or_default());
    fs::read_dir("/proc").unwrap().flatten().filter(|entry| command(entry).contains(&monitor)).count()
}

fn gone(port: u16) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while qemus(port) > 0 && Instant::now() < end {
        sleep(Duration::from_millis(20));
    }
    qemus(port) == 0
}

fn with_port(command: &mut Command) -> u16 {
    let port = port();
    command.env("HERMIT_PORT", port.to_string());
    port
}

fn read_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    let out = child.stdout.as_mut().unwrap();
    while out.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    text(&line)
}

#[test]
fn arguments_input_output_and_status() {
    for cpus in [1, 4] {
        let mut command = machine(cpus);
        command.arg(hello()).args(["x y", "", "-", "--exit", "7"]).env("HELLO_ENV", "a = b");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"one\ntwo\nthree").unwrap();
        let output = child.wait_with_output().unwrap();
        let out = text(&output.stdout);
        for line in
            ["argv[1] = x y", "argv[2] = ", "HELLO_ENV = a = b", "stdin: two", "stdin: three", "file: ok"]
        {
            assert!(out.lines().any(|l| l == line), "{line}: {out}");
        }
        assert_eq!(output.status.code(), Some(7));
    }
}

#[test]
fn either_machine_with_much_memory() {
    for kind in ["q35", "microvm"] {
        for memory in if has_much() { ["512M", "6G"].as_slice() } else { &["512M"] } {
            let mut command = machine(2);
            command.envs([("HERMIT_MACHINE", kind), ("HERMIT_MEM", memory)]);
            // All of it, so both sides of 4 GiB.
            let touched = if *memory == "6G" { 5000 } else { 300 };
            let program = format!(
                "a = bytearray({touched} << 20); a[::4096] = b'x' * len(a[::4096]); print(len(a) >> 20)"
            );
            let output = command.args(["/usr/bin/python3", "-c", &program]).output().unwrap();
            assert_eq!(
                text(&output.stdout),
                format!("{touched}\n"),
                "{kind} {memory}: {}",
                text(&output.stderr)
            );
        }
    }
}

#[test]
fn all_cpus_are_there() {
    for cpus in [1, 3] {
        let output = machine(cpus).arg("/usr/bin/nproc").output().unwrap();
        assert_eq!(text(&output.stdout), format!("{cpus}\n"), "{}", text(&output.stderr));
    }
}

#[test]
fn signals_end_it_and_nothing_is_left() {
    for signal in ["INT", "TERM", "KILL"] {
        let mut command = machine(1);
        let port = with_port(&mut command);
        let mut child = command
            .args(["/bin/sh", "-c", "echo ready; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(read_line(&mut child), "ready");
        assert_eq!(qemus(port), 1);
        assert!(
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
        );
        let status = child.wait().unwrap();
        let number = match signal {
            "INT" => 2,
            "TERM" => 15,
            _ => 9,
        };
        assert_eq!(status.signal(), Some(number), "{signal}: {status}");
        assert!(gone(port), "{signal}");
    }
}

#[test]
fn the_monitor_answers_and_a_port_in_use_is_told() {
    let mut command = machine(1);
    let port = with_port(&mut command);
    let mut child = command
        .args(["/bin/sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(read_line(&mut child), "ready");
    let mut monitor = TcpStream::connect(("127.0.0.1", port + 1)).unwrap();
    monitor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    monitor.write_all(b"info status\n").unwrap();
    let mut said = String::new();
    let mut bytes = [0; 4096];
    while !said.contains("VM status: running") {
        let count = monitor.read(&mut bytes).unwrap();
        assert!(count > 0, "{said}");
        said += &text(&bytes[..count]);
    }
    for taken in [port, port - 1] {
        let (code, line) = failure(machine(1).env("HERMIT_PORT", taken.to_string()).arg(hello()));
        assert!(
            code == 125 && line.contains(&format!("port {port}")) && line.contains("HERMIT_PORT"),
            "{line}"
        );
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success() && gone(port));
}

#[test]
fn misuse_is_told_in_one_sentence() {
    for (name, value, wanted) in [
        ("HERMIT_CPUS", "0", "HERMIT_CPUS=0"),
        ("HERMIT_CPUS", "1000", "1 to 255"),
        ("HERMIT_MEM", "1M", "at least"),
        ("HERMIT_MEM", "100T", "HERMIT_MEM=100T"),
        ("HERMIT_MEM", "16000G", "this machine has"),
        ("HERMIT_MACHINE", "pc", "q35 or microvm"),
        ("HERMIT_NET", "bridge", "user, tap:DEVICE or none"),
        ("HERMIT_NET", "tap:hermit-none", "hermit-none"),
        ("HERMIT_APP_PORT", "http", "8080:80"),
        ("HERMIT_QEMU", "/nowhere/qemu", "install QEMU"),
        ("HERMIT_QEMU", "/bin/false", "QEMU ended"),
        ("HERMIT_KERNEL", "/nowhere", "build/isle-kernel"),
        ("HERMIT_KERNEL", "/proc/self/status", "no ELF header"),
    ] {
        let (code, line) = failure(machine(1).env(name, value).arg(hello()));
        assert!(code == 125 && line.contains(wanted), "{name}={value}: {line}");
    }
    let (code, line) = failure(machine(1).arg("/proc/version"));
    assert!(code == 126 && line.contains("/proc/version"), "{line}");
}

#[test]
fn many_in_a_row_and_four_at_once() {
    let run = |count: usize| {
        for cpus in [1, 4, 2].into_iter().cycle().take(count) {
            let mut command = machine(cpus);
            let port = with_port(&mut command);
            let output = command.arg(hello()).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success() && gone(port), "{}", text(&output.stderr));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| run(3));
        }
    });
}

/// All programs of apps/tests, on one CPU and on four, side by side.
#[test]
fn the_programs_of_the_tests() {
    let dir = built("apps-plain");
    let run = |cpus: u32, dir: &Path| {
        let mut command = Command::new("sh");
        command.arg(dir.join("selftest.sh")).arg(dir).arg(env!("CARGO_BIN_EXE_proxy"));
        command.envs([("HERMIT_ISLE", "qemu"), ("HERMIT_MEM", "2G"), ("LIMIT", "120")]);
        command.env("HERMIT_CPUS", cpus.to_string()).env("HERMIT_PORT", port().to_string());
        let output = command.env("HERMIT_KERNEL", built("isle-kernel")).output().unwrap();
        let out = text(&output.stdout);
        let bad: Vec<_> = out.lines().filter(|line| line.starts_with("not ok")).collect();
        let good = out.lines().filter(|line| line.starts_with("ok")).count();
        assert!(bad.is_empty() && good > 70, "{cpus} CPUs: {good} good, {bad:?}\n{}", text(&output.stderr));
    };
    std::thread::scope(|scope| {
        for cpus in [1, 4] {
            let dir = &dir;
            scope.spawn(move || run(cpus, dir));
        }
    });
}

/// What either machine's program has to say of its network, as a check of this computer's.
const NETWORK: &str = "
import hashlib, socket, sys
s = socket.create_connection(('10.0.2.2', int(sys.argv[1])), 20)
name = s.getsockname()[0]
servers = [l for l in open('/etc/resolv.conf') if l.startswith('nameserver')]
data = bytes(range(256)) * (1 << 14)
import threading
t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
t.start()
h, n = hashlib.sha256(), 0
while d := s.recv(1 << 16): h.update(d); n += len(d)
t.join()
print(name, servers, n, h.digest() == hashlib.sha256(data).digest())
try: socket.create_connection(('10.0.2.2', 1), 20)
except ConnectionRefusedError: print('refused')
";

/// Sends back all that comes by the next connection.
fn echo_once(listener: TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut writer = stream.try_clone().unwrap();
    // The other side sends all before it ends.
    let copied = std::io::copy(&mut stream, &mut writer).unwrap();
    assert_eq!(copied, 4 << 20);
    writer.shutdown(std::net::Shutdown::Write).unwrap();
}

#[test]
fn it_reaches_the_network() {
    for kind in ["q35", "microvm"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(|| echo_once(listener));
        let mut command = machine(2);
        command.env("HERMIT_MACHINE", kind).args(["/usr/bin/python3", "-c", NETWORK, &port.to_string()]);
        let output = command.output().unwrap();
        let wanted = "10.0.2.15 ['nameserver 10.0.2.3\\n'] 4194304 True\nrefused\n";
        assert_eq!(text(&output.stdout), wanted, "{kind}: {}", text(&output.stderr));
        server.join().unwrap();
    }
}

/// Echoes one connection and one datagram.
const SERVER: &str = "
import socket
l = socket.create_server(('', 80))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', 53))
print('ready', flush=True)
s, _ = l.accept()
while d := s.recv(100): s.sendall(d)
s.close()
d, a = u.recvfrom(100); u.sendto(d, a)
print('done')
";

#[test]
fn ports_lead_into_it() {
    for kind in ["q35", "microvm"] {
        let (tcp, udp) = (port(), port());
        let mut command = machine(1);
        command.envs([("HERMIT_MACHINE", kind), ("HERMIT_APP_PORT", &format!("{tcp}:80,{udp}:53/udp"))]);
        let mut child =
            command.args(["/usr/bin/python3", "-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(read_line(&mut child), "ready");
        let (code, line) = failure(machine(1).env("HERMIT_APP_PORT", tcp.to_string()).arg(hello()));
        assert!(
            code == 125 && line.contains(&format!("port {tcp}")) && line.contains("HERMIT_APP_PORT"),
            "{line}"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"by TCP").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, "by TCP");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send_to(b"by UDP", ("127.0.0.1", udp)).unwrap();
        let mut datagram = [0; 100];
        let len = socket.recv(&mut datagram).unwrap();
        assert_eq!(&datagram[..len], b"by UDP");
        assert_eq!(read_line(&mut child), "done");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn without_a_network_sockets_say_so() {
    let program = "
import socket
try: socket.socket()
except OSError as e: print(e.strerror)";
    let output =
        machine(1).env("HERMIT_NET", "none").args(["/usr/bin/python3", "-c", program]).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "Address family not supported by protocol\n",
        "{}",
        text(&output.stderr)
    );
}

/// The clocks are the host's, and stay so.
#[test]
fn the_clocks_are_those_of_the_host() {
    let program = "
import time
for _ in range(4):
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns(), flush=True)
    input()";
    let mut command = machine(1);
    command.args(["/usr/bin/python3", "-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut before = now();
    for _ in 0..4 {
        let line = read_line(&mut child);
        let after = now();
        let times: Vec<u128> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        // Taken between two of ours, but for 1 ms.
        for (time, (low, high)) in times.iter().zip(before.iter().zip(after)) {
            assert!(low - 1_000_000 <= *time && *time <= high + 1_000_000, "{low} {time} {high}");
        }
        sleep(Duration::from_millis(700));
        before = now();
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
    assert!(child.wait().unwrap().success());
}

/// CLOCK_MONOTONIC and CLOCK_REALTIME, in ns.
fn now() -> [u128; 2] {
    [rustix::time::ClockId::Monotonic, rustix::time::ClockId::Realtime].map(|id| {
        let now = rustix::time::clock_gettime(id);
        now.tv_sec as u128 * 1_000_000_000 + now.tv_nsec as u128
    })
}

/// Programs of the distribution's, which run as they do without a machine.
#[test]
fn the_distributions_programs() {
    let dir = std::env::temp_dir().join(format!("hermit-machine-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(
        dir.join("text"),
        (0..20_000).map(|n| format!("{} line {n}\n", n * 7919 % 20_000)).collect::<String>(),
    )
    .unwrap();
    let numpy = "
import numpy
a = numpy.arange(90000.0).reshape(300, 300) % 17 + numpy.eye(300)
print(numpy.linalg.det(a[:5, :5]).round(6), (a @ a).sum(), numpy.fft.fft(a[0])[:3].round(6))";
    let sqlite = "create table t(a integer primary key, b text); \
        with recursive n(x) as (select 1 union all select x + 1 from n where x < 20000) insert into t select x, hex(x * x) from n; \
        create index i on t(b); select count(*), sum(a), max(b) from t; select * from t where b like '3%' limit 3;";
    let perl = "my %h; while (<>) { my @f = split; $h{$f[0] % 97} += $f[2]; } print join(',', map { \"$_=$h{$_}\" } sort { $a <=> $b } keys %h), \"\\n\"";
    let lua = "local t = {} for i = 1, 50000 do t[i] = (i * 7919) % 50021 end table.sort(t) print(t[1], t[25000], #t, string.format('%.12f', math.sin(t[7])))";
    for words in [
        &["/usr/bin/busybox", "sort", "-n", "text"][..],
        &["/usr/bin/busybox", "sh", "-c", "busybox seq 1 3000 | busybox md5sum; exit 3"],
        &[
            "/bin/bash",
            "-c",
            "while read -r a _ n; do ((s += a * n)); done <text; echo $s; sort text | tail -n 1; nosuch",
        ],
        &["/usr/bin/perl", "-e", perl, "text"],
        &["/usr/bin/lua5.4", "-e", lua],
        &["/usr/bin/python3", "-c", numpy],
        &["/usr/bin/sqlite3", ":memory:", sqlite],
        &["/usr/bin/gzip", "-9nc", "text"],
        &["/usr/bin/xz", "-T2", "-c", "text"],
        &["/usr/bin/zstd", "-qc", "text"],
        &["/usr/bin/tar", "cf", "-", "text"],
        &["/usr/bin/openssl", "dgst", "-sha512", "text"],
        &["/usr/bin/sha256sum", "text", "nosuch"],
    ] {
        let natively = Command::new(words[0]).args(&words[1..]).current_dir(&dir).output().unwrap();
        let output = machine(2).env("HERMIT_MEM", "1G").args(words).current_dir(&dir).output().unwrap();
        assert_eq!(output.status.code(), natively.status.code(), "{words:?}: {}", text(&output.stderr));
        assert!(
            output.stdout == natively.stdout,
            "{words:?}: {}\n{}",
            text(&output.stdout),
            text(&natively.stdout)
        );
        assert_eq!(text(&output.stderr), text(&natively.stderr), "{words:?}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_benchmark_with_much_memory() {
    let output = machine(4)
        .env("HERMIT_MEM", if has_much() { "6G" } else { "512M" })
        .arg(built("bench/stream"))
        .args(["-m", "-r", "2", "-n", "1000000", "-t", "4"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().filter(|line| line.starts_with("stream_")).count(), 4);
}

/// Whether this computer has memory for a machine of 6 GiB.
fn has_much() -> bool {
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let available = info.lines().find(|line| line.starts_with("MemAvailable:")).unwrap();
    available.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() > 7 << 20
}

#[test]
fn it_says_how_long_the_start_took() {
    let output = machine(1).env("HERMIT_VERBOSE", "1").arg(built("bench/first")).output().unwrap();
    assert!(text(&output.stdout).starts_with("first "));
    let words = text(&output.stderr);
    let line = words
        .lines()
        .find(|line| line.contains("QEMU and its firmware took "))
        .unwrap_or_else(|| panic!("{words}"));
    let seconds: f64 =
        line.split("took ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{line}");
    assert!(words.lines().any(|line| line.ends_with(" ready")), "{words}");
}
