// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loom's atomics, with sequential consistency where the protocol relies on it, and less on request.
//!
//! Loom treats SeqCst as AcqRel (its documentation, "Limitations"), but knows SeqCst fences. What the protocol
//! relies on is that a SeqCst write comes before a SeqCst read that follows it in the same thread, for everybody.
//! So there is a fence between such two, and nowhere else: less than the language promises, never more.

use loom::sync::atomic::{fence, Ordering};
use std::cell::Cell;
use std::marker::PhantomData;

loom::thread_local! {
    /// This thread has written with SeqCst and has had no fence since.
    static UNFENCED: Cell<bool> = Cell::new(false);
}

/// How strong the orders are that the protocol asks for.
pub trait Strength {
    /// SeqCst reads are SeqCst.
    const LOOKS: bool = true;
    /// SeqCst writes are SeqCst.
    const WRITES: bool = true;
    /// Writes publish what was written before.
    const PUBLISHES: bool = true;
}

fn before_read<S: Strength>(order: Ordering) {
    if order == Ordering::SeqCst && S::LOOKS && UNFENCED.with(|unfenced| unfenced.replace(false)) {
        fence(Ordering::SeqCst);
    }
}

fn after_write<S: Strength>(order: Ordering) {
    if order == Ordering::SeqCst && S::WRITES {
        UNFENCED.with(|unfenced| unfenced.set(true));
    }
}

fn for_load(order: Ordering) -> Ordering {
    if order == Ordering::Relaxed {
        order
    } else {
        Ordering::Acquire
    }
}

fn for_store<S: Strength>(order: Ordering) -> Ordering {
    if order == Ordering::Relaxed || !S::PUBLISHES {
        Ordering::Relaxed
    } else {
        Ordering::Release
    }
}

fn for_update<S: Strength>(order: Ordering) -> Ordering {
    match order {
        Ordering::Relaxed => order,
        _ if S::PUBLISHES => Ordering::AcqRel,
        _ => Ordering::Acquire,
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        pub struct $name<S>(loom::sync::atomic::$name, PhantomData<S>);

        impl<S: Strength> $name<S> {
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value), PhantomData)
            }

            pub fn load(&self, order: Ordering) -> $value {
                before_read::<S>(order);
                self.0.load(for_load(order))
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, for_store::<S>(order));
                after_write::<S>(order);
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                before_read::<S>(order);
                let old = self.0.swap(value, for_update::<S>(order));
                after_write::<S>(order);
                old
            }

            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                before_read::<S>(order);
                let old = self.0.fetch_or(value, for_update::<S>(order));
                after_write::<S>(order);
                old
            }

            pub fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                order: Ordering,
                on_failure: Ordering,
            ) -> Result<$value, $value> {
                before_read::<S>(order);
                let result = self.0.compare_exchange(from, to, for_update::<S>(order), for_load(on_failure));
                if result.is_ok() {
                    after_write::<S>(order);
                }
                result
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicI64, i64);
