// SPDX-License-Identifier: MIT OR Apache-2.0

//! Those names of Linux's `kernel` crate that files of the module use which are built for the host.

pub mod sync {
    pub use std::sync::Arc;
}

pub mod prelude {
    pub use crate::alloc::{KVVec, GFP_KERNEL};
    pub use crate::error::{Error, Result, EFAULT, EINVAL};
}

mod error {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(i32);

    pub type Result<T = (), E = Error> = std::result::Result<T, E>;

    pub const EFAULT: Error = Error(-14);
    pub const EINVAL: Error = Error(-22);
}

mod alloc {
    use crate::error::Result;
    use std::ops::Deref;

    #[derive(Clone, Copy)]
    pub struct Flags;

    pub const GFP_KERNEL: Flags = Flags;

    /// A vector whose growth may fail (never here).
    pub struct KVVec<T>(Vec<T>);

    impl<T> Default for KVVec<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T> KVVec<T> {
        pub const fn new() -> Self {
            Self(Vec::new())
        }

        pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self> {
            Ok(Self(Vec::with_capacity(capacity)))
        }

        pub fn push(&mut self, value: T, _: Flags) -> Result {
            self.0.push(value);
            Ok(())
        }
    }

    impl<T: Clone> KVVec<T> {
        pub fn extend_from_slice(&mut self, values: &[T], _: Flags) -> Result {
            self.0.extend_from_slice(values);
            Ok(())
        }
    }

    impl<T> Deref for KVVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}
