// SPDX-License-Identifier: GPL-2.0

//! Lending: CPUs and memory leave Linux, and come back when what stands for them is dropped.

pub mod cpulist;
pub mod cpus;
pub mod memory;
pub mod size;
