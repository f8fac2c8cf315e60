// SPDX-License-Identifier: GPL-2.0

//! Builds those files of the module that depend on nothing of Linux, so that `cargo test` runs their tests.

#![cfg(test)]

use hermit_abi as abi;

#[path = "../../mmnif/addresses.rs"]
mod addresses;
#[path = "../../partition/cpulist.rs"]
mod cpulist;
#[path = "../../partition/size.rs"]
mod size;
#[path = "../../whereabouts.rs"]
mod whereabouts;
