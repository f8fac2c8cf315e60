// SPDX-License-Identifier: MIT OR Apache-2.0

//! How the application begins: `offload::StartBlock`, arguments, environment, the program's path.

use hermit_abi::offload::StartBlock;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The block's numbers but for its length.
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
    let len = size_of::<StartBlock>().checked_add(strings.len())?;
    let Identity { exe_fd, exe_size, pid, ppid, uid, euid, gid, egid, random } = *identity;
    let mut block = Vec::with_capacity(len);
    for word in [len.try_into().ok()?, argv.len().try_into().ok()?, env.len().try_into().ok()?, exe_fd] {
        block.extend_from_slice(&u32::to_ne_bytes(word));
    }
    block.extend_from_slice(&exe_size.to_ne_bytes());
    for word in [pid, ppid, uid, euid, gid, egid] {
        block.extend_from_slice(&word.to_ne_bytes());
    }
    block.extend_from_slice(&random);
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
        };
        let argv = ["./a".into(), "".into(), OsStr::from_bytes(b"\xff").into()];
        let env = [("HOME".into(), "/root".into()), ("X".into(), "a=b".into())];
        let block = block(&identity, &argv, &env, OsStr::new("/tmp/a")).unwrap();
        let word = |at: usize| u32::from_ne_bytes(block[at..at + 4].try_into().unwrap());
        let words: Vec<u32> = (0..48).step_by(4).map(word).collect();
        assert_eq!(words, [block.len() as u32, 3, 2, 9, 0x1234, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(&block[48..64], b"0123456789abcdef");
        assert_eq!(&block[64..], b"./a\0\0\xff\0HOME=/root\0X=a=b\0/tmp/a\0");
    }
}
