// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a slot with an order to a program ready to run.

use crate::elf::{Header, Problem, Program, Segment, HEADER_LEN};
use crate::errno::{End, Errno, Fail};
use crate::link::Call;
use crate::mem::access::{Piece, Pieces};
use crate::mem::areas::{Area, Kind};
use crate::mem::space::Access;
use crate::mem::{buffer, frames};
use crate::mem::{CLOCK, STACK_LEN, STACK_TOP, VDSO, VDSO_END};
use crate::offload::MAX_TRANSFER;
use crate::signal::number::SIGKILL;
use crate::stack;
use crate::startup::Startup;
use crate::syscall::number;
use crate::thread::Thread;
use alloc::string::String;
use alloc::vec::Vec;
use hermit_plat::abi::channel::SEGMENTS;
use hermit_plat::abi::offload::special::STARTUP;
use hermit_plat::app_memory;
use hermit_plat::paging::{Prot, Size, Wanted};
use hermit_plat::user::Context;

/// Exit code of a program that can't be run, as shells have it.
const CANNOT_RUN: u8 = 127;

/// A frame that goes back by itself.
struct Frame(u64);

impl Frame {
    const SIZE: Size = Size::Large;

    fn take() -> Result<Self, Errno> {
        frames::take_large(Wanted::Anywhere).map(|taken| Self(taken.offset)).ok_or(Errno::ENOMEM)
    }

    /// The first bytes of it.
    fn bytes(&self, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = buffer(len)?;
        bytes.resize(len, 0);
        app_memory::get().read(self.0, &mut bytes).map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        frames::shared().lock().give(self.0, Self::SIZE);
    }
}

/// Ends an application that can't be run, with a line that says why.
fn give_up(path: &[u8], why: &str) -> End {
    log::error!("{} can't run: it {why}", String::from_utf8_lossy(path));
    End::exit(CANNOT_RUN)
}

/// Loads the program of a process that has only just begun; returns the context to begin with.
pub fn start(thread: &mut Thread) -> Result<Context, End> {
    let startup = ask(thread)?;
    thread.process.set_startup(startup);
    let process = thread.process.clone();
    thread.name = base_name(&process.startup().path);
    let context = Loader { thread, startup: process.startup() }.load().map_err(|fail| match fail {
        LoadFail::Ended => End::signal(SIGKILL),
        LoadFail::Problem(why) => give_up(&process.startup().path, why),
    })?;
    thread.task.registers.lock().restore();
    Ok(context)
}

/// The last part of a path, as much of it as a name can be long.
fn base_name(path: &[u8]) -> Vec<u8> {
    let last = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    last.iter().take(15).copied().collect()
}

/// Asks the proxy what to run.
fn ask(thread: &Thread) -> Result<Startup, End> {
    let result = (|| {
        // Kept until the answer is copied; if the application is ended meanwhile, the proxy's mapping
        // ends before the slot is used again.
        let frame = Frame::take()?;
        let len = Frame::SIZE.bytes();
        let call = Call {
            number: STARTUP,
            args: [1, len, 0, 0, 0, 0],
            lens: [len, 0, 0, 0, 0, 0],
            pieces: Pieces::one(Piece { offset: frame.0, len }),
            ..Call::default()
        };
        let len = thread.process.link.call(&thread.task, &call)?;
        let len = usize::try_from(len).ok().filter(|l| *l as u64 <= Frame::SIZE.bytes()).ok_or(Errno::EIO)?;
        Ok::<_, Fail>(Startup::parse(frame.bytes(len)?).ok_or(Errno::EIO)?)
    })();
    result.map_err(|fail| match fail {
        Fail::Ended | Fail::Restart => End::signal(SIGKILL),
        Fail::Errno(errno) => {
            log::error!("the proxy didn't say what to run: {errno:?}");
            End::exit(CANNOT_RUN)
        }
    })
}

enum LoadFail {
    /// The process ends, for whatever reason.
    Ended,
    Problem(Problem),
}

impl From<Problem> for LoadFail {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Fail> for LoadFail {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Ended | Fail::Restart => Self::Ended,
            Fail::Errno(Errno::ENOMEM) => Self::Problem("needs more memory than the isle has"),
            Fail::Errno(_) => Self::Problem("can't be read"),
        }
    }
}

impl From<Errno> for LoadFail {
    fn from(errno: Errno) -> Self {
        Fail::from(errno).into()
    }
}

struct Loader<'a> {
    thread: &'a Thread,
    startup: &'a Startup,
}

impl Loader<'_> {
    fn load(&mut self) -> Result<Context, LoadFail> {
        let program = self.read_headers()?;
        for segment in &program.segments {
            self.load_segment(segment)?;
        }
        {
            let mut space = self.thread.space();
            space.heap_start = program.end;
            space.brk = program.end;
        }
        self.map_vdso()?;
        let pointer = self.build_stack(&program)?;
        Ok(Context::new(program.entry, pointer))
    }

    fn read_headers(&mut self) -> Result<Program, LoadFail> {
        const CUT_OFF: Problem = "is cut off in its headers";
        let frame = Frame::take()?;
        let piece = |len| Pieces::one(Piece { offset: frame.0, len });
        if self.read(0, piece(HEADER_LEN as u64))? < HEADER_LEN as u64 {
            return Err("is not an ELF file".into());
        }
        let bytes = frame.bytes(HEADER_LEN)?;
        let header = Header::parse(bytes.as_slice().try_into().map_err(|_| CUT_OFF)?)?;
        let len = header.table_len();
        if self.read(header.table_offset, piece(len as u64))? < len as u64 {
            return Err(CUT_OFF.into());
        }
        Ok(header.program(&frame.bytes(len)?, self.startup.exe_size)?)
    }

    fn load_segment(&mut self, segment: &Segment) -> Result<(), LoadFail> {
        if segment.end - segment.start > self.thread.space().limit() {
            return Err(Errno::ENOMEM.into());
        }
        let area = Area { start: segment.start, end: segment.end, prot: Prot::READ_WRITE, kind: Kind::Program };
        self.thread.space().map(area)?;
        let mut done = 0;
        while done < segment.data_len {
            let rest = (segment.data_len - done).min(MAX_TRANSFER);
            let mut pieces = Pieces::default();
            self.thread.memory().pieces(segment.data_start + done, rest, Access::Write, SEGMENTS, &mut pieces)?;
            match self.read(segment.data_offset + done, pieces)? {
                0 => return Err("has become shorter meanwhile".into()),
                count => done += count,
            }
        }
        if segment.prot != Prot::READ_WRITE {
            self.thread.space().protect(segment.start, segment.end, segment.prot)?;
        }
        Ok(())
    }

    /// Reads a part of the file.
    fn read(&mut self, offset: u64, pieces: Pieces) -> Result<u64, Fail> {
        let len = pieces.iter().map(|p| p.len).sum();
        let call = Call {
            number: number::PREAD64,
            args: [self.startup.exe_fd as u64, 1, len, offset, 0, 0],
            lens: [0, len, 0, 0, 0, 0],
            pieces,
            ..Call::default()
        };
        let count = self.thread.process.link.call(&self.thread.task, &call)? as u64;
        if count > len {
            return Err(Errno::EIO.into());
        }
        Ok(count)
    }

    /// Maps the clock page and the vDSO.
    fn map_vdso(&mut self) -> Result<(), LoadFail> {
        let mut space = self.thread.space();
        // A program may ask for any address.
        if !space.areas.is_free(CLOCK, VDSO_END) {
            return Err("lies where its vDSO goes".into());
        }
        space.map_clock(CLOCK, hermit_plat::shared::clock())?;
        space.map(Area { start: VDSO, end: VDSO_END, prot: Prot::READ_WRITE, kind: Kind::Vdso })?;
        space.write(VDSO, hermit_vdso::IMAGE)?;
        space.protect(VDSO, VDSO_END, Prot { read: true, write: false, exec: true })?;
        Ok(())
    }

    fn build_stack(&mut self, program: &Program) -> Result<u64, LoadFail> {
        let prot = Prot { exec: program.executable_stack, ..Prot::READ_WRITE };
        self.thread.space().map(Area { start: STACK_TOP - STACK_LEN, end: STACK_TOP, prot, kind: Kind::Stack })?;
        let built = stack::build(STACK_TOP, STACK_LEN, self.startup, program);
        let (pointer, bytes) = match built {
            Err(Errno::E2BIG) => return Err("has more arguments and environment than fit on its stack".into()),
            other => other?,
        };
        self.thread.memory().write(pointer, &bytes)?;
        Ok(pointer)
    }
}
