// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the proxy parses of what an isle writes: requests. Those that pass and do no harm are carried out.

#![no_main]
#![deny(unsafe_code)]

use arbitrary::Arbitrary;
use hermit_abi::channel::{Request, CHANNEL_SIZE};
use hermit_abi::offload::{find, Arg, CALLS, FCNTL, FCNTLS, IOCTL, IOCTLS};
use hermit_fuzz::Word;
use hermit_proxy::descriptors::Descriptors;
use hermit_proxy::perform::Performer;
use hermit_proxy::request::{descriptor, Argument, Checked, Scatter, Snapshot, MAX_PATH, MAX_SIZED};
use hermit_proxy::shm::{Bounce, ChannelMap, Memory};
use hermit_proxy::spawn::Children;
use hermit_proxy::sys;
use libfuzzer_sys::fuzz_target;
use rustix::event::{epoll, eventfd, EventfdFlags};
use rustix::fs::{memfd_create, open, MemfdFlags, Mode, OFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Once;
use std::time::Duration;

const MEMORY: u64 = 256 << 10;

/// Calls that can do nothing to the fuzzer or its host, with the descriptors that there are.
const HARMLESS: &[&str] = &[
    "close",
    "dup",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "eventfd2",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "getcwd",
    "getdents64",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "lseek",
    "memfd_create",
    "pipe2",
    "ppoll",
    "pread64",
    "pwrite64",
    "read",
    "recvmsg",
    "sendmsg",
    "socketpair",
    "startup",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "write",
];

/// A request: mostly as the table says, with lies.
#[derive(Debug, Arbitrary)]
struct Lie {
    call: u8,
    number: Option<u32>,
    values: [Word; 6],
    buffers: [Option<(u8, u8, Word)>; 6],
    odd_lens: [Option<Word>; 6],
    count: Option<Word>,
    segments: Vec<(u8, Word, Word)>,
}

fuzz_target!(|lies: Vec<Lie>| {
    static START: Once = Once::new();
    START.call_once(interrupt_what_blocks);
    let first = file(0).as_raw_fd();
    {
        let proxy = proxy();
        let channel = ChannelMap::new(file(CHANNEL_SIZE as u64)).unwrap();
        let mut bounce = Bounce::default();
        for (lie, request) in lies.iter().take(6).zip(&channel.get().requests) {
            lie.write(request);
            let snapshot = Snapshot::of(request);
            let mut checked = Checked::default();
            if proxy.check(&snapshot, &mut checked).is_ok() {
                judge(&snapshot, &checked, &proxy);
                perform(&proxy, checked, &mut bounce);
            }
        }
    }
    close_from(first);
});

impl Lie {
    fn write(&self, request: &Request) {
        let number = self.number.unwrap_or_else(|| {
            let at = usize::from(self.call) % (CALLS.len() + 2);
            let last = if at == CALLS.len() { IOCTL } else { FCNTL };
            CALLS.get(at).map_or(last, |call| call.number)
        });
        let mut args = self.values.map(Word::value);
        let commands = match number {
            IOCTL => IOCTLS,
            FCNTL => FCNTLS,
            _ => &[],
        };
        let [_, command, ..] = &mut args;
        if let Some((known, _)) = commands.get(*command as usize % (commands.len() + 1)) {
            *command = (*known).into();
        }
        let mut segments = Vec::new();
        let mut lens = [0; 6];
        if let Some(call) = find(number, args[1]) {
            for (i, arg) in call.args.iter().enumerate() {
                let len = match (arg, &self.buffers[i]) {
                    (Arg::Fd | Arg::DirFd, _) => {
                        // Most are the application's.
                        args[i] = args[i].min(24);
                        continue;
                    }
                    (Arg::Absent | Arg::Scalar, _) => continue,
                    (_, None) => {
                        args[i] = 0;
                        continue;
                    }
                    (Arg::InStruct(size) | Arg::OutStruct(size) | Arg::InOutStruct(size), _) => u64::from(*size),
                    (Arg::Length, _) => 4,
                    (Arg::OutArray(n, size) | Arg::InOutArray(n, size), _) => {
                        u64::from(*size).saturating_mul(args[usize::from(*n)].min(64))
                    }
                    (Arg::In(n) | Arg::Out(n), Some((_, _, most))) => args[usize::from(*n)].min(most.value()),
                    (_, Some((_, _, len))) => len.value().min(5000),
                };
                args[i] = 1;
                lens[i] = len;
                if let Some((at, parts, _)) = self.buffers[i] {
                    match at {
                        // Just about at the end of memory.
                        0xf0.. => segments.push(((MEMORY + u64::from(at & 3)).wrapping_sub(len).wrapping_sub(1), len)),
                        _ => split(&mut segments, u64::from(at) << 10, len, u64::from(parts % 5) + 1),
                    }
                }
            }
        }
        for (len, odd) in lens.iter_mut().zip(&self.odd_lens) {
            *len = odd.map_or(*len, Word::value);
        }
        let count = segments.len() as u64;
        for (at, offset, len) in &self.segments {
            let segment = (offset.value(), len.value());
            match segments.get_mut(usize::from(*at)) {
                Some(place) => *place = segment,
                None => segments.push(segment),
            }
        }
        request.number.store(number, Relaxed);
        request.segment_count.store(self.count.map_or(count, Word::value) as u32, Relaxed);
        store(&request.args, &args);
        store(&request.lens, &lens);
        for (place, (offset, len)) in request.segments.iter().zip(segments) {
            place.offset.store(offset, Relaxed);
            place.len.store(len, Relaxed);
        }
    }
}

fn store(places: &[AtomicU64], values: &[u64]) {
    for (place, value) in places.iter().zip(values) {
        place.store(*value, Relaxed);
    }
}

/// Splits a buffer into parts that lie apart.
fn split(segments: &mut Vec<(u64, u64)>, at: u64, len: u64, parts: u64) {
    let mut left = len;
    for part in (1..=parts).rev() {
        let now = left / part;
        segments.push((at.wrapping_add(len - left).wrapping_add(part << 8), now));
        left -= now;
    }
}

/// What has passed must be what the table says, and in bounds.
fn judge(snapshot: &Snapshot, checked: &Checked, performer: &Performer) {
    let of = |scatter: &Scatter| {
        let mut sum = 0u64;
        for (offset, len) in &scatter.parts {
            assert!(*len > 0 && offset.checked_add(*len).is_some_and(|end| end <= MEMORY));
            sum = sum.checked_add(*len).unwrap();
        }
        assert_eq!(sum, scatter.len);
        sum
    };
    let counted = |n: u8| snapshot.args[usize::from(n)];
    for (arg, argument) in checked.call.args.iter().zip(&checked.arguments) {
        match (arg, argument) {
            (Arg::Absent, Argument::Scalar(0)) | (Arg::Scalar, Argument::Scalar(_)) => {}
            (Arg::Fd, Argument::Scalar(fd)) => {
                let fd = descriptor(*fd);
                let reads_exe = fd == performer.exe_fd && ["fstat", "pread64"].contains(&checked.call.name);
                assert!(performer.descriptors.kind(fd).is_some() || reads_exe);
            }
            (Arg::DirFd, Argument::Scalar(fd)) => {
                let fd = descriptor(*fd);
                assert!(fd == -1 || fd == libc::AT_FDCWD || performer.descriptors.kind(fd).is_some());
            }
            (Arg::Absent | Arg::Scalar | Arg::Fd | Arg::DirFd, other) => panic!("{other:?} for {arg:?}"),
            (_, Argument::Null) => {}
            (Arg::Path, Argument::Path(scatter)) | (Arg::Text, Argument::Text(scatter)) => {
                assert!((1..=MAX_PATH).contains(&of(scatter)));
            }
            (Arg::In(n), Argument::In(scatter)) | (Arg::Out(n), Argument::Out(scatter)) => {
                assert!(of(scatter) <= counted(*n))
            }
            (Arg::OutArray(n, size), Argument::Out(scatter)) => {
                assert!(u128::from(of(scatter)) <= u128::from(counted(*n)) * u128::from(*size));
            }
            (Arg::InOutArray(n, size), Argument::InOut(scatter)) => {
                assert_eq!(u128::from(of(scatter)), u128::from(counted(*n)) * u128::from(*size));
            }
            (Arg::OutSized(_), Argument::Out(scatter)) => assert!(of(scatter) <= MAX_SIZED),
            (Arg::Length, Argument::InOut(scatter)) => assert_eq!(of(scatter), 4),
            (Arg::InStruct(size), Argument::In(scatter))
            | (Arg::OutStruct(size), Argument::Out(scatter))
            | (Arg::InOutStruct(size), Argument::InOut(scatter)) => assert_eq!(of(scatter), u64::from(*size)),
            (arg, other) => panic!("{other:?} for {arg:?}"),
        }
    }
}

/// The call that is under way; 0: none.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

fn perform(performer: &Performer, mut checked: Checked, bounce: &mut Bounce) {
    static CALLS_MADE: AtomicU32 = AtomicU32::new(0);
    if !HARMLESS.contains(&checked.call.name) {
        return;
    }
    if checked.call.name == "epoll_wait" {
        // Waiting finds nothing out.
        checked.arguments[3] = Argument::Scalar(0);
    }
    UNDER_WAY.store(CALLS_MADE.fetch_add(1, SeqCst) + 1, SeqCst);
    let result = performer.perform(&checked, bounce);
    UNDER_WAY.store(0, SeqCst);
    assert!(result >= -4095, "{} returned {result}", checked.call.name);
    // It counts what is in the first buffer that has a length.
    let counted =
        checked.call.args.iter().zip(&checked.arguments).find(|(arg, _)| matches!(arg, Arg::In(_) | Arg::Out(_)));
    if let (Some((_, Argument::In(scatter) | Argument::Out(scatter))), Ok(moved)) = (counted, u64::try_from(result)) {
        assert!(checked.call.measures || moved <= scatter.len, "{} moved too much", checked.call.name);
    }
}

/// Pipes that the application makes may block.
fn interrupt_what_blocks() {
    sys::allow_interruption();
    let fuzzer = sys::thread_id();
    std::thread::spawn(move || {
        let mut before = 0;
        loop {
            std::thread::sleep(Duration::from_millis(2));
            let now = UNDER_WAY.load(SeqCst);
            if now != 0 && now == before {
                sys::interrupt(fuzzer);
            }
            before = now;
        }
    });
}

/// A proxy whose application has some descriptors. They are left open, since the application may close them and get others
/// of the same number.
fn proxy() -> Performer {
    let device = |path: &str, flags| open(path, flags, Mode::empty()).unwrap();
    let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
    let (socket, peer) = UnixDatagram::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let descriptors = Descriptors::default();
    // Those are the fuzzer's.
    (0..3).for_each(|fd| assert!(descriptors.remove(fd)));
    for fd in [
        file(10_000),
        reader,
        writer,
        device("/dev/null", OFlags::RDWR),
        device("/dev/zero", OFlags::RDWR),
        device("/proc/self/fdinfo", OFlags::RDONLY),
        eventfd(3, EventfdFlags::NONBLOCK).unwrap(),
        epoll::create(epoll::CreateFlags::empty()).unwrap(),
        socket.into(),
        peer.into(),
    ] {
        descriptors.add(fd.as_fd()).unwrap();
        let _ = fd.into_raw_fd();
    }
    let memory = Memory::new(file(MEMORY), 0, MEMORY as usize).unwrap();
    let (exe_fd, exe_path) = (file(100).into_raw_fd(), "/opt/app".into());
    Performer { memory, descriptors, exe_fd, start_block: vec![7; 300], exe_path, children: Children::default() }
}

/// Closes what an input has left open.
fn close_from(first: RawFd) {
    (first..first + 64).for_each(sys::close);
}

fn file(len: u64) -> OwnedFd {
    let fd = memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    fd
}
