// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls that Linux performs: a request in the application's channel, a doorbell, and a wait.

use crate::app::App;
use crate::space::{Result, Space};
use core::sync::atomic::Ordering;
use hermit_abi::channel::{state, Channel, Request, SEGMENTS};
use hermit_abi::offload::{self, Arg, Call};
use hermit_plat::paging::Access;
use hermit_plat::{apic, cpu, frames, info};
use linux_raw_sys::errno::{EFAULT, EINTR, EINVAL, EIO, ENOSYS};
use linux_raw_sys::general::PATH_MAX;

/// How often to look for the answer before the CPU halts.
const SPINS: u32 = 2_000;

/// A part of the application's memory that goes with a request.
struct Segments<'a> {
    request: &'a Request,
    count: usize,
}

impl Segments<'_> {
    /// Adds physical memory; joined with the one before where it continues it. `false`: no room.
    fn add(&mut self, address: u64, len: u64) -> Result<bool> {
        let (offset, _) = frames::pool_offset(address).ok_or(EFAULT)?;
        if let Some(last) = self.count.checked_sub(1).and_then(|i| self.request.segments.get(i)) {
            let (start, had) = (last.offset.load(Ordering::Relaxed), last.len.load(Ordering::Relaxed));
            // Neighbours in the pool are neighbours in memory only inside a range, which both sides map alike.
            if start + had == offset {
                last.len.store(had + len, Ordering::Relaxed);
                return Ok(true);
            }
        }
        let Some(segment) = self.request.segments.get(self.count) else { return Ok(false) };
        segment.offset.store(offset, Ordering::Relaxed);
        segment.len.store(len, Ordering::Relaxed);
        self.count += 1;
        Ok(true)
    }

    /// Adds a range of the application's memory; returns how much of it found room, or could be accessed.
    fn add_range(&mut self, space: &mut Space, address: u64, len: u64, need: Access) -> Result<u64> {
        let mut added = 0;
        let result = space.pieces(address, len, need, |at, n| {
            if !self.add(at, n)? {
                // No more room: an error ends the walk, and isn't one.
                return Err(0);
            }
            added += n;
            Ok(())
        });
        match result {
            Err(e) if e != 0 && added == 0 => Err(e),
            _ => Ok(added),
        }
    }
}

const READ: Access = Access { read: true, write: false, execute: false };

/// Performs a call with its arguments as the application passed them.
pub fn call(app: &mut App, number: u32, args: [u64; 6]) -> Result<u64> {
    let call = offload::find(number, args[1]).ok_or(ENOSYS)?;
    let mut remote = args;
    for (arg, (kind, value)) in remote.iter_mut().zip(call.args.iter().zip(args)) {
        match kind {
            Arg::Fd => *arg = app.files.remote(value as i32)? as u64,
            Arg::DirFd if value as i32 != AT_FDCWD => *arg = app.files.remote(value as i32)? as u64,
            _ => {}
        }
    }
    perform(app, &call, remote)
}

pub const AT_FDCWD: i32 = -100;

/// Performs a call whose descriptors are already the proxy's.
pub fn perform(app: &mut App, call: &Call, args: [u64; 6]) -> Result<u64> {
    let channel = app.channel();
    let request = free_request(channel)?;
    let mut segments = Segments { request, count: 0 };
    for (i, kind) in call.args.iter().enumerate() {
        let value = args.get(i).copied().unwrap_or(0);
        let (len, need, short) = match *kind {
            Arg::Path if value == 0 => return Err(EFAULT),
            Arg::Path => (app.space.string_len(value, PATH_MAX.into())?, READ, false),
            Arg::In(n) => (args.get(usize::from(n)).copied().unwrap_or(0), READ, true),
            Arg::Out(n) => (args.get(usize::from(n)).copied().unwrap_or(0), Access::READ_WRITE, true),
            Arg::OutStruct(n) => (n.into(), Access::READ_WRITE, false),
            Arg::InStruct(n) => (n.into(), READ, false),
            _ => {
                put(request, i, value, 0);
                continue;
            }
        };
        let len = len.min(MAX_TRANSFER);
        let added = segments.add_range(&mut app.space, value, len, need)?;
        if added < len && !short {
            return Err(EFAULT);
        }
        put(request, i, u64::from(value != 0), added);
    }
    // Where a length says how long a buffer is, it says what went with the request.
    for (i, kind) in call.args.iter().enumerate() {
        if let Arg::In(n) | Arg::Out(n) = *kind {
            let len = request.lens.get(i).map_or(0, |l| l.load(Ordering::Relaxed));
            if let Some(arg) = request.args.get(usize::from(n)) {
                arg.store(len, Ordering::Relaxed);
            }
        }
    }
    let count = segments.count;
    post(app, request, call, count)
}

/// Reads into, or writes from, several ranges of the application's memory as one transfer.
pub fn transfer(app: &mut App, write: bool, fd: i32, ranges: &[(u64, u64)], at: Option<u64>) -> Result<u64> {
    let remote = app.files.remote(fd)?;
    let number = match (write, at.is_some()) {
        (false, false) => 0,
        (true, false) => 1,
        (false, true) => 17,
        (true, true) => 18,
    };
    let call = offload::find(number, 0).ok_or(ENOSYS)?;
    let need = if write { READ } else { Access::READ_WRITE };
    let channel = app.channel();
    let request = free_request(channel)?;
    let mut segments = Segments { request, count: 0 };
    let mut total = 0;
    for &(address, len) in ranges {
        let len = len.min(MAX_TRANSFER - total);
        let added = match segments.add_range(&mut app.space, address, len, need) {
            Ok(added) => added,
            // What could be accessed before counts.
            Err(_) if total > 0 => break,
            Err(e) => return Err(e),
        };
        total += added;
        if added < len || total == MAX_TRANSFER {
            break;
        }
    }
    put(request, 0, remote as u64, 0);
    put(request, 1, 1, total);
    put(request, 2, total, 0);
    put(request, 3, at.unwrap_or(0), 0);
    let count = segments.count;
    post(app, request, &call, count)
}

/// Linux transfers at most this much in one call (MAX_RW_COUNT).
const MAX_TRANSFER: u64 = 0x7fff_f000;

fn put(request: &Request, index: usize, value: u64, len: u64) {
    if let (Some(arg), Some(l)) = (request.args.get(index), request.lens.get(index)) {
        arg.store(value, Ordering::Relaxed);
        l.store(len, Ordering::Relaxed);
    }
}

fn free_request(channel: &'static Channel) -> Result<&'static Request> {
    let request = channel.requests.iter().find(|r| r.state.load(Ordering::Acquire) == state::FREE).ok_or(EIO)?;
    // Nothing of its last use may be taken for this one's.
    (0..request.args.len()).for_each(|i| put(request, i, 0, 0));
    Ok(request)
}

fn post(app: &App, request: &Request, call: &Call, segments: usize) -> Result<u64> {
    debug_assert!(segments <= SEGMENTS);
    cpu::count(&cpu::this().offloads);
    request.number.store(call.number, Ordering::Relaxed);
    request.segment_count.store(segments as u32, Ordering::Relaxed);
    request.sleeping.store(0, Ordering::Relaxed);
    request.tid.store(app.pid(), Ordering::Relaxed);
    request.state.store(state::POSTED, Ordering::Release);
    let slot = info::apps().get(app.slot()).ok_or(EIO)?;
    slot.attention.store(1, Ordering::SeqCst);
    apic::ring_doorbell();
    if !wait(app, request) {
        // The application ends; the request stays with the proxy, whose mapping ends too.
        return Err(EINTR);
    }
    let result = request.result.load(Ordering::Acquire);
    request.state.store(state::FREE, Ordering::Release);
    check_result(request, call, result)
}

/// A result is untrusted: no errno that isn't one, and no more bytes than there was room for.
fn check_result(request: &Request, call: &Call, result: i64) -> Result<u64> {
    if result < 0 {
        return Err(if result >= -4095 { -result as u32 } else { EIO });
    }
    let room = call.args.iter().zip(&request.lens).find_map(|(kind, len)| match kind {
        Arg::In(_) | Arg::Out(_) => Some(len.load(Ordering::Relaxed)),
        _ => None,
    });
    match room {
        Some(room) if result as u64 > room => Err(EIO),
        _ if call.makes_fd && result > i32::MAX.into() => Err(EIO),
        _ => Ok(result as u64),
    }
}

/// Waits for the answer. `false`: the application has to end first.
fn wait(app: &App, request: &Request) -> bool {
    let done = || request.state.load(Ordering::SeqCst) == state::DONE;
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    request.sleeping.store(1, Ordering::SeqCst);
    loop {
        if done() {
            return true;
        }
        if app.must_end() {
            return false;
        }
        cpu::wait_unless(|| done() || app.must_end());
    }
}

/// Closes one of the proxy's descriptors.
pub fn close_remote(app: &mut App, remote: i32) -> Result<u64> {
    let call = offload::find(3, 0).ok_or(ENOSYS)?;
    perform(app, &call, [remote as u64, 0, 0, 0, 0, 0])
}

/// Performs a call that makes a descriptor, and gives it a number here.
pub fn open(app: &mut App, number: u32, args: [u64; 6], close_on_exec: bool) -> Result<u64> {
    let remote = call(app, number, args)?;
    let remote = i32::try_from(remote).map_err(|_| EINVAL)?;
    match app.files.add(remote, close_on_exec) {
        Ok(fd) => Ok(fd as u64),
        Err(full) => {
            close_remote(app, full.0)?;
            Err(linux_raw_sys::errno::EMFILE)
        }
    }
}
