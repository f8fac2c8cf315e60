// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub
use std::{ffi::OsString, path::PathBuf};
use crate::session::Setup;
pub fn run(_: &Setup, _: &[PathBuf], _: &[OsString]) -> anyhow::Result<u8> { todo!() }
