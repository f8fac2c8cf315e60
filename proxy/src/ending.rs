// SPDX-License-Identifier: MIT OR Apache-2.0

//! The application's end becomes the proxy's own.

use crate::failure::{FAILED, say};
use crate::sys;
use std::process::ExitCode;

/// A wait status, taken apart (wait(2)).
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    Exited(u8),
    Killed(i32),
}

impl Ending {
    /// `None` if it isn't the status of a process that has ended.
    pub fn of(status: u32) -> Option<Self> {
        const CORE_DUMPED: u32 = 0x80;
        let [low, code, ..] = status.to_le_bytes();
        if status > 0xffff {
            return None;
        }
        match u32::from(low) & !CORE_DUMPED {
            0 if u32::from(low) & CORE_DUMPED == 0 => Some(Self::Exited(code)),
            signal @ 1..=64 if code == 0 => i32::try_from(signal).ok().map(Self::Killed),
            _ => None,
        }
    }

    /// Ends the proxy likewise; returns the status to exit with where there is no other way.
    pub fn pass_on(self) -> ExitCode {
        match self {
            Self::Exited(code) => ExitCode::from(code),
            Self::Killed(signal) => {
                sys::die_of(signal);
                // Not deadly by itself; what a shell would say.
                ExitCode::from(u8::try_from(signal).map_or(FAILED, |signal| signal.wrapping_add(128)))
            }
        }
    }
}

/// Ends the proxy as the application has ended.
pub fn pass_on(status: u32) -> ExitCode {
    match Ending::of(status) {
        Some(ending) => ending.pass_on(),
        None => {
            say(&format!("the isle says that the application ended with the impossible status {status:#x}"));
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status() {
        assert_eq!(Ending::of(0), Some(Ending::Exited(0)));
        assert_eq!(Ending::of(0xff00), Some(Ending::Exited(255)));
        assert_eq!(Ending::of(11), Some(Ending::Killed(11)));
        assert_eq!(Ending::of(11 | 0x80), Some(Ending::Killed(11)));
        for garbage in [0x7f, 0x80, 0xffff, 0x10000, u32::MAX, 65, 0x0109] {
            assert_eq!(Ending::of(garbage), None, "{garbage:#x}");
        }
    }
}
