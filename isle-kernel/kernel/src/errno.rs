// SPDX-License-Identifier: MIT OR Apache-2.0

//! Linux's error numbers, and why a system call doesn't return a value.

use linux_raw_sys::errno;

/// An error number of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(u16);

macro_rules! numbers {
    ($($name:ident)*) => {
        impl Errno {
            $(pub const $name: Self = Self(errno::$name as u16);)*
        }
    };
}

numbers! {
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBUSY ECHILD ECONNREFUSED ECONNRESET EDESTADDRREQ
    EEXIST EFAULT EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMSGSIZE ENAMETOOLONG ENETUNREACH ENODEV ENOENT ENOEXEC
    ENOMEM ENOPROTOOPT ENOSYS ENOTCONN ENOTDIR ENOTSOCK ENOTTY ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTONOSUPPORT ERANGE EROFS
    ESOCKTNOSUPPORT ESPIPE ESRCH ETIMEDOUT
}

impl Errno {
    /// Never seen outside: memory has to be read from a file first, see [`crate::mem::space::Space::missing`].
    pub const MISSING: Self = Self(u16::MAX);

    /// From a forwarded call's result below zero; nonsense becomes EIO.
    pub fn from_result(result: i64) -> Self {
        match result.checked_neg().and_then(|n| u16::try_from(n).ok()) {
            Some(number @ 1..=4095) => Self(number),
            _ => Self::EIO,
        }
    }

    /// As a system call returns it.
    pub fn as_result(self) -> u64 {
        debug_assert!(self != Self::MISSING);
        (-i64::from(self.0)) as u64
    }
}

/// The application is to end, with this wait status (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End(pub u32);

impl End {
    /// Exit with a code.
    pub fn exit(code: u8) -> Self {
        Self(u32::from(code) << 8)
    }

    /// Death by a signal.
    pub fn signal(number: u32) -> Self {
        Self(number & 0x7f)
    }
}

/// Why a system call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// It returns an error.
    Errno(Errno),
    /// A signal has interrupted it: it is made again, or returns EINTR, as the signal's action says.
    Restart,
    /// The thread ends.
    Ended,
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_below_zero_are_checked() {
        assert_eq!(Errno::from_result(-2), Errno::ENOENT);
        assert_eq!(Errno::from_result(-4096), Errno::EIO);
        assert_eq!(Errno::from_result(i64::MIN), Errno::EIO);
        assert_eq!(Errno::from_result(7), Errno::EIO);
        assert_eq!(Errno::ENOENT.as_result() as i64, -2);
    }
}
