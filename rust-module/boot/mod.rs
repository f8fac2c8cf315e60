// SPDX-License-Identifier: GPL-2.0

//! Booting: from an image in a file to CPUs that run it.

pub mod image;
pub mod load;
pub mod shared;
pub mod start;
