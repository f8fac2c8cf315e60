// SPDX-License-Identifier: MIT OR Apache-2.0

//! The serving loop against an isle that is a few threads over a memfd.

use hermit_abi::channel::{CHANNEL_SIZE, MAX_SPIN_NS, REQUESTS, WORDS, state, watch};
use hermit_abi::door::{Status, state as door_state};
use hermit_abi::offload::{self, special};
use hermit_abi::spawn::{PROXYS_CWD, SpawnBlock};
use hermit_proxy::descriptors::Descriptors;
use hermit_proxy::door::Door;
use hermit_proxy::perform::Performer;
use hermit_proxy::serve::{Outcome, Server};
use hermit_proxy::shm::{ChannelMap, Memory};
use hermit_proxy::spawn::Children;
use hermit_proxy::spin::Spin;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe, pipe_with};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const MEMORY: usize = 4 << 20;
/// Memory of each request's buffers.
const SHARE: u64 = (MEMORY / REQUESTS) as u64;

/// What module and isle would keep.
struct Isle {
    doorbell: OwnedFd,
    state: AtomicU32,
    exit_status: AtomicU32,
    signals: AtomicU64,
    /// Rung for requests so far; what the proxy asked.
    doorbells: AtomicU64,
    statuses: AtomicU64,
    /// Kicks so far, and who waits for one.
    kicks: Mutex<u64>,
    kicked: Condvar,
    channel: ChannelMap,
    memory: Memory,
}

struct FakeDoor(Arc<Isle>);

impl Door for FakeDoor {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.doorbell.as_fd()
    }

    fn status(&self) -> io::Result<Status> {
        self.0.statuses.fetch_add(1, SeqCst);
        let _ = rustix::io::read(&self.0.doorbell, &mut [0; 8]);
        let state = self.0.state.load(SeqCst);
        Ok(Status {
            state,
            exit_status: self.0.exit_status.load(SeqCst),
            untaken_signals: self.0.signals.load(SeqCst),
        })
    }

    fn kick(&self, _: u32) -> io::Result<()> {
        *self.0.kicks.lock().unwrap() += 1;
        self.0.kicked.notify_all();
        Ok(())
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        self.0.signals.fetch_or(1 << (number - 1), SeqCst);
        Ok(())
    }
}

impl Isle {
    fn ring(&self) {
        rustix::io::write(&self.doorbell, &1u64.to_ne_bytes()).unwrap();
    }

    fn end(&self, state: u32, exit_status: u32) {
        self.exit_status.store(exit_status, SeqCst);
        self.state.store(state, SeqCst);
        self.ring();
    }

    fn post(&self, slot: usize, number: u32, args: [u64; 6], lens: [u64; 6], segments: &[(u64, u64)]) {
        let request = &self.channel.get().requests[slot];
        request.number.store(number, Relaxed);
        for i in 0..6 {
            request.args[i].store(args[i], Relaxed);
            request.lens[i].store(lens[i], Relaxed);
        }
        request.segment_count.store(segments.len() as u32, Relaxed);
        for (place, (offset, len)) in request.segments.iter().zip(segments) {
            place.offset.store(*offset, Relaxed);
            place.len.store(*len, Relaxed);
        }
        request.state.store(state::POSTED, SeqCst);
        self.tell(slot);
    }

    /// Has the proxy look at a request, as the isle kernel does.
    fn tell(&self, slot: usize) {
        let channel = self.channel.get();
        channel.posted[slot / 64].fetch_or(1 << (slot % 64), SeqCst);
        if channel.watch.load(SeqCst) != watch::LOOKING {
            self.doorbells.fetch_add(1, SeqCst);
            self.ring();
        }
    }

    fn is_done(&self, slot: usize) -> bool {
        self.channel.get().requests[slot].state.load(SeqCst) == state::DONE
    }

    /// Waits as the isle kernel does; panics if a kick is lost.
    fn wait(&self, slot: usize) -> i64 {
        let request = &self.channel.get().requests[slot];
        let mut kicks = self.kicks.lock().unwrap();
        request.sleeping.store(1, SeqCst);
        while !self.is_done(slot) {
            let before = *kicks;
            let timeout = Duration::from_secs(20);
            kicks = self.kicked.wait_timeout_while(kicks, timeout, |now| *now == before).unwrap().0;
            assert_ne!(*kicks, before, "no kick for slot {slot}, done: {}", self.is_done(slot));
        }
        drop(kicks);
        request.sleeping.store(0, SeqCst);
        let result = request.result.load(Relaxed);
        request.state.store(state::FREE, SeqCst);
        result
    }

    fn read(&self, slot: usize, fd: u64, len: u64) {
        let segments = [(slot as u64 * SHARE, len)];
        self.post(slot, 0, [fd, 1, len, 0, 0, 0], [0, len, 0, 0, 0, 0], &segments);
    }

    fn write(&self, slot: usize, fd: u64, bytes: &[u8]) -> i64 {
        let (at, len) = (slot as u64 * SHARE, bytes.len() as u64);
        self.memory.write(at, bytes).unwrap();
        self.post(slot, 1, [fd, 1, len, 0, 0, 0], [0, len, 0, 0, 0, 0], &[(at, len)]);
        self.wait(slot)
    }
}

struct World {
    isle: Arc<Isle>,
    server: Arc<Server<FakeDoor>>,
    /// Where to write signals.
    signals: OwnedFd,
    served: JoinHandle<Outcome>,
}

impl World {
    fn new(owned: &[BorrowedFd<'_>]) -> Self {
        Self::spinning(Duration::from_micros(50), owned)
    }

    fn spinning(spin: Duration, owned: &[BorrowedFd<'_>]) -> Self {
        let memfd = rustix::fs::memfd_create("isle", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let offset = CHANNEL_SIZE as u64;
        rustix::fs::ftruncate(&memfd, offset + MEMORY as u64).unwrap();
        let memory = || Memory::new(&memfd, offset, MEMORY).unwrap();
        let isle = Arc::new(Isle {
            doorbell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap(),
            state: AtomicU32::new(door_state::RUNNING),
            exit_status: AtomicU32::new(0),
            signals: AtomicU64::new(0),
            doorbells: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
            kicks: Mutex::new(0),
            kicked: Condvar::new(),
            channel: ChannelMap::new(&memfd).unwrap(),
            memory: memory(),
        });
        let descriptors = Descriptors::default();
        owned.iter().for_each(|fd| descriptors.add(*fd).unwrap());
        let exe = File::open("/proc/self/exe").unwrap();
        let performer = Performer {
            memory: memory(),
            descriptors,
            exe_fd: exe.as_raw_fd(),
            start_block: vec![0; 100],
            exe_path: "/app".into(),
            children: Children::default(),
        };
        let (from, signals) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let server = Server::new(
            FakeDoor(isle.clone()),
            ChannelMap::new(&memfd).unwrap(),
            performer,
            Spin::new(spin, 2_000_000),
            from,
        )
        .unwrap();
        let serving = server.clone();
        let served = thread::spawn(move || {
            let outcome = serving.serve().unwrap();
            drop(exe);
            outcome
        });
        Self { isle, server, signals, served }
    }

    fn signal(&self, number: i32) {
        // struct signalfd_siginfo
        let mut info = [0; 128];
        info[..4].copy_from_slice(&number.to_ne_bytes());
        rustix::io::write(&self.signals, &info).unwrap();
    }

    fn end(self) {
        self.isle.end(door_state::ENDED, 7 << 8);
        assert_eq!(self.served.join().unwrap(), Outcome::Ended(7 << 8));
    }
}

#[test]
fn a_call_that_waits_does_not_hold_up_others() {
    let (reader, writer) = pipe().unwrap();
    let (out, into) = pipe().unwrap();
    let world = World::new(&[reader.as_fd(), writer.as_fd(), into.as_fd()]);
    let (from, to) = (reader.as_raw_fd() as u64, writer.as_raw_fd() as u64);
    // All but one wait.
    for slot in 1..REQUESTS {
        world.isle.read(slot, from, 1);
    }
    assert_eq!(world.isle.write(0, into.as_raw_fd() as u64, b"others go on"), 12);
    let mut got = [0; 12];
    rustix::io::read(&out, &mut got).unwrap();
    assert_eq!(&got, b"others go on");
    assert!((1..REQUESTS).all(|slot| !world.isle.is_done(slot)));
    assert_eq!(world.isle.write(0, to, &[b'x'; REQUESTS - 1]), REQUESTS as i64 - 1);
    for slot in 1..REQUESTS {
        assert_eq!(world.isle.wait(slot), 1);
        let mut byte = [0];
        world.isle.memory.read(slot as u64 * SHARE, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
    world.end();
}

#[test]
fn waiting_for_a_child_can_be_interrupted_and_begun_again() {
    let world = World::new(&[]);
    let strings = b"/bin/sleep\0sleep\x00100\0";
    let len = size_of::<SpawnBlock>() + strings.len();
    let header = SpawnBlock { len: len as u32, argc: 2, cwd: PROXYS_CWD, ..SpawnBlock::default() };
    world.isle.memory.write(0, &[&header.to_bytes()[..], strings].concat()).unwrap();
    let len = len as u64;
    world.isle.post(0, special::SPAWN, [1, len, 0, 0, 0, 0], [len, 0, 0, 0, 0, 0], &[(0, len)]);
    let child = world.isle.wait(0);
    assert!(child > 0, "{child}");
    let args = [child as u64, 0, 0, 0, 0, 0];
    for _ in 0..10 {
        world.isle.post(1, special::WAIT, args, [0; 6], &[]);
        world.isle.channel.get().requests[1].cancel.store(1, SeqCst);
        world.isle.tell(1);
        assert_eq!(world.isle.wait(1), -4, "EINTR");
        world.isle.channel.get().requests[1].cancel.store(0, SeqCst);
    }
    world.isle.post(1, special::WAIT, args, [0; 6], &[]);
    world.isle.post(2, special::SIGNAL_CHILD, [child as u64, 15, 0, 0, 0, 0], [0; 6], &[]);
    assert_eq!(world.isle.wait(2), 0);
    assert_eq!(world.isle.wait(1), 15);
    world.isle.post(1, special::WAIT, args, [0; 6], &[]);
    assert_eq!(world.isle.wait(1), -10, "ECHILD");
    world.end();
}

#[test]
fn children_can_be_waited_for_if_sigchld_was_ignored() {
    let test = "waiting_for_a_child_can_be_interrupted_and_begun_again";
    let mut command = std::process::Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(std::env::current_exe().unwrap()).args(["--exact", test]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn it_ends_while_calls_wait() {
    let (reader, _writer) = pipe().unwrap();
    let world = World::new(&[reader.as_fd()]);
    world.isle.read(3, reader.as_raw_fd() as u64, 1);
    world.end();
}

/// How long to spin: never, as usual, as long as can be.
const SPINS: [Duration; 3] = [Duration::ZERO, Duration::from_micros(50), Spin::MAX];

#[test]
fn no_answer_is_lost() {
    for spin in SPINS {
        let world = World::spinning(spin, &[]);
        let isle = world.isle.channel.get().spin_ns.load(SeqCst);
        assert!(spin.is_zero() == (isle == 0) && isle <= MAX_SPIN_NS);
        let threads: Vec<_> = (0..8)
            .map(|slot| {
                // In different words of the bitmap.
                let slot = slot * 32 + 5;
                let isle = world.isle.clone();
                thread::spawn(move || {
                    for round in 0..2000 {
                        let (path, cwd) = ([b'/', 0], libc::AT_FDCWD as u64);
                        let at = slot as u64 * SHARE;
                        isle.memory.write(at, &path).unwrap();
                        // faccessat("/") may wait, lseek(700) is refused at once.
                        match round % 2 {
                            0 => isle.post(slot, 269, [cwd, 1, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], &[(at, 2)]),
                            _ => isle.post(slot, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]),
                        }
                        assert_eq!(isle.wait(slot), if round % 2 == 0 { 0 } else { -9 });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(world.server.unannounced(), 0, "no doorbell was lost");
        world.end();
    }
}

#[test]
fn who_looks_needs_no_doorbell_and_asks_nobody() {
    let world = World::spinning(Spin::MAX, &[]);
    let rounds = 3000;
    for _ in 0..rounds {
        world.isle.post(9, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]);
        while !world.isle.is_done(9) {
            std::hint::spin_loop();
        }
        assert_eq!(world.isle.wait(9), -9);
    }
    let (rung, asked) = (world.isle.doorbells.load(SeqCst), world.isle.statuses.load(SeqCst));
    assert!(rung < rounds && asked < rounds, "{rung} doorbells, {asked} questions, {rounds} calls");
    world.end();
}

#[test]
fn who_has_made_a_call_looks_again_by_itself() {
    let world = World::spinning(Spin::MAX, &[]);
    world.isle.memory.write(0, b"/\0").unwrap();
    let rounds = 3000;
    for _ in 0..rounds {
        // faccessat("/") may wait.
        world.isle.post(9, 269, [libc::AT_FDCWD as u64, 1, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], &[(0, 2)]);
        while !world.isle.is_done(9) {
            std::hint::spin_loop();
        }
        assert_eq!(world.isle.wait(9), 0);
    }
    let rung = world.isle.doorbells.load(SeqCst);
    assert!(rung < rounds / 2, "{rung} doorbells for {rounds} calls");
    world.end();
}

#[test]
fn who_had_to_be_woken_is_waited_for_longer() {
    let spin = Duration::from_micros(200);
    let world = World::spinning(spin, &[]);
    let rounds = 400;
    // Doorbells for calls that come later after an answer than `spin`: after one that was seen at once, and after one that has woken.
    let mut rung = [0, 0];
    for _ in 0..rounds {
        for (rung, sleeps) in rung.iter_mut().zip([0, 1]) {
            world.isle.channel.get().requests[9].sleeping.store(sleeps, SeqCst);
            world.isle.post(9, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]);
            while !world.isle.is_done(9) {
                std::hint::spin_loop();
            }
            assert_eq!(world.isle.wait(9), -9);
            let woken = Instant::now();
            while woken.elapsed() < spin * 2 {
                std::hint::spin_loop();
            }
            // Of the call after it.
            let before = world.isle.doorbells.load(SeqCst);
            world.isle.post(9, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]);
            *rung += world.isle.doorbells.load(SeqCst) - before;
            while !world.isle.is_done(9) {
                std::hint::spin_loop();
            }
            assert_eq!(world.isle.wait(9), -9);
        }
    }
    let [seen, woken] = rung;
    assert!(woken * 10 < seen * 9, "{woken} doorbells of {rounds} after a kick, else {seen}");
    world.end();
}

#[test]
fn who_does_not_spin_sleeps_at_once() {
    let world = World::spinning(Duration::ZERO, &[]);
    for _ in 0..20 {
        while world.isle.channel.get().watch.load(SeqCst) != watch::ASLEEP {
            thread::yield_now();
        }
        let before = world.isle.doorbells.load(SeqCst);
        world.isle.post(0, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]);
        assert_eq!(world.isle.wait(0), -9);
        assert_eq!(world.isle.doorbells.load(SeqCst), before + 1);
    }
    world.end();
}

#[test]
fn calls_that_wait_can_be_cancelled() {
    let (reader, writer) = pipe().unwrap();
    let world = World::new(&[reader.as_fd(), writer.as_fd()]);
    let fd = reader.as_raw_fd() as u64;
    for _ in 0..100 {
        (1..6).for_each(|slot| world.isle.read(slot, fd, 1));
        // At any time: before it was found, before it waits, while it waits.
        for slot in [2, 4] {
            world.isle.channel.get().requests[slot].cancel.store(1, SeqCst);
            world.isle.tell(slot);
        }
        for slot in [2, 4] {
            assert_eq!(world.isle.wait(slot), -i64::from(libc::EINTR));
            world.isle.channel.get().requests[slot].cancel.store(0, SeqCst);
        }
        assert_eq!(world.isle.write(0, writer.as_raw_fd() as u64, b"xyz"), 3);
        assert_eq!([1, 3, 5].map(|slot| world.isle.wait(slot)), [1; 3], "others are left alone");
    }
    // What isn't there any more is no reason to do anything.
    world.isle.channel.get().requests[2].cancel.store(1, SeqCst);
    world.isle.tell(2);
    assert_eq!(world.isle.write(0, writer.as_raw_fd() as u64, b"x"), 1);
    world.end();
}

#[test]
fn threads_are_used_again() {
    let (reader, writer) = pipe().unwrap();
    let world = World::new(&[reader.as_fd(), writer.as_fd()]);
    for _ in 0..500 {
        world.isle.read(1, reader.as_raw_fd() as u64, 1);
        assert_eq!(world.isle.write(2, writer.as_raw_fd() as u64, b"x"), 1);
        assert_eq!(world.isle.wait(1), 1);
    }
    // This process's own, those of other tests included.
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 500, "{threads} threads");
    world.end();
}

#[test]
fn signals_are_passed_on_and_two_interrupts_end_it() {
    let world = World::new(&[]);
    world.signal(10);
    world.signal(2);
    while world.isle.signals.load(SeqCst) != 1 << 9 | 1 << 1 {
        thread::sleep(Duration::from_millis(1));
    }
    world.signal(2);
    assert_eq!(world.served.join().unwrap(), Outcome::Insisted(2));
}

#[test]
fn an_application_that_does_not_react_is_ended() {
    let world = World::new(&[]);
    world.signal(15);
    assert_eq!(world.served.join().unwrap(), Outcome::Insisted(15));
}

#[test]
fn the_end_of_the_isle_is_noticed() {
    for (state, outcome) in
        [(door_state::ISLE_STOPPED, Outcome::IsleStopped), (door_state::ISLE_CRASHED, Outcome::IsleCrashed)]
    {
        let world = World::new(&[]);
        world.isle.end(state, 0);
        assert_eq!(world.served.join().unwrap(), outcome);
    }
}

#[test]
fn lost_doorbells_only_cost_time() {
    let world = World::new(&[]);
    let request = &world.isle.channel.get().requests[5];
    request.number.store(8, SeqCst);
    request.args[0].store(700, SeqCst);
    request.state.store(state::POSTED, SeqCst);
    assert_eq!(world.isle.wait(5), -9);
    world.end();
}

/// Calls that change nothing whatever their arguments are (descriptors 0 to 2 and paths but "" excepted).
fn harmless() -> Vec<u32> {
    const CHANGE: &[&str] = &[
        "open", "openat", "rename", "renameat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "chdir",
        "getcwd",
    ];
    let calls = offload::CALLS.iter().filter(|c| !CHANGE.contains(&c.name));
    calls.map(|c| c.number).chain([offload::IOCTL, 57, u32::MAX]).collect()
}

#[test]
fn any_channel_is_answered() {
    let world = World::new(&[]);
    let value = || prop_oneof![3..8u64, Just(144), Just(u64::MAX), 0..2 * MEMORY as u64, any::<u64>()];
    let request = (
        prop::sample::select(harmless()),
        prop::array::uniform6(value().prop_filter("standard", |v| *v as u32 > 2)),
        prop::array::uniform6(value()),
        prop::collection::vec((value(), value()), 0..24),
        prop_oneof![9 => Just(None), 1 => any::<u32>().prop_map(Some)],
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(25));
    let result = runner.run(&prop::collection::vec(request, REQUESTS), |requests| {
        for (slot, (number, args, lens, segments, count)) in requests.iter().enumerate() {
            let request = &world.isle.channel.get().requests[slot];
            world.isle.post(slot, *number, *args, *lens, segments);
            if let Some(count) = count {
                request.segment_count.store(*count, SeqCst);
            }
            // Bits may be set whenever the isle likes.
            let word = &world.isle.channel.get().posted[args[0] as usize % WORDS];
            word.fetch_or(args[1], SeqCst);
        }
        for slot in 0..REQUESTS {
            world.isle.wait(slot);
        }
        Ok(())
    });
    result.unwrap();
    // It still works.
    world.isle.post(0, 8, [700, 0, 0, 0, 0, 0], [0; 6], &[]);
    assert_eq!(world.isle.wait(0), -9);
    world.end();
}
