// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program as its users start it, on a machine without isles.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn proxy(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
    for name in ["HERMIT_ISLE", "HERMIT_CPUS", "HERMIT_VERBOSE"] {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).output().unwrap()
}

/// Exit status and standard error.
fn failure(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let output = proxy(args, env);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("proxy: ") && text.lines().count() == 1, "{text}");
    (output.status.code().unwrap(), text)
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("proxy-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, bytes: &[u8], mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program for an isle: the proxy itself is static.
fn good_program() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_proxy")).unwrap()
}

#[test]
fn help_and_version() {
    let help = proxy(&["--help"], &[]);
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("HERMIT_CPUS"));
    let version = proxy(&["--version"], &[]);
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("proxy "));
    assert_eq!(failure(&[], &[]).0, 125);
    assert!(failure(&["--nonsense"], &[]).1.contains("--help"));
}

#[test]
fn what_cannot_run_is_explained() {
    let scratch = Scratch::new("bad");
    let (code, text) = failure(&["/nonexistent/program"], &[]);
    assert_eq!(code, 127, "{text}");
    let cases = [
        (scratch.file("script", b"#!/bin/sh\n", 0o755), "not an x86-64 ELF"),
        (scratch.file("empty", b"", 0o755), "not an x86-64 ELF"),
        (scratch.file("cut", &good_program()[..5000], 0o755), "damaged"),
        (scratch.file("data", &good_program(), 0o644), "permission denied"),
        ("/tmp".to_owned(), "not a file"),
    ];
    for (file, expected) in cases {
        let (code, text) = failure(&[&file], &[]);
        assert_eq!(code, 126, "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_environment_is_checked() {
    let scratch = Scratch::new("env");
    let program = scratch.file("program", &good_program(), 0o755);
    let text = |name, value| failure(&[&program], &[(name, value)]).1;
    let in_machine = failure(&[&program], &[("HERMIT_ISLE", "qemu"), ("HERMIT_CPUS", "0")]).1;
    assert!(in_machine.contains("HERMIT_CPUS=0"), "{in_machine}");
    assert!(text("HERMIT_ISLE", "one").contains("HERMIT_ISLE=one"));
    assert!(text("HERMIT_CPUS", "all").contains("HERMIT_CPUS=all"));
}

#[test]
fn without_the_module() {
    if Path::new("/sys/hermit").exists() {
        return;
    }
    let scratch = Scratch::new("module");
    let program = scratch.file("program", &good_program(), 0o755);
    let (code, text) = failure(&["--", &program, "--help"], &[]);
    assert_eq!((code, text.as_str()), (125, "proxy: hermit.ko is not loaded: run insmod hermit.ko\n"));
}

#[test]
fn brands_files() {
    // In a process of its own: while a file is written here, a child of another test may have it open as well, and what is
    // being written can't be run (ETXTBSY).
    if std::env::var_os("PROXY_TEST_BRAND").is_none() {
        let output = in_own_process("brands_files", "PROXY_TEST_BRAND", "1");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let scratch = Scratch::new("brand");
    let good = scratch.file("good", &good_program(), 0o755);
    let script = scratch.file("script", b"#!/bin/sh\n", 0o755);
    assert!(proxy(&["--brand", &good], &[]).status.success());
    assert_eq!(fs::read(&good).unwrap()[7], 0x42);
    // The brand doesn't keep Linux from running it.
    assert!(Command::new(&good).arg("--version").output().unwrap().status.success());
    let output = proxy(&["--brand", &script, "/nonexistent", &good], &[]);
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 2);
}

#[test]
fn death_by_signal_is_passed_on() {
    // In a process of its own: this test, asked to die.
    if let Ok(signal) = std::env::var("PROXY_TEST_DIE_OF") {
        hermit_proxy::sys::explain_sigbus();
        hermit_proxy::sys::take_signals(&hermit_proxy::signals::forwarded()).unwrap();
        let _ = hermit_proxy::ending::pass_on(signal.parse().unwrap());
        unreachable!("survived");
    }
    for signal in [1, 2, 4, 6, 7, 8, 9, 11, 13, 15] {
        let test = "death_by_signal_is_passed_on";
        let status = in_own_process(test, "PROXY_TEST_DIE_OF", &signal.to_string()).status;
        assert_eq!((status.signal(), status.core_dumped()), (Some(signal), false), "{status}");
    }
}

/// Runs one of these tests in a process of its own, told by a variable what to do.
fn in_own_process(test: &str, variable: &str, value: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, value)
        .output()
        .unwrap()
}

#[test]
fn memory_that_goes_away_ends_the_proxy_with_a_sentence() {
    const LEN: usize = 8192;
    if std::env::var_os("PROXY_TEST_SIGBUS").is_some() {
        hermit_proxy::failure::keep_stderr();
        hermit_proxy::sys::explain_sigbus();
        let file = rustix::fs::memfd_create("isle", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, LEN as u64).unwrap();
        let memory = hermit_proxy::shm::Memory::new(&file, 0, LEN).unwrap();
        memory.write(4096, b"there").unwrap();
        rustix::fs::ftruncate(&file, 0).unwrap();
        let _ = memory.read(4096, &mut [0; 5]);
        unreachable!("survived");
    }
    let output =
        in_own_process("memory_that_goes_away_ends_the_proxy_with_a_sentence", "PROXY_TEST_SIGBUS", "1");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.ends_with("proxy: the isle was stopped while its application ran\n"), "{text}");
}

#[test]
fn ignored_signals_stay_ignored() {
    if std::env::var_os("PROXY_TEST_IGNORED").is_some() {
        let forwarded = hermit_proxy::signals::forwarded();
        assert!(!forwarded.contains(&1) && forwarded.contains(&15));
        return;
    }
    let status = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" --exact ignored_signals_stay_ignored"])
        .arg(std::env::current_exe().unwrap())
        .env("PROXY_TEST_IGNORED", "1")
        .output()
        .unwrap()
        .status;
    assert!(status.success());
}
