// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a slot with an order to a program ready to run.

use crate::elf::{Header, Place, Problem, Program, Segment, HEADER_LEN};
use crate::errno::{End, Errno, Fail};
use crate::fd::File;
use crate::link::Call;
use crate::mapped;
use crate::mem::areas::{Area, Backing, Kind as AreaKind};
use crate::mem::object::Object;
use crate::mem::scratch::Scratch;
use crate::mem::{CLOCK, STACK_LEN, STACK_TOP, VDSO, VDSO_END};
use crate::signal::number::SIGKILL;
use crate::stack;
use crate::startup::Startup;
use crate::thread::Thread;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload::special::STARTUP;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::paging::Prot;
use hermit_plat::user::Context;

/// Exit code of a program that can't be run, as shells have it.
const CANNOT_RUN: u8 = 127;

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
    load(thread, process.startup(), None)
}

/// Loads the program that a process has been told to execute, and whose file is open.
pub fn replace(thread: &mut Thread, file: Arc<File>) -> Result<Context, End> {
    let program = thread.process.program();
    thread.name = base_name(&program.path);
    load(thread, &program, Some(file))
}

fn load(thread: &Thread, startup: &Startup, file: Option<Arc<File>>) -> Result<Context, End> {
    let context = Loader { thread, startup, file }.load().map_err(|fail| match fail {
        LoadFail::Ended => End::signal(SIGKILL),
        LoadFail::Problem(why) => give_up(&startup.path, why),
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
        let scratch = Scratch::new(Scratch::MAX as usize)?;
        let len = scratch.capacity();
        let call = Call {
            number: STARTUP,
            args: [1, len, 0, 0, 0, 0],
            lens: [len, 0, 0, 0, 0, 0],
            pieces: scratch.pieces(len),
            ..Call::default()
        };
        let len = thread.process.link.call(&thread.task, &call)?;
        let len = usize::try_from(len).ok().filter(|l| *l as u64 <= scratch.capacity()).ok_or(Errno::EIO)?;
        Ok::<_, Fail>(Startup::parse(scratch.bytes(len)?).ok_or(Errno::EIO)?)
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

/// A file that is to be loaded.
struct Image {
    object: Arc<Object>,
    fd: i32,
    len: u64,
}

impl Image {
    /// Reads its headers.
    fn headers(&self, thread: &Thread) -> Result<(Header, Vec<u8>), LoadFail> {
        const CUT_OFF: Problem = "is cut off in its headers";
        let bytes = mapped::bytes(thread, self.fd, 0, HEADER_LEN)?;
        let header = Header::parse(bytes.as_slice().try_into().map_err(|_| "is not an ELF file")?)?;
        let table = mapped::bytes(thread, self.fd, header.table_offset, header.table_len())?;
        if table.len() < header.table_len() {
            return Err(CUT_OFF.into());
        }
        Ok((header, table))
    }
}

struct Loader<'a> {
    thread: &'a Thread,
    startup: &'a Startup,
    /// The program's file; `None`: the proxy's.
    file: Option<Arc<File>>,
}

impl Loader<'_> {
    fn load(&mut self) -> Result<Context, LoadFail> {
        let image = self.program_file()?;
        let (header, table) = image.headers(self.thread)?;
        let program = header.program(&table, image.len, Place::Program)?;
        self.map_segments(&program, &image)?;
        {
            let mut space = self.thread.space();
            space.heap_start = program.end;
            space.brk = program.end;
        }
        self.map_vdso()?;
        let (base, entry) = match program.interpreter {
            Some((offset, len)) => {
                let interpreter = self.load_interpreter(&image, offset, len)?;
                (interpreter.bias, interpreter.entry)
            }
            None => (0, program.entry),
        };
        let pointer = self.build_stack(&program, base)?;
        Ok(Context::new(entry, pointer))
    }

    fn program_file(&self) -> Result<Image, LoadFail> {
        let fd = self.startup.exe_fd;
        let closing = &self.thread.process.link.closing;
        let file = self.file.clone().unwrap_or_else(|| Arc::new(File::remote(fd, closing)));
        let object = mapped::object_of_program(self.thread, file)?;
        Ok(Image { object, fd, len: self.startup.exe_size })
    }

    /// Loads the program that loads the others.
    fn load_interpreter(&self, image: &Image, offset: u64, len: u64) -> Result<Program, LoadFail> {
        const CANNOT_OPEN: Problem = "names an interpreter that can't be opened";
        let mut path = mapped::bytes(self.thread, image.fd, offset, len as usize)?;
        path.truncate(path.iter().position(|b| *b == 0).ok_or(CANNOT_OPEN)?);
        let file = mapped::open(self.thread, &path).map_err(|fail| match fail {
            Fail::Errno(_) => LoadFail::Problem(CANNOT_OPEN),
            end => end.into(),
        })?;
        let fd = file.remote_fd().ok_or(CANNOT_OPEN)?;
        let object = mapped::object_of_program(self.thread, file)?;
        let len = object.source().map_or(0, |source| source.len.load(Ordering::Relaxed));
        let interpreter = Image { object, fd, len };
        let (header, table) = interpreter.headers(self.thread)?;
        let place = match header.span(&table)? {
            Some((len, align)) => {
                let gap = self.thread.space().find_gap(len.saturating_add(align)).ok_or(Errno::ENOMEM)?;
                Place::At(gap)
            }
            None => Place::Program,
        };
        let program = header.program(&table, interpreter.len, place)?;
        let is_free = |s: &Segment| self.thread.space().areas.is_free(s.start, s.end);
        if !program.segments.iter().all(is_free) {
            return Err("lies where its interpreter goes".into());
        }
        self.map_segments(&program, &interpreter)?;
        Ok(program)
    }

    fn map_segments(&self, program: &Program, image: &Image) -> Result<(), LoadFail> {
        program.segments.iter().try_for_each(|segment| self.map_segment(segment, image))
    }

    /// Maps what the file has of a segment, and zeros behind it.
    fn map_segment(&self, segment: &Segment, image: &Image) -> Result<(), LoadFail> {
        if segment.end - segment.start > self.thread.space().limit() {
            return Err(Errno::ENOMEM.into());
        }
        let data_end = segment.data_start + segment.data_len;
        let file_end = crate::mem::page_up(data_end).ok_or(Errno::ENOMEM)?.max(segment.start);
        if segment.data_len > 0 {
            let backing = Backing {
                object: image.object.clone(),
                first: segment.data_offset / PAGE_SIZE,
                shared: false,
                may_write: true,
            };
            let area = Area::private(segment.start, file_end, segment.prot, AreaKind::Program);
            self.thread.space().map(Area { backing: Some(Arc::new(backing)), ..area })?;
        }
        if file_end < segment.end {
            let area = Area::private(file_end, segment.end, segment.prot, AreaKind::Program);
            self.thread.space().map(area)?;
        }
        // The rest of the last page belongs to the segment too, if there is more of it in memory than in the file.
        let is_longer = segment.memory_end > data_end;
        if segment.data_len > 0 && is_longer && data_end < file_end && segment.prot.write {
            let zeros = [0; PAGE_SIZE as usize];
            let zeros = zeros.get(..(file_end - data_end) as usize).unwrap_or(&[]);
            self.thread.memory().write(data_end, zeros)?;
        }
        Ok(())
    }

    /// Maps the clock page and the vDSO.
    fn map_vdso(&mut self) -> Result<(), LoadFail> {
        let mut space = self.thread.space();
        // A program may ask for any address.
        if !space.areas.is_free(CLOCK, VDSO_END) {
            return Err("lies where its vDSO goes".into());
        }
        space.map_clock(CLOCK, hermit_plat::shared::clock())?;
        space.map(Area::private(VDSO, VDSO_END, Prot::READ_WRITE, AreaKind::Vdso))?;
        space.write(VDSO, hermit_vdso::IMAGE)?;
        space.protect(VDSO, VDSO_END, Prot { read: true, write: false, exec: true })?;
        Ok(())
    }

    fn build_stack(&mut self, program: &Program, base: u64) -> Result<u64, LoadFail> {
        let prot = Prot { exec: program.executable_stack, ..Prot::READ_WRITE };
        let stack = Area::private(STACK_TOP - STACK_LEN, STACK_TOP, prot, AreaKind::Stack);
        self.thread.space().map(stack)?;
        let built = stack::build(STACK_TOP, STACK_LEN, self.startup, program, base);
        let (pointer, bytes) = match built {
            Err(Errno::E2BIG) => return Err("has more arguments and environment than fit on its stack".into()),
            other => other?,
        };
        self.thread.memory().write(pointer, &bytes)?;
        Ok(pointer)
    }
}
