// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for a word of memory to change: the table behind futex(2), and robust futexes.
//!
//! A waiter looks at the word under the lock of its bucket, and so does who wakes after having changed it: none is missed.

use crate::errno::Errno;
use crate::mem::space::Space;
use crate::process::Process;
use crate::sched::{self, Task, Woken};
use crate::thread::Thread;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use spin::Mutex;

const BUCKETS: usize = 64;

struct Waiter {
    key: u64,
    bits: u32,
    task: Arc<Task>,
}

type Bucket = Mutex<VecDeque<Waiter>>;

/// Waiters: those of all threads that share memory, or those of an application's processes that share a part of theirs.
pub struct Futexes([Bucket; BUCKETS]);

impl Default for Futexes {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Mutex::new(VecDeque::new())))
    }
}

/// Where the waiters of a word wait.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    futexes: &'a Futexes,
    /// An address, or in memory that processes share what all of them call it: where in application memory it is.
    key: u64,
}

/// The place of a word. One that isn't private may be in memory that other processes see as well (futex(2)).
pub fn place(process: &Process, address: u64, is_private: bool) -> Result<Place<'_>, Errno> {
    if !is_private {
        let mut space = process.space.lock();
        // One that may be shared is looked up by what is there.
        space.load_u32(address)?;
        let backing = space.areas.at(address).and_then(|area| area.backing.as_ref());
        let is_shared = backing.is_some_and(|backing| backing.shared);
        if let Some(page) = space.tables().lookup(address).filter(|_| is_shared) {
            let within = address & (page.size.bytes() - 1);
            return Ok(Place { futexes: &process.family.futexes, key: page.offset + within });
        }
    }
    Ok(Place { futexes: &process.futexes, key: address })
}

impl Place<'_> {
    /// Wakes up to `count` waiters; returns how many.
    pub fn wake(self, count: u32, bits: u32) -> u32 {
        self.futexes.wake(self.key, count, bits)
    }

    /// Waits until somebody wakes one of `bits`, unless the word at the address isn't `value` any more.
    pub fn wait(
        self,
        me: &Arc<Task>,
        address: u64,
        value: u32,
        bits: u32,
        deadline: Option<u64>,
    ) -> Result<Woken, Errno> {
        self.futexes.wait(&me.process.space, me, (self.key, address), value, bits, deadline)
    }

    /// See [`Futexes::requeue`]. EINVAL: the two are not of the same kind.
    pub fn requeue(
        self,
        to: Self,
        space: &Mutex<Space>,
        counts: (u32, u32),
        expected: Option<(u64, u32)>,
    ) -> Result<(u32, u32), Errno> {
        if !core::ptr::eq(self.futexes, to.futexes) {
            return Err(Errno::EINVAL);
        }
        self.futexes.requeue(space, (self.key, to.key), counts, expected)
    }
}

impl Futexes {
    fn index(key: u64) -> usize {
        // Neighbours in memory go to different buckets.
        ((key >> 2) as usize) % BUCKETS
    }

    fn bucket(&self, key: u64) -> &Bucket {
        let [first, ..] = &self.0;
        self.0.get(Self::index(key)).unwrap_or(first)
    }

    /// Waits until somebody wakes one of `bits` of a key, unless the word at the address isn't `value` any more.
    fn wait(
        &self,
        space: &Mutex<Space>,
        me: &Arc<Task>,
        (key, address): (u64, u64),
        value: u32,
        bits: u32,
        deadline: Option<u64>,
    ) -> Result<Woken, Errno> {
        me.futex_woken.store(false, Ordering::SeqCst);
        {
            let mut bucket = self.bucket(key).lock();
            if space.lock().load_u32(address)? != value {
                return Err(Errno::EAGAIN);
            }
            bucket.push_back(Waiter { key, bits, task: me.clone() });
        }
        let woken = sched::wait(me, deadline, &|| me.futex_woken.load(Ordering::SeqCst));
        if woken != Woken::Ready && !self.forget(me) {
            // Woken after all, a moment ago.
            return Ok(Woken::Ready);
        }
        Ok(woken)
    }

    /// Takes a thread out of wherever it waits; false if somebody has just woken it.
    fn forget(&self, me: &Arc<Task>) -> bool {
        // It may have been moved meanwhile, and be moved again: then it was not in the first, or not yet in the last.
        loop {
            for bucket in &self.0 {
                let mut bucket = bucket.lock();
                if let Some(at) = bucket.iter().position(|w| Arc::ptr_eq(&w.task, me)) {
                    bucket.remove(at);
                    return true;
                }
            }
            if me.futex_woken.load(Ordering::SeqCst) {
                return false;
            }
        }
    }

    /// Wakes up to `count` waiters of a key; returns how many.
    fn wake(&self, key: u64, count: u32, bits: u32) -> u32 {
        let mut bucket = self.bucket(key).lock();
        wake_in(&mut bucket, key, count, bits)
    }

    /// FUTEX_CMP_REQUEUE: wakes some and makes others wait by another key, if the word at an address is what is expected;
    /// returns how many of each.
    fn requeue(
        &self,
        space: &Mutex<Space>,
        (from, to): (u64, u64),
        (wake, requeue): (u32, u32),
        expected: Option<(u64, u32)>,
    ) -> Result<(u32, u32), Errno> {
        let (a, b) = (Self::index(from), Self::index(to));
        let mut first = self.0.get(a.min(b)).ok_or(Errno::EINVAL)?.lock();
        let mut second = if a == b { None } else { self.0.get(a.max(b)).map(Mutex::lock) };
        if let Some((address, expected)) = expected {
            if space.lock().load_u32(address)? != expected {
                return Err(Errno::EAGAIN);
            }
        }
        let mut moved = VecDeque::new();
        let woken;
        {
            let source = match (&mut second, a <= b) {
                (Some(second), false) => &mut **second,
                _ => &mut *first,
            };
            woken = wake_in(source, from, wake, u32::MAX);
            let mut at = 0;
            while at < source.len() && (moved.len() as u32) < requeue {
                if source.get(at).is_some_and(|w| w.key == from) {
                    moved.extend(source.remove(at).map(|w| Waiter { key: to, ..w }));
                } else {
                    at += 1;
                }
            }
        }
        let count = moved.len() as u32;
        let target = match (&mut second, a <= b) {
            (Some(second), true) => &mut **second,
            _ => &mut *first,
        };
        target.append(&mut moved);
        Ok((woken, count))
    }
}

/// FUTEX_WAKE_OP: changes the word at `address`, wakes waiters of `first`, and those of `second`, which is that word's place, if its
/// old value compares as `operation` says.
pub fn wake_op(
    space: &Mutex<Space>,
    (first, second): (Place<'_>, Place<'_>),
    address: u64,
    (count, count2): (u32, u32),
    operation: u32,
) -> Result<u32, Errno> {
    let (code, compare) = ((operation >> 28) & 7, (operation >> 24) & 15);
    // Both arguments are 12 bits with a sign.
    let signed = |bits: u32| ((bits << 20) as i32 >> 20) as u32;
    let (mut argument, other) = (signed(operation >> 12), signed(operation));
    if operation >> 31 != 0 {
        argument = 1 << (argument & 31);
    }
    if code > 4 || compare > 5 {
        return Err(Errno::ENOSYS);
    }
    let old = space.lock().update_u32(address, |old| match code {
        0 => argument,
        1 => old.wrapping_add(argument),
        2 => old | argument,
        3 => old & !argument,
        _ => old ^ argument,
    })?;
    let mut woken = first.wake(count, u32::MAX);
    let (a, b) = (old as i32, other as i32);
    let holds = match compare {
        0 => a == b,
        1 => a != b,
        2 => a < b,
        3 => a <= b,
        4 => a > b,
        _ => a >= b,
    };
    if holds {
        woken += second.wake(count2, u32::MAX);
    }
    Ok(woken)
}

fn wake_in(bucket: &mut VecDeque<Waiter>, key: u64, count: u32, bits: u32) -> u32 {
    let mut woken = 0;
    let mut at = 0;
    while woken < count && at < bucket.len() {
        if bucket.get(at).is_some_and(|w| w.key == key && w.bits & bits != 0) {
            let waiter = if at == 0 { bucket.pop_front() } else { bucket.remove(at) };
            if let Some(waiter) = waiter {
                waiter.task.futex_woken.store(true, Ordering::SeqCst);
                sched::wake(&waiter.task);
            }
            woken += 1;
        } else {
            at += 1;
        }
    }
    woken
}

/// Bits of a robust futex (linux/futex.h).
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const TID_MASK: u32 = 0x3fff_ffff;
/// Longest list that is followed, as on Linux.
const ROBUST_LIST_LIMIT: usize = 2048;

/// Marks the futexes that a thread still holds at its end, and wakes who waits for them
/// (Documentation/locking/robust-futex-ABI.rst).
pub fn exit_robust(thread: &Thread) {
    let head = thread.robust_list;
    let is_for_nobody = || thread.process.ending().is_some() && thread.process.family.is_alone();
    if head == 0 || is_for_nobody() {
        return;
    }
    // A list that leads nowhere is the application's own affair.
    let _ = follow(thread, head);
}

fn follow(thread: &Thread, head: u64) -> Result<(), Errno> {
    let [first, offset, pending] = thread.memory().read_words(head)?;
    // The lowest bit of a pointer says that it is a PI futex.
    let lock_of = |entry: u64| (entry & !1).wrapping_add(offset);
    let mut entry = first;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head || entry & !1 == 0 {
            break;
        }
        // The next one first: who is woken may reuse this one.
        let next = thread.memory().read_u64(entry & !1);
        if entry & !1 != pending & !1 {
            mark(thread, lock_of(entry))?;
        }
        entry = next?;
    }
    if pending & !1 != 0 {
        mark(thread, lock_of(pending))?;
    }
    Ok(())
}

fn mark(thread: &Thread, address: u64) -> Result<(), Errno> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let tid = thread.process.tid_of(&thread.task);
    thread.memory().read_u32(address)?;
    let place = place(&thread.process, address, false)?;
    let mark = |old: u32| match old & TID_MASK == tid {
        true => (old & WAITERS) | OWNER_DIED,
        false => old,
    };
    let old = thread.memory().access(|space| space.update_u32(address, mark))?;
    if old & TID_MASK == tid && old & WAITERS != 0 {
        place.wake(1, u32::MAX);
    }
    Ok(())
}
