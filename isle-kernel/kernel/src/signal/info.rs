// SPDX-License-Identifier: MIT OR Apache-2.0

//! siginfo_t: what is known about a signal (sigaction(2)).

use crate::errno::Errno;

/// Bytes of a siginfo_t.
pub const LEN: usize = 128;

/// SI_USER, SI_QUEUE, SI_TIMER, SI_TKILL, SI_KERNEL.
pub mod code {
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const TIMER: i32 = -2;
    pub const TKILL: i32 = -6;
}

/// What is known about a signal. The words are those of the union behind the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub signal: u32,
    pub code: i32,
    pub errno: i32,
    pub words: [u64; 3],
}

impl Info {
    /// A fault, and the address that it is about.
    pub fn fault(signal: u32, code: i32, address: u64) -> Self {
        Self { signal, code, errno: 0, words: [address, 0, 0] }
    }

    /// Sent by the kernel, which has no more to say.
    pub fn kernel(signal: u32) -> Self {
        Self { signal, code: code::KERNEL, ..Self::default() }
    }

    /// Sent by a process: its number and user.
    pub fn user(signal: u32, code: i32, pid: u32, uid: u32) -> Self {
        Self { signal, code, errno: 0, words: [u64::from(pid) | u64::from(uid) << 32, 0, 0] }
    }

    /// A child has ended, with this wait status.
    pub fn child(signal: u32, pid: u32, uid: u32, status: u32) -> Self {
        const EXITED: i32 = 1;
        const KILLED: i32 = 2;
        let (code, value) = match status & 0x7f {
            0 => (EXITED, status >> 8 & 0xff),
            signal => (KILLED, signal),
        };
        Self { code, words: [u64::from(pid) | u64::from(uid) << 32, value.into(), 0], ..Self::kernel(signal) }
    }

    /// A timer has expired (timer_create(2)).
    pub fn timer(signal: u32, id: u32, overrun: u32, value: u64) -> Self {
        let words = [u64::from(id) | u64::from(overrun) << 32, value, 0];
        Self { signal, code: code::TIMER, errno: 0, words }
    }

    /// The number of the timer that it is from.
    pub fn timer_id(&self) -> Option<u32> {
        (self.code == code::TIMER).then_some(self.words[0] as u32)
    }

    /// How often that timer has expired besides.
    pub fn overrun(&self) -> u32 {
        (self.words[0] >> 32) as u32
    }

    /// It has expired once more, and missed `more`; returns the overruns then.
    pub fn overrun_more(&mut self, more: u32) -> u32 {
        let overrun = self.overrun().saturating_add(more).saturating_add(1).min(i32::MAX as u32);
        self.words[0] = u64::from(self.words[0] as u32) | u64::from(overrun) << 32;
        overrun
    }

    /// As a handler sees it.
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let head = [self.signal, self.errno as u32, self.code as u32, 0];
        let words = self.words.iter().flat_map(|w| w.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(head.iter().flat_map(|w| w.to_le_bytes()).chain(words)) {
            *to = from;
        }
        bytes
    }

    /// As rt_sigqueueinfo(2) is given it; a code that only kernels use is refused.
    pub fn from_words(signal: u32, words: [u64; 5]) -> Result<Self, Errno> {
        let [first, second, rest @ ..] = words;
        let code = second as i32;
        if code >= 0 || code == code::TKILL {
            return Err(Errno::EPERM);
        }
        Ok(Self { signal, code, errno: (first >> 32) as i32, words: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_linux_has_them() {
        let bytes = Info::fault(11, 2, 0x1122_3344_5566).to_bytes();
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[21]), (11, 2, 0x66, 0x11));
        let bytes = Info::user(10, code::TKILL, 7, 8).to_bytes();
        assert_eq!((bytes[16], bytes[20]), (7, 8));
        assert_eq!(i32::from_le_bytes(bytes[8..12].try_into().unwrap()), -6);
        let bytes = Info::child(17, 7, 8, 9 << 8).to_bytes();
        assert_eq!((bytes[8], bytes[16], bytes[20], bytes[24]), (1, 7, 8, 9));
        let bytes = Info::child(17, 7, 8, 15).to_bytes();
        assert_eq!((bytes[8], bytes[24]), (2, 15));
    }
}
