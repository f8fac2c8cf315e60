// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads and what they are told: nothing is lost, whoever is faster.

use super::*;
use crate::sched::{self, Registers};

/// Another thread of a process, which never runs.
fn another(p: &Thread, tid: u32) -> Box<Thread> {
    let thread = p.another(p.context.clone(), Registers::new().unwrap(), tid).unwrap();
    assert!(p.process.add(&thread.task));
    thread
}

#[test]
fn nobody_wakes_a_thread_that_has_not_been_started() {
    let machine = Machine::new(program());
    let p = machine.process();
    let new = another(&p, 77);
    // As tgkill(2) does it: it would be in two queues once it is started.
    new.task.notify();
    assert!(!sched::wake(&new.task));
    assert!(new.task.has_attention(), "it looks for itself");
    p.process.remove(&new.task);
    end(p);
}
