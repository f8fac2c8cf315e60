// SPDX-License-Identifier: MIT OR Apache-2.0

//! Child processes: waiting for them, and executing programs in them.

use super::{nr, Outcome};
use crate::errno::{Errno, Fail};
use crate::exec::{self, Command};
use crate::family::{self, Found, Which};
use crate::mem::access::element;
use crate::mem::push;
use crate::sched::{self, Woken};
use crate::signal::{number::SIGCHLD, Info};
use crate::thread::Thread;
use alloc::vec::Vec;

/// Most bytes of arguments and environment: a quarter of the stack, as on Linux.
const MAX_STRINGS: usize = 2 << 20;

/// Longest argument (Linux: MAX_ARG_STRLEN).
const MAX_STRING: usize = 128 << 10;

const PATH_MAX: usize = 4096;

/// WNOHANG, WUNTRACED (WSTOPPED), WEXITED, WCONTINUED, WNOWAIT, __WNOTHREAD, __WALL, __WCLONE.
const NO_HANG: u32 = 1;
const STOPPED: u32 = 2;
const EXITED: u32 = 4;
const CONTINUED: u32 = 8;
const NO_WAIT: u32 = 0x0100_0000;
const ODD: u32 = 0xe000_0000;

/// Waits for a child; `None`: there is none that has ended, and it isn't to be waited for.
fn wait(t: &mut Thread, which: Which, options: u32) -> Result<Option<(u32, u32, u64)>, Fail> {
    loop {
        match family::look(t, which, options & NO_WAIT != 0) {
            Found::Ended(pid, status, run_ns) => return Ok(Some((pid, status, run_ns))),
            Found::NoChild => return Err(Errno::ECHILD.into()),
            Found::Running if options & NO_HANG != 0 => return Ok(None),
            Found::Running => {}
        }
        let is_over = || !matches!(family::look(t, which, true), Found::Running);
        if sched::wait(&t.task, None, &is_over) == Woken::Interrupted {
            t.check_end()?;
            return Err(Fail::Restart);
        }
    }
}

/// Which children a pid of waitpid(2) means. Groups are those of the parent.
fn which(pid: i32) -> Which {
    match pid {
        1.. => Which::One(pid as u32),
        _ => Which::Any,
    }
}

fn write_usage(t: &Thread, to: u64, run_ns: u64) -> Result<(), Errno> {
    let mut words = [0; 18];
    words[0] = run_ns / 1_000_000_000;
    words[1] = run_ns % 1_000_000_000 / 1000;
    t.memory().write_words(to, &words)
}

pub fn wait4(t: &mut Thread, [pid, status, options, usage, ..]: [u64; 6]) -> Outcome {
    let options = options as u32;
    if options & !(NO_HANG | STOPPED | CONTINUED | ODD) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if pid as i32 == i32::MIN {
        return Err(Errno::ESRCH.into());
    }
    let Some((pid, how, run_ns)) = wait(t, which(pid as i32), options)? else { return Ok(0) };
    if usage != 0 {
        write_usage(t, usage, run_ns)?;
    }
    if status != 0 {
        t.memory().write(status, &how.to_le_bytes())?;
    }
    Ok(pid.into())
}

pub fn waitid(t: &mut Thread, [kind, id, info, options, usage, _]: [u64; 6]) -> Outcome {
    let options = options as u32;
    let known = NO_HANG | STOPPED | EXITED | CONTINUED | NO_WAIT | ODD;
    if options & !known != 0 || options & (STOPPED | EXITED | CONTINUED) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match kind as u32 {
        nr::P_ALL => Which::Any,
        nr::P_PID if id as i32 > 0 => Which::One(id as u32),
        nr::P_PGID if id as i32 >= 0 => Which::Any,
        _ => return Err(Errno::EINVAL.into()),
    };
    let found = wait(t, which, options)?;
    if let (Some((.., run_ns)), true) = (found, usage != 0) {
        write_usage(t, usage, run_ns)?;
    }
    if info != 0 {
        let uid = t.process.startup().uid;
        let bytes = match found {
            Some((pid, status, _)) => Info::child(SIGCHLD, pid, uid, status).to_bytes(),
            None => Info::default().to_bytes(),
        };
        t.memory().write(info, &bytes)?;
    }
    Ok(0)
}

/// The strings that an array of pointers names, up to a null pointer. Adds their length to `total`.
fn strings(t: &Thread, array: u64, total: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    if array == 0 {
        return Ok(all);
    }
    loop {
        let at = t.memory().read_u64(element(array, all.len() as u64, 8)?)?;
        if at == 0 {
            return Ok(all);
        }
        let text = t.memory().read_string(at, MAX_STRING).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        *total += text.len() + 1 + 8;
        if *total > MAX_STRINGS {
            return Err(Errno::E2BIG);
        }
        push(&mut all, text)?;
    }
}

pub fn execve(t: &mut Thread, path: u64, arguments: u64, environment: u64) -> Outcome {
    let path = t.memory().read_string(path, PATH_MAX)?;
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let mut total = 0;
    let mut arguments = strings(t, arguments, &mut total)?;
    if arguments.is_empty() {
        // As Linux does it since 5.18.
        arguments.push(Vec::new());
    }
    let environment = strings(t, environment, &mut total)?;
    exec::exec(t, Command { path, arguments, environment })?;
    Ok(0)
}

/// execveat(2), of a path from the working directory or the root; or of an open file, by what the proxy calls it.
pub fn execveat(t: &mut Thread, [dir, path, arguments, environment, flags, _]: [u64; 6]) -> Outcome {
    const AT_FDCWD: i32 = -100;
    let first = t.memory().read_string(path, PATH_MAX)?;
    if flags != 0 || (dir as i32 != AT_FDCWD && first.first() != Some(&b'/')) {
        return Err(Errno::ENOSYS.into());
    }
    execve(t, path, arguments, environment)
}
