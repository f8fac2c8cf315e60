// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `perform.rs`: requests as the isle would write them, carried out.

use super::*;
use crate::program::tests::memfd;
use hermit_abi::channel::SEGMENTS;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

const MEMORY: usize = 4 << 20;

/// A performer, with its own program at hand.
struct World {
    performer: Performer,
    exe: File,
}

impl World {
    fn new() -> Self {
        let file = memfd(&[]);
        file.set_len(MEMORY as u64).unwrap();
        let exe = memfd(b"the program");
        let performer = Performer {
            memory: Memory::new(&file, 0, MEMORY).unwrap(),
            descriptors: Descriptors::default(),
            exe_fd: exe.as_raw_fd(),
            start_block: b"start".to_vec(),
            exe_path: "/opt/app".into(),
            children: Children::default(),
        };
        Self { performer, exe }
    }

    fn owns(&self, file: impl AsFd) {
        self.performer.descriptors.add(file.as_fd()).unwrap();
    }

    /// `buffers`: index of the argument and its segments.
    fn call(&self, number: u32, args: &[u64], buffers: &[(usize, &[(u64, u64)])]) -> i64 {
        let mut snapshot = Snapshot {
            number,
            segment_count: 0,
            tid: 1,
            args: [0; 6],
            lens: [0; 6],
            segments: [(0, 0); SEGMENTS],
        };
        snapshot.args[..args.len()].copy_from_slice(args);
        for (i, segments) in buffers {
            snapshot.args[*i] = 1;
            for segment in *segments {
                snapshot.segments[snapshot.segment_count as usize] = *segment;
                snapshot.segment_count += 1;
                snapshot.lens[*i] += segment.1;
            }
        }
        let mut checked = Checked::default();
        match self.performer.check(&snapshot, &mut checked) {
            Ok(()) => self.performer.perform(&checked, &mut Bounce::default()),
            Err(Refusal::Errno(errno)) => error(errno),
            Err(Refusal::Malformed(why)) => panic!("{why}"),
        }
    }

    fn put(&self, at: u64, bytes: &[u8]) -> (u64, u64) {
        self.performer.memory.write(at, bytes).unwrap();
        (at, bytes.len() as u64)
    }

    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.performer.memory.read(at, &mut bytes).unwrap();
        bytes
    }
}

#[test]
fn scattered_write_and_read() {
    let world = World::new();
    let file = memfd(&[]);
    world.owns(&file);
    let fd = file.as_raw_fd() as u64;
    let parts = [world.put(10, b"hello, "), world.put(5000, b"isle")];
    assert_eq!(world.call(1, &[fd, 0, 11], &[(1, &parts)]), 11);
    assert_eq!(world.call(8, &[fd, 0, 0], &[]), 0, "lseek");
    assert_eq!(world.call(0, &[fd, 0, 100], &[(1, &[(100, 5), (200, 95)])]), 11);
    assert_eq!((world.get(100, 5), world.get(200, 6)), (b"hello".to_vec(), b", isle".to_vec()));
    assert_eq!(world.call(17, &[fd, 0, 4, 7], &[(1, &[(300, 4)])]), 4, "pread64");
    assert_eq!(world.get(300, 4), b"isle");
    assert_eq!(world.call(0, &[fd, 0, 100], &[(1, &[(100, 100)])]), 0, "end of file");
    assert_eq!(world.call(1, &[fd, 0, 0], &[]), 0, "nothing at all");
}

#[test]
fn long_transfers_of_files_are_complete() {
    let world = World::new();
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i % 251) as u8).collect();
    let (at, len) = world.put(7, &data);
    let parts = [(at, 1_000_000), (at + 1_000_000, len - 1_000_000)];
    let mut file = memfd(&[]);
    world.owns(&file);
    let fd = file.as_raw_fd() as u64;
    assert_eq!(world.call(18, &[fd, 0, len, 5], &[(1, &parts)]), len as i64, "pwrite64");
    let mut written = Vec::new();
    file.read_to_end(&mut written).unwrap();
    assert!(written[5..] == data, "as written");
    world.put(7, &vec![0; data.len()]);
    assert_eq!(world.call(17, &[fd, 0, len, 5], &[(1, &parts)]), len as i64);
    assert!(world.get(7, data.len()) == data, "as read");
}

#[test]
fn pipes_give_short_reads_and_errors_stay() {
    let world = World::new();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    world.owns(&reader);
    world.owns(&writer);
    let (from, to) = (reader.as_raw_fd() as u64, writer.as_raw_fd() as u64);
    File::from(writer.try_clone().unwrap()).write_all(b"abc").unwrap();
    assert_eq!(world.call(0, &[from, 0, 2 << 20], &[(1, &[(0, 2 << 20)])]), 3);
    assert_eq!(world.call(8, &[from, 0, 0], &[]), error(libc::ESPIPE));
    drop(reader);
    assert_eq!(world.call(1, &[to, 0, 3], &[(1, &[(0, 3)])]), error(libc::EPIPE));
    assert_eq!(world.call(0, &[to, 0, 3], &[(1, &[(0, 3)])]), error(libc::EBADF));
}

#[test]
fn files_from_open_to_close() {
    let world = World::new();
    let dir = std::env::temp_dir().join(format!("proxy-test-{}", std::process::id()));
    let name = |what: &str, at: u64| {
        let path = format!("{}{what}\0", dir.display());
        [world.put(at, path.as_bytes())]
    };
    let cwd = libc::AT_FDCWD as u64;
    assert_eq!(world.call(258, &[cwd, 0, 0o700], &[(1, &name("", 0))]), 0, "mkdirat");
    let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as u64;
    let fd = world.call(257, &[cwd, 0, flags, 0o600], &[(1, &name("/a", 0))]);
    assert!(fd > 2);
    let again = world.call(257, &[cwd, 0, flags, 0o600], &[(1, &name("/a", 0))]);
    assert_eq!(again, error(libc::EEXIST));
    let fd = fd as u64;
    assert_eq!(world.call(5, &[fd], &[(1, &[(1000, 144)])]), 0, "fstat");
    assert_ne!(world.get(1000, 144), vec![0; 144]);
    let copy = world.call(32, &[fd], &[]);
    assert!(copy > 2 && copy as u64 != fd, "dup");
    assert_eq!(world.call(3, &[copy as u64], &[]), 0);
    assert_eq!(world.call(3, &[fd], &[]), 0);
    assert_eq!(world.call(3, &[fd], &[]), error(libc::EBADF));
    let renamed = world.call(316, &[cwd, 0, cwd, 0, 0], &[(1, &name("/a", 0)), (3, &name("/b", 500))]);
    assert_eq!(renamed, 0);
    assert_eq!(world.call(263, &[cwd, 0, 0], &[(1, &name("/a", 0))]), error(libc::ENOENT), "unlinkat");
    assert_eq!(world.call(263, &[cwd, 0, 0], &[(1, &name("/b", 0))]), 0);
    let rmdir = libc::AT_REMOVEDIR as u64;
    assert_eq!(world.call(263, &[cwd, 0, rmdir], &[(1, &name("", 0))]), 0, "rmdir");
    assert_eq!(world.call(269, &[cwd, 0, 0], &[(1, &name("", 0))]), error(libc::ENOENT), "faccessat");
}

#[test]
fn directories_are_listed() {
    let world = World::new();
    let dir = File::open("/proc/self").unwrap();
    world.owns(&dir);
    let fd = dir.as_raw_fd() as u64;
    let len = world.call(217, &[fd, 0, 4096], &[(1, &[(0, 1000), (9000, 3096)])]);
    assert!((1000..=4096).contains(&len), "{len}");
    assert_ne!(world.get(9000, 8), [0; 8]);
}

#[test]
fn the_program_may_be_read_but_not_changed() {
    let world = World::new();
    let fd = world.exe.as_raw_fd() as u64;
    assert_eq!(world.call(17, &[fd, 0, 100, 4], &[(1, &[(0, 100)])]), 7);
    assert_eq!(world.get(0, 7), b"program");
    assert_eq!(world.call(18, &[fd, 0, 1, 0], &[(1, &[(0, 1)])]), error(libc::EBADF));
    assert_eq!(world.call(3, &[fd], &[]), error(libc::EBADF));
}

#[test]
fn its_own_program_is_not_the_proxy() {
    let world = World::new();
    let path = [world.put(0, b"/proc/self/exe\0")];
    let at = libc::AT_FDCWD as u64;
    assert_eq!(world.call(267, &[at, 0, 0, 100], &[(1, &path), (2, &[(100, 100)])]), 8);
    assert_eq!(world.get(100, 9), b"/opt/app\0");
    assert_eq!(world.call(267, &[at, 0, 0, 3], &[(1, &path), (2, &[(200, 3)])]), 3);
    assert_eq!(world.call(267, &[at, 0, 0, 100], &[(1, &path), (2, &[(300, 100)])]), 8);
    assert_eq!(world.get(300, 8), b"/opt/app");
    assert_eq!(world.call(257, &[at, 0, 0, 0], &[(1, &path)]), error(libc::ENOENT), "open");
    let other = [world.put(0, b"/proc/self/cwd\0")];
    let cwd = std::env::current_dir().unwrap();
    let len = world.call(267, &[at, 0, 0, 4096], &[(1, &other), (2, &[(100, 4096)])]);
    assert_eq!(world.get(100, len as usize), cwd.as_os_str().as_bytes());
}

#[test]
fn start_block_and_its_capacity() {
    let world = World::new();
    let startup = special::STARTUP;
    assert_eq!(world.call(startup, &[0, 4], &[(0, &[(0, 4)])]), error(libc::E2BIG));
    assert_eq!(world.call(startup, &[0, 64], &[(0, &[(0, 2), (50, 62)])]), 5);
    assert_eq!((world.get(0, 2), world.get(50, 3)), (b"st".to_vec(), b"art".to_vec()));
    assert_eq!(world.call(startup, &[0, 64], &[]), error(libc::EFAULT));
}

#[test]
fn paths_without_nul_and_null_pointers() {
    let world = World::new();
    let path = [world.put(0, b"/proc")];
    let cwd = libc::AT_FDCWD as u64;
    assert_eq!(world.call(269, &[cwd, 0, 0], &[(1, &path)]), error(libc::EFAULT));
    assert_eq!(world.call(269, &[cwd, 0, 0], &[]), error(libc::EFAULT));
    let shortened = [world.put(0, b"/\0roc\0")];
    assert_eq!(world.call(269, &[cwd, 0, 0], &[(1, &shortened)]), 0);
    assert_eq!(world.call(79, &[0, 2], &[(0, &[(0, 2)])]), error(libc::ERANGE), "getcwd");
}

#[test]
fn only_calls_that_do_not_wait_are_quick() {
    let world = World::new();
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let file = memfd(b"x");
    world.owns(&reader);
    world.owns(&file);
    let is_quick = |number: u32, fd: u64, len: u64| {
        let mut snapshot = Snapshot {
            number,
            segment_count: 1,
            tid: 1,
            args: [fd, 1, len, 0, 0, 0],
            lens: [0, len, 0, 0, 0, 0],
            segments: [(0, 0); SEGMENTS],
        };
        snapshot.segments[0] = (0, len);
        let mut checked = Checked::default();
        world.performer.check(&snapshot, &mut checked).unwrap();
        world.performer.is_quick(&checked)
    };
    let (pipe, file) = (reader.as_raw_fd() as u64, file.as_raw_fd() as u64);
    assert!(is_quick(0, file, 100) && !is_quick(0, file, 1 << 20));
    assert!(!is_quick(0, pipe, 100) && !is_quick(1, pipe, 100));
    assert!(is_quick(17, world.exe.as_raw_fd() as u64, 1 << 20));
}

#[test]
fn a_command_is_spawned_waited_for_and_signalled() {
    use hermit_abi::spawn::{MAX_LEN, PROXYS_CWD, SpawnBlock};
    let world = World::new();
    let spawn = |strings: &[u8]| {
        let len = (size_of::<SpawnBlock>() + strings.len()) as u32;
        let header = SpawnBlock { len, argc: 2, cwd: PROXYS_CWD, ..SpawnBlock::default() };
        let (at, len) = world.put(0, &[&header.to_bytes()[..], strings].concat());
        // In two parts.
        world.call(special::SPAWN, &[0, len], &[(0, &[(at, 30), (at + 30, len - 30)])])
    };
    let child = spawn(b"/bin/sleep\0sleep\x00100\0") as u64;
    assert_eq!(world.call(special::SIGNAL_CHILD, &[child, 0], &[]), 0);
    assert_eq!(world.call(special::SIGNAL_CHILD, &[child, 1000], &[]), error(libc::EINVAL));
    assert_eq!(world.call(special::SIGNAL_CHILD, &[child, 9], &[]), 0);
    assert_eq!(world.call(special::WAIT, &[child], &[]), 9);
    assert_eq!(world.call(special::WAIT, &[child], &[]), error(libc::ECHILD));
    assert_eq!(world.call(special::SIGNAL_CHILD, &[child, 9], &[]), error(libc::ESRCH));
    // The program of this test is there, /opt/app is not.
    assert_eq!(spawn(b"/proc/self/exe\0exe\0--help\0"), error(libc::ENOENT));
    assert_eq!(spawn(b"/bin/sleep"), error(libc::EINVAL));
    assert_eq!(world.call(special::SPAWN, &[0, 8], &[]), error(libc::EFAULT));
    let (part, long) = (u64::from(MAX_LEN) / 4, u64::from(MAX_LEN) + 1);
    let parts = [(0, part), (0, part), (0, part), (0, part), (0, 1)];
    assert_eq!(world.call(special::SPAWN, &[0, long], &[(0, &parts)]), error(libc::E2BIG));
}

#[test]
fn polls_see_the_applications_descriptors_only() {
    let world = World::new();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    world.owns(&reader);
    let (mine, foreign) = (reader.as_raw_fd(), writer.as_raw_fd());
    File::from(writer.try_clone().unwrap()).write_all(b"abc").unwrap();
    let mut list = Vec::new();
    for fd in [mine, foreign, -1] {
        list.extend(fd.to_ne_bytes());
        list.extend([libc::POLLIN as u8, 0, 0xff, 0xff]);
    }
    let parts = [world.put(0, &list)];
    let now = [world.put(100, &[0; 16])];
    assert_eq!(world.call(offload::PPOLL, &[0, 3], &[(0, &parts), (2, &now)]), 2);
    let events: Vec<u8> = world.get(0, 24).chunks_exact(8).map(|entry| entry[6]).collect();
    assert_eq!(events, [libc::POLLIN as u8, libc::POLLNVAL as u8, 0]);
}

#[test]
fn messages_carry_the_applications_descriptors_only() {
    let world = World::new();
    let mut ends = [0; 8];
    let parts = [(0, 8)];
    assert_eq!(world.call(offload::SOCKETPAIR, &[1, 1, 0], &[(3, &parts)]), 0);
    ends.copy_from_slice(&world.get(0, 8));
    let [a, b] = [0, 4].map(|at| u64::from(u32::from_ne_bytes(ends[at..at + 4].try_into().unwrap())));
    let send = |fd: i32| {
        let mut envelope = vec![0; offload::ENVELOPE_LEN];
        envelope[4..8].copy_from_slice(&24u32.to_ne_bytes());
        let control = &mut envelope[offload::ENVELOPE_CONTROL..];
        control[..8].copy_from_slice(&20u64.to_ne_bytes());
        control[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        control[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
        control[16..20].copy_from_slice(&fd.to_ne_bytes());
        let (data, envelope) = ([world.put(100, b"data")], [world.put(1000, &envelope)]);
        let len = offload::ENVELOPE_LEN as u64;
        world.call(special::SENDMSG, &[a, 0, 4, 0, 0, len], &[(1, &data), (4, &envelope)])
    };
    assert_eq!(send(world.exe.as_raw_fd()), error(libc::EBADF));
    assert_eq!(send(0), 4);
    let mut envelope = vec![0; offload::ENVELOPE_LEN];
    envelope[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let place = [world.put(1000, &envelope)];
    let received =
        world.call(special::RECVMSG, &[b, 0, 100, 0], &[(1, &[(200, 50), (300, 50)]), (4, &place)]);
    assert_eq!((received, world.get(200, 4)), (4, b"data".to_vec()));
    let got = world.get(1000, offload::ENVELOPE_LEN);
    assert_eq!(got[4..8], 24u32.to_ne_bytes());
    let fd = u32::from_ne_bytes(got[offload::ENVELOPE_CONTROL + 16..][..4].try_into().unwrap());
    assert!(fd > 2 && world.call(3, &[fd.into()], &[]) == 0, "the application may close it");
    assert_eq!((world.call(3, &[a], &[]), world.call(3, &[b], &[])), (0, 0));
}
