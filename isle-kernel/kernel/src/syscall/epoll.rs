// SPDX-License-Identifier: MIT OR Apache-2.0

//! epoll(7). The sets are the proxy's, as most of what they can watch; what the isle keeps is watched here.

use super::{nr, open, signal, time, Outcome};
use crate::errno::{Errno, Fail};
use crate::fd::{File, Kind};
use crate::kept::{event, Kept, Member, Watch, Watched};
use crate::mem::access::element;
use crate::sched::{self, Task, Woken};
use crate::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hermit_plat::abi::offload::EPOLL_EVENT;
use hermit_plat::time::monotonic_ns;

pub fn epoll_create(t: &mut Thread, [size, ..]: [u64; 6]) -> Outcome {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    epoll_create1(t, [0; 6])
}

pub fn epoll_create1(t: &mut Thread, a: [u64; 6]) -> Outcome {
    open::new_file(t, a[0] as u32, |t| t.forward(nr::__NR_epoll_create1, a), File::epoll)
}

pub fn epoll_ctl(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let [set, operation, fd, at, ..] = a;
    let operation = operation as u32;
    let mut bytes = [0; EPOLL_EVENT as usize];
    if operation != nr::EPOLL_CTL_DEL {
        t.memory().read(at, &mut bytes)?;
    }
    let set = t.files().get(set)?.clone();
    let file = t.files().get(fd)?.clone();
    let Kind::Kept(kept) = &file.kind else {
        if let Kind::Epoll(_, watched) = &set.kind {
            if !watched.has_remote.swap(true, Ordering::SeqCst) {
                watched.notice.tell();
            }
        }
        return t.forward(nr::__NR_epoll_ctl, a);
    };
    if !kept.can_wait() {
        return Err(Errno::EPERM.into());
    }
    let Kind::Epoll(_, Watched { list: members, notice, .. }) = &set.kind else { return Err(Errno::EINVAL.into()) };
    let (events, data) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
    let data = data.first_chunk().map_or(0, |d| u64::from_le_bytes(*d));
    let new = Member {
        fd: fd as u32,
        file: Arc::downgrade(&file),
        events: u32::from_le_bytes(*events),
        data,
        is_told: false,
        edges: None,
    };
    let mut members = members.lock();
    let is_same = |m: &Member| m.fd == new.fd && m.file.ptr_eq(&new.file);
    let place = members.iter().position(is_same);
    match (operation, place) {
        (nr::EPOLL_CTL_ADD, Some(_)) => return Err(Errno::EEXIST.into()),
        (nr::EPOLL_CTL_ADD, None) => crate::mem::push(&mut members, new)?,
        (nr::EPOLL_CTL_DEL | nr::EPOLL_CTL_MOD, None) => return Err(Errno::ENOENT.into()),
        (nr::EPOLL_CTL_DEL, Some(at)) => drop(members.remove(at)),
        (nr::EPOLL_CTL_MOD, Some(at)) => {
            if let Some(member) = members.get_mut(at) {
                *member = new;
            }
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    drop(members);
    // Whoever waits doesn't know of it yet.
    notice.tell();
    Ok(0)
}

pub fn epoll_wait(t: &mut Thread, [set, events, count, timeout_ms, ..]: [u64; 6]) -> Outcome {
    let timeout = u64::try_from(timeout_ms as i32).ok().map(|ms| ms * 1_000_000);
    wait(t, set, events, count, timeout)
}

pub fn epoll_pwait(t: &mut Thread, a: [u64; 6]) -> Outcome {
    signal::with_mask(t, a[4], a[5], |t| epoll_wait(t, a))
}

pub fn epoll_pwait2(t: &mut Thread, a: [u64; 6]) -> Outcome {
    let timeout = if a[3] == 0 { None } else { Some(time::read_timespec(t, a[3])?) };
    signal::with_mask(t, a[4], a[5], |t| wait(t, a[0], a[1], a[2], timeout))
}

fn wait(t: &mut Thread, set: u64, events: u64, count: u64, timeout: Option<u64>) -> Outcome {
    if count as i32 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = t.files().get(set)?.clone();
    let Kind::Epoll(_, watched) = &file.kind else { return Err(Errno::EINVAL.into()) };
    let end = timeout.map(|ns| monotonic_ns().saturating_add(ns));
    loop {
        crate::net::poll();
        let task = t.task.clone();
        let members = watched.members();
        let kept = || members.iter().filter_map(|(_, file)| kept_of(file));
        let watch = Watch::begin(&task, kept(), Some(&watched.notice));
        let found = look(t, watched, count);
        for (index, (found, data)) in (0..).zip(&found) {
            let at = element(events, index, EPOLL_EVENT.into())?;
            t.memory().write(at, &found.to_le_bytes())?;
            t.memory().write(at.wrapping_add(4), &data.to_le_bytes())?;
        }
        let done = found.len() as u64;
        let rest = if done > 0 { Some(0) } else { end.map(|end| end.saturating_sub(monotonic_ns())) };
        let timeout_ms = rest.map_or(u64::MAX, |ns| ns.div_ceil(1_000_000).min(i32::MAX as u64));
        let has_remote = watched.has_remote.load(Ordering::Relaxed);
        let result = if done < count && !has_remote {
            wait_here(&task, rest)
        } else if done < count {
            let at = element(events, done, EPOLL_EVENT.into())?;
            t.forward(nr::__NR_epoll_wait, [set, at, count - done, timeout_ms, 0, 0])
        } else {
            Ok(0)
        };
        let is_stirred = task.is_stirred();
        drop(watch);
        match result {
            Ok(more) => return Ok(done + more),
            Err(_) if done > 0 => return Ok(done),
            // What the isle keeps is looked at once more.
            Err(Fail::Restart) if is_stirred => {}
            // Never begun again after a handler (signal(7)).
            Err(Fail::Restart) => return Err(Errno::EINTR.into()),
            Err(fail) => return Err(fail),
        }
    }
}

/// Waits for what the isle keeps, where that is all: whatever is new stirs the thread.
fn wait_here(task: &Arc<Task>, rest: Option<u64>) -> Outcome {
    match sched::wait(task, rest.map(|ns| monotonic_ns().saturating_add(ns)), &|| false) {
        Woken::TimedOut => Ok(0),
        Woken::Ready | Woken::Interrupted => Err(Fail::Restart),
    }
}

fn kept_of(file: &File) -> Option<&Kept> {
    match &file.kind {
        Kind::Kept(kept) => Some(kept),
        _ => None,
    }
}

/// What there is of what the isle keeps: events and data, of at most `most` members.
fn look(t: &Thread, watched: &Watched, most: u64) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    let mut members = watched.list.lock();
    for member in members.iter_mut() {
        let Some(file) = member.file.upgrade() else { continue };
        let Some(kept) = kept_of(&file) else { continue };
        let wanted = member.events as u16 | event::ERR | event::HUP;
        let edges = kept.edges().filter(|_| member.events & nr::EPOLLET != 0);
        let ready = kept.readiness(&t.task) & wanted;
        let is_once = member.events & (nr::EPOLLONESHOT | nr::EPOLLET) != 0;
        let is_oneshot = member.events & nr::EPOLLONESHOT != 0;
        if edges.is_some() && edges != member.edges && !is_oneshot {
            member.is_told = false;
        }
        if ready == 0 {
            // EPOLLET: what comes next is news.
            member.is_told &= member.events & nr::EPOLLONESHOT != 0;
        } else if !member.is_told && (found.len() as u64) < most {
            member.is_told = is_once;
            member.edges = edges;
            found.push((ready.into(), member.data));
        }
    }
    found
}
