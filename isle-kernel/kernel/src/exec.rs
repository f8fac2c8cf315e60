// SPDX-License-Identifier: MIT OR Apache-2.0

//! One program takes another one's place: execve(2).
//!
//! The first process of an application stays on the isle and runs the new program there. Any other process was forked to run a
//! command: that runs on Linux, beside the proxy, and the process is its stand-in from then on. It passes signals on, and ends
//! as the command does.

use crate::elf::{Header, HEADER_LEN};
use crate::errno::{End, Errno, Fail};
use crate::fd::File;
use crate::link::Call;
use crate::mem::buffer;
use crate::mem::scratch::Scratch;
use crate::sched::Registers;
use crate::signal;
use crate::thread::{AltStack, Thread};
use crate::{load, mapped};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload::special::{SIGNAL_CHILD, SPAWN, WAIT};
use hermit_plat::abi::spawn::{flag, Pair, SpawnBlock, HEADER_LEN as BLOCK_LEN, PAIR_LEN, PROXYS_CWD};

/// Interpreters of scripts that are interpreters of scripts (Linux: exec_binprm()).
const MAX_SCRIPTS: usize = 5;

/// As much of a script's first line as counts (Linux: BINPRM_BUF_SIZE).
const FIRST_LINE: usize = 256;

/// What is to be run.
pub struct Command {
    pub path: Vec<u8>,
    pub arguments: Vec<Vec<u8>>,
    pub environment: Vec<Vec<u8>>,
}

/// Runs it in the place of the thread's process. Returns only if that fails, or if the thread goes on with it.
pub fn exec(t: &mut Thread, command: Command) -> Result<(), Fail> {
    if t.process.is_first() {
        run_here(t, command)
    } else {
        Err(run_on_linux(t, &command)?)
    }
}

/// A program's file, open.
struct Opened {
    file: Arc<File>,
    fd: i32,
    len: u64,
}

fn open(t: &Thread, path: &[u8]) -> Result<Opened, Fail> {
    const REGULAR: u32 = 0o100_000;
    const TYPE: u32 = 0o170_000;
    const EXECUTABLE: u32 = 0o111;
    let file = mapped::open(t, path)?;
    let fd = file.remote_fd().ok_or(Errno::EACCES)?;
    let stat = mapped::stat(t, fd)?;
    if stat.mode & TYPE != REGULAR || stat.mode & EXECUTABLE == 0 {
        return Err(Errno::EACCES.into());
    }
    Ok(Opened { file, fd, len: stat.len })
}

/// Finds the program behind a path: if that is a script, its interpreter, with the arguments that it gets.
fn resolve(t: &Thread, command: &mut Command) -> Result<Opened, Fail> {
    for _ in 0..=MAX_SCRIPTS {
        let opened = open(t, &command.path)?;
        let head = mapped::bytes(t, opened.fd, 0, FIRST_LINE)?;
        let Some(line) = head.strip_prefix(b"#!") else {
            let header = head.first_chunk::<HEADER_LEN>().ok_or(Errno::ENOEXEC)?;
            Header::parse(header).map_err(|_| Errno::ENOEXEC)?;
            return Ok(opened);
        };
        let line = line.split(|b| *b == b'\n').next().unwrap_or(line);
        let text = line.trim_ascii();
        let path = text.split(|b| b.is_ascii_whitespace()).next().unwrap_or(&[]);
        if path.is_empty() {
            return Err(Errno::ENOEXEC.into());
        }
        let argument = text.get(path.len()..).unwrap_or(&[]).trim_ascii();
        let mut arguments = buffer(command.arguments.len() + 2)?;
        arguments.push(path.to_vec());
        if !argument.is_empty() {
            arguments.push(argument.to_vec());
        }
        arguments.push(core::mem::replace(&mut command.path, path.to_vec()));
        arguments.extend(command.arguments.drain(..).skip(1));
        command.arguments = arguments;
    }
    // Linux: ELOOP.
    Err(Errno::ELOOP.into())
}

fn run_here(t: &mut Thread, mut command: Command) -> Result<(), Fail> {
    let opened = resolve(t, &mut command)?;
    let path = mapped::path_of(t, opened.fd).unwrap_or_else(|_| command.path.clone());
    let program = t.process.startup().executed(&command.arguments, &command.environment, path, opened.fd, opened.len);
    let program = program.ok_or(Errno::E2BIG)?;
    t.process.leave_alone(&t.task)?;
    // From here on there is no way back.
    mapped::write_back(t, 0, hermit_plat::user::END).ok();
    t.process.signals.lock().reset();
    t.process.timers.lock().clear();
    // One by one: there may be many.
    let mut from = 0;
    loop {
        let closed = t.process.files.lock().take_close_on_exec(&mut from);
        if closed.is_none() {
            break;
        }
    }
    t.process.space.lock().clear();
    (t.alt_stack, t.robust_list, t.clear_child_tid, t.saved_mask) = (AltStack::default(), 0, 0, None);
    if let Some(registers) = Registers::new() {
        *t.task.registers.lock() = registers;
    }
    t.process.set_program(program);
    match load::replace(t, opened.file) {
        Ok(context) => {
            t.context.replace(context);
            Ok(())
        }
        Err(end) => {
            t.process.end(end);
            Err(Fail::Ended)
        }
    }
}

/// The block that says what Linux is to run.
fn block(t: &Thread, command: &Command) -> Result<Vec<u8>, Errno> {
    let pairs = {
        let files = t.files();
        let mut pairs = buffer(files.inherited().count())?;
        pairs.extend(files.inherited().map(|(child, proxy)| Pair { child, proxy }));
        pairs
    };
    let strings = || [&command.path].into_iter().chain(&command.arguments).chain(&command.environment);
    let texts: usize = strings().map(|text| text.len() + 1).sum();
    let len = BLOCK_LEN + pairs.len() * PAIR_LEN + texts;
    if len as u64 > Scratch::MAX {
        return Err(Errno::E2BIG);
    }
    let fs = t.process.fs.lock().clone();
    let (flags, group) = group(t);
    let header = SpawnBlock {
        len: len as u32,
        argc: command.arguments.len() as u32,
        envc: command.environment.len() as u32,
        pairs: pairs.len() as u32,
        cwd: fs.cwd.as_ref().and_then(|cwd| cwd.remote_fd()).unwrap_or(PROXYS_CWD),
        umask: fs.umask,
        flags,
        pgroup: group as i32,
        blocked: t.task.blocked.load(Ordering::Relaxed),
        ignored: t.process.signals.lock().ignored(),
    };
    let mut block = buffer(len)?;
    block.extend(header.to_bytes());
    pairs.iter().for_each(|pair| block.extend(pair.to_bytes()));
    for text in strings() {
        block.extend(text);
        block.push(0);
    }
    Ok(block)
}

/// Whether the command leads a session or is in a process group of its own, and in which one of Linux's.
fn group(t: &Thread) -> (u32, u32) {
    let (pid, kin) = (t.process.pid(), &t.process.kin);
    if kin.session() == Some(pid) {
        return (flag::NEW_SESSION, 0);
    }
    match kin.group() {
        Some(group) if group == pid => (flag::SET_PGROUP, 0),
        // That of another command, as long as that runs.
        Some(group) => {
            let command = t.process.family.find(group).and_then(|leader| leader.kin.command());
            command.map_or((0, 0), |pid| (flag::SET_PGROUP, pid))
        }
        None => (0, 0),
    }
}

/// Has Linux run it. What is returned when it has ended ends the thread.
fn run_on_linux(t: &mut Thread, command: &Command) -> Result<Fail, Fail> {
    let block = block(t, command)?;
    let len = block.len() as u64;
    let scratch = Scratch::with(&block)?;
    let call = Call {
        number: SPAWN,
        args: [1, len, 0, 0, 0, 0],
        lens: [len, 0, 0, 0, 0, 0],
        pieces: scratch.pieces(len),
        ..Call::default()
    };
    let pid = t.process.link.call_patiently(&t.task, &call)?;
    drop((scratch, block));
    t.process.leave_alone(&t.task)?;
    let name = String::from_utf8_lossy(&command.path);
    log::debug!("process {} is {name} on Linux, number {pid}", t.process.pid());
    t.process.kin.set_command(pid as u32);
    stand_in(t, pid as u64);
    Ok(Fail::Ended)
}

/// Waits for the command of a process, to which all signals go meanwhile.
fn stand_in(t: &mut Thread, pid: u64) {
    t.process.signals.lock().take_all();
    signal::set_blocked(&t.task, 0);
    t.process.timers.lock().clear();
    (t.robust_list, t.clear_child_tid) = (0, 0);
    t.release_files();
    t.process.release_memory();
    let call = |number: u32, args: [u64; 2]| Call { number, args: [args[0], args[1], 0, 0, 0, 0], ..Call::default() };
    loop {
        match t.process.link.call(&t.task, &call(WAIT, [pid, 0])) {
            Ok(status) => return t.process.end(End(status as u32)),
            Err(Fail::Restart) => {
                t.task.take_attention();
                while let Some(info) = signal::take(&t.task, u64::MAX) {
                    let signal = call(SIGNAL_CHILD, [pid, info.signal.into()]);
                    t.process.link.call_patiently(&t.task, &signal).ok();
                }
            }
            // The application has ended; the command goes on, as it would on Linux.
            Err(Fail::Ended) => return,
            Err(Fail::Errno(errno)) => {
                log::error!("command {pid} can't be waited for: {errno:?}");
                return t.process.end(End::signal(signal::number::SIGKILL));
            }
        }
    }
}
