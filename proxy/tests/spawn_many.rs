// SPDX-License-Identifier: MIT OR Apache-2.0

//! Many children at once. In a program of its own, which has no other children and descriptors.

use hermit_abi::spawn::{PROXYS_CWD, Pair, SpawnBlock};
use hermit_proxy::descriptors::Descriptors;
use hermit_proxy::spawn::Children;
use rustix::process::{WaitOptions, waitpid};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

const CHILDREN: usize = 100;

fn block(stdin: i32, path: &str, script: &str) -> Vec<u8> {
    let strings = format!("{path}\0sh\0-c\0{script}\0");
    let pair = Pair { child: 0, proxy: stdin }.to_bytes();
    let len = (size_of::<SpawnBlock>() + pair.len() + strings.len()) as u32;
    let header = SpawnBlock { len, argc: 3, pairs: 1, cwd: PROXYS_CWD, ..SpawnBlock::default() };
    [&header.to_bytes()[..], &pair, strings.as_bytes()].concat()
}

fn open_descriptors() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_hundred_at_once_leave_nothing() {
    let own = Descriptors::default();
    let children = Children::default();
    let before = open_descriptors();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    own.add(reader.as_fd()).unwrap();
    let stdin = reader.as_raw_fd();
    // All are there at the same time: they wait for the pipe's end.
    let pids: Vec<i32> = thread::scope(|scope| {
        let spawn = |i: usize| {
            let (children, own) = (&children, &own);
            move || {
                let missing = block(stdin, "/nonexistent", "");
                assert_eq!(children.spawn(&missing, own, |path| path), Err(libc::ENOENT));
                let script = format!("read line; exit {i}");
                children.spawn(&block(stdin, "/bin/sh", &script), own, |path| path).unwrap()
            }
        };
        let threads: Vec<_> = (0..CHILDREN).map(|i| scope.spawn(spawn(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(waitpid(None, WaitOptions::NOHANG).unwrap().is_none(), "one has ended early");
    thread::scope(|scope| {
        let wait = |pid| {
            let children = &children;
            move || children.wait(pid).unwrap()
        };
        let threads: Vec<_> = pids.iter().map(|&pid| scope.spawn(wait(pid))).collect();
        own.remove(stdin);
        drop((reader, writer));
        for (i, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), (i as u32) << 8);
        }
    });
    let remains = waitpid(None, WaitOptions::NOHANG);
    assert_eq!(remains.unwrap_err(), rustix::io::Errno::CHILD, "a child or its remains");
    assert_eq!(open_descriptors(), before);
}
