// SPDX-License-Identifier: MIT OR Apache-2.0

//! read(2), write(2) and their like: the kernel works on application memory in place.
//!
//! What some file systems can't do: the isle's memory isn't Linux's, so it has no pages that could be held for a device (direct
//! I/O), a host's file system (9p without cache) or another pipe. They say EFAULT, and data goes through a buffer of the proxy.

use crate::descriptors::Kind;
use crate::perform::{Performer, buffer, error};
use crate::request::{Checked, Scatter};
use crate::shm::{Bounce, OutOfRange, Region};
use crate::sys::{self, Way};
use hermit_abi::channel::SEGMENTS;

/// Numbers of these calls.
pub mod number {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const PREAD64: u32 = 17;
    pub const PWRITE64: u32 = 18;
}

/// Where to, where from.
#[derive(Clone, Copy)]
struct Target {
    way: Way,
    fd: i32,
    position: Option<u64>,
}

impl Target {
    fn of(checked: &Checked) -> Self {
        let (way, has_position) = match checked.call.number {
            number::READ => (Way::FromFile, false),
            number::PREAD64 => (Way::FromFile, true),
            number::PWRITE64 => (Way::ToFile, true),
            _ => (Way::ToFile, false),
        };
        Self { way, fd: checked.fd(), position: has_position.then(|| checked.scalar(3)) }
    }

    fn after(self, done: u64) -> Self {
        Self { position: self.position.map(|p| p.wrapping_add(done)), ..self }
    }
}

impl Performer {
    /// One of the calls above. `bounce` is memory to use where it can't be done in place.
    pub fn transfer(&self, checked: &Checked, bounce: &mut Bounce) -> i64 {
        let target = Target::of(checked);
        let Some(scatter) = buffer(checked, 1) else {
            return sys::transfer(target.way, target.fd, &[], target.position);
        };
        let in_place = |target: Target, regions: &[Region<'_>]| {
            sys::transfer(target.way, target.fd, regions, target.position)
        };
        self.transfer_by(target, scatter, bounce, in_place)
    }

    fn transfer_by(
        &self,
        target: Target,
        scatter: &Scatter,
        bounce: &mut Bounce,
        in_place: impl Fn(Target, &[Region<'_>]) -> i64,
    ) -> i64 {
        let mut list = [Region::empty(); SEGMENTS];
        for (place, &(at, len)) in list.iter_mut().zip(&scatter.parts) {
            match self.memory.region(at, len) {
                Ok(region) => *place = region,
                Err(OutOfRange) => return error(libc::EFAULT),
            }
        }
        let result = in_place(target, list.get(..scatter.parts.len()).unwrap_or(&list));
        if result == error(libc::EFAULT) && scatter.len > 0 {
            self.bounce(target, scatter, bounce)
        } else {
            result
        }
    }

    /// Through a buffer, as much as it holds at a time.
    fn bounce(&self, target: Target, scatter: &Scatter, bounce: &mut Bounce) -> i64 {
        let kind = self.descriptors.kind(target.fd).unwrap_or(Kind::Regular);
        // A second read could wait for what never comes; a write is expected to be complete.
        let goes_on = target.way == Way::ToFile || kind != Kind::Other;
        let like = scatter.parts.first().map_or(0, |&(at, _)| at);
        let mut done: u64 = 0;
        loop {
            let want =
                usize::try_from(scatter.len.saturating_sub(done)).unwrap_or(usize::MAX).min(Bounce::LEN);
            let Ok(bytes) = bounce.bytes(like, want) else { return error(libc::ENOMEM) };
            if target.way == Way::ToFile && self.get(scatter, done, bytes).is_err() {
                return error(libc::EFAULT);
            }
            let now = target.after(done);
            let result = sys::transfer_own(now.way, now.fd, bytes, now.position);
            let Ok(moved) = usize::try_from(result) else {
                return if done == 0 { result } else { total(done) };
            };
            let read = bytes.get(..moved).unwrap_or_default();
            if target.way == Way::FromFile && self.put(scatter, done, read).is_err() {
                return error(libc::EFAULT);
            }
            done = done.saturating_add(moved as u64);
            if moved < want || done >= scatter.len || !goes_on {
                return total(done);
            }
        }
    }
}

fn total(done: u64) -> i64 {
    i64::try_from(done).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
