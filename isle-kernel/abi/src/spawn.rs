// SPDX-License-Identifier: MIT OR Apache-2.0

//! What [`super::offload::special::SPAWN`] is given: a command to run on Linux beside the proxy.
//!
//! One buffer, without gaps: a [`SpawnBlock`], then `pairs` times a [`Pair`], then strings, each ended by a NUL: the
//! path, `argc` arguments, `envc` variables of the environment.
//!
//! The command begins as after execve(2): signals that are in `ignored` are ignored, all others have their default
//! action, and its open descriptors are those of the pairs and no others.

/// Longest block in bytes. Linux takes at most 6 MiB of arguments and environment (fs/exec.c, `bprm_stack_limits`).
pub const MAX_LEN: u32 = 8 << 20;

/// Values of [`SpawnBlock::flags`], to be or'ed.
pub mod flag {
    /// The command leads a new session: setsid(2).
    pub const NEW_SESSION: u32 = 1;
    /// The command's process group is set to [`super::SpawnBlock::pgroup`]: setpgid(2).
    pub const SET_PGROUP: u32 = 2;
    pub const ALL: u32 = NEW_SESSION | SET_PGROUP;
}

/// Value of [`SpawnBlock::cwd`]: the working directory is the proxy's own.
pub const PROXYS_CWD: i32 = -1;

/// Highest value of [`SpawnBlock::umask`].
pub const MAX_UMASK: u32 = 0o777;

/// How the block begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpawnBlock {
    /// Length of it all in bytes.
    pub len: u32,
    pub argc: u32,
    pub envc: u32,
    /// How many [`Pair`]s there are.
    pub pairs: u32,
    /// The proxy's descriptor of the working directory, or [`PROXYS_CWD`].
    pub cwd: i32,
    pub umask: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Linux's number of the process group; 0: a new one, which the command leads.
    pub pgroup: i32,
    /// Blocked signals: bit `n - 1` is signal `n`.
    pub blocked: u64,
    /// Ignored signals, likewise.
    pub ignored: u64,
}

/// A descriptor of the command.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Its number there; no two pairs have the same.
    pub child: i32,
    /// What it is here: a descriptor of the proxy, as in other calls.
    pub proxy: i32,
}

/// Bytes of the header.
pub const HEADER_LEN: usize = core::mem::size_of::<SpawnBlock>();

/// Bytes of a pair.
pub const PAIR_LEN: usize = core::mem::size_of::<Pair>();

const fn low(value: u64) -> u32 {
    (value & u32::MAX as u64) as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The words of a layout, which has no padding, as bytes and back.
fn to_bytes(words: &[u32], bytes: &mut [u8]) {
    for (word, place) in words.iter().zip(bytes.chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

fn to_words(bytes: &[u8], words: &mut [u32]) {
    for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        if let [a, b, c, d] = *place {
            *word = u32::from_le_bytes([a, b, c, d]);
        }
    }
}

impl SpawnBlock {
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let Self { len, argc, envc, pairs, cwd, umask, flags, pgroup, blocked, ignored } = *self;
        let words = [len, argc, envc, pairs, cwd as u32, umask, flags, pgroup as u32];
        let sets = [low(blocked), high(blocked), low(ignored), high(ignored)];
        let mut bytes = [0; HEADER_LEN];
        let (head, tail) = bytes.split_at_mut(32);
        to_bytes(&words, head);
        to_bytes(&sets, tail);
        bytes
    }

    /// What these bytes say, right or wrong.
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let mut words = [0; HEADER_LEN / 4];
        to_words(bytes, &mut words);
        let [len, argc, envc, pairs, cwd, umask, flags, pgroup, b0, b1, i0, i1] = words;
        let (cwd, pgroup) = (cwd as i32, pgroup as i32);
        Self { len, argc, envc, pairs, cwd, umask, flags, pgroup, blocked: join(b0, b1), ignored: join(i0, i1) }
    }
}

impl Pair {
    pub fn to_bytes(&self) -> [u8; PAIR_LEN] {
        let mut bytes = [0; PAIR_LEN];
        to_bytes(&[self.child as u32, self.proxy as u32], &mut bytes);
        bytes
    }

    /// What these bytes say, right or wrong.
    pub fn from_bytes(bytes: &[u8; PAIR_LEN]) -> Self {
        let mut words = [0; PAIR_LEN / 4];
        to_words(bytes, &mut words);
        let [child, proxy] = words;
        Self { child: child as i32, proxy: proxy as i32 }
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(HEADER_LEN == 48 && PAIR_LEN == 8);
    // The order in which `to_bytes` writes the fields.
    assert!(offset_of!(SpawnBlock, len) == 0 && offset_of!(SpawnBlock, argc) == 4);
    assert!(offset_of!(SpawnBlock, envc) == 8 && offset_of!(SpawnBlock, pairs) == 12);
    assert!(offset_of!(SpawnBlock, cwd) == 16 && offset_of!(SpawnBlock, umask) == 20);
    assert!(offset_of!(SpawnBlock, flags) == 24 && offset_of!(SpawnBlock, pgroup) == 28);
    assert!(offset_of!(SpawnBlock, blocked) == 32 && offset_of!(SpawnBlock, ignored) == 40);
    assert!(offset_of!(Pair, child) == 0 && offset_of!(Pair, proxy) == 4);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let block = SpawnBlock {
            len: 1,
            argc: 2,
            envc: 3,
            pairs: 4,
            cwd: -5,
            umask: 6,
            flags: 7,
            pgroup: -8,
            blocked: 0x0102_0304_0506_0708,
            ignored: 0xf9fa_fbfc_fdfe_ff00,
        };
        let bytes = block.to_bytes();
        assert_eq!(SpawnBlock::from_bytes(&bytes), block);
        let (words, sets) = bytes.split_at(32);
        let word = |at: u32| words.chunks(4).nth(at as usize).unwrap().try_into().map(i32::from_ne_bytes).unwrap();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(word), [1, 2, 3, 4, -5, 6, 7, -8]);
        assert_eq!(sets, [8, 7, 6, 5, 4, 3, 2, 1, 0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9]);
        let pair = Pair { child: 1, proxy: -2 };
        assert_eq!(pair.to_bytes(), [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(Pair::from_bytes(&pair.to_bytes()), pair);
    }
}
