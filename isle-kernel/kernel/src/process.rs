// SPDX-License-Identifier: MIT OR Apache-2.0

//! An application: all that belongs to it, and its life from the first instruction to the last.

use crate::errno::{End, Errno, Fail};
use crate::fd::{File, Files, Kind};
use crate::link::{Call, Link};
use crate::mem::space::{Access, Fault, Space};
use crate::random::Random;
use crate::signal::{number, Fate, Signals};
use crate::startup::Startup;
use crate::syscall::{default_limits, Limits};
use crate::{load, offload, syscall};
use alloc::vec::Vec;
use hermit_plat::abi::offload as table;
use hermit_plat::user::{self, Context, Exception, Exit};
use hermit_plat::{crash, time};

/// The last part of a path, as much of it as a name can be long.
fn base_name(path: &[u8]) -> Vec<u8> {
    let last = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    last.iter().take(15).copied().collect()
}

/// An application.
pub struct Process {
    pub context: Context,
    pub space: Space,
    pub files: Files,
    pub signals: Signals,
    pub startup: Startup,
    pub random: Random,
    pub link: Link,
    /// prctl(PR_SET_NAME).
    pub name: Vec<u8>,
    /// setrlimit(2).
    pub limits: Limits,
    /// CLOCK_MONOTONIC at its start.
    pub started_ns: u64,
    /// Signals that would end it, kept up to date as it changes its mind.
    deadly: u64,
    has_lost_signals: bool,
}

impl Process {
    /// Asks the proxy what to run, and loads it.
    pub fn start(mut link: Link) -> Result<Self, End> {
        let deadly = Signals::default().deadly();
        let mut space = Space::new().ok_or_else(|| {
            log::error!("no kernel memory for an application");
            End::signal(number::SIGKILL)
        })?;
        let mut startup = load::ask(&mut link, deadly)?;
        let context = load::load(&mut link, deadly, &mut space, &startup)?;
        startup.forget_strings();
        user::reset_registers();
        Ok(Self {
            context,
            space,
            files: Files::default(),
            signals: Signals::default(),
            random: Random::new(&startup.random),
            name: base_name(&startup.path),
            limits: default_limits(),
            startup,
            link,
            started_ns: time::monotonic_ns(),
            deadly,
            has_lost_signals: false,
        })
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.look_around() {
                return end;
            }
            if !self.context.is_canonical() {
                return self.fault_end("jump out of the address space", None, number::SIGSEGV);
            }
            let result = match self.context.run(self.space.tables()) {
                Exit::Syscall => syscall::dispatch(self),
                Exit::Interrupt => Ok(()),
                Exit::Exception(exception) => self.exception(exception),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Ends what takes long, if the application has to end.
    pub fn check_orders(&self) -> Result<(), End> {
        self.link.ending(self.deadly).map_or(Ok(()), Err)
    }

    /// Takes orders and signals.
    fn look_around(&mut self) -> Result<(), End> {
        self.check_orders()?;
        while let Some(signal) = self.link.take_signal() {
            self.signal(signal)?;
        }
        Ok(())
    }

    /// Signals that end the application at once.
    pub fn deadly(&self) -> u64 {
        self.deadly
    }

    /// Has to be called when `signals` has changed: what was pending may be due now.
    pub fn signals_changed(&mut self) -> Result<(), End> {
        self.deadly = self.signals.deadly();
        while let Some(signal) = self.signals.take() {
            self.signal(signal)?;
        }
        Ok(())
    }

    /// A signal has come.
    pub fn signal(&mut self, signal: u32) -> Result<(), End> {
        match self.signals.fate(signal) {
            Fate::Deadly => return Err(End::signal(signal)),
            Fate::Pending => self.signals.hold(signal),
            Fate::Ignored => {}
            Fate::Handler if self.has_lost_signals => {}
            Fate::Handler => {
                self.has_lost_signals = true;
                log::warn!("signal {signal} is lost: handlers aren't called yet (said once)");
            }
        }
        Ok(())
    }

    /// Makes a forwarded system call.
    pub fn forward(&mut self, number: u32, args: [u64; 6]) -> Result<u64, Fail> {
        let call = table::find(number, args[1]).ok_or(Errno::ENOSYS)?;
        let request = offload::prepare(&call, args, &mut self.space, &self.files)?;
        self.post(&call, &request)
    }

    /// Makes a forwarded system call that is ready to go.
    pub fn post(&mut self, call: &table::Call, request: &Call) -> Result<u64, Fail> {
        let result = self.link.call(request, self.deadly)?;
        Ok(offload::check(call, request, result)?)
    }

    /// Closes a file that nothing stands for any more.
    pub fn close_file(&mut self, file: Option<File>) -> Result<u64, Fail> {
        let Some(File { kind: Kind::Remote(fd), .. }) = file else {
            return Ok(0);
        };
        let request = Call { number: syscall::number::CLOSE, args: [fd as u64, 0, 0, 0, 0, 0], ..Call::default() };
        Ok(self.link.call(&request, self.deadly)? as u64)
    }

    fn exception(&mut self, exception: Exception) -> Result<(), End> {
        let signal = match exception.vector {
            14 => match self.page_fault(exception) {
                Ok(()) => return Ok(()),
                Err(Fault::NoMemory) => {
                    log::error!("out of memory: {} MiB in use", self.space.resident().0 >> 20);
                    return Err(End::signal(number::SIGKILL));
                }
                Err(_) => number::SIGSEGV,
            },
            // As arch/x86/kernel/traps.c has it.
            0 | 16 | 19 => number::SIGFPE,
            1 | 3 => number::SIGTRAP,
            6 | 7 => number::SIGILL,
            11 | 12 | 17 => number::SIGBUS,
            _ => number::SIGSEGV,
        };
        Err(self.fault_end(crash::exception_name(exception.vector), Some(exception), signal))
    }

    fn page_fault(&mut self, exception: Exception) -> Result<(), Fault> {
        let access = match exception.error {
            // Bits of the error code: SDM vol. 3, 4.7.
            error if error & 0x10 != 0 => Access::Execute,
            error if error & 0x2 != 0 => Access::Write,
            _ => Access::Read,
        };
        assert!(exception.error & 0x8 == 0, "a page table has reserved bits set");
        self.space.fault(exception.address, access)
    }

    /// Logs a fault and ends the application.
    fn fault_end(&self, name: &str, exception: Option<Exception>, signal: u32) -> End {
        let c = &self.context;
        let path = alloc::string::String::from_utf8_lossy(&self.startup.path);
        match exception {
            Some(e) => log::error!(
                "{path}: {name} at rip {:#x}, address {:#x}, error code {:#x}: signal {signal}",
                c.rip,
                e.address,
                e.error
            ),
            None => log::error!("{path}: {name} at rip {:#x}: signal {signal}", c.rip),
        }
        log::error!(
            "rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x} rbp {:x} rsp {:x}",
            c.rax,
            c.rbx,
            c.rcx,
            c.rdx,
            c.rsi,
            c.rdi,
            c.rbp,
            c.rsp
        );
        log::error!(
            "r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x} rflags {:x}",
            c.r8,
            c.r9,
            c.r10,
            c.r11,
            c.r12,
            c.r13,
            c.r14,
            c.r15,
            c.rflags
        );
        End::signal(signal)
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
