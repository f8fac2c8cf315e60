// SPDX-License-Identifier: MIT OR Apache-2.0
//! The launcher's command line and its subcommands.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

use crate::logs::Logs;
use crate::memory;
use crate::qemu::Qemu;
use crate::request::Request;
use crate::session::{self, Outcome, Setup, Streams};
use crate::terminal;
use crate::variables::Variables;
use crate::warnings;

const USAGE: &str = "\
hermit-vm [--root DIR] [--qemu PROGRAM] COMMAND

  run APP=… [ARGS=… ISLE=… CPUS=…]   run a program on an isle; exit with its status
  exec SCRIPT=… [SHARE=DIR]          run a script as root; exit with its status
  shell [SHARE=DIR]                  a shell for a person
  test [--crate DIR]… SCRIPT…        run test scripts and crates' tests; count results
  warnings LOG…                      list what is wrong in kernel logs; fail if there is any

run, exec and shell also take ROOT, VCPUS, NODES, MEM, APIC, KERNEL, TIMEOUT, APPEND and METHOD.";

pub fn main() -> Result<u8> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut root = PathBuf::from(".");
    let mut qemu = PathBuf::from("qemu-system-x86_64");
    let mut crates: Vec<PathBuf> = Vec::new();
    let mut words: Vec<OsString> = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("root") => root = parser.value()?.into(),
            Long("qemu") => qemu = parser.value()?.into(),
            Long("crate") => crates.push(parser.value()?.into()),
            Long("help") | Short('h') => {
                println!("{USAGE}");
                return Ok(0);
            }
            Value(word) => words.push(word),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let mut words = words.into_iter();
    let command = words.next().context(USAGE)?;
    let operands: Vec<OsString> = words.collect();
    let setup = || -> Result<Setup> {
        Ok(Setup {
            qemu: Qemu::find(&qemu)?,
            build: root.join("build"),
            guest: root.join("ci/guest"),
            logs: root.join("build/logs"),
        })
    };
    match command.to_str() {
        Some("run") => run(&setup()?, Variables::parse(operands, 60)?),
        Some("exec") => exec(&setup()?, Variables::parse(operands, 600)?),
        Some("shell") => shell(&setup()?, Variables::parse(operands, 600)?),
        Some("test") => crate::suite::run(&setup()?, &crates, &operands),
        Some("warnings") => list_warnings(&operands),
        _ => bail!("no such command: {}\n{USAGE}", command.to_string_lossy()),
    }
}

fn run(setup: &Setup, variables: Variables) -> Result<u8> {
    let app = variables.app.clone().context("APP is not set: name the program to run")?;
    ensure!(app.is_file(), "APP={}: there is no such file", app.display());
    let root = variables.root()?;
    let (inside, programs) = match root.as_ref().and_then(|root| root.inside(&app)) {
        Some(inside) => (inside.to_string_lossy().into_owned(), Vec::new()),
        None => {
            let inside = format!("/app/{}", file_name(&app)?);
            (inside.clone(), vec![(inside, app)])
        }
    };
    let mut argv = vec!["/usr/bin/proxy".to_string(), inside];
    argv.extend(variables.args()?);
    let request = Request {
        argv,
        environment: variables.environment_of_run(),
        programs,
        share: variables.share()?,
        root,
        ..Request::default()
    };
    connected(setup, &variables, &request, "run")
}

fn exec(setup: &Setup, variables: Variables) -> Result<u8> {
    let script = variables.script.clone().context("SCRIPT is not set: name the script to run")?;
    ensure!(script.is_file(), "SCRIPT={}: there is no such file", script.display());
    let inside = format!("/app/{}", file_name(&script)?);
    let mut argv = vec!["/bin/sh".to_string(), inside.clone()];
    argv.extend(variables.args()?);
    let request = Request {
        argv,
        environment: variables.environment_as_given(),
        programs: vec![(inside, script)],
        share: variables.share()?,
        root: variables.root()?,
        power_off: true,
        ..Request::default()
    };
    connected(setup, &variables, &request, "exec")
}

/// Runs the request with our own streams and signals.
fn connected(setup: &Setup, variables: &Variables, request: &Request, name: &str) -> Result<u8> {
    let logs = Logs::open(&setup.logs, name)?;
    let streams =
        Streams { stdin: Box::new(io::stdin()), stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    let shape = &variables.shape;
    let outcome = session::run(setup, shape, request, &logs, streams, terminal::forward_signals)?;
    if outcome == Outcome::TimedOut {
        eprintln!(
            "hermit-vm: stopped after {} s (TIMEOUT=seconds allows more); logs: {} and {}",
            shape.timeout.as_secs(),
            logs.console.display(),
            logs.kernel.display()
        );
    }
    Ok(outcome.status())
}

fn shell(setup: &Setup, mut variables: Variables) -> Result<u8> {
    if let Some(less) = memory::fit(variables.shape.mem_mib)? {
        eprintln!(
            "hermit-vm: the host has too little free memory for MEM={}M, taking {less}M",
            variables.shape.mem_mib
        );
        variables.shape.mem_mib = less;
    }
    let mut environment = variables.environment_as_given();
    if let Some((rows, columns)) = terminal::size() {
        environment.push(("ROWS".into(), rows.to_string()));
        environment.push(("COLUMNS".into(), columns.to_string()));
    }
    let (share, root) = (variables.share()?, variables.root()?);
    let request = Request { environment, share, root, shell: true, ..Request::default() };
    let logs = Logs::open(&setup.logs, "qemu")?;
    session::shell(setup, &variables.shape, &request, &logs)?;
    Ok(0)
}

fn list_warnings(files: &[OsString]) -> Result<u8> {
    let mut found = false;
    for file in files {
        let log = std::fs::read(file).with_context(|| format!("cannot read {}", file.to_string_lossy()))?;
        for line in warnings::find(&String::from_utf8_lossy(&log), &[]) {
            println!("{line}");
            found = true;
        }
    }
    Ok(u8::from(found))
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    Ok(name.to_string_lossy().into_owned())
}
