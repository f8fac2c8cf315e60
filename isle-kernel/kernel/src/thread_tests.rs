// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads and what they are told: nothing is lost, whoever is faster.

use super::*;
use crate::sched::{self, CpuMask, Registers};

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

#[test]
fn a_thread_with_one_cpu_knows_it() {
    let machine = Machine::new(program());
    let p = machine.process();
    // The tests' isle has one CPU, number 0.
    for (words, may) in [([0, 0], false), ([1, 0], true), ([2, 0], false), ([1, 1], true), ([3, 0], true)] {
        p.task.allow(CpuMask::from_words(words.into_iter()));
        assert_eq!(p.task.may_run_on(0), may, "{words:?}");
        assert_eq!(p.task.may_run_on(0), p.task.allowed().contains(0), "{words:?}");
    }
    end(p);
}

#[test]
fn a_wait_does_not_make_a_thread_forget_where_it_may_run() {
    let machine = Machine::new(program());
    let p = machine.process();
    p.task.allow(CpuMask::from_words(core::iter::empty()));
    p.task.notify();
    assert!(!p.task.is_interrupted(), "that is no reason to end a wait");
    assert!(p.task.has_attention(), "it still has to go elsewhere");
    p.task.allow(CpuMask::all());
    assert!(!p.task.is_interrupted() && !p.task.has_attention());
    p.process.end(End::exit(3));
    assert!(p.task.is_interrupted() && p.task.has_attention());
    end(p);
}

#[test]
fn a_signal_that_the_old_mask_lets_in_comes_at_once() {
    let machine = Machine::new(program());
    let mut p = machine.process();
    signal::set_blocked(&p.task, signal::bit(15));
    signal::send(&p.process, None, Info::kernel(15)).unwrap();
    // As sigsuspend(2) whose signal another thread has taken.
    p.saved_mask = Some(0);
    p.task.notify();
    assert!(p.look_around().is_err());
    assert_eq!(p.process.ending(), Some(End::signal(15)));
    end(p);
}

#[test]
fn a_signal_of_the_process_goes_to_who_still_takes_it() {
    let machine = Machine::new(program());
    let p = machine.process();
    let (a, b) = (another(&p, 77), another(&p, 78));
    let handled = signal::Action { handler: 0x1000, ..signal::Action::default() };
    p.process.signals.lock().set_action(10, Some(handled)).unwrap();
    signal::set_blocked(&a.task, signal::bit(10));
    signal::send(&p.process, None, Info::kernel(10)).unwrap();
    assert!(p.task.take_attention() && !b.task.has_attention(), "one is told");
    // It blocks it before it has looked, and the next one ends before it has.
    signal::set_blocked(&p.task, signal::bit(10));
    assert!(b.task.take_attention() && !a.task.has_attention());
    p.process.remove(&b.task);
    signal::leave(&b.task);
    assert!(!a.task.has_attention() && !p.task.has_attention(), "nobody is left");
    signal::set_blocked(&a.task, 0);
    assert!(a.task.has_attention());
    p.process.remove(&a.task);
    end(p);
}
