// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares benchmark results of Linux and an isle.

pub mod figures;
pub mod page;
pub mod plots;
pub mod results;
