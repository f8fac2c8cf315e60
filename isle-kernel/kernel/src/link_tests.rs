// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls that are made although their process ends, and requests that nobody waits for any more.

use super::*;
use crate::errno::Fail;
use crate::link::Call;
use hermit_plat::abi::channel::REQUESTS;
use std::time::Duration;

fn close_call(fd: u64) -> Call {
    Call { number: nr::__NR_close, args: [fd, 0, 0, 0, 0, 0], ..Call::default() }
}

#[test]
fn calls_to_the_end_outlive_signals_and_the_end() {
    let machine = Machine::new(program());
    let p = machine.process();
    p.process.end(End::exit(3));
    machine.proxy.script().hang = Some(nr::__NR_close);
    assert_eq!(p.process.link.call(&p.task, &close_call(70)), Err(Fail::Ended));
    machine.proxy.script().hang = None;
    assert_eq!(p.process.link.call_to_the_end(&p.task, &close_call(77)), Ok(0));
    assert!(machine.proxy.script().closed.contains(&77));
    end(p);
    machine.reset();
}

#[test]
fn abandoned_calls_end_at_once() {
    let machine = Machine::new(program());
    let p = machine.process();
    machine.proxy.script().hang = Some(nr::__NR_close);
    let process = p.process.clone();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        process.end(End::signal(9));
        std::thread::sleep(Duration::from_millis(30));
        process.link.abandon();
    });
    assert_eq!(p.process.link.call_to_the_end(&p.task, &close_call(7)), Err(Fail::Ended));
    assert!(p.process.link.is_abandoned(), "the end alone is no reason");
    assert_eq!(p.process.link.call_to_the_end(&p.task, &close_call(8)), Err(Fail::Ended));
    killer.join().unwrap();
    end(p);
    machine.reset();
}

#[test]
fn requests_that_were_left_come_back() {
    let machine = Machine::new(program());
    let p = machine.process();
    machine.proxy.script().hang = Some(nr::__NR_close);
    p.process.end(End::exit(0));
    for _ in 0..REQUESTS {
        assert_eq!(p.process.link.call(&p.task, &close_call(7)), Err(Fail::Ended));
    }
    let requests = &machine.shared.channels[0].requests;
    let all_taken = || requests.iter().all(|r| r.state.load(Ordering::SeqCst) == state::TAKEN);
    while !all_taken() {
        std::thread::yield_now();
    }
    assert!(requests.iter().all(|r| r.cancel.load(Ordering::SeqCst) == 1), "the proxy is told");
    machine.proxy.script().hang = None;
    // All are in use until the proxy has answered one.
    let answers = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        requests[REQUESTS - 1].state.store(state::DONE, Ordering::SeqCst);
    });
    assert_eq!(p.process.link.call_to_the_end(&p.task, &close_call(9)), Ok(0));
    answers.join().unwrap();
    end(p);
    machine.reset();
}
