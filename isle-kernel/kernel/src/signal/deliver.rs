// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calling a handler, and coming back from it: the frame on the application's stack is that of Linux
//! (arch/x86/include/asm/sigframe.h, include/uapi/asm/sigcontext.h).

use super::{bit, flag, number, Action, Info};
use crate::errno::{End, Errno};
use crate::mem::buffer;
use crate::thread::{AltStack, Ended, Thread};
use core::sync::atomic::Ordering;
use hermit_plat::fpu;
use hermit_plat::user::Context;

/// What a fault leaves in the context: vector, error code, address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    pub vector: u8,
    pub error: u64,
    pub address: u64,
}

/// Bytes below the stack pointer that belong to the interrupted function (System V ABI, 3.2.2).
const RED_ZONE: u64 = 128;

/// Return address, ucontext, siginfo.
const FRAME: usize = 8 + UCONTEXT + super::info::LEN;
/// uc_flags, uc_link, uc_stack, uc_mcontext, uc_sigmask.
const UCONTEXT: usize = 8 + 8 + 24 + 256 + 8;
/// Words of uc_mcontext.
const REGISTERS: usize = 32;

/// uc_flags: the frame has an extended state; SS is right.
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// What marks an extended state (struct _fpx_sw_bytes), and where.
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const SW_BYTES: usize = 464;

/// sigaltstack(2).
pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;

/// uc_stack, and what sigaltstack(2) returns.
pub fn stack_words(stack: &AltStack, rsp: u64) -> [u64; 3] {
    let flags = match stack {
        AltStack { len: 0, .. } => SS_DISABLE,
        stack if stack.contains(rsp) => stack.flags | SS_ONSTACK,
        stack => stack.flags,
    };
    [stack.start, flags.into(), stack.len]
}

/// Arranges that the thread goes on in a handler. `restart`: the system call that the signal has interrupted.
pub fn call_handler(thread: &mut Thread, info: &Info, action: &Action, restart: Option<u32>) -> Result<(), Ended> {
    if let Some(number) = restart {
        if action.flags & flag::RESTART != 0 {
            thread.context.repeat_syscall(number.into());
        } else {
            thread.context.rax = Errno::EINTR.as_result();
        }
    }
    call_handler_for(thread, info, action, None)
}

/// As [`call_handler`], for a fault of the thread's own.
pub fn call_handler_for(thread: &mut Thread, info: &Info, action: &Action, trap: Option<Trap>) -> Result<(), Ended> {
    if push_frame(thread, info, action, trap).is_err() {
        log::error!("no stack for the handler of signal {}", info.signal);
        thread.process.end(End::signal(number::SIGSEGV));
        return Err(Ended);
    }
    let mut blocked = thread.task.blocked.load(Ordering::SeqCst) | action.mask;
    if action.flags & flag::NODEFER == 0 {
        blocked |= bit(info.signal);
    }
    super::set_blocked(&thread.task, blocked);
    Ok(())
}

fn push_frame(thread: &mut Thread, info: &Info, action: &Action, trap: Option<Trap>) -> Result<(), Errno> {
    if action.flags & flag::RESTORER == 0 {
        // Linux wants one as well on x86-64.
        return Err(Errno::EFAULT);
    }
    let rsp = thread.context.rsp;
    let stack = thread.alt_stack;
    let on_alt_stack = stack.contains(rsp) && stack.flags & SS_AUTODISARM == 0;
    let mut top = rsp.wrapping_sub(RED_ZONE);
    if action.flags & flag::ONSTACK != 0 && stack.len > 0 && !on_alt_stack {
        top = stack.start.wrapping_add(stack.len);
    }
    let state = extended_state(thread)?;
    let state_at = top.wrapping_sub(state.len() as u64) & !63;
    let frame_at = (state_at.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
    if stack.contains(top.wrapping_sub(1)) && !stack.contains(frame_at) {
        return Err(Errno::EFAULT);
    }
    let mut words = [0; FRAME / 8];
    let [restorer, flags, _link, sp, ss_flags, ss_size, rest @ ..] = &mut words;
    *restorer = action.restorer;
    let extended = if fpu::components() != 0 { UC_FP_XSTATE } else { 0 };
    *flags = extended | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    [*sp, *ss_flags, *ss_size] = stack_words(&stack, rsp);
    let (registers, rest) = rest.split_at_mut(REGISTERS);
    let mask = thread.saved_mask.take().unwrap_or_else(|| thread.task.blocked.load(Ordering::SeqCst));
    registers.copy_from_slice(&save(&thread.context, trap, mask, state_at));
    let [set, info_words @ ..] = rest else { return Err(Errno::EFAULT) };
    *set = mask;
    for (to, from) in info_words.iter_mut().zip(info.to_bytes().chunks_exact(8)) {
        *to = u64::from_le_bytes(from.try_into().unwrap_or_default());
    }
    thread.memory().access(|space| {
        space.write(state_at, &state)?;
        space.write_words(frame_at, &words)
    })?;
    if stack.flags & SS_AUTODISARM != 0 {
        thread.alt_stack = AltStack::default();
    }
    {
        // A handler begins with the state that programs begin with (Linux: fpu__clear_user_states()).
        let mut registers = thread.task.registers.lock();
        registers.fpu.reset();
        registers.fpu.restore();
    }
    let info_at = frame_at + 8 + UCONTEXT as u64;
    thread.context.call(action.handler, frame_at, [info.signal.into(), info_at, frame_at + 8]);
    Ok(())
}

/// The extended state as it stands on the stack.
fn extended_state(thread: &Thread) -> Result<alloc::vec::Vec<u8>, Errno> {
    let mut registers = thread.task.registers.lock();
    registers.save();
    let bytes = registers.fpu.bytes();
    let mut state = buffer(bytes.len() + 4)?;
    state.extend_from_slice(bytes);
    if fpu::components() != 0 {
        let len = state.len() as u32;
        state.extend(MAGIC2.to_le_bytes());
        let head = [MAGIC1, len + 4, fpu::components() as u32, (fpu::components() >> 32) as u32, len];
        for (to, from) in state.iter_mut().skip(SW_BYTES).zip(head.iter().flat_map(|w| w.to_le_bytes())) {
            *to = from;
        }
    }
    Ok(state)
}

/// struct sigcontext.
fn save(c: &Context, trap: Option<Trap>, mask: u64, state_at: u64) -> [u64; REGISTERS] {
    let trap = trap.unwrap_or(Trap { vector: 0, error: 0, address: 0 });
    let mut words = [0; REGISTERS];
    let all = [
        c.r8,
        c.r9,
        c.r10,
        c.r11,
        c.r12,
        c.r13,
        c.r14,
        c.r15,
        c.rdi,
        c.rsi,
        c.rbp,
        c.rbx,
        c.rdx,
        c.rax,
        c.rcx,
        c.rsp,
        c.rip,
        c.rflags,
        Context::selectors(),
        trap.error,
        trap.vector.into(),
        mask,
        trap.address,
        state_at,
    ];
    for (to, from) in words.iter_mut().zip(all) {
        *to = from;
    }
    words
}

/// rt_sigreturn(2): the stack pointer is behind the frame's return address.
pub fn sigreturn(thread: &mut Thread) -> Result<(), Errno> {
    let context_at = thread.context.rsp;
    let [_flags, _link, sp, ss_flags, ss_size] = thread.memory().read_words(context_at)?;
    let registers: [u64; REGISTERS] = thread.memory().read_words(context_at.wrapping_add(40))?;
    let mask = thread.memory().read_u64(context_at.wrapping_add(40 + 8 * REGISTERS as u64))?;
    let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags, _selectors, _error, _vector, _mask, _address, state_at, ..] =
        registers;
    restore_extended(thread, state_at)?;
    let c = &mut thread.context;
    (c.r8, c.r9, c.r10, c.r11, c.r12, c.r13, c.r14, c.r15) = (r8, r9, r10, r11, r12, r13, r14, r15);
    (c.rdi, c.rsi, c.rbp, c.rbx, c.rdx, c.rax, c.rcx) = (rdi, rsi, rbp, rbx, rdx, rax, rcx);
    (c.rsp, c.rip, c.rflags) = (rsp, rip, rflags);
    // What sigaltstack(2) would refuse is left as it is.
    let flags = ss_flags as u32;
    if flags & SS_DISABLE != 0 {
        thread.alt_stack = AltStack::default();
    } else if ss_size >= crate::syscall::MIN_SIGNAL_STACK {
        thread.alt_stack = AltStack { start: sp, len: ss_size, flags: flags & SS_AUTODISARM };
    }
    super::set_blocked(&thread.task, mask);
    Ok(())
}

fn restore_extended(thread: &Thread, at: u64) -> Result<(), Errno> {
    let mut registers = thread.task.registers.lock();
    if at == 0 {
        registers.fpu.reset();
    } else {
        let mut legacy = [0; fpu::LEGACY];
        thread.memory().read(at, &mut legacy)?;
        let word =
            |at: usize| legacy.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or_default()));
        let size = fpu::size();
        let whole = fpu::components() != 0
            && word(SW_BYTES) == MAGIC1
            && word(SW_BYTES + 16) as usize == size
            && thread.memory().read_u32(at.wrapping_add(size as u64)) == Ok(MAGIC2);
        if whole {
            let mut bytes = buffer(size)?;
            bytes.resize(size, 0);
            thread.memory().read(at, &mut bytes)?;
            registers.fpu.set_bytes(&bytes);
        } else {
            registers.fpu.set_bytes(&legacy);
        }
    }
    registers.fpu.restore();
    Ok(())
}
