// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of `transfer.rs`: in place, and through a buffer where the kernel can't.

use super::*;
use crate::descriptors::Descriptors;
use crate::program::tests::memfd;
use crate::shm::Memory;
use proptest::prelude::*;
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};

const MEMORY: usize = 4 << 20;

fn performer(owned: &[&File]) -> Performer {
    let file = memfd(&[]);
    file.set_len(MEMORY as u64).unwrap();
    let descriptors = Descriptors::default();
    owned.iter().for_each(|file| descriptors.add(file.as_fd()).unwrap());
    Performer {
        memory: Memory::new(&file, 0, MEMORY).unwrap(),
        descriptors,
        exe_fd: -1,
        start_block: Vec::new(),
        exe_path: "/app".into(),
        children: crate::spawn::Children::default(),
    }
}

fn scatter(parts: &[(u64, u64)]) -> Scatter {
    Scatter { parts: parts.iter().copied().collect(), len: parts.iter().map(|p| p.1).sum() }
}

/// As a file system that can't do I/O on memory that isn't Linux's.
fn refuse(_: Target, _: &[Region<'_>]) -> i64 {
    error(libc::EFAULT)
}

fn bounced(performer: &Performer, target: Target, parts: &[(u64, u64)]) -> i64 {
    performer.transfer_by(target, &scatter(parts), &mut Bounce::default(), refuse)
}

#[test]
fn what_the_kernel_refuses_goes_through_a_buffer() {
    let mut file = memfd(&[]);
    let performer = performer(&[&file]);
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i % 251) as u8).collect();
    performer.memory.write(7, &data).unwrap();
    let parts = [(7, 1_000_000), (1_000_007, 2_000_001)];
    let target = |way| Target { way, fd: file.as_raw_fd(), position: Some(5) };
    assert_eq!(bounced(&performer, target(Way::ToFile), &parts), 3_000_001);
    performer.memory.write(7, &vec![0; data.len()]).unwrap();
    assert_eq!(bounced(&performer, target(Way::FromFile), &parts), 3_000_001);
    let mut back = vec![0; data.len()];
    performer.memory.read(7, &mut back).unwrap();
    assert!(back == data);
    let mut written = Vec::new();
    file.seek(SeekFrom::Start(5)).unwrap();
    file.read_to_end(&mut written).unwrap();
    assert!(written == data);
    let closed = Target { way: Way::ToFile, fd: -1, position: None };
    assert_eq!(bounced(&performer, closed, &parts), error(libc::EBADF), "the buffer's own error counts");
}

#[test]
fn a_pipe_is_read_once() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (reader, mut writer) = (File::from(reader), File::from(writer));
    let performer = performer(&[&reader, &writer]);
    writer.write_all(b"abc").unwrap();
    let target = Target { way: Way::FromFile, fd: reader.as_raw_fd(), position: None };
    assert_eq!(bounced(&performer, target, &[(0, 2 << 20)]), 3);
    let mut bytes = [0; 3];
    performer.memory.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
}

#[test]
fn only_one_answer_is_asked_again() {
    let performer = performer(&[]);
    let target = Target { way: Way::ToFile, fd: -1, position: None };
    for answer in [error(libc::EINTR), error(libc::EIO), 0, 3] {
        let asked = Cell::new(0);
        let count = |_: Target, regions: &[Region<'_>]| {
            asked.set(asked.get() + 1);
            assert_eq!(regions.iter().map(Region::len).collect::<Vec<_>>(), [1, 2, 3]);
            answer
        };
        let parts = scatter(&[(0, 1), (10, 2), (20, 3)]);
        assert_eq!(performer.transfer_by(target, &parts, &mut Bounce::default(), count), answer);
        assert_eq!(asked.get(), 1);
    }
}

proptest! {
    #[test]
    fn both_ways_do_the_same(
        sizes in prop::collection::vec(1..5000u64, 1..24),
        gap in 0..3u64,
        position in prop::option::of(0..100u64),
    ) {
        let (mut direct, mut through) = (memfd(&[]), memfd(&[]));
        let performer = performer(&[&direct, &through]);
        let mut at = 0;
        let parts: Vec<_> = sizes.iter().map(|&len| {
            let part = (at, len);
            at += len + gap;
            part
        }).collect();
        performer.memory.write(0, &(0..at).map(|i| (i * 7 % 255) as u8).collect::<Vec<_>>()).unwrap();
        let target = |file: &File| Target { way: Way::ToFile, fd: file.as_raw_fd(), position };
        let in_place = |t: Target, regions: &[Region<'_>]| sys::transfer(t.way, t.fd, regions, t.position);
        let total: u64 = sizes.iter().sum();
        let result = performer.transfer_by(target(&direct), &scatter(&parts), &mut Bounce::default(), in_place);
        prop_assert_eq!(result, total as i64);
        prop_assert_eq!(bounced(&performer, target(&through), &parts), total as i64);
        let mut contents = [Vec::new(), Vec::new()];
        for (file, bytes) in [&mut direct, &mut through].into_iter().zip(&mut contents) {
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(bytes).unwrap();
        }
        prop_assert!(contents[0] == contents[1] && contents[0].len() as u64 == total + position.unwrap_or(0));
    }
}
