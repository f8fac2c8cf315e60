// SPDX-License-Identifier: MIT OR Apache-2.0

//! A whole application on the host, with a thread for its proxy; only ring 3 itself is missing.

use super::*;
use crate::errno::Errno;
use crate::mem::access::Pieces;
use crate::mem::frames;
use crate::mem::space::tests::world;
use crate::mem::space::Access;
use crate::signal::{self, Info};
use crate::syscall;
use crate::thread::Thread;
use core::sync::atomic::{AtomicBool, Ordering};
use hermit_plat::abi::app::{self, order};
use hermit_plat::abi::channel::{state, Request};
use hermit_plat::abi::offload::special::STARTUP;
use hermit_plat::app_memory;
use hermit_plat::shared::{for_test, Shared};
use linux_raw_sys::general as nr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use zerocopy::IntoBytes;

#[path = "file_tests.rs"]
mod file;
#[path = "link_tests.rs"]
mod link;
#[path = "thread_tests.rs"]
mod threads;

const GENERATION: u32 = 5;
/// Where the tests have their data.
const DATA: u64 = 0x1000_0000;

/// What the proxy is to do with its next calls, and what it has seen.
#[derive(Default)]
struct Script {
    program: Vec<u8>,
    written: Vec<u8>,
    closed: Vec<u64>,
    /// Instead of the right answer.
    answer: Option<i64>,
    /// Never answer this number.
    hang: Option<u32>,
    /// Answer these with 0, and remember them: their arguments, and what is in their buffers.
    accepted: Vec<u32>,
    seen: Vec<(u32, [u64; 6], Vec<u8>)>,
}

/// A thread that does the same again and again, until this is dropped.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start(mut round: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = stop.clone();
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                round();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Proxy {
    script: Arc<Mutex<Script>>,
    _thread: Background,
}

impl Proxy {
    fn start(shared: Shared, program: Vec<u8>) -> Self {
        let script = Arc::new(Mutex::new(Script { program, ..Script::default() }));
        let s = script.clone();
        let thread = Background::start(move || {
            for request in &shared.channels[0].requests {
                if request.state.load(Ordering::SeqCst) == state::POSTED {
                    let mut script = s.lock().unwrap();
                    // It may have been taken back meanwhile.
                    if request.state.load(Ordering::SeqCst) != state::POSTED {
                        continue;
                    }
                    if script.hang == Some(request.number.load(Ordering::Relaxed)) {
                        request.state.store(state::TAKEN, Ordering::SeqCst);
                        continue;
                    }
                    let result = script.answer.unwrap_or_else(|| script.perform(request));
                    request.result.store(result, Ordering::Relaxed);
                    request.state.store(state::DONE, Ordering::SeqCst);
                }
            }
            std::thread::yield_now();
        });
        Self { script, _thread: thread }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

/// Scatters bytes into the segments of a request; returns how many fit.
fn scatter(request: &Request, mut bytes: &[u8]) -> i64 {
    let mut done = 0;
    for segment in request.segments.iter().take(request.segment_count.load(Ordering::Relaxed) as usize) {
        let (now, later) = bytes.split_at(bytes.len().min(segment.len.load(Ordering::Relaxed) as usize));
        app_memory::get().write(segment.offset.load(Ordering::Relaxed), now).unwrap();
        done += now.len() as i64;
        bytes = later;
    }
    done
}

fn gather(request: &Request) -> Vec<u8> {
    let mut all = Vec::new();
    for segment in request.segments.iter().take(request.segment_count.load(Ordering::Relaxed) as usize) {
        let mut bytes = vec![0; segment.len.load(Ordering::Relaxed) as usize];
        app_memory::get().read(segment.offset.load(Ordering::Relaxed), &mut bytes).unwrap();
        all.extend(bytes);
    }
    all
}

impl Script {
    fn perform(&mut self, request: &Request) -> i64 {
        let arg = |n: usize| request.args[n].load(Ordering::Relaxed);
        match request.number.load(Ordering::Relaxed) {
            number if self.accepted.contains(&number) => {
                let args = request.args.each_ref().map(|a| a.load(Ordering::Relaxed));
                self.seen.push((number, args, gather(request)));
                0
            }
            STARTUP => scatter(request, &startup(self.program.len())),
            nr::__NR_pread64 => {
                let from = self.program.get(arg(3) as usize..).unwrap_or(&[]);
                scatter(request, &from[..from.len().min(arg(2) as usize)])
            }
            nr::__NR_read => scatter(request, b"0123456789"),
            nr::__NR_write => {
                let bytes = gather(request);
                self.written.extend(&bytes);
                bytes.len() as i64
            }
            nr::__NR_openat => {
                if gather(request) == b"/none\0" {
                    -2
                } else {
                    77
                }
            }
            nr::__NR_close => {
                self.closed.push(arg(0));
                0
            }
            nr::__NR_lseek => arg(1) as i64,
            nr::__NR_fstat => {
                // All descriptors are of the same regular file.
                let mut stat = [0; 18];
                (stat[0], stat[1], stat[3], stat[6]) = (1, 2, 0o100_644, self.program.len() as u64);
                scatter(request, stat.as_bytes());
                0
            }
            nr::__NR_dup => 78,
            // F_GETFL: O_RDWR.
            nr::__NR_fcntl => 2,
            nr::__NR_pwrite64 => {
                let (bytes, at) = (gather(request), arg(3) as usize);
                self.program[at..at + bytes.len()].copy_from_slice(&bytes);
                bytes.len() as i64
            }
            number => panic!("call {number} wasn't expected"),
        }
    }
}

fn startup(program_len: usize) -> Vec<u8> {
    let mut block = Vec::new();
    for word in [0, 2, 1, 3] {
        block.extend(u32::to_le_bytes(word));
    }
    block.extend((program_len as u64).to_le_bytes());
    for id in [4321u32, 1, 1000, 1000, 100, 100] {
        block.extend(id.to_le_bytes());
    }
    block.extend([7; 16]);
    for word in [1001u32, 101, 4000, 3000, 0o22, 2] {
        block.extend(word.to_le_bytes());
    }
    for limit in [[1024u64, 4096]; 16].iter().flatten() {
        block.extend(limit.to_le_bytes());
    }
    block.extend([20u32, 30].iter().flat_map(|g| g.to_le_bytes()));
    block.extend(b"./hello\0two\0HOME=/root\0/root/hello\0node7\0");
    let len = block.len() as u32;
    block[..4].copy_from_slice(&len.to_le_bytes());
    block
}

/// The smallest program: one segment, with its headers.
fn program() -> Vec<u8> {
    let mut file = vec![0; 0x2000];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2u16.to_le_bytes());
    put(18, &62u16.to_le_bytes());
    put(20, &1u32.to_le_bytes());
    put(24, &0x40_1000u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &1u16.to_le_bytes());
    put(64, &1u32.to_le_bytes());
    put(68, &5u32.to_le_bytes());
    for (index, field) in [0u64, 0x40_0000, 0x40_0000, 0x2000, 0x3000, 0x1000].iter().enumerate() {
        put(72 + index * 8, &field.to_le_bytes());
    }
    put(0x1000, b"the program's code");
    file
}

struct Machine {
    shared: Shared,
    proxy: Proxy,
    _world: MutexGuard<'static, ()>,
}

impl Machine {
    fn new(program: Vec<u8>) -> Self {
        let world = world();
        // As a slot that is used again: what the tests before left to their proxies comes back.
        frames::shared().lock().release_slot(0);
        let shared = for_test();
        shared.apps[0].order.store(app::word(GENERATION, order::RUN), Ordering::Relaxed);
        Self { shared, proxy: Proxy::start(shared, program), _world: world }
    }

    /// As if the proxy had answered all that it was asked. It answers nothing meanwhile.
    fn reset(&self) {
        let mut script = self.proxy.script();
        script.hang = None;
        for request in &self.shared.channels[0].requests {
            request.state.store(state::FREE, Ordering::SeqCst);
        }
    }

    fn link(&self) -> Link {
        Link::new(self.shared, 0, GENERATION).unwrap()
    }

    /// An application with 64 KiB to play with at `DATA`.
    fn try_start(&self) -> Result<Box<Thread>, End> {
        let process = Process::new(self.link()).unwrap();
        let mut thread = Thread::first(&process).unwrap();
        process.add(&thread.task);
        match crate::load::start(&mut thread) {
            Ok(context) => thread.context = context,
            Err(end) => {
                process.remove(&thread.task);
                process.family.remove(&process, end);
                return Err(end);
            }
        }
        Ok(thread)
    }

    fn process(&self) -> Box<Thread> {
        let mut p = self.try_start().unwrap();
        let flags = u64::from(nr::MAP_PRIVATE | nr::MAP_ANONYMOUS | nr::MAP_FIXED);
        assert_eq!(call(&mut p, nr::__NR_mmap, [DATA, 0x1_0000, 3, flags, 0, 0]), DATA as i64);
        p
    }
}

fn try_call(p: &mut Thread, number: u32, args: [u64; 6]) -> Result<i64, End> {
    p.context.rax = number.into();
    [p.context.rdi, p.context.rsi, p.context.rdx, p.context.r10, p.context.r8, p.context.r9] = args;
    let done = syscall::dispatch(p).and_then(|()| p.look_around());
    done.map(|()| p.context.rax as i64).map_err(|_| p.process.ending().unwrap_or(p.process.last_status()))
}

fn call(p: &mut Thread, number: u32, args: [u64; 6]) -> i64 {
    try_call(p, number, args).unwrap()
}

const EBADF: i64 = -9;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const ENOMEM: i64 = -12;
const EIO: i64 = -5;

#[test]
fn a_program_is_loaded_with_its_stack() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    assert_eq!(p.context.rip, 0x40_1000);
    let mut code = [0; 18];
    p.memory().read(0x40_1000, &mut code).unwrap();
    assert_eq!(&code, b"the program's code");
    assert_eq!(p.memory().write(0x40_1000, b"x"), Err(Errno::EFAULT), "not writable");
    assert_eq!(p.memory().read_u64(0x40_2ff8), Ok(0), "zero behind the file's part");
    let [argc, argv0]: [u64; 2] = p.memory().read_words(p.context.rsp).unwrap();
    assert_eq!((argc, p.memory().read_string(argv0, 100).unwrap().as_slice()), (2, b"./hello".as_slice()));
    assert_eq!(call(&mut p, nr::__NR_getpid, [0; 6]), 4321);
    assert_eq!(call(&mut p, nr::__NR_brk, [0; 6]), 0x40_3000);
}

#[test]
fn programs_that_cannot_run_end_with_127() {
    let mut cases = vec![Vec::new(), b"#!/bin/sh\n".to_vec(), vec![0x7f; 100], program()];
    cases[3].truncate(0x1800);
    for program in cases {
        let machine = Machine::new(program);
        let before = frames::shared().lock().used();
        assert_eq!(machine.try_start().err(), Some(End::exit(127)));
        assert_eq!(frames::shared().lock().used(), before);
    }
}

#[test]
fn what_a_lying_proxy_says_is_an_error() {
    for answer in [i64::MIN, -4096, -1, 0, 1, 100, 3 << 20, i64::MAX] {
        let machine = Machine::new(program());
        machine.proxy.script().answer = Some(answer);
        assert_eq!(machine.try_start().err(), Some(End::exit(127)), "{answer}");
    }
    let machine = Machine::new(program());
    let mut p = machine.process();
    machine.proxy.script().answer = Some(11);
    assert_eq!(call(&mut p, nr::__NR_read, [0, DATA, 10, 0, 0, 0]), EIO);
    machine.proxy.script().answer = Some(-5000);
    assert_eq!(call(&mut p, nr::__NR_read, [0, DATA, 10, 0, 0, 0]), EIO);
    p.memory().write(DATA, b"/x\0").unwrap();
    machine.proxy.script().answer = Some(1 << 40);
    assert_eq!(call(&mut p, nr::__NR_open, [DATA, 0, 0, 0, 0, 0]), EIO);
}

#[test]
fn reading_and_writing() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    p.memory().write(DATA, b"hello").unwrap();
    assert_eq!(call(&mut p, nr::__NR_write, [1, DATA, 5, 0, 0, 0]), 5);
    assert_eq!(call(&mut p, nr::__NR_read, [0, DATA + 0xfff8, 100, 0, 0, 0]), 8, "up to the mapping's end");
    assert_eq!(call(&mut p, nr::__NR_read, [0, DATA + 0x1_0000, 1, 0, 0, 0]), EFAULT);
    assert_eq!(call(&mut p, nr::__NR_write, [9, DATA, 5, 0, 0, 0]), EBADF);
    for bad in [0, u64::MAX - 3, 1 << 63, 0xffff_8000_0000_0000] {
        assert_eq!(call(&mut p, nr::__NR_openat, [u64::MAX - 99, bad, 0, 0, 0, 0]), EFAULT);
    }
    // Two buffers, the second of which is cut off.
    p.memory().write_words(DATA + 0x100, &[DATA + 1, 3, DATA + 0xfffe, 10]).unwrap();
    p.memory().write(DATA + 0xfffe, b"!?").unwrap();
    assert_eq!(call(&mut p, nr::__NR_writev, [2, DATA + 0x100, 2, 0, 0, 0]), 5);
    assert_eq!(machine.proxy.script().written, b"helloell!?");
    assert_eq!(call(&mut p, nr::__NR_readv, [0, DATA + 0x100, 1, 0, 0, 0]), 3);
    assert_eq!(call(&mut p, nr::__NR_readv, [0, DATA + 0x100, 1025, 0, 0, 0]), EINVAL);
}

#[test]
fn scattered_memory_makes_no_short_transfers() {
    const PAGES: u64 = 100;
    let machine = Machine::new(program());
    let mut p = machine.process();
    let map = |p: &mut Thread, at: u64| {
        let flags = u64::from(nr::MAP_PRIVATE | nr::MAP_ANONYMOUS | nr::MAP_FIXED);
        assert_eq!(call(p, nr::__NR_mmap, [at, PAGES * 4096, 3, flags, 0, 0]), at as i64);
    };
    let (a, b) = (DATA + 0x100_0000, DATA + 0x110_0000);
    map(&mut p, a);
    map(&mut p, b);
    // Frames that are no neighbours: every second one of the large page's is given back, and taken again.
    let flags = u64::from(nr::MAP_PRIVATE | nr::MAP_ANONYMOUS | nr::MAP_FIXED);
    let sieve = DATA + 0x200_0000;
    assert!(call(&mut p, nr::__NR_mmap, [sieve, 0x20_0000, 3, flags, 0, 0]) > 0);
    p.memory().write(sieve, b"x").unwrap();
    for page in (0..512).step_by(2) {
        assert_eq!(call(&mut p, nr::__NR_munmap, [sieve + page * 4096, 4096, 0, 0, 0, 0]), 0);
    }
    for page in 0..PAGES {
        p.memory().write(a + page * 4096, &[page as u8; 4096]).unwrap();
        p.memory().write(b + page * 4096, b"x").unwrap();
    }
    let mut pieces = Pieces::default();
    p.memory().pieces(a, PAGES * 4096, Access::Read, 1000, &mut pieces).unwrap();
    assert!(pieces.len() > 24, "{}", pieces.len());
    let len = PAGES * 4096;
    assert_eq!(call(&mut p, nr::__NR_write, [1, a, len, 0, 0, 0]), len as i64);
    let expected: Vec<u8> = (0..PAGES).flat_map(|page| [page as u8; 4096]).collect();
    assert_eq!(machine.proxy.script().written, expected);
    machine.proxy.script().program = expected.clone();
    assert_eq!(call(&mut p, nr::__NR_pread64, [0, b, len, 0, 0, 0]), len as i64);
    let mut back = vec![0; len as usize];
    p.memory().read(b, &mut back).unwrap();
    assert_eq!(back, expected);
    assert_eq!(call(&mut p, nr::__NR_pread64, [0, b, len, 10, 0, 0]), len as i64 - 10, "up to the end");
    assert_eq!(call(&mut p, nr::__NR_pread64, [0, b, len, u64::MAX, 0, 0]), EINVAL);
    // What is cut off is cut off, and nothing at all is fine too.
    assert_eq!(call(&mut p, nr::__NR_pread64, [0, b + 4096, 2 * len, 0, 0, 0]), (len - 4096) as i64);
    assert_eq!(call(&mut p, nr::__NR_write, [1, 0, 0, 0, 0, 0]), 0);
}

#[test]
fn descriptors_are_closed_once() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    p.memory().write(DATA, b"/some\0/none\0").unwrap();
    let at = u64::from(nr::AT_FDCWD as u32);
    assert_eq!(call(&mut p, nr::__NR_openat, [at, DATA + 6, 0, 0, 0, 0]), -2);
    assert_eq!(call(&mut p, nr::__NR_openat, [at, DATA, nr::O_CLOEXEC.into(), 0, 0, 0]), 3);
    assert_eq!(call(&mut p, nr::__NR_fcntl, [3, nr::F_GETFD.into(), 0, 0, 0, 0]), 1);
    assert_eq!(call(&mut p, nr::__NR_dup2, [3, 10, 0, 0, 0, 0]), 10);
    assert_eq!(call(&mut p, nr::__NR_close, [3, 0, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_lseek, [10, 42, 0, 0, 0, 0]), 42);
    assert!(machine.proxy.script().closed.is_empty());
    assert_eq!(call(&mut p, nr::__NR_close, [10, 0, 0, 0, 0, 0]), 0);
    assert_eq!(machine.proxy.script().closed, [77]);
    assert_eq!(call(&mut p, nr::__NR_close, [10, 0, 0, 0, 0, 0]), EBADF);
}

#[test]
fn mappings_move_and_shrink() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    let flags = u64::from(nr::MAP_PRIVATE | nr::MAP_ANONYMOUS);
    let a = call(&mut p, nr::__NR_mmap, [0, 0x3000, 3, flags, u64::MAX, 0]) as u64;
    p.memory().write(a + 0x2000, b"here").unwrap();
    // As musl looks for the end of its stack: ENOMEM while something follows, EFAULT where nothing is.
    assert_eq!(call(&mut p, nr::__NR_mremap, [a, 0x1000, 0x2000, 0, 0, 0]), ENOMEM);
    assert_eq!(call(&mut p, nr::__NR_mremap, [0x5000_0000, 0x1000, 0x2000, 0, 0, 0]), EFAULT);
    let b = call(&mut p, nr::__NR_mremap, [a, 0x3000, 0x50_0000, 1, 0, 0]) as u64;
    let mut text = [0; 4];
    p.memory().read(b + 0x2000, &mut text).unwrap();
    assert_eq!(&text, b"here");
    assert_eq!(call(&mut p, nr::__NR_mremap, [b, 0x50_0000, 0x1000, 0, 0, 0]), b as i64);
    assert_eq!(p.memory().read(b + 0x2000, &mut text), Err(Errno::EFAULT));
    // Larger than all memory: only as a reservation.
    let reserve = flags | u64::from(nr::MAP_NORESERVE);
    assert_eq!(call(&mut p, nr::__NR_mmap, [0, 1 << 40, 3, flags, 0, 0]), ENOMEM);
    assert!(call(&mut p, nr::__NR_mmap, [0, 1 << 40, 3, reserve, 0, 0]) > 0);
    assert!(call(&mut p, nr::__NR_mmap, [0, 1 << 40, 0, flags, 0, 0]) > 0);
    for [address, len] in [[0x1000, 0], [0x1001, 0x1000], [1 << 62, 0x1000], [0x1000, u64::MAX]] {
        assert_eq!(call(&mut p, nr::__NR_munmap, [address, len, 0, 0, 0, 0]), EINVAL);
    }
}

#[test]
fn files_are_mapped_by_reading_them() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    let map = u64::from(nr::MAP_PRIVATE);
    let a = call(&mut p, nr::__NR_mmap, [0, 0x5000, 1, map, 0, 0x1000]) as u64;
    let mut code = [0; 11];
    p.memory().read(a, &mut code).unwrap();
    assert_eq!(&code, b"the program");
    assert_eq!(p.memory().read_u64(a + 0x1000), Err(Errno::EFAULT), "behind the file's end");
    assert_eq!(p.memory().write(a, b"x"), Err(Errno::EFAULT));
    assert_eq!(call(&mut p, nr::__NR_mmap, [0, 0x5000, 1, map, 8, 0]), EBADF);
    assert_eq!(call(&mut p, nr::__NR_mmap, [0, 0x5000, 1, map, 0, 1]), EINVAL);
}

#[test]
fn shared_mappings_are_written_back() {
    let machine = Machine::new(program());
    let before = frames::shared().lock().used();
    let mut p = machine.process();
    let (private, shared) = (u64::from(nr::MAP_PRIVATE), u64::from(nr::MAP_SHARED));
    let a = call(&mut p, nr::__NR_mmap, [0, 0x2000, 3, shared, 0, 0]) as u64;
    let b = call(&mut p, nr::__NR_mmap, [0, 0x2000, 3, private, 0, 0]) as u64;
    p.memory().write(b + 0x1000, b"private").unwrap();
    p.memory().write(a + 0x1000, b"shared").unwrap();
    let read = |p: &mut Thread, at: u64| {
        let mut text = [0; 11];
        p.memory().read(at, &mut text).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    assert_eq!((read(&mut p, b + 0x1000), read(&mut p, a + 0x1000)), ("privategram".into(), "sharedogram".into()));
    let in_file = |machine: &Machine| machine.proxy.script().program[0x1000..0x1011].to_vec();
    assert_eq!(in_file(&machine), b"the program's cod");
    assert_eq!(call(&mut p, nr::__NR_msync, [a, 0x2000, nr::MS_SYNC.into(), 0, 0, 0]), 0);
    assert_eq!(in_file(&machine), b"sharedogram's cod");
    // What is written afterwards is noticed again, also where another mapping shows the same.
    let c = call(&mut p, nr::__NR_mmap, [0, 0x1000, 3, shared, 0, 0x1000]) as u64;
    p.memory().write(c, b"Shared").unwrap();
    assert_eq!(call(&mut p, nr::__NR_msync, [a, 0x2000, nr::MS_SYNC.into(), 0, 0, 0]), 0);
    assert_eq!(in_file(&machine), b"Sharedogram's cod");
    p.memory().write(c, b"S").unwrap();
    p.memory().write(a + 0x1000, b"SHARED").unwrap();
    assert_eq!(call(&mut p, nr::__NR_munmap, [a, 0x2000, 0, 0, 0, 0]), 0);
    assert_eq!(in_file(&machine), b"SHAREDogram's cod");
    p.memory().write(c + 6, b"OGRAM").unwrap();
    assert_eq!(call(&mut p, nr::__NR_munmap, [c, 0x1000, 0, 0, 0, 0]), 0);
    assert_eq!(in_file(&machine), b"SHAREDOGRAM's cod");
    assert_eq!(read(&mut p, b + 0x1000), "privategram");
    let process = p.process.clone();
    end(p);
    process.space.lock().clear();
    drop(process);
    assert_eq!(frames::shared().lock().used(), before);
}

/// What a thread does at its end.
fn end(p: Box<Thread>) {
    p.process.remove(&p.task);
    p.process.family.remove(&p.process, End(0));
}

#[test]
fn orders_and_signals_end_a_waiting_application() {
    let machine = Machine::new(program());
    for (change, expected) in
        [(|p: &Process| p.end(End::signal(9)), 9), (|p: &Process| signal::send(p, None, Info::kernel(15)).unwrap(), 15)]
            as [(fn(&Process), u32); 2]
    {
        let before = frames::shared().lock().used();
        let mut p = machine.process();
        machine.proxy.script().hang = Some(nr::__NR_read);
        let process = p.process.clone();
        let changer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(30));
            change(&process);
        });
        assert_eq!(try_call(&mut p, nr::__NR_read, [0, DATA, 10, 0, 0, 0]), Err(End::signal(expected)));
        changer.join().unwrap();
        end(p);
        // The proxy could still write to the buffer: its frame waits for the slot's next use.
        let after = {
            let f = frames::shared().lock();
            assert!(f.held() > 0);
            f.used() - f.held()
        };
        assert_eq!(after, before);
        frames::shared().lock().release_slot(0);
        assert_eq!(frames::shared().lock().used(), before);
        machine.reset();
    }
}

#[test]
fn a_process_signals_itself() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    let kill = |p: &mut Thread, signal: u64| try_call(p, nr::__NR_kill, [4321, signal, 0, 0, 0, 0]);
    assert_eq!(kill(&mut p, 0), Ok(0));
    assert_eq!(kill(&mut p, 17), Ok(0), "SIGCHLD is ignored");
    assert_eq!(kill(&mut p, 65), Ok(EINVAL));
    p.memory().write_words(DATA, &[1 << 14]).unwrap();
    assert_eq!(call(&mut p, nr::__NR_rt_sigprocmask, [0, DATA, 0, 8, 0, 0]), 0);
    assert_eq!(kill(&mut p, 15), Ok(0), "blocked");
    assert_eq!(try_call(&mut p, nr::__NR_rt_sigprocmask, [1, DATA, 0, 8, 0, 0]), Err(End::signal(15)));
    let mut p = machine.process();
    assert_eq!(kill(&mut p, 6), Err(End::signal(6)));
    let mut p = machine.process();
    assert_eq!(try_call(&mut p, nr::__NR_exit_group, [0x107, 0, 0, 0, 0, 0]), Err(End::exit(7)));
    let mut p = machine.process();
    assert_eq!(try_call(&mut p, nr::__NR_exit, [0x108, 0, 0, 0, 0, 0]), Err(End::exit(8)));
}

/// Ends applications whose calls take long: many may wait for ever, by design.
struct Patience {
    /// How many calls have begun, and whose is at work.
    calls: Arc<Mutex<(u64, Option<Arc<Process>>)>>,
    _thread: Background,
}

impl Patience {
    const LIMIT: std::time::Duration = std::time::Duration::from_millis(10);

    fn start() -> Self {
        let calls: Arc<Mutex<(u64, Option<Arc<Process>>)>> = Arc::default();
        let watched = calls.clone();
        let mut last = 0;
        let thread = Background::start(move || {
            std::thread::sleep(Self::LIMIT);
            let mut watched = watched.lock().unwrap();
            if watched.0 == last {
                // Taken, since one end is enough.
                watched.1.take().inspect(|process| process.end(End::signal(9)));
            }
            last = watched.0;
        });
        Self { calls, _thread: thread }
    }

    fn begin(&self, process: &Arc<Process>) {
        let mut calls = self.calls.lock().unwrap();
        *calls = (calls.0 + 1, Some(process.clone()));
    }

    fn end(&self) {
        self.calls.lock().unwrap().1 = None;
    }
}

#[test]
fn every_number_with_any_argument_is_harmless() {
    use proptest::prelude::*;
    let machine = Machine::new(program());
    let p = std::cell::RefCell::new(machine.process());
    // No CPU would ever run the new thread.
    let begins = [nr::__NR_clone, nr::__NR_clone3, nr::__NR_fork, nr::__NR_vfork];
    machine.proxy.script().answer = Some(3);
    let value = prop_oneof![
        0..4u64,
        Just(u64::MAX),
        any::<u64>(),
        (0..0x1_0000u64).prop_map(|o| DATA + o),
        (0..0x20u64).prop_map(|o| DATA + o * 0x1000),
        (0..64u32).prop_map(|bit| 1 << bit),
    ];
    let patience = Patience::start();
    let before = frames::shared().lock().used();
    let config = ProptestConfig { cases: 20_000, max_global_rejects: u32::MAX, ..ProptestConfig::default() };
    proptest!(config, |(number in 0..470u32, args in prop::array::uniform6(value))| {
        prop_assume!(!begins.contains(&number));
        let mut p = p.borrow_mut();
        patience.begin(&p.process);
        let answer = try_call(&mut p, number, args);
        patience.end();
        // Whatever it says; if it ends the application, the next one goes on.
        if answer.is_err() || p.process.ending().is_some() {
            machine.proxy.script().answer = None;
            machine.reset();
            let ended = std::mem::replace(&mut *p, machine.process());
            ended.process.timers.lock().clear();
            end(ended);
            machine.proxy.script().answer = Some(3);
        }
        prop_assert!(p.space().resident().0 <= frames::shared().lock().used());
    });
    let p = p.into_inner();
    p.process.timers.lock().clear();
    end(p);
    // What a call that was cut short has left to the proxy comes back with the slot's next use.
    frames::shared().lock().release_slot(0);
    let after = frames::shared().lock().used();
    assert!(after <= before, "all of it came back");
}
