// SPDX-License-Identifier: MIT OR Apache-2.0

//! `proxy PROGRAM ARGUMENT...`: runs a Linux program on an isle.

#![deny(unsafe_code)]

use hermit_abi::channel::CHANNEL_SIZE;
use hermit_abi::door::APP_MEMORY_OFFSET;
use hermit_proxy::cli::{self, Command};
use hermit_proxy::descriptors::Descriptors;
use hermit_proxy::door::Door;
use hermit_proxy::ending::{self, Ending};
use hermit_proxy::failure::{Failure, keep_stderr, say, write_stderr};
use hermit_proxy::launch::{self, Sysfs};
use hermit_proxy::machine::{self, Machine, MachineSettings};
use hermit_proxy::perform::Performer;
use hermit_proxy::program::Program;
use hermit_proxy::serve::{Outcome, Server};
use hermit_proxy::settings::Settings;
use hermit_proxy::shm::{ChannelMap, Memory};
use hermit_proxy::spawn::Children;
use hermit_proxy::spin::Spin;
use hermit_proxy::startup::{self, Identity};
use hermit_proxy::{brand, signals, sys};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    keep_stderr();
    let args = std::env::args_os().skip(1);
    let result = cli::parse(args, sys::binfmt_keeps_argv0()).and_then(|command| match command {
        Command::Help => print(cli::HELP),
        Command::Version => print(concat!("proxy ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Brand(files) => brand_all(&files),
        Command::Run { program, argv } => run(&program, &argv),
    });
    result.unwrap_or_else(|failure| {
        say(&failure.sentence);
        ExitCode::from(failure.code)
    })
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|e| Failure::new(format!("can't write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}

fn brand_all(files: &[PathBuf]) -> Result<ExitCode, Failure> {
    let failures = files.iter().filter_map(|file| brand::brand(file).err());
    // All of them are told, the last by our caller.
    let last = failures.reduce(|before, failure| {
        say(&before.sentence);
        failure
    });
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn run(program: &Path, argv: &[OsString]) -> Result<ExitCode, Failure> {
    let program = Program::open(program, std::env::var_os("PATH").as_deref())?;
    let settings = Settings::from_env()?;
    if let Some(machine) = &settings.machine {
        return run_in_machine(program, argv, &settings, machine);
    }
    let sysfs = Sysfs::new(settings.isle);
    let outcome = run_on_isle(program, argv, &settings, &sysfs);
    if settings.verbose {
        match sysfs.log() {
            Ok(log) => write_stderr(&log),
            // There is no isle, as the user is told anyway.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => say(&format!("can't read the log of isle {}: {e}", settings.isle)),
        }
    }
    match outcome? {
        Outcome::Ended(status) => Ok(ending::pass_on(status)),
        Outcome::Insisted(signal) => Ok(Ending::Killed(signal).pass_on()),
        Outcome::IsleStopped | Outcome::IsleCrashed => Err(launch::explain_loss(settings.isle, &sysfs)),
    }
}

fn run_on_isle(
    program: Program,
    argv: &[OsString],
    settings: &Settings,
    sysfs: &Sysfs,
) -> Result<Outcome, Failure> {
    let isle = settings.isle;
    let descriptors = Descriptors::default();
    let start_block = start_block(&program, argv)?;
    let device = launch::open(isle)?;
    let attachment = launch::attach(&device, settings, sysfs)?;
    let cannot_map = |e| Failure::new(format!("can't map the memory of isle {isle}: {e}"));
    sys::explain_sigbus();
    let memory_len = usize::try_from(attachment.app_memory_len).unwrap_or(usize::MAX);
    let memory = Memory::new(device.fd(), APP_MEMORY_OFFSET, memory_len).map_err(cannot_map)?;
    let channel = ChannelMap::new(device.fd()).map_err(cannot_map)?;
    let performer = Performer {
        memory,
        descriptors,
        exe_fd: program.file.as_raw_fd(),
        start_block,
        exe_path: program.path.clone(),
        children: Children::default(),
    };
    let cannot_serve = |e| Failure::new(format!("can't serve the application: {e}"));
    let signals = sys::take_signals(&signals::forwarded()).map_err(cannot_serve)?;
    let spin = Spin::new(settings.spin, attachment.tsc_khz);
    let server = Server::new(device, channel, performer, spin, signals).map_err(cannot_serve)?;
    server.door().run().map_err(|e| Failure::new(format!("isle {isle} can't run the application: {e}")))?;
    let outcome = server.serve().map_err(cannot_serve);
    if settings.verbose && server.unannounced() > 0 {
        let late = server.unannounced();
        say(&format!("{late} calls were found without a doorbell: they were up to two seconds late"));
    }
    // Closing the door is left to the end of the process: threads may still be in a call.
    std::mem::forget(server);
    std::mem::forget(program);
    outcome
}

fn run_in_machine(
    program: Program,
    argv: &[OsString],
    settings: &Settings,
    wanted: &MachineSettings,
) -> Result<ExitCode, Failure> {
    let descriptors = Descriptors::default();
    let start_block = start_block(&program, argv)?;
    let Machine { door, memory, channel, clocks, tsc_khz, emulator } = Machine::start(wanted)?;
    sys::explain_sigbus();
    let performer = Performer {
        memory,
        descriptors,
        exe_fd: program.file.as_raw_fd(),
        start_block,
        exe_path: program.path.clone(),
        children: Children::default(),
    };
    let cannot_serve = |e| Failure::new(format!("can't serve the application: {e}"));
    let signals = sys::take_signals(&signals::forwarded()).map_err(cannot_serve)?;
    let server = Server::new(door, channel, performer, Spin::new(settings.spin, tsc_khz.into()), signals);
    let server = server.map_err(cannot_serve)?;
    clocks.follow().map_err(cannot_serve)?;
    server.door().run().map_err(cannot_serve)?;
    let outcome = server.serve().map_err(cannot_serve);
    if settings.verbose {
        write_stderr(&server.door().log());
        say(&format!("QEMU and its firmware took {:.3} s to start", emulator.as_secs_f64()));
        if let Some(note) = machine::note() {
            say(note);
        }
    }
    server.door().end();
    let result = match outcome? {
        Outcome::Ended(status) => Ok(ending::pass_on(status)),
        Outcome::Insisted(signal) => Ok(Ending::Killed(signal).pass_on()),
        Outcome::IsleStopped | Outcome::IsleCrashed => Err(server.door().explain_loss()),
    };
    // Threads may still be in a call.
    std::mem::forget(server);
    std::mem::forget(program);
    result
}

fn start_block(program: &Program, argv: &[OsString]) -> Result<Vec<u8>, Failure> {
    let mut random = [0; 16];
    let got = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    if got != Ok(random.len()) {
        return Err(Failure::new("Linux gives no random numbers"));
    }
    let identity = Identity {
        exe_fd: u32::try_from(program.file.as_raw_fd()).unwrap_or(u32::MAX),
        exe_size: program.size,
        random,
        ..Identity::take()
    };
    let env: Vec<_> = std::env::vars_os().collect();
    startup::block(&identity, argv, &env, program.path.as_os_str())
        .ok_or_else(|| Failure::new("arguments and environment are too long"))
}

const _: () = assert!(CHANNEL_SIZE as u64 <= APP_MEMORY_OFFSET);
