// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the application begins: `offload::StartBlock`, arguments, environment, the program's path.

use hermit_abi::offload::{LIMITS, StartBlock};
use rustix::process::{Resource, getegid, geteuid, getgid, getgroups, getppid, getrlimit, getuid, setrlimit};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Who the application is, and what it may do: the block's numbers but for lengths.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub exe_fd: u32,
    pub exe_size: u64,
    pub pid: u32,
    pub ppid: u32,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    pub random: [u8; 16],
    pub suid: u32,
    pub sgid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub umask: u32,
    pub limits: [[u64; 2]; LIMITS],
    pub groups: Vec<u32>,
    pub host_name: Vec<u8>,
}

/// All limits, by their numbers in asm-generic/resource.h.
const RESOURCES: [Resource; LIMITS] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

impl Identity {
    /// The proxy's own, which is that of the user who started it. From now on the proxy may open as many files as it
    /// can, and its umask is 0: limit and umask are applied on the isle.
    pub fn take() -> Self {
        let limits = RESOURCES.map(|resource| {
            let limit = getrlimit(resource);
            [limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX)]
        });
        let mut files = getrlimit(Resource::Nofile);
        files.current = files.maximum;
        // Where it fails, the application gets EMFILE earlier.
        let _ = setrlimit(Resource::Nofile, files);
        let (suid, sgid) = crate::sys::saved_ids();
        let (pgid, sid) = crate::sys::group_and_session();
        Self {
            pid: std::process::id(),
            ppid: getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()),
            uid: getuid().as_raw(),
            euid: geteuid().as_raw(),
            gid: getgid().as_raw(),
            egid: getegid().as_raw(),
            suid,
            sgid,
            pgid,
            sid,
            umask: rustix::process::umask(rustix::fs::Mode::empty()).bits(),
            limits,
            groups: getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw).collect(),
            host_name: rustix::system::uname().nodename().to_bytes().to_vec(),
            ..Self::default()
        }
    }
}

/// The whole block, or `None` if it is longer than a `u32` can say.
pub fn block(
    identity: &Identity,
    argv: &[OsString],
    env: &[(OsString, OsString)],
    path: &OsStr,
) -> Option<Vec<u8>> {
    let mut strings = Vec::new();
    let mut push = |parts: &[&OsStr]| {
        parts.iter().for_each(|part| strings.extend_from_slice(part.as_bytes()));
        strings.push(0);
    };
    argv.iter().for_each(|arg| push(&[arg]));
    env.iter().for_each(|(name, value)| push(&[name, OsStr::new("="), value]));
    push(&[path]);
    push(&[OsStr::from_bytes(&identity.host_name)]);
    let groups = identity.groups.len().checked_mul(4)?;
    let len = size_of::<StartBlock>().checked_add(strings.len())?.checked_add(groups)?;
    let Identity { exe_fd, exe_size, pid, ppid, uid, euid, gid, egid, random, .. } = *identity;
    let Identity { suid, sgid, pgid, sid, umask, .. } = *identity;
    let mut block = Vec::with_capacity(len);
    for word in [len.try_into().ok()?, argv.len().try_into().ok()?, env.len().try_into().ok()?, exe_fd] {
        block.extend_from_slice(&u32::to_ne_bytes(word));
    }
    block.extend_from_slice(&exe_size.to_ne_bytes());
    for word in [pid, ppid, uid, euid, gid, egid] {
        block.extend_from_slice(&word.to_ne_bytes());
    }
    block.extend_from_slice(&random);
    for word in [suid, sgid, pgid, sid, umask, u32::try_from(identity.groups.len()).ok()?] {
        block.extend_from_slice(&word.to_ne_bytes());
    }
    identity.limits.iter().flatten().for_each(|limit| block.extend_from_slice(&limit.to_ne_bytes()));
    identity.groups.iter().for_each(|group| block.extend_from_slice(&group.to_ne_bytes()));
    block.append(&mut strings);
    Some(block)
}

// The order in which `block` writes the fields.
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(StartBlock, len) == 0 && offset_of!(StartBlock, argc) == 4);
    assert!(offset_of!(StartBlock, envc) == 8 && offset_of!(StartBlock, exe_fd) == 12);
    assert!(offset_of!(StartBlock, exe_size) == 16 && offset_of!(StartBlock, pid) == 24);
    assert!(offset_of!(StartBlock, ppid) == 28 && offset_of!(StartBlock, uid) == 32);
    assert!(offset_of!(StartBlock, euid) == 36 && offset_of!(StartBlock, gid) == 40);
    assert!(offset_of!(StartBlock, egid) == 44 && offset_of!(StartBlock, random) == 48);
    assert!(offset_of!(StartBlock, suid) == 64 && offset_of!(StartBlock, sgid) == 68);
    assert!(offset_of!(StartBlock, pgid) == 72 && offset_of!(StartBlock, sid) == 76);
    assert!(offset_of!(StartBlock, umask) == 80 && offset_of!(StartBlock, group_count) == 84);
    assert!(offset_of!(StartBlock, limits) == 88);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let identity = Identity {
            exe_fd: 9,
            exe_size: 0x1234,
            pid: 1,
            ppid: 2,
            uid: 3,
            euid: 4,
            gid: 5,
            egid: 6,
            random: *b"0123456789abcdef",
            suid: 7,
            umask: 0o22,
            limits: [[8, 9]; LIMITS],
            groups: vec![10, 11],
            host_name: b"host".to_vec(),
            ..Identity::default()
        };
        let argv = ["./a".into(), "".into(), OsStr::from_bytes(b"\xff").into()];
        let env = [("HOME".into(), "/root".into()), ("X".into(), "a=b".into())];
        let block = block(&identity, &argv, &env, OsStr::new("/tmp/a")).unwrap();
        let word = |at: usize| u32::from_ne_bytes(block[at..at + 4].try_into().unwrap());
        let words: Vec<u32> = (0..48).step_by(4).map(word).collect();
        assert_eq!(words, [block.len() as u32, 3, 2, 9, 0x1234, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(&block[48..64], b"0123456789abcdef");
        let more: Vec<u32> = (64..88).step_by(4).map(word).collect();
        assert_eq!(more, [7, 0, 0, 0, 0o22, 2]);
        assert_eq!((word(88), word(96), word(336)), (8, 9, 9));
        assert_eq!((word(344), word(348)), (10, 11));
        assert_eq!(&block[352..], b"./a\0\0\xff\0HOME=/root\0X=a=b\0/tmp/a\0host\0");
    }
}
