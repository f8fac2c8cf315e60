// SPDX-License-Identifier: MIT OR Apache-2.0

//! Is this file a program that an isle can run?

use crate::failure::{Failure, NOT_FOUND, NOT_RUNNABLE};
use elf::abi::{EM_X86_64, ET_DYN, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Length of an ELF64 header, and of one of its program headers.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// A file that looks like a program for an isle, open for reading.
#[derive(Debug)]
pub struct Program {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    pub file: File,
    pub size: u64,
}

impl Program {
    /// Finds and checks the program called `name`: a path, or a name to look up in `search` (`PATH`).
    pub fn open(name: &Path, search: Option<&OsStr>) -> Result<Self, Failure> {
        let cannot = |path: &Path, e: std::io::Error| {
            let path = path.display();
            match e.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => {
                    Failure::with_code(NOT_FOUND, format!("{path}: there is no such program"))
                }
                ErrorKind::PermissionDenied => Failure::with_code(
                    NOT_RUNNABLE,
                    format!("{path}: permission denied; it must be readable and executable (chmod +rx)"),
                ),
                _ => Failure::with_code(NOT_RUNNABLE, format!("{path}: {e}")),
            }
        };
        let found = find(name, search);
        let path = found.canonicalize().map_err(|e| cannot(&found, e))?;
        let file = File::open(&path).map_err(|e| cannot(&found, e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| cannot(&found, e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refuse(&found, "not a file with a program in it"));
        }
        rustix::fs::accessat(CWD, &path, Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|e| cannot(&found, e.into()))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        check(&file, size).map_err(|why| refuse(&found, why))?;
        let file = keep_away_from_stdio(file).map_err(|e| cannot(&found, e))?;
        Ok(Self { path, file, size })
    }
}

fn refuse(path: &Path, why: &str) -> Failure {
    Failure::with_code(NOT_RUNNABLE, format!("{}: {why}", path.display()))
}

/// Moves a descriptor out of the range that the application's own ones are likely to have.
fn keep_away_from_stdio(file: File) -> std::io::Result<File> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file.as_fd(), 3)?.into())
}

fn find(name: &Path, search: Option<&OsStr>) -> PathBuf {
    let is_bare = name.components().count() == 1 && !name.to_string_lossy().contains('/');
    if !is_bare || name.exists() {
        return name.to_owned();
    }
    search
        .into_iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join(name))
        .find(|path| rustix::fs::access(path, Access::EXEC_OK).is_ok() && path.is_file())
        .unwrap_or_else(|| name.to_owned())
}

/// Reads the ELF header of an x86-64 file, or says why it isn't one.
pub fn read_header(file: &File) -> Result<FileHeader<LittleEndian>, &'static str> {
    const NOT_ELF: &str = "not an x86-64 ELF file; an isle runs x86-64 Linux programs only";
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, 0).map_err(|_| NOT_ELF)?;
    let (ident, tail) = bytes.split_at(elf::abi::EI_NIDENT);
    let ident = elf::file::parse_ident::<elf::endian::AnyEndian>(ident).map_err(|_| NOT_ELF)?;
    if !matches!(ident.0, elf::endian::AnyEndian::Little) {
        return Err(NOT_ELF);
    }
    if ident.1 == Class::ELF32 {
        return Err("a 32-bit ELF file, not an x86-64 ELF file; build it for x86-64 (without -m32 or -mx32)");
    }
    let header =
        FileHeader::parse_tail((LittleEndian, ident.1, ident.2, ident.3), tail).map_err(|_| NOT_ELF)?;
    if header.e_machine != EM_X86_64 {
        return Err("an ELF file for another processor, not an x86-64 ELF file");
    }
    Ok(header)
}

/// Says why a file of this size isn't a program that an isle can run.
fn check(file: &File, size: u64) -> Result<(), &'static str> {
    const TRUNCATED: &str = "a damaged ELF file: it is shorter than its headers say; build or copy it again";
    let header = read_header(file)?;
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err("an ELF file, but not a program (is it an object file? link it)");
    }
    if header.e_phnum == 0 || usize::from(header.e_phentsize) != PROGRAM_HEADER {
        return Err("an ELF file, but not a program: it has no program headers");
    }
    let mut table = vec![0; PROGRAM_HEADER.saturating_mul(usize::from(header.e_phnum))];
    file.read_exact_at(&mut table, header.e_phoff).map_err(|_| TRUNCATED)?;
    let segments = elf::segment::SegmentTable::new(LittleEndian, Class::ELF64, &table);
    let mut loads = 0;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD) {
        loads += 1;
        let end = segment.p_offset.checked_add(segment.p_filesz);
        if end.is_none_or(|end| end > size) || segment.p_filesz > segment.p_memsz {
            return Err(TRUNCATED);
        }
    }
    if loads == 0 || header.e_entry == 0 {
        return Err("an ELF file, but not a program (is it a shared library?)");
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A file without a name that holds `bytes`.
    pub fn memfd(bytes: &[u8]) -> File {
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(fd);
        file.write_all(bytes).unwrap();
        file
    }

    /// A minimal program: one PT_LOAD of the whole file, and one header of another type.
    pub fn minimal(second_type: u32) -> Vec<u8> {
        let mut b = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        b.resize(16, 0);
        b.extend(2u16.to_le_bytes()); // e_type
        b.extend(62u16.to_le_bytes()); // e_machine
        b.extend(1u32.to_le_bytes());
        b.extend(0x40_1000u64.to_le_bytes()); // e_entry
        b.extend(64u64.to_le_bytes()); // e_phoff
        b.extend(0u64.to_le_bytes());
        b.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 2, 64, 0, 0] {
            b.extend(half.to_le_bytes());
        }
        for (kind, size) in [(1u32, 176u64), (second_type, 0)] {
            b.extend(kind.to_le_bytes());
            b.extend(5u32.to_le_bytes());
            for word in [0, 0x40_0000, 0x40_0000, size, size, 4096] {
                b.extend(u64::to_le_bytes(word));
            }
        }
        b
    }

    fn verdict(bytes: &[u8]) -> Result<(), &'static str> {
        check(&memfd(bytes), bytes.len() as u64)
    }

    #[test]
    fn accepts_a_program_branded_or_not() {
        assert_eq!(verdict(&minimal(3)), Ok(()), "dynamically linked");
        let mut b = minimal(4);
        assert_eq!(verdict(&b), Ok(()));
        b[7] = 0x42;
        assert_eq!(verdict(&b), Ok(()));
        b[16] = 3; // ET_DYN
        assert_eq!(verdict(&b), Ok(()));
    }

    #[test]
    fn refuses_with_a_reason() {
        let with = |at: usize, value: u8| {
            let mut b = minimal(4);
            b[at] = value;
            verdict(&b).unwrap_err()
        };
        assert!(verdict(b"#!/bin/sh\n").unwrap_err().starts_with("not an x86-64 ELF"));
        assert!(verdict(b"").unwrap_err().starts_with("not an x86-64 ELF"));
        assert!(with(4, 1).starts_with("a 32-bit"));
        assert!(with(5, 2).starts_with("not an x86-64 ELF"));
        assert!(with(16, 1).contains("object file"));
        assert!(with(18, 183).contains("another processor"));
        assert!(with(56, 0).contains("no program headers"));
        assert!(with(56, 200).contains("damaged"));
        assert!(with(64, 0).contains("shared library"));
        let cut = &minimal(4)[..150];
        assert!(verdict(cut).unwrap_err().contains("damaged"));
    }

    #[test]
    fn finds_programs() {
        let missing = Program::open(Path::new("/nonexistent/x"), None).unwrap_err();
        assert_eq!(missing.code, NOT_FOUND);
        let text = Program::open(Path::new("/etc/passwd"), None).unwrap_err();
        assert_eq!((text.code, text.sentence.contains("permission denied")), (NOT_RUNNABLE, true));
        assert!(Program::open(Path::new("/etc"), None).unwrap_err().sentence.contains("not a file"));
        let sh = Program::open(Path::new("sh"), Some(OsStr::new("/nonexistent:/bin"))).unwrap();
        assert_eq!(sh.path, Path::new("/bin/sh").canonicalize().unwrap());
    }

    proptest! {
        #[test]
        fn no_file_panics(changes in prop::collection::vec((0..176usize, any::<u8>()), 0..12), len in 0..=176usize) {
            let mut b = minimal(4);
            for (at, value) in changes {
                b[at] = value;
            }
            let _ = verdict(&b[..len]);
        }
    }
}
