// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads: how they begin, end and give way.

use super::{nr, Outcome};
use crate::errno::{End, Errno, Fail};
use crate::process::{Fork, Memory};
use crate::sched::{self, Registers, Woken};
use crate::signal::number::{LAST, SIGCHLD};
use crate::thread::{AltStack, Thread};
use hermit_plat::user::{self, Context};

/// What a new thread shares, at least: all that makes it a thread and not a process.
const THREAD: u64 = (nr::CLONE_VM | nr::CLONE_FS | nr::CLONE_FILES | nr::CLONE_SIGHAND | nr::CLONE_THREAD) as u64;
/// What may be asked for besides.
const KNOWN: u64 = THREAD
    | (nr::CLONE_SYSVSEM
        | nr::CLONE_SETTLS
        | nr::CLONE_PARENT_SETTID
        | nr::CLONE_CHILD_CLEARTID
        | nr::CLONE_CHILD_SETTID
        | nr::CLONE_DETACHED
        | nr::CLONE_IO) as u64;

/// What a new process may be asked to share or to set.
const FOR_PROCESS: u64 = (nr::CLONE_VM
    | nr::CLONE_VFORK
    | nr::CLONE_FS
    | nr::CLONE_FILES
    | nr::CLONE_PARENT
    | nr::CLONE_SYSVSEM
    | nr::CLONE_SETTLS
    | nr::CLONE_PARENT_SETTID
    | nr::CLONE_CHILD_CLEARTID
    | nr::CLONE_CHILD_SETTID
    | nr::CLONE_DETACHED
    | nr::CLONE_UNTRACED
    | nr::CLONE_IO) as u64
    | nr::CLONE_CLEAR_SIGHAND;

/// Arguments of clone3(2).
#[derive(Default)]
struct Clone {
    flags: u64,
    /// What the parent of a new process is sent at its end.
    exit_signal: u32,
    child_tid: u64,
    parent_tid: u64,
    /// Where the stack pointer is to be; 0: where the parent's is.
    stack: u64,
    tls: u64,
}

pub fn clone(t: &mut Thread, [flags, stack, parent_tid, child_tid, tls, _]: [u64; 6]) -> Outcome {
    // The signal at its end, which threads don't have, is in the lowest byte.
    let exit_signal = flags as u32 & 0xff;
    if exit_signal > LAST {
        return Err(Errno::EINVAL.into());
    }
    create(t, &Clone { flags: flags & 0xffff_ff00, exit_signal, child_tid, parent_tid, stack, tls })
}

pub fn fork(t: &mut Thread) -> Outcome {
    create(t, &Clone { exit_signal: SIGCHLD, ..Clone::default() })
}

pub fn vfork(t: &mut Thread) -> Outcome {
    let flags = u64::from(nr::CLONE_VM | nr::CLONE_VFORK);
    create(t, &Clone { flags, exit_signal: SIGCHLD, ..Clone::default() })
}

pub fn clone3(t: &mut Thread, args: u64, len: u64) -> Outcome {
    const FIRST_VERSION: u64 = 64;
    const PAGE: u64 = 4096;
    if len > PAGE {
        return Err(Errno::E2BIG.into());
    }
    if len < FIRST_VERSION {
        return Err(Errno::EINVAL.into());
    }
    let [flags, _pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls] = t.memory().read_words(args)?;
    // What is behind must be zero where it isn't known; set_tid and cgroup aren't offered.
    for at in (FIRST_VERSION..len).step_by(8) {
        let mut rest = [0; 8];
        let part = rest.get_mut(..(len - at).min(8) as usize).ok_or(Errno::EINVAL)?;
        t.memory().read(args.wrapping_add(at), part)?;
        if rest != [0; 8] {
            return Err(if at < 88 { Errno::EINVAL } else { Errno::E2BIG }.into());
        }
    }
    if exit_signal > LAST.into() || flags & 0xff != 0 || (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL.into());
    }
    if flags & THREAD == THREAD && exit_signal != 0 {
        return Err(Errno::EINVAL.into());
    }
    let exit_signal = exit_signal as u32;
    create(t, &Clone { flags, exit_signal, child_tid, parent_tid, stack: stack.wrapping_add(stack_size), tls })
}

fn create(t: &mut Thread, clone: &Clone) -> Outcome {
    let has = |flag: u32| clone.flags & u64::from(flag) != 0;
    let is_thread = has(nr::CLONE_THREAD);
    let halves = is_thread && !has(nr::CLONE_SIGHAND) || has(nr::CLONE_SIGHAND) && !has(nr::CLONE_VM);
    if halves {
        return Err(Errno::EINVAL.into());
    }
    if has(nr::CLONE_SETTLS) && clone.tls >= user::END {
        return Err(Errno::EPERM.into());
    }
    if crate::mem::is_scarce(64 << 10) {
        return Err(Errno::EAGAIN.into());
    }
    let mut context = t.context.clone();
    context.rax = 0;
    if clone.stack != 0 {
        context.rsp = clone.stack;
    }
    let registers = {
        let mut registers = t.task.registers.lock();
        registers.save();
        registers.for_clone(has(nr::CLONE_SETTLS).then_some(clone.tls)).ok_or(Errno::EAGAIN)?
    };
    if !is_thread {
        return create_process(t, clone, context, registers);
    }
    if clone.flags & THREAD != THREAD {
        return Err(Errno::ENOSYS.into());
    }
    if clone.flags & !KNOWN != 0 {
        return Err(Errno::EINVAL.into());
    }
    let tid = t.process.new_tid();
    let mut thread = t.another(context, registers, tid).ok_or(Errno::EAGAIN)?;
    prepare(t, clone, &mut thread, tid)?;
    t.process.root.share();
    let task = thread.task.clone();
    task.set_start(thread);
    if !t.process.add(&task) {
        drop(task.take_start());
        return Err(Errno::EAGAIN.into());
    }
    sched::start(&task);
    Ok(tid.into())
}

/// Sets what parent and child are told of the child's number.
fn prepare(t: &Thread, clone: &Clone, child: &mut Thread, tid: u32) -> Result<(), Errno> {
    let has = |flag: u32| clone.flags & u64::from(flag) != 0;
    if has(nr::CLONE_CHILD_CLEARTID) {
        child.clear_child_tid = clone.child_tid;
    }
    if has(nr::CLONE_PARENT_SETTID) {
        t.memory().write(clone.parent_tid, &tid.to_le_bytes())?;
    }
    if has(nr::CLONE_CHILD_SETTID) {
        // In the child's memory; that it can't be written is the child's problem (Linux: schedule_tail()).
        child.memory().write(clone.child_tid, &tid.to_le_bytes()).ok();
    }
    Ok(())
}

/// Forks a process. With CLONE_VFORK it returns once the child uses the memory no longer.
fn create_process(t: &mut Thread, clone: &Clone, context: Context, registers: Registers) -> Outcome {
    let has = |flag: u32| clone.flags & u64::from(flag) != 0;
    if clone.flags & !FOR_PROCESS != 0 || has(nr::CLONE_SIGHAND) {
        // Namespaces, and processes that share what only threads share here.
        return Err(Errno::EINVAL.into());
    }
    let memory = if has(nr::CLONE_VM) { Memory::Shared } else { Memory::Copied };
    if memory == Memory::Shared {
        t.process.root.share();
    }
    let child = t.process.fork(Fork {
        memory,
        shares_files: has(nr::CLONE_FILES),
        resets_handlers: clone.flags & nr::CLONE_CLEAR_SIGHAND != 0,
        exit_signal: clone.exit_signal,
        lender: has(nr::CLONE_VFORK).then(|| t.task.clone()),
    })?;
    let thread = t.of_child(&child, context, registers).and_then(|mut thread| {
        if memory == Memory::Shared && clone.stack != 0 {
            thread.alt_stack = AltStack::default();
        }
        prepare(t, clone, &mut thread, child.pid()).ok().map(|()| thread)
    });
    let Some(thread) = thread else {
        t.process.unfork(&child);
        return Err(Errno::EAGAIN.into());
    };
    let task = thread.task.clone();
    task.set_start(thread);
    child.add(&task);
    let pid = child.pid();
    sched::start(&task);
    if has(nr::CLONE_VFORK) && sched::wait_patiently(&t.task, &|| !child.kin.is_borrower()) != Woken::Ready {
        return Err(Fail::Ended);
    }
    Ok(pid.into())
}

pub fn exit(t: &mut Thread, code: u64) -> Outcome {
    // The status of the last thread is that of the process.
    t.process.set_last_status(End::exit(code as u8));
    Err(Fail::Ended)
}

pub fn exit_group(t: &mut Thread, code: u64) -> Outcome {
    t.process.end(End::exit(code as u8));
    Err(Fail::Ended)
}

pub fn set_tid_address(t: &mut Thread, address: u64) -> Outcome {
    t.clear_child_tid = address;
    Ok(t.tid().into())
}

/// Bytes of struct robust_list_head.
const ROBUST_HEAD: u64 = 24;

pub fn set_robust_list(t: &mut Thread, head: u64, len: u64) -> Outcome {
    if len != ROBUST_HEAD {
        return Err(Errno::EINVAL.into());
    }
    t.robust_list = head;
    Ok(0)
}

pub fn get_robust_list(t: &mut Thread, tid: u64, head: u64, len: u64) -> Outcome {
    if tid as u32 != 0 && tid as u32 != t.tid() {
        return Err(if t.process.thread(tid as u32).is_some() { Errno::EPERM } else { Errno::ESRCH }.into());
    }
    let list = t.robust_list;
    t.memory().write_words(len, &[ROBUST_HEAD])?;
    t.memory().write_words(head, &[list])?;
    Ok(0)
}

pub fn sched_yield(t: &mut Thread) -> Outcome {
    sched::yield_now(&t.task);
    Ok(0)
}

/// membarrier(2): a thread that isn't in ring 3 has passed a barrier on its way there, the others are interrupted.
pub fn membarrier(t: &mut Thread, command: u64, flags: u64) -> Outcome {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const PRIVATE_EXPEDITED: u32 = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    match command as u32 {
        QUERY => Ok((GLOBAL | PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED).into()),
        GLOBAL | PRIVATE_EXPEDITED => {
            t.process.root.synchronize();
            Ok(0)
        }
        REGISTER_PRIVATE_EXPEDITED => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}
