// SPDX-License-Identifier: MIT OR Apache-2.0

//! Marks programs, so that binfmt_misc knows them.

use crate::failure::{Failure, NOT_RUNNABLE};
use crate::program::read_header;
use elf::abi::EI_OSABI;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The EI_OSABI byte that HermitCore has always used.
pub const BRAND: u8 = 0x42;

/// Sets the brand of one file, which must be an x86-64 ELF file.
pub fn brand(path: &Path) -> Result<(), Failure> {
    let failure = |why: &str| Failure::with_code(NOT_RUNNABLE, format!("{}: {why}", path.display()));
    let cannot = |e: std::io::Error| failure(&format!("can't be branded: {e}"));
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(cannot)?;
    let header = read_header(&file).map_err(failure)?;
    if header.osabi != BRAND {
        file.write_all_at(&[BRAND], EI_OSABI as u64).map_err(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::{memfd, minimal};
    use std::os::fd::AsRawFd;

    fn branded(bytes: &[u8]) -> (Result<(), Failure>, Vec<u8>) {
        let file = memfd(bytes);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let result = brand(Path::new(&path));
        (result, std::fs::read(path).unwrap())
    }

    #[test]
    fn changes_one_byte() {
        let before = minimal(4);
        let (result, mut after) = branded(&before);
        assert!(result.is_ok());
        assert_eq!(after[EI_OSABI], BRAND);
        after[EI_OSABI] = 0;
        assert_eq!(after, before);
    }

    #[test]
    fn leaves_other_files_alone() {
        let script = b"#!/bin/sh\necho a script of more than sixty-four bytes, as long as an ELF header\n";
        let (result, after) = branded(script);
        assert!(result.unwrap_err().sentence.contains("not an x86-64 ELF"));
        assert_eq!(after, script);
    }
}
