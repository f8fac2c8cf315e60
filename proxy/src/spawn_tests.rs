// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `spawn.rs`: commands that tell what they were given.

use super::*;
use crate::program::tests::memfd;
use crate::sys;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command as StdCommand;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A block in the making.
#[derive(Clone, Default)]
struct Block {
    header: SpawnBlock,
    pairs: Vec<(i32, i32)>,
    path: Vec<u8>,
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
}

impl Block {
    fn new(path: &str, argv: &[&str]) -> Self {
        let header = SpawnBlock { cwd: PROXYS_CWD, umask: 0o022, ..SpawnBlock::default() };
        let argv = argv.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        Self { header, path: path.into(), argv, ..Self::default() }
    }

    fn shell(script: &str) -> Self {
        Self::new("/bin/sh", &["sh", "-c", script])
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { mut header, pairs, path, argv, envp } = self.clone();
        header.argc = argv.len() as u32;
        header.envc = envp.len() as u32;
        header.pairs = pairs.len() as u32;
        let pairs = pairs.iter().flat_map(|&(child, proxy)| Pair { child, proxy }.to_bytes());
        let strings = [path].into_iter().chain(argv).chain(envp).flat_map(|s| [s, vec![0]].concat());
        let rest: Vec<u8> = pairs.chain(strings).collect();
        header.len = (HEADER_LEN + rest.len()) as u32;
        [&header.to_bytes()[..], &rest].concat()
    }
}

/// Children of an application that has opened a few files.
#[derive(Default)]
struct World {
    own: Descriptors,
    children: Children,
}

impl World {
    fn owns(&self, file: impl AsFd) -> i32 {
        self.own.add(file.as_fd()).unwrap();
        file.as_fd().as_raw_fd()
    }

    fn spawn(&self, block: &Block) -> Result<i32, i32> {
        self.children.spawn(&block.bytes(), &self.own, |path| path)
    }

    /// What it writes to descriptor 1. It must end well.
    fn output(&self, mut block: Block) -> String {
        let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        block.pairs.push((1, self.owns(&to)));
        let child = self.spawn(&block).unwrap();
        self.own.remove(to.as_raw_fd());
        drop(to);
        let mut output = String::new();
        File::from(from).read_to_string(&mut output).unwrap();
        assert_eq!(self.children.wait(child), Ok(0), "{output}");
        output
    }

    fn status(&self, script: &str) -> u32 {
        let child = self.spawn(&Block::shell(script)).unwrap();
        self.children.wait(child).unwrap()
    }
}

/// A directory, with what is in it removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spawn-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

/// Descriptors and what they are, as `ls -l` tells it of its own.
fn listed(output: &str) -> BTreeMap<i32, String> {
    let links = output.lines().filter_map(|line| line.split_once(" -> "));
    let links = links.map(|(left, to)| (left.rsplit(' ').next().unwrap().parse().unwrap(), to.to_owned()));
    // The directory that it reads.
    links.filter(|(_, to): &(i32, String)| !to.starts_with("/proc/")).collect()
}

fn link(fd: impl AsFd) -> String {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_child_has_the_listed_descriptors_and_no_others() {
    let world = World::default();
    let directory = Directory::new("fds");
    let files: Vec<File> = (0..6).map(|i| File::create(directory.0.join(i.to_string())).unwrap()).collect();
    let fds: Vec<i32> = files.iter().map(|file| world.owns(file)).collect();
    let cwd = File::open("/").unwrap();
    // Of the proxy, and not closed by execve(2) itself.
    let _others = [(); 5].map(|()| rustix::pipe::pipe().unwrap());
    let [a, b, c, d, ..] = fds[..] else { panic!() };
    for pairs in [
        vec![],
        // Swapped, by itself, and a ring of three.
        vec![(a, b), (b, a)],
        vec![(a, a)],
        vec![(a, b), (b, c), (c, a), (d, d)],
        // Each one further, and the other way round; twice; far away; 0 and 2.
        vec![(b, a), (c, b), (d, c)],
        vec![(a, b), (b, c), (c, d)],
        vec![(0, a), (2, a), (a, b)],
        vec![(200, a), (b, a)],
    ] {
        let mut block = Block::new("/bin/ls", &["ls", "-l", "/proc/self/fd"]);
        block.header.cwd = world.owns(&cwd);
        block.pairs = pairs.clone();
        let mut got = listed(&world.output(block));
        assert!(got.remove(&1).unwrap().starts_with("pipe:"));
        let of = |fd| link(files.iter().find(|file| file.as_raw_fd() == fd).unwrap());
        let want: BTreeMap<i32, String> = pairs.iter().map(|&(to, from)| (to, of(from))).collect();
        assert_eq!(got, want, "{pairs:?}");
    }
}

#[test]
fn descriptors_must_be_the_applications() {
    let world = World::default();
    let file = memfd(b"of the proxy");
    let mut block = Block::shell("");
    block.pairs = vec![(0, 0), (5, file.as_raw_fd())];
    assert_eq!(world.spawn(&block), Err(libc::EBADF));
    block.pairs = vec![];
    block.header.cwd = file.as_raw_fd();
    assert_eq!(world.spawn(&block), Err(libc::EBADF));
    world.owns(&file);
    assert_eq!(world.spawn(&block), Err(libc::ENOTDIR));
}

#[test]
fn arguments_and_environment_are_exact() {
    let world = World::default();
    let mut block = Block::new("/bin/cat", &["what ever", "/proc/self/cmdline", "/proc/self/environ"]);
    block.envp = ["A=1", "", "A=2", "no sign", "ä=\n"].map(|s| s.as_bytes().to_vec()).into();
    let cmdline = "what ever\0/proc/self/cmdline\0/proc/self/environ\0";
    assert_eq!(world.output(block), format!("{cmdline}A=1\0\0A=2\0no sign\0ä=\n\0"));
}

#[test]
fn working_directory_and_umask() {
    let world = World::default();
    let directory = Directory::new("cwd");
    directory.file("here", "echo this is \"$PWD\"\n", 0o644);
    let script = Block::new("/bin/sh", &["sh", "./here"]);
    let file = File::open(&directory.0).unwrap();
    let mut block = script.clone();
    block.header.cwd = world.owns(&file);
    assert_eq!(world.output(block.clone()), format!("this is {}\n", directory.0.display()));
    // A path is relative to it.
    directory.file("script", "#!/bin/sh\numask\n", 0o755);
    block.path = b"./script".into();
    block.header.umask = 0o751;
    assert_eq!(world.output(block), "0751\n");
    let mut block = Block::shell("pwd; umask");
    block.header.umask = 0;
    let own = std::env::current_dir().unwrap();
    assert_eq!(world.output(block), format!("{}\n0000\n", own.display()));
}

#[test]
fn signals_are_as_said() {
    let world = World::default();
    assert!(sys::is_ignored(libc::SIGPIPE), "Rust programs ignore it");
    let mut block = Block::new("/bin/cat", &["cat", "/proc/self/status"]);
    let [kill, stop] = [libc::SIGKILL, libc::SIGSTOP].map(|signal| 1u64 << (signal - 1));
    for (blocked, ignored) in [(0, 0), (1 << 63 | 1 << 16 | 1, 1 << 62 | 1 << 12 | 2), (u64::MAX, u64::MAX)] {
        block.header.blocked = blocked;
        block.header.ignored = ignored;
        let status = world.output(block.clone());
        let set = |name| u64::from_str_radix(&field(&status, name), 16).unwrap();
        assert_eq!(set("SigBlk"), blocked & !kill & !stop);
        assert_eq!(set("SigIgn"), ignored & !kill & !stop);
        assert_eq!(set("SigCgt"), 0);
    }
}

#[test]
fn sessions_and_process_groups() {
    let world = World::default();
    // Process, group and session.
    let ids = |flags, pgroup| {
        let mut block = Block::new("/bin/cat", &["cat", "/proc/self/stat"]);
        block.header.flags = flags;
        block.header.pgroup = pgroup;
        let stat = world.output(block);
        let numbers = stat.rsplit(") ").next().unwrap().split(' ').skip(2).take(2);
        let pid: u32 = stat.split(' ').next().unwrap().parse().unwrap();
        let [group, session] = numbers.map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>()[..] else {
            panic!()
        };
        (pid, group, session)
    };
    let (own_group, own_session) = sys::group_and_session();
    let (_, group, session) = ids(0, 0);
    assert_eq!((group, session), (own_group, own_session));
    let (pid, group, session) = ids(flag::SET_PGROUP, 0);
    assert_eq!((group, session), (pid, own_session));
    let (pid, group, session) = ids(flag::NEW_SESSION, 0);
    assert_eq!((group, session), (pid, pid));
    let mut leader = Block::new("/bin/sleep", &["sleep", "100"]);
    leader.header.flags = flag::SET_PGROUP;
    let leader = world.spawn(&leader).unwrap();
    assert_eq!(ids(flag::SET_PGROUP, leader).1, leader.unsigned_abs());
    world.children.signal(leader, libc::SIGKILL).unwrap();
    assert_eq!(world.children.wait(leader), Ok(9));
    let mut late = Block::shell("");
    late.header.flags = flag::SET_PGROUP;
    late.header.pgroup = leader;
    assert_eq!(world.spawn(&late), Err(libc::EPERM));
}

#[test]
fn execve_fails_as_on_linux() {
    let world = World::default();
    let directory = Directory::new("exec");
    let text = directory.file("text", "echo a text\n", 0o755);
    let data = directory.file("data", "echo a text\n", 0o644);
    let lost = directory.file("lost", "#!/nonexistent/interpreter\n", 0o755);
    let below = format!("{data}/below");
    let long = "x/".repeat(2500);
    for (path, errno) in [
        ("/nonexistent", libc::ENOENT),
        ("", libc::ENOENT),
        (lost.as_str(), libc::ENOENT),
        (&text, libc::ENOEXEC),
        (&data, libc::EACCES),
        ("/", libc::EACCES),
        (&below, libc::ENOTDIR),
        (&long, libc::ENAMETOOLONG),
    ] {
        assert_eq!(world.spawn(&Block::new(path, &["x"])), Err(errno), "{path}");
    }
    // One string is too long, then all together are.
    let block = Block::new("/bin/true", &["true", &"x".repeat(200 << 10)]);
    assert_eq!(world.spawn(&block), Err(libc::E2BIG));
    let mut block = Block::new("/bin/true", &["true"]);
    block.envp = vec![vec![b'x'; 100 << 10]; 70];
    assert_eq!(world.spawn(&block), Err(libc::E2BIG));
    assert!(world.children.map().is_empty());
}

#[test]
fn statuses_are_those_of_wait() {
    let world = World::default();
    for code in [0, 1, 7, 255] {
        assert_eq!(world.status(&format!("exit {code}")), code << 8);
    }
    for signal in [2, 9, 15, 34, 64] {
        assert_eq!(world.status(&format!("kill -{signal} $$")), signal);
    }
    let directory = Directory::new("core");
    for limit in ["0", "unlimited"] {
        // Not SIGQUIT, which is ignored in what shells run in the background.
        let script = format!("cd {}; ulimit -c {limit} 2>/dev/null; kill -SEGV $$", directory.0.display());
        let want = StdCommand::new("/bin/sh").args(["-c", &script]).status().unwrap().into_raw();
        assert_eq!(world.status(&script) as i32, want, "{limit}");
    }
}

#[test]
fn a_wait_is_interrupted_and_begins_again() {
    let world = World::default();
    let child = world.spawn(&Block::new("/bin/sleep", &["sleep", "100"])).unwrap();
    sys::allow_interruption();
    let interruptions = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (world, interruptions) = (&world, &interruptions);
        let waiter = scope.spawn(move || {
            tell.send(sys::thread_id()).unwrap();
            loop {
                match world.children.wait(child) {
                    Err(libc::EINTR) => interruptions.fetch_add(1, SeqCst),
                    result => break result,
                };
            }
        });
        let id = told.recv().unwrap();
        while interruptions.load(SeqCst) < 3 {
            sys::interrupt(id);
            thread::sleep(Duration::from_millis(1));
        }
        world.children.signal(child, libc::SIGTERM).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(15));
    });
}

#[test]
fn who_has_ended_is_kept_until_waited_for() {
    let world = World::default();
    let child = world.spawn(&Block::shell("exit 3")).unwrap();
    let state = || field(&fs::read_to_string(format!("/proc/{child}/status")).unwrap(), "State");
    while !state().starts_with('Z') {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(world.children.signal(child, libc::SIGTERM), Ok(()));
    assert_eq!(world.children.wait(child), Ok(3 << 8));
    assert_eq!(world.children.wait(child), Err(libc::ECHILD));
    assert_eq!(world.children.signal(child, libc::SIGTERM), Err(libc::ESRCH));
    assert!(!Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn of_two_who_wait_one_gets_the_status() {
    let world = World::default();
    let child = world.spawn(&Block::new("/bin/sleep", &["sleep", "0.2"])).unwrap();
    let mut results = thread::scope(|scope| {
        let waiters = [0, 1].map(|_| scope.spawn(|| world.children.wait(child)));
        waiters.map(|waiter| waiter.join().unwrap())
    });
    results.sort();
    assert_eq!(results, [Ok(0), Err(libc::ECHILD)]);
}

#[test]
fn other_processes_are_out_of_reach() {
    let world = World::default();
    let mut other = StdCommand::new("/bin/sleep").arg("100").spawn().unwrap();
    for pid in [other.id() as i32, 1, 0, -1, std::process::id() as i32] {
        assert_eq!(world.children.signal(pid, libc::SIGKILL), Err(libc::ESRCH));
        assert_eq!(world.children.wait(pid), Err(libc::ECHILD));
    }
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn children_live_on() {
    let world = World::default();
    let [(from, to), (answer, say)] = [(); 2].map(|()| rustix::pipe::pipe().unwrap());
    let mut block = Block::shell("read line; echo $line is read");
    block.pairs = vec![(0, world.owns(&from)), (1, world.owns(&say))];
    world.spawn(&block).unwrap();
    drop((world, from, say));
    let mut to = File::from(to);
    to.write_all(b"a line\n").unwrap();
    let mut output = String::new();
    File::from(answer).read_to_string(&mut output).unwrap();
    assert_eq!(output, "a line is read\n");
}

#[test]
fn malformed_blocks() {
    let good = Block::new("p", &["a", ""]);
    assert!(Spawn::parse(&good.bytes()).is_some());
    let refused = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        assert_eq!(Spawn::parse(&block.bytes()), None);
    };
    refused(&|b| b.header.flags = 4);
    refused(&|b| b.header.umask = 0o1000);
    refused(&|b| b.header.cwd = -2);
    refused(&|b| b.header.pgroup = -1);
    refused(&|b| b.pairs = vec![(3, 0), (4, 0), (3, 1)]);
    refused(&|b| b.pairs = vec![(-1, 0)]);
    refused(&|b| b.pairs = vec![(0, -1)]);
    refused(&|b| b.argv = vec![b"a\0b".into()]);
    let bytes = good.bytes();
    assert!((0..bytes.len()).all(|len| Spawn::parse(&bytes[..len]).is_none()));
    for at in [0, 4, 8, 12] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Spawn::parse(&bytes), None);
    }
}

/// What was parsed, as a block again.
fn again(spawn: &Spawn<'_>) -> (SpawnBlock, BTreeSet<(i32, i32)>, Vec<u8>) {
    let strings =
        [spawn.path].into_iter().chain(spawn.argv.iter().copied()).chain(spawn.envp.iter().copied());
    let strings = strings.flat_map(|s| s.to_bytes_with_nul().to_vec()).collect();
    (spawn.header, spawn.descriptors.iter().map(|(to, from)| (*to, *from)).collect(), strings)
}

proptest! {
    #[test]
    fn a_changed_block_is_refused_or_read_as_it_is(
        pairs in proptest::collection::btree_map(0..20, 0..20, 0..5),
        argv in proptest::collection::vec("[a-z]{0,5}", 0..5),
        envp in proptest::collection::vec("[A-Z]=[a-z]{0,5}", 0..5),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..4),
        cut in 0..8usize,
    ) {
        let mut block = Block::new("/bin/true", &[]);
        block.pairs = pairs.into_iter().collect();
        block.argv = argv.into_iter().map(String::into_bytes).collect();
        block.envp = envp.into_iter().map(String::into_bytes).collect();
        let mut bytes = block.bytes();
        prop_assert!(Spawn::parse(&bytes).is_some());
        for (at, value, small) in changes {
            // Small changes of numbers are what hits.
            let place = &mut bytes[at.index(if small { HEADER_LEN } else { usize::MAX }.min(block.bytes().len()))];
            *place = if small { place.wrapping_add(value % 3).wrapping_sub(1) } else { value };
        }
        if cut > 4 {
            bytes.truncate(bytes.len() - cut);
        }
        if let Some(spawn) = Spawn::parse(&bytes) {
            let (header, pairs, strings) = again(&spawn);
            let pairs_end = HEADER_LEN + pairs.len() * PAIR_LEN;
            prop_assert_eq!(&bytes[..HEADER_LEN], &header.to_bytes()[..]);
            let raw = bytes[HEADER_LEN..pairs_end].chunks(PAIR_LEN).map(|b| Pair::from_bytes(b.try_into().unwrap()));
            prop_assert_eq!(raw.map(|p| (p.child, p.proxy)).collect::<BTreeSet<_>>(), pairs);
            prop_assert_eq!(&bytes[pairs_end..], &strings[..]);
            prop_assert_eq!(spawn.argv.len(), header.argc as usize);
            prop_assert_eq!(spawn.envp.len(), header.envc as usize);
        }
    }
}
