// SPDX-License-Identifier: MIT OR Apache-2.0

//! The stack that a program begins with: arguments, environment and auxiliary vector (System V ABI for
//! x86-64, 3.4.1; getauxval(3)).

use crate::elf::Program;
use crate::errno::Errno;
use crate::mem::{buffer, VDSO};
use crate::startup::Startup;
use alloc::vec::Vec;
use hermit_plat::abi::PAGE_SIZE;
use hermit_plat::user;
use linux_raw_sys::auxvec as at;

/// Part of the stack that arguments and environment may take, as on Linux: a quarter.
const SHARE: u64 = 4;

/// Ticks per second that times(2) counts in.
pub const CLOCK_TICKS: u64 = 100;

/// Bytes of a signal frame with all of AVX-512 (Linux: fpu__get_fpstate_size).
const MIN_SIGNAL_STACK: u64 = 3632;

/// Pairs of the auxiliary vector.
const AUXV: u64 = 21;

/// Lays out the stack below `top`; returns the stack pointer and what is to be written there.
///
/// `base`: where the interpreter is, or 0.
pub fn build(top: u64, len: u64, startup: &Startup, program: &Program, base: u64) -> Result<(u64, Vec<u8>), Errno> {
    const PLATFORM: &[u8] = b"x86_64\0";
    let strings = startup.raw_strings();
    // From low to high: pointers, then random bytes, the platform's name, all strings; Linux leaves a null word
    // at the very top.
    let texts = (startup.random.len() + PLATFORM.len() + strings.len()) as u64;
    let words = 1 + startup.arg_count as u64 + 1 + startup.env_count as u64 + 1 + 2 * AUXV;
    if words.saturating_mul(8).saturating_add(texts) > len / SHARE {
        return Err(Errno::E2BIG);
    }
    let random = (top - 8 - texts) & !15;
    let platform = random + startup.random.len() as u64;
    let first = platform + PLATFORM.len() as u64;
    let pointer = (random - words * 8) & !15;

    let mut bytes = buffer((top - pointer) as usize)?;
    let mut put = |word: u64| bytes.extend(word.to_le_bytes());
    put(startup.arg_count as u64);
    let mut at = first;
    for (index, text) in startup.strings().take(startup.arg_count + startup.env_count).enumerate() {
        if index == startup.arg_count {
            put(0);
        }
        put(at);
        at += text.len() as u64 + 1;
    }
    if startup.env_count == 0 {
        put(0);
    }
    put(0);
    let mut pairs = 0;
    for (kind, value) in auxv(startup, program, base, [random, platform, at]) {
        put(kind.into());
        put(value);
        pairs += 1;
    }
    debug_assert_eq!(pairs, AUXV);
    bytes.resize((random - pointer) as usize, 0);
    bytes.extend(startup.random);
    bytes.extend(PLATFORM);
    bytes.extend(strings);
    Ok((pointer, bytes))
}

/// The auxiliary vector, with the addresses of what it points to.
fn auxv(
    startup: &Startup,
    program: &Program,
    base: u64,
    [random, platform, path]: [u64; 3],
) -> [(u32, u64); AUXV as usize] {
    let (hwcap, hwcap2) = user::hwcap();
    [
        (at::AT_SYSINFO_EHDR, VDSO),
        (at::AT_HWCAP, hwcap),
        (at::AT_PAGESZ, PAGE_SIZE),
        (at::AT_CLKTCK, CLOCK_TICKS),
        (at::AT_PHDR, program.headers),
        (at::AT_PHENT, crate::elf::PROGRAM_HEADER_LEN as u64),
        (at::AT_PHNUM, program.header_count.into()),
        (at::AT_BASE, base),
        (at::AT_FLAGS, 0),
        (at::AT_ENTRY, program.entry),
        (at::AT_UID, startup.uid.into()),
        (at::AT_EUID, startup.euid.into()),
        (at::AT_GID, startup.gid.into()),
        (at::AT_EGID, startup.egid.into()),
        (at::AT_SECURE, 0),
        (at::AT_RANDOM, random),
        (at::AT_HWCAP2, hwcap2),
        (at::AT_EXECFN, path),
        (at::AT_PLATFORM, platform),
        (at::AT_MINSIGSTKSZ, MIN_SIGNAL_STACK),
        (at::AT_NULL, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x7fff_ffe0_0000;

    fn program() -> Program {
        Program {
            segments: Vec::new(),
            entry: 0x40_1000,
            headers: 0x40_0040,
            header_count: 5,
            bias: 0,
            end: 0,
            executable_stack: false,
            interpreter: None,
        }
    }

    fn startup(args: &[&[u8]], env: &[&[u8]]) -> Startup {
        let mut block = vec![0; 48];
        block[4..8].copy_from_slice(&(args.len() as u32).to_le_bytes());
        block[8..12].copy_from_slice(&(env.len() as u32).to_le_bytes());
        block[24..28].copy_from_slice(&1u32.to_le_bytes());
        block.extend([0xaa; 16]);
        block.resize(core::mem::size_of::<hermit_plat::abi::offload::StartBlock>(), 0);
        for text in args.iter().chain(env).chain([&b"/bin/hello".as_slice(), &b"node".as_slice()]) {
            block.extend(*text);
            block.push(0);
        }
        let len = block.len() as u32;
        block[..4].copy_from_slice(&len.to_le_bytes());
        Startup::parse(block).unwrap()
    }

    #[test]
    fn no_environment_and_no_arguments() {
        let (sp, bytes) = build(TOP, 8 << 20, &startup(&[], &[]), &program(), 0).unwrap();
        let at = |n: u64| word(sp, &bytes, sp + 8 * n);
        assert_eq!((at(0), at(1), at(2), at(3)), (0, 0, 0, at::AT_SYSINFO_EHDR.into()));
        let (sp, bytes) = build(TOP, 8 << 20, &startup(&[b"a"], &[]), &program(), 0).unwrap();
        let at = |n: u64| word(sp, &bytes, sp + 8 * n);
        assert_eq!((at(0), at(2), at(3), at(4)), (1, 0, 0, at::AT_SYSINFO_EHDR.into()));
    }

    fn word(pointer: u64, bytes: &[u8], at: u64) -> u64 {
        let at = (at - pointer) as usize;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    fn text(pointer: u64, bytes: &[u8], at: u64) -> &[u8] {
        bytes[(at - pointer) as usize..].split(|b| *b == 0).next().unwrap()
    }

    #[test]
    fn a_program_finds_what_it_looks_for() {
        for extra in 0..20 {
            let startup = startup(&[b"./hello", &vec![b'x'; extra]], &[b"HOME=/root"]);
            let (sp, bytes) = build(TOP, 8 << 20, &startup, &program(), 0).unwrap();
            assert_eq!(sp % 16, 0);
            assert!(sp + bytes.len() as u64 <= TOP);
            let at = |n: u64| word(sp, &bytes, sp + 8 * n);
            assert_eq!((at(0), at(3), at(5)), (2, 0, 0));
            assert_eq!(text(sp, &bytes, at(1)), b"./hello");
            assert_eq!(text(sp, &bytes, at(2)), vec![b'x'; extra]);
            assert_eq!(text(sp, &bytes, at(4)), b"HOME=/root");
            let aux = |kind: u32| (6..).step_by(2).find(|n| at(*n) == u64::from(kind)).map(|n| at(n + 1)).unwrap();
            assert_eq!((aux(at::AT_PHDR), aux(at::AT_PHNUM), aux(at::AT_ENTRY)), (0x40_0040, 5, 0x40_1000));
            assert_eq!(text(sp, &bytes, aux(at::AT_EXECFN)), b"/bin/hello");
            assert_eq!(text(sp, &bytes, aux(at::AT_PLATFORM)), b"x86_64");
            let random = (aux(at::AT_RANDOM) - sp) as usize;
            assert_eq!(bytes[random..random + 16], [0xaa; 16]);
        }
    }

    #[test]
    fn too_much_is_refused() {
        let long = startup(&[&vec![b'x'; 3 << 20]], &[]);
        assert_eq!(build(TOP, 8 << 20, &long, &program(), 0).unwrap_err(), Errno::E2BIG);
        let many = startup(&vec![b"".as_slice(); 300_000], &[]);
        assert_eq!(build(TOP, 8 << 20, &many, &program(), 0).unwrap_err(), Errno::E2BIG);
    }
}
