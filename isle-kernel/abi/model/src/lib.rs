// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tries the interleavings of `abi/src/protocol.rs` and `abi/src/ring.rs`: no request, cancellation, answer, packet or room is missed by who goes to sleep
//! for it (loom calls that a deadlock), and what was written before is seen. The same with orders that are too
//! weak has to be found out.

#![cfg(test)]
// The same files with each strength, and not all scenes with each.
#![allow(clippy::duplicate_mod, dead_code)]

mod atomics;

use hermit_abi::channel;

/// `world!(name, Strength, the trait's constants that are false)`: the protocol with atomics of this strength, and
/// scenes played with it.
macro_rules! world {
    ($name:ident $(, $weak:ident)*) => {
        // The files below are found from here.
        #[path = "."]
        mod $name {
            pub struct Strength;
            impl crate::atomics::Strength for Strength {
                $(const $weak: bool = false;)*
            }
            mod atomic {
                pub type AtomicI64 = crate::atomics::AtomicI64<super::Strength>;
                pub type AtomicU32 = crate::atomics::AtomicU32<super::Strength>;
                pub type AtomicU64 = crate::atomics::AtomicU64<super::Strength>;
                pub use loom::sync::atomic::Ordering;
            }
            use crate::channel;
            #[path = "../../src/protocol.rs"]
            mod protocol;
            #[path = "scenes.rs"]
            pub mod scenes;
            #[path = "../../src/ring.rs"]
            mod ring;
            #[path = "ring_scenes.rs"]
            pub mod ring_scenes;
        }
    };
}

world!(right);
world!(hasty_looks, LOOKS);
world!(late_writes, WRITES);
world!(unordered, PUBLISHES);

/// Most switches between threads where none is needed. (Three find nothing more, and take ten times as long.)
const PREEMPTIONS: usize = 2;

fn play(scene: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(scene);
}

#[test]
fn no_request_and_no_answer_is_missed() {
    play(right::scenes::two_calls);
}

#[test]
fn two_threads_call_side_by_side() {
    play(right::scenes::two_callers);
}

#[test]
fn no_cancellation_is_missed() {
    play(right::scenes::cancelled_call);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_look_that_may_come_before_the_own_word_is_found_out() {
    play(hasty_looks::scenes::one_call);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_word_that_may_come_after_the_look_is_found_out() {
    play(late_writes::scenes::one_call);
}

#[test]
#[should_panic(expected = "the answer isn't there yet")]
fn an_answer_that_comes_after_its_announcement_is_found_out() {
    play(unordered::scenes::one_call);
}

#[test]
fn no_packet_and_no_room_is_missed() {
    play(right::ring_scenes::three_packets);
}

#[test]
fn frames_that_fit_need_no_room() {
    play(right::ring_scenes::two_packets);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_ring_where_a_look_may_come_before_the_own_word_is_found_out() {
    play(hasty_looks::ring_scenes::two_packets);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_ring_where_a_word_may_come_after_the_look_is_found_out() {
    play(late_writes::ring_scenes::two_packets);
}

#[test]
#[should_panic(expected = "the packet isn't there yet")]
fn a_packet_that_comes_after_its_announcement_is_found_out() {
    play(unordered::ring_scenes::two_packets);
}
