// SPDX-License-Identifier: GPL-2.0

//! The image that `path` names.

use crate::abi::load::elf::Elf;
use crate::kapi::file::Contents;
use kernel::prelude::*;

/// Longest image: more is surely something else.
const MAX_LEN: usize = 64 << 20;

/// A file that holds an isle kernel.
pub struct Image(Contents);

impl Image {
    /// Reads and checks an image. ENOEXEC: not an isle kernel.
    pub fn read(node: u32, path: &CStr) -> Result<Self> {
        let contents = Contents::read(path, MAX_LEN).map_err(|e| {
            let why = e.to_errno();
            pr_err!("isle{node}: {path} can't be read ({why})\n");
            // Too long, or no regular file: no image either way.
            if e == EFBIG || e == EINVAL {
                ENOEXEC
            } else {
                e
            }
        })?;
        let this = Self(contents);
        this.elf().map_err(|problem| {
            pr_err!("isle{node}: {path} is not an isle kernel: it {problem}\n");
            ENOEXEC
        })?;
        Ok(this)
    }

    pub fn elf(&self) -> Result<Elf<'_>, &'static str> {
        Elf::parse(self.0.bytes())
    }
}
