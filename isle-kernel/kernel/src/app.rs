// SPDX-License-Identifier: MIT OR Apache-2.0

//! One application, from its first byte to its exit status.

use crate::files::Files;
use crate::signals::{self, Signals};
use crate::space::{Fault, Space};
use crate::{must_stop, start, syscall};
use core::sync::atomic::Ordering;
use hermit_abi::app::{self as slot, order};
use hermit_abi::channel::Channel;
use hermit_abi::offload::StartBlock;
use hermit_plat::paging::{self, Access};
use hermit_plat::user::{exception_name, Context, Exit, Registers};
use hermit_plat::{cpu, info, log_line};
use linux_raw_sys::general as c;

/// How an application ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(u8),
    Killed(u32),
}

impl End {
    /// As wait(2) tells it.
    fn wait_status(self) -> u32 {
        match self {
            Self::Exited(code) => u32::from(code) << 8,
            Self::Killed(signal) => signal,
        }
    }
}

pub struct App {
    index: usize,
    order: &'static slot::App,
    channel: &'static Channel,
    pub space: Space,
    pub files: Files,
    pub signals: Signals,
    pub identity: StartBlock,
    pub start_ns: u64,
    pub random: syscall::random::Source,
}

impl App {
    pub fn slot(&self) -> usize {
        self.index
    }

    pub fn channel(&self) -> &'static Channel {
        self.channel
    }

    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Whether it has to end, whatever it does: killed, its isle stopped, or a deadly signal.
    pub fn must_end(&self) -> bool {
        must_stop() || self.is_killed() || self.pending_end().is_some()
    }

    fn is_killed(&self) -> bool {
        slot::value(self.order.order.load(Ordering::Acquire)) == order::KILL
    }

    fn pending_end(&self) -> Option<u32> {
        self.signals.first_deadly(self.order.signals.load(Ordering::Acquire)).0
    }

    /// The end that others have decided on, if any. Forgets signals that do nothing.
    fn end_from_outside(&self) -> Option<End> {
        if must_stop() || self.is_killed() {
            return Some(End::Killed(signals::KILL));
        }
        let (deadly, done) = self.signals.first_deadly(self.order.signals.load(Ordering::Acquire));
        if done != 0 {
            self.order.signals.fetch_and(!done, Ordering::AcqRel);
        }
        deadly.map(End::Killed)
    }
}

/// Runs an application from start to end; returns its wait status.
pub fn run(index: usize, order: &'static slot::App) -> u32 {
    let Some(channel) = info::channels().get(index) else { return End::Killed(signals::KILL).wait_status() };
    let mut app = App {
        index,
        order,
        channel,
        space: Space::new(),
        files: Files::new(),
        signals: Signals::new(),
        identity: StartBlock::default(),
        start_ns: hermit_plat::time::monotonic_ns(),
        random: syscall::random::Source::default(),
    };
    app.space.activate();
    let end = match begin(&mut app) {
        Ok(mut context) => run_until_end(&mut app, &mut context),
        Err(_) if app.must_end() => app.end_from_outside().unwrap_or(End::Killed(signals::KILL)),
        Err(errno) => {
            log_line!("the program can't be started: errno {errno}");
            End::Exited(126)
        }
    };
    paging::deactivate();
    end.wait_status()
}

fn begin(app: &mut App) -> crate::space::Result<Context> {
    let start = start::ask(app)?;
    app.identity = start.block;
    app.random = syscall::random::Source::new(&start.block.random);
    let (entry, stack) = start::load(app, &start)?;
    cpu::reset_fpu();
    let _ = cpu::set_fs_base(0);
    let _ = cpu::set_gs_base(0);
    Ok(Context::new(entry, stack))
}

fn run_until_end(app: &mut App, context: &mut Context) -> End {
    loop {
        let end = match context.run() {
            Exit::Syscall => syscall::handle(app, &mut context.registers),
            Exit::Exception(vector) => exception(app, vector, &context.registers),
            Exit::Interrupt => None,
        };
        if let Some(end) = end.or_else(|| app.end_from_outside()) {
            return end;
        }
    }
}

/// Makes an exception good, or ends the application.
fn exception(app: &mut App, vector: u8, registers: &Registers) -> Option<End> {
    let signal = match vector {
        14 => {
            // Error code: bit 1 write, bit 4 instruction fetch (SDM vol. 3, 4.7).
            let need = Access { read: true, write: registers.error & 2 != 0, execute: registers.error & 16 != 0 };
            match app.space.fault(registers.address, need) {
                Fault::Resolved => return None,
                Fault::NoMemory => {
                    log_line!("no memory is left for the application; it is ended");
                    c::SIGKILL
                }
                _ => c::SIGSEGV,
            }
        }
        0 | 16 | 19 => c::SIGFPE,
        1 | 3 => c::SIGTRAP,
        6 => c::SIGILL,
        11 | 12 | 17 => c::SIGBUS,
        _ => c::SIGSEGV,
    };
    describe(vector, signal, registers);
    Some(End::Killed(signal))
}

fn describe(vector: u8, signal: u32, r: &Registers) {
    log_line!(
        "application: {} at {:#x}, address {:#x}, error code {:#x}: signal {signal}",
        exception_name(vector),
        r.rip,
        r.address,
        r.error
    );
    log_line!(
        "  rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x} rbp {:x} rsp {:x}",
        r.rax,
        r.rbx,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        r.rbp,
        r.rsp
    );
    log_line!(
        "  r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x} flags {:x}",
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15,
        r.rflags
    );
}
