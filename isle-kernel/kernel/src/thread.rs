// SPDX-License-Identifier: MIT OR Apache-2.0

//! A thread of an application: what it alone uses, and its life from the first instruction to the last.

use crate::errno::{End, Errno, Fail};
use crate::fd::{File, Files};
use crate::link::Call;
use crate::mem::access::{Piece, Pieces};
use crate::mem::space::{Access, Fault, Space};
use crate::mem::user::Memory;
use crate::offload::{Given, Place};
use crate::process::Process;
use crate::sched::{self, CpuMask, Registers, Task};
use crate::signal::{self, number, Info};
use crate::syscall::paths;
use crate::{futex, load, mapped, offload, serve, syscall};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload as table;
use hermit_plat::crash;
use hermit_plat::user::{self, Context, Exception, Exit, Program};
use spin::MutexGuard;

/// sigaltstack(2): where, how long; no length: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    pub start: u64,
    pub len: u64,
    pub flags: u32,
}

impl AltStack {
    pub fn contains(&self, address: u64) -> bool {
        self.len > 0 && address.wrapping_sub(self.start) < self.len
    }
}

/// How a thread begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// By loading the program.
    Program,
    /// With the context that it has.
    Clone,
}

/// A thread.
pub struct Thread {
    pub context: Context,
    pub task: Arc<Task>,
    pub process: Arc<Process>,
    begin: Begin,
    /// prctl(PR_SET_NAME).
    pub name: Vec<u8>,
    pub alt_stack: AltStack,
    /// Cleared, and waited for as a futex, when the thread ends; 0: nothing.
    pub clear_child_tid: u64,
    /// set_robust_list(2); 0: none.
    pub robust_list: u64,
    /// The mask to go back to once a handler has run (sigsuspend(2) and its like).
    pub saved_mask: Option<u64>,
    /// A system call has ended the thread.
    has_ended: bool,
    /// The system call that was interrupted and may be made again.
    pub restart: Option<u32>,
}

/// Where the flow of a new thread begins.
pub fn begin() -> ! {
    live();
    sched::finish()
}

/// All of a thread's life: nothing is left of it when this returns.
fn live() {
    let Some(task) = sched::current() else { return };
    sched::arrive(&task);
    let Some(mut thread) = task.take_start() else { return };
    drop(task);
    thread.run();
    thread.exit();
}

impl Program for Thread {
    fn context(&mut self) -> &mut Context {
        &mut self.context
    }

    fn quick_syscall(&self, number: u32) -> Option<u64> {
        syscall::quick(self, number)
    }

    fn syscall(&mut self) -> bool {
        match syscall::dispatch(self) {
            Ok(()) if self.restart.is_some() || self.task.has_attention() => false,
            Ok(()) => {
                sched::before_user();
                true
            }
            Err(Ended) => {
                self.has_ended = true;
                false
            }
        }
    }
}

impl Thread {
    /// The first thread of a process. `None` without kernel memory.
    pub fn first(process: &Arc<Process>) -> Option<Box<Self>> {
        let task = Task::new(process.first_tid(), process.clone(), Registers::new()?, CpuMask::all(), 0)?;
        Some(Box::new(Self {
            context: Context::default(),
            task,
            process: process.clone(),
            begin: Begin::Program,
            name: Vec::new(),
            alt_stack: AltStack::default(),
            clear_child_tid: 0,
            robust_list: 0,
            saved_mask: None,
            has_ended: false,
            restart: None,
        }))
    }

    /// Another thread of the same process, with registers of its own. `None` without kernel memory.
    pub fn another(&self, context: Context, registers: Registers, tid: u32) -> Option<Box<Self>> {
        let allowed = self.task.allowed().clone();
        let blocked = self.task.blocked.load(Ordering::Relaxed);
        let task = Task::new(tid, self.process.clone(), registers, allowed, blocked)?;
        Some(Box::new(Self {
            context,
            task,
            process: self.process.clone(),
            begin: Begin::Clone,
            name: self.name.clone(),
            alt_stack: AltStack::default(),
            clear_child_tid: 0,
            robust_list: 0,
            saved_mask: None,
            has_ended: false,
            restart: None,
        }))
    }

    /// The first thread of a child process, with registers of its own. `None` without kernel memory.
    pub fn of_child(&self, child: &Arc<Process>, context: Context, registers: Registers) -> Option<Box<Self>> {
        let allowed = self.task.allowed().clone();
        let blocked = self.task.blocked.load(Ordering::Relaxed);
        let task = Task::new(child.first_tid(), child.clone(), registers, allowed, blocked)?;
        task.policy.store(self.task.policy.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(Box::new(Self {
            context,
            task,
            process: child.clone(),
            begin: Begin::Clone,
            name: self.name.clone(),
            alt_stack: self.alt_stack,
            clear_child_tid: 0,
            robust_list: 0,
            saved_mask: self.saved_mask,
            has_ended: false,
            restart: None,
        }))
    }

    /// gettid(2).
    pub fn tid(&self) -> u32 {
        self.process.tid_of(&self.task)
    }

    pub fn space(&self) -> MutexGuard<'_, Space> {
        self.process.space.lock()
    }

    /// Its memory, as system calls use it.
    pub fn memory(&self) -> Memory<'_> {
        Memory::of(self)
    }

    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.process.files.lock()
    }

    /// Runs it until it or its process ends.
    fn run(&mut self) {
        if self.begin == Begin::Program {
            match load::start(self) {
                Ok(context) => self.context = context,
                Err(end) => {
                    self.process.end(end);
                    return;
                }
            }
        }
        while self.step().is_ok() {}
    }

    /// Once into ring 3 and back. An error: the thread has ended.
    fn step(&mut self) -> Result<(), Ended> {
        self.look_around()?;
        if !self.context.is_canonical() {
            return self.fault("jump out of the address space", None, Info::fault(number::SIGSEGV, 1, 0));
        }
        sched::before_user();
        let root = self.process.root.clone();
        match user::run(self, &root) {
            Exit::Syscall if self.has_ended => Err(Ended),
            Exit::Syscall => Ok(()),
            Exit::Interrupt => {
                sched::interrupted(&self.task);
                Ok(())
            }
            Exit::Exception(exception) => self.exception(exception),
        }
    }

    /// Deals with signals, and with the end of the process.
    pub(crate) fn look_around(&mut self) -> Result<(), Ended> {
        let mut again = self.restart.take();
        // More than once if what was blocked meanwhile is due now.
        while self.task.take_attention() {
            if self.task.has_to_leave() {
                return Err(Ended);
            }
            sched::migrate(&self.task);
            while let Some((info, action)) = signal::take_due(self) {
                signal::deliver::call_handler(self, &info, &action, again.take())?;
            }
            if self.process.ending().is_some() {
                return Err(Ended);
            }
            if let Some(mask) = self.saved_mask.take() {
                // No handler was called, so the call is made again: behind any that is due only now.
                self.repeat(again.take());
                signal::set_blocked(&self.task, mask);
            }
        }
        self.repeat(again);
        Ok(())
    }

    /// Has a system call made again.
    fn repeat(&mut self, call: Option<u32>) {
        if let Some(number) = call {
            self.context.repeat_syscall(number.into());
        }
    }

    /// An error if the process ends: for what takes long. No lock may be held: this CPU's slot may have an order to end it,
    /// which nobody else looks at.
    pub fn check_end(&self) -> Result<(), Fail> {
        serve::look_at_orders();
        match self.task.has_to_leave() {
            true => Err(Fail::Ended),
            false => Ok(()),
        }
    }

    /// Makes a forwarded system call.
    pub fn forward(&self, number: u32, args: [u64; 6]) -> Result<u64, Fail> {
        self.forward_given(number, args, Default::default())
    }

    /// Makes a forwarded system call, some of whose buffers are the kernel's. Paths are looked at first: those that mean
    /// something else on Linux are put right, those that only the isle has are an error.
    pub fn forward_given(&self, number: u32, args: [u64; 6], mut given: [Given; 6]) -> Result<u64, Fail> {
        let call = table::find(number, args[1]).ok_or(Errno::ENOSYS)?;
        // Both are kept until the call is over.
        let cwd = self.process.fs.lock().cwd.clone();
        let _looked = paths::translate(self, &call, args, &mut given, cwd.as_ref())?;
        let request = self.memory().access(|space| {
            let place = Place { files: &self.files(), cwd: cwd.as_ref() };
            offload::prepare(&call, args, &given, Pieces::of(&self.task), space, &place)
        })?;
        self.post(&call, &request)
    }

    /// Makes a call of the kernel's own: with the proxy's descriptors, and with buffers that the kernel has, each by the
    /// argument that it is.
    pub fn ask(&self, number: u32, args: [u64; 6], buffers: &[(usize, Piece)]) -> Result<u64, Fail> {
        let call = table::find(number, args[1]).ok_or(Errno::ENOSYS)?;
        let mut request = Call { number, args, ..Call::default() };
        for (index, piece) in buffers {
            if let (Some(arg), Some(len)) = (request.args.get_mut(*index), request.lens.get_mut(*index)) {
                (*arg, *len) = (1, piece.len);
            }
            request.pieces.add(*piece)?;
        }
        self.post(&call, &request)
    }

    /// Makes a forwarded system call that is ready to go.
    pub fn post(&self, call: &table::Call, request: &Call) -> Result<u64, Fail> {
        let result = self.process.link.call(&self.task, request).map_err(|fail| match fail {
            Fail::Errno(errno) => offload::failure(request, errno).into(),
            other => other,
        })?;
        Ok(offload::check(call, request, result)?)
    }

    /// Closes a descriptor of the proxy's.
    pub fn close_remote(&self, fd: i32) -> Result<u64, Fail> {
        let request = Call { number: syscall::number::CLOSE, args: [fd as u64, 0, 0, 0, 0, 0], ..Call::default() };
        Ok(self.process.link.call(&self.task, &request)? as u64)
    }

    /// Closes a file, unless something else stands for it.
    pub fn close_file(&self, file: Arc<File>) -> Result<u64, Fail> {
        match Arc::into_inner(file).and_then(File::release) {
            Some(fd) => self.close_remote(fd),
            None => Ok(0),
        }
    }

    /// Closes what nothing stands for any more: the last one was in the hands of a call that is over.
    pub fn close_unused(&self) {
        let closing = &self.process.link.closing;
        while closing.any() {
            let Some(fd) = closing.take() else { break };
            match self.close_remote(fd) {
                // It hasn't been asked for yet.
                Err(Fail::Restart) => return closing.add(fd),
                Err(Fail::Ended) => return,
                Err(Fail::Errno(_)) | Ok(_) => {}
            }
        }
    }

    /// Closes what its process alone has open, though that ends: others may wait for the end of a pipe.
    pub fn release_files(&self) {
        if Arc::strong_count(&self.process.files) == 1 {
            let files = core::mem::replace(&mut *self.process.files.lock(), Files::empty());
            drop(files);
        }
        let fs = core::mem::take(&mut *self.process.fs.lock());
        drop(fs);
        let closing = &self.process.link.closing;
        while let Some(fd) = closing.take() {
            let call = Call { number: syscall::number::CLOSE, args: [fd as u64, 0, 0, 0, 0, 0], ..Call::default() };
            if self.process.link.call_to_the_end(&self.task, &call) == Err(Fail::Ended) {
                break;
            }
        }
    }

    fn exception(&mut self, exception: Exception) -> Result<(), Ended> {
        let Exception { vector, mut error, address } = exception;
        if vector == 14 && address >= user::END {
            // Whether something is there is nobody's business: it looks as if there were (Linux: sanitize_error_code()).
            error |= 1;
        }
        let rip = self.context.rip;
        // Signals and codes as arch/x86/kernel/traps.c has them.
        let info = match vector {
            14 => match self.page_fault(exception) {
                Ok(()) => return Ok(()),
                Err(Fault::Missing(missing)) => match mapped::load(self, &missing) {
                    // The instruction faults once more, and finds it.
                    Ok(()) => return Ok(()),
                    Err(Fail::Errno(Errno::ENOMEM)) => return self.out_of_memory(),
                    Err(Fail::Errno(_)) => Info::fault(number::SIGBUS, 2, address),
                    Err(Fail::Restart | Fail::Ended) => return Ok(()),
                },
                Err(Fault::NoMemory) => return self.out_of_memory(),
                Err(Fault::NotMapped) => Info::fault(number::SIGSEGV, 1, address),
                Err(Fault::NotAllowed) => Info::fault(number::SIGSEGV, 2, address),
            },
            0 => Info::fault(number::SIGFPE, 1, rip),
            16 | 19 => Info::fault(number::SIGFPE, self.float_code(vector), rip),
            1 => Info::fault(number::SIGTRAP, 2, rip),
            3 => Info::kernel(number::SIGTRAP),
            6 | 7 => Info::fault(number::SIGILL, 2, rip),
            17 => Info::fault(number::SIGBUS, 1, address),
            11 | 12 => Info::kernel(number::SIGBUS),
            _ => Info::kernel(number::SIGSEGV),
        };
        let trap = signal::Trap { vector, error, address };
        self.fault(crash::exception_name(vector), Some(trap), info)
    }

    fn out_of_memory(&self) -> Result<(), Ended> {
        let resident = self.space().resident().0 >> 20;
        log::error!("out of memory at rip {:#x}: {resident} MiB in use", self.context.rip);
        self.process.end(End::signal(number::SIGKILL));
        Err(Ended)
    }

    /// FPE_* of an x87 or SIMD exception: the first that is unmasked (siginfo(7)).
    fn float_code(&self, vector: u8) -> i32 {
        let mut registers = self.task.registers.lock();
        registers.fpu.save();
        let word = |at: usize| {
            registers.fpu.bytes().get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
        };
        let flags = match vector {
            16 => (word(0) >> 16) & !word(0),
            _ => word(24) & !(word(24) >> 7),
        };
        match flags {
            f if f & 1 != 0 => 7,    // invalid operation
            f if f & 4 != 0 => 3,    // division by zero
            f if f & 8 != 0 => 4,    // overflow
            f if f & 0x12 != 0 => 5, // underflow, denormal
            f if f & 0x20 != 0 => 6, // precision
            _ => 0,
        }
    }

    fn page_fault(&mut self, exception: Exception) -> Result<(), Fault> {
        let access = match exception.error {
            // Bits of the error code: SDM vol. 3, 4.7.
            error if error & 0x10 != 0 => Access::Execute,
            error if error & 0x2 != 0 => Access::Write,
            _ => Access::Read,
        };
        assert!(exception.error & 0x8 == 0, "a page table has reserved bits set");
        Space::fault_in(&self.process.space, exception.address, access)
    }

    /// A signal that the thread has brought upon itself: its handler, or the end.
    pub fn fault(&mut self, name: &str, trap: Option<signal::Trap>, info: Info) -> Result<(), Ended> {
        match signal::forced_handler(self, info.signal) {
            Some(action) => signal::deliver::call_handler_for(self, &info, &action, trap),
            None => {
                self.log_fault(name, trap, info.signal);
                self.process.end(End::signal(info.signal));
                Err(Ended)
            }
        }
    }

    fn log_fault(&self, name: &str, trap: Option<signal::Trap>, signal: u32) {
        let c = &self.context;
        let program = self.process.program();
        let path = alloc::string::String::from_utf8_lossy(&program.path);
        match trap {
            Some(t) => log::error!(
                "{path}: {name} at rip {:#x}, address {:#x}, error code {:#x}: signal {signal}",
                c.rip,
                t.address,
                t.error
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
    }

    /// The end of the thread; that of the process, if it was the last.
    fn exit(self: Box<Self>) {
        futex::exit_robust(&self);
        if self.clear_child_tid != 0 && self.process.ending().is_none() {
            // Whoever joins the thread waits for this word; if it isn't there, nobody does.
            let _ = self.memory().write(self.clear_child_tid, &[0; 4]);
            if let Ok(place) = futex::place(&self.process, self.clear_child_tid, false) {
                place.wake(1, u32::MAX);
            }
        }
        if self.process.thread_count() == 1 {
            // Nobody else can write to it any more, if the memory is the process's own.
            if !self.process.is_released() {
                mapped::write_back_at_end(&self);
            }
            // With the first process the proxy ends, and all that it has open.
            if !self.process.is_first() {
                self.release_files();
            }
        }
        if self.process.remove(&self.task) {
            serve::close(&self.process);
        } else {
            signal::leave(&self.task);
        }
    }
}

/// The thread has ended; if its process ends as well, it knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;
