// SPDX-License-Identifier: MIT OR Apache-2.0

//! File calls as the proxy gets them: working directory, umask, descriptors that are closed late, signalfd, /proc.

use super::*;
use std::time::Duration;

const CWD: u64 = nr::AT_FDCWD as u32 as u64;
const EPERM: i64 = -1;
const ENOENT: i64 = -2;
const EACCES: i64 = -13;
const EAGAIN: i64 = -11;

fn accept(machine: &Machine, numbers: &[u32]) {
    machine.proxy.script().accepted = numbers.to_vec();
}

/// What the proxy has seen since the last time, but for closing.
fn seen(machine: &Machine) -> Vec<(u32, [u64; 6], Vec<u8>)> {
    std::mem::take(&mut machine.proxy.script().seen)
}

#[test]
fn paths_begin_at_the_working_directory() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    accept(&machine, &[nr::__NR_mkdirat, nr::__NR_faccessat2, nr::__NR_truncate, nr::__NR_renameat2]);
    p.space().write(DATA, b"sub\0/abs\0").unwrap();
    let relative = CWD as i32 as i64 as u64;
    assert_eq!(call(&mut p, nr::__NR_mkdir, [DATA, 0o777, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_truncate, [DATA, 5, 0, 0, 0, 0]), 0);
    let before = seen(&machine);
    assert_eq!(before[0], (nr::__NR_mkdirat, [relative, 1, 0o755, 0, 0, 0], b"sub\0".to_vec()), "umask 022");
    assert_eq!(before[1], (nr::__NR_truncate, [1, 5, 0, 0, 0, 0], b"sub\0".to_vec()));
    // The proxy opens it as 77.
    assert_eq!(call(&mut p, nr::__NR_chdir, [DATA + 4, 0, 0, 0, 0, 0]), 0);
    assert_eq!(seen(&machine), [(nr::__NR_faccessat2, [77, 1, 1, 0x200, 0, 0], b".\0".to_vec())]);
    assert_eq!(call(&mut p, nr::__NR_umask, [0o77, 0, 0, 0, 0, 0]), 0o22);
    assert_eq!(call(&mut p, nr::__NR_mkdir, [DATA, 0o777, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_truncate, [DATA, 5, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_rename, [DATA, DATA + 4, 0, 0, 0, 0]), 0);
    let after = seen(&machine);
    assert_eq!(after[0], (nr::__NR_mkdirat, [77, 1, 0o700, 0, 0, 0], b"sub\0".to_vec()));
    assert_eq!(after[1].2, b"/proc/self/fd/77/sub\0");
    assert_eq!(after[2], (nr::__NR_renameat2, [77, 1, 77, 1, 0, 0], b"sub\0/abs\0".to_vec()));
    // It is closed once another one takes its place.
    assert!(machine.proxy.script().closed.is_empty());
    assert_eq!(call(&mut p, nr::__NR_fchdir, [0, 0, 0, 0, 0, 0]), 0);
    assert_eq!(machine.proxy.script().closed, [77]);
    assert_eq!(call(&mut p, nr::__NR_fchdir, [9, 0, 0, 0, 0, 0]), EBADF);
    assert!(p.process.fs.lock().cwd.as_ref().is_some_and(|cwd| cwd.remote_fd() == Some(0)));
    end(p);
}

#[test]
fn what_a_call_works_on_is_closed_after_it() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    p.space().write(DATA, b"/some\0").unwrap();
    assert_eq!(call(&mut p, nr::__NR_open, [DATA, 0, 0, 0, 0, 0]), 3);
    let held = p.files().get(3).unwrap().clone();
    assert_eq!(call(&mut p, nr::__NR_close, [3, 0, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_close, [3, 0, 0, 0, 0, 0]), EBADF);
    assert!(machine.proxy.script().closed.is_empty());
    drop(held);
    assert_eq!(call(&mut p, nr::__NR_umask, [0, 0, 0, 0, 0, 0]), 0o22, "any call");
    assert_eq!(machine.proxy.script().closed, [77]);
    end(p);
}

#[test]
fn pipes_show_only_the_applications_numbers() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    accept(&machine, &[nr::__NR_pipe2]);
    p.space().write_words(DATA, &[7]).unwrap();
    assert_eq!(call(&mut p, nr::__NR_pipe2, [DATA, nr::O_CLOEXEC.into(), 0, 0, 0, 0]), 0);
    assert_eq!(p.space().read_words(DATA), Ok([3 | 4 << 32]));
    assert_eq!(call(&mut p, nr::__NR_fcntl, [4, nr::F_GETFD.into(), 0, 0, 0, 0]), 1);
    assert_eq!(call(&mut p, nr::__NR_pipe2, [1, 0, 0, 0, 0, 0]), EFAULT);
    assert_eq!(p.files().in_range(0, 100).unwrap(), [0, 1, 2, 3, 4], "nothing is left");
    end(p);
}

#[test]
fn its_own_directory_tells_of_the_process() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    let mut at = DATA;
    let mut text = |p: &mut Thread, text: &str| {
        at += 0x100;
        p.space().write(at, text.as_bytes()).unwrap();
        p.space().write(at + text.len() as u64, b"\0").unwrap();
        at
    };
    accept(&machine, &[nr::__NR_readlinkat, nr::__NR_unlinkat]);
    for (path, expected) in [
        ("/proc/self/fd/1", b"/proc/self/fd/1\0".as_slice()),
        ("/dev/stdin", b"/proc/self/fd/0\0"),
        ("/proc/4321/fd/2", b"/proc/self/fd/2\0"),
        ("/proc/self/task/4321/fd/2", b"/proc/self/fd/2\0"),
        ("/proc/thread-self/environ", b"/proc/self/environ\0"),
        ("/proc/self/environ", b"/proc/self/environ\0"),
        ("/proc/1/stat", b"/proc/1/stat\0"),
    ] {
        let path = text(&mut p, path);
        assert_eq!(call(&mut p, nr::__NR_readlink, [path, DATA, 10, 0, 0, 0]), 0);
        let seen = seen(&machine);
        assert!(seen[0].2.starts_with(expected), "{:?}", seen[0]);
    }
    for path in ["/proc/self/fd/3", "/dev/fd/x", "/proc/self/task/1/stat", "/proc/self/smaps"] {
        let path = text(&mut p, path);
        assert_eq!(call(&mut p, nr::__NR_open, [path, 0, 0, 0, 0, 0]), ENOENT);
    }
    let limits = text(&mut p, "/proc/self/limits");
    assert_eq!(call(&mut p, nr::__NR_open, [limits, 1, 0, 0, 0, 0]), EACCES);
    assert_eq!(call(&mut p, nr::__NR_unlink, [limits, 0, 0, 0, 0, 0]), EACCES);
    assert_eq!(call(&mut p, nr::__NR_access, [limits, 4, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_readlink, [limits, DATA, 10, 0, 0, 0]), EINVAL);
    assert_eq!(call(&mut p, nr::__NR_open, [limits, 0, 0, 0, 0, 0]), 3);
    let len = call(&mut p, nr::__NR_read, [3, DATA + 0x4000, 4096, 0, 0, 0]);
    let mut bytes = vec![0; len as usize];
    p.space().read(DATA + 0x4000, &mut bytes).unwrap();
    assert!(String::from_utf8(bytes).unwrap().contains("Max open files            1024                 4096"));
    // The list has itself in it.
    let list = text(&mut p, "/proc/self/fd");
    assert_eq!(call(&mut p, nr::__NR_open, [list, nr::O_DIRECTORY.into(), 0, 0, 0, 0]), 4);
    assert_eq!(call(&mut p, nr::__NR_getdents64, [4, DATA + 0x4000, 4096, 0, 0, 0]), 7 * 24);
    assert_eq!(call(&mut p, nr::__NR_getdents64, [4, DATA + 0x4000, 4096, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_lseek, [4, 0, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_getdents64, [4, DATA + 0x4000, 10, 0, 0, 0]), EINVAL);
    end(p);
}

#[test]
fn a_signal_ends_a_wait_for_what_linux_and_the_isle_keep() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    p.space().write_words(DATA, &[1 << 14]).unwrap();
    assert_eq!(call(&mut p, nr::__NR_rt_sigprocmask, [0, DATA, 0, 8, 0, 0]), 0);
    let flags = u64::from(nr::O_NONBLOCK);
    assert_eq!(call(&mut p, nr::__NR_signalfd4, [u64::MAX, DATA, 8, flags, 0, 0]), 3);
    assert_eq!(call(&mut p, nr::__NR_read, [3, DATA + 0x1000, 128, 0, 0, 0]), EAGAIN);
    // Descriptors 3 and 0; POLLIN.
    p.space().write_words(DATA + 8, &[3 | 1 << 32, 1 << 32]).unwrap();
    let poll =
        |p: &mut Thread, count: u64, timeout: i32| call(p, nr::__NR_poll, [DATA + 8, count, timeout as u64, 0, 0, 0]);
    assert_eq!(poll(&mut p, 1, 0), 0);
    for (count, hang) in [(1, None), (2, Some(nr::__NR_ppoll))] {
        machine.proxy.script().hang = hang;
        let (process, shared) = (p.process.clone(), machine.shared);
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            signal::send(&process, None, Info::user(15, 0, 1, 2)).unwrap();
            // What the proxy does when it is told to give up.
            while hang.is_some() {
                let requests = &shared.channels[0].requests;
                let told = |r: &&Request| {
                    r.state.load(Ordering::SeqCst) == state::TAKEN && r.cancel.load(Ordering::SeqCst) == 1
                };
                if let Some(request) = requests.iter().find(told) {
                    request.result.store(-4, Ordering::SeqCst);
                    request.state.store(state::DONE, Ordering::SeqCst);
                    break;
                }
                std::thread::yield_now();
            }
        });
        if hang.is_some() {
            // When it looks again, nothing else is there.
            let script = machine.proxy.script.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(15));
                let mut script = script.lock().unwrap();
                (script.hang, script.accepted) = (None, vec![nr::__NR_ppoll]);
            });
        }
        assert_eq!(poll(&mut p, count, -1), 1);
        sender.join().unwrap();
        assert_eq!(p.space().read_words(DATA + 8), Ok([3 | 1 << 32 | 1 << 48, 1 << 32]));
        assert_eq!(call(&mut p, nr::__NR_read, [3, DATA + 0x1000, 128, 0, 0, 0]), 128);
        assert_eq!(p.space().read_u32(DATA + 0x1000), Ok(15));
    }
    assert_eq!(call(&mut p, nr::__NR_write, [3, DATA, 8, 0, 0, 0]), EINVAL);
    end(p);
}

#[test]
fn a_lying_proxy_does_not_hang_a_poll() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    p.space().write_words(DATA, &[1 << 32]).unwrap();
    accept(&machine, &[nr::__NR_ppoll]);
    assert_eq!(call(&mut p, nr::__NR_poll, [DATA, 1, u64::MAX, 0, 0, 0]), EIO, "no time was up");
    assert_eq!(call(&mut p, nr::__NR_poll, [DATA, 1, 1000, 0, 0, 0]), 0);
    end(p);
}

#[test]
fn who_it_is_and_what_it_may() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    assert_eq!(call(&mut p, nr::__NR_getresuid, [DATA, DATA + 4, DATA + 8, 0, 0, 0]), 0);
    assert_eq!(p.space().read_words(DATA), Ok([1000 | 1000 << 32, 1001]));
    assert_eq!(call(&mut p, nr::__NR_getgroups, [5, DATA, 0, 0, 0, 0]), 2);
    assert_eq!(p.space().read_words(DATA), Ok([20 | 30 << 32]));
    assert_eq!(call(&mut p, nr::__NR_getgroups, [1, DATA, 0, 0, 0, 0]), EINVAL);
    assert_eq!(call(&mut p, nr::__NR_setuid, [1000, 0, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_setuid, [0, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(call(&mut p, nr::__NR_getpgid, [0, 0, 0, 0, 0, 0]), 4000);
    assert_eq!(call(&mut p, nr::__NR_getsid, [4321, 0, 0, 0, 0, 0]), 3000);
    assert_eq!(call(&mut p, nr::__NR_uname, [DATA, 0, 0, 0, 0, 0]), 0);
    let node = p.space().read_string(DATA + 65, 65).unwrap();
    assert_eq!(node, b"node7");
    // RLIMIT_NOFILE, which counts at once.
    p.space().write_words(DATA, &[3, 4096]).unwrap();
    assert_eq!(call(&mut p, nr::__NR_setrlimit, [7, DATA, 0, 0, 0, 0]), 0);
    assert_eq!(call(&mut p, nr::__NR_dup, [0, 0, 0, 0, 0, 0]), -24);
    p.space().write_words(DATA, &[3, 4097]).unwrap();
    assert_eq!(call(&mut p, nr::__NR_setrlimit, [7, DATA, 0, 0, 0, 0]), EPERM);
    assert_eq!(call(&mut p, nr::__NR_mount, [0; 6]), EPERM);
    end(p);
}
