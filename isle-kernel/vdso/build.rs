// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the vDSO: `image/lib.rs` by the same compiler, linked by lld. For the host's own target, whatever this
//! crate is built for: what is compiled is only what programs run, and `core` is there without `-Zbuild-std`.

use elf::abi::{self, PF_R, PF_X, PT_LOAD, SHF_WRITE};
use elf::endian::LittleEndian;
use elf::ElfBytes;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of lld, the first that is there is taken; `$LD_LLD` goes first.
const LINKERS: [&str; 9] =
    ["ld.lld", "ld.lld-19", "ld.lld-20", "ld.lld-18", "ld.lld-17", "ld.lld-16", "ld.lld-15", "ld.lld-14", "rust-lld"];

/// Dynamic entries that need nothing done: no relocations of any kind, no other objects.
const HARMLESS: [i64; 13] = [
    abi::DT_NULL,
    abi::DT_SONAME,
    abi::DT_SYMBOLIC,
    abi::DT_FLAGS,
    abi::DT_HASH,
    abi::DT_GNU_HASH,
    abi::DT_STRTAB,
    abi::DT_STRSZ,
    abi::DT_SYMTAB,
    abi::DT_SYMENT,
    abi::DT_VERSYM,
    abi::DT_VERDEF,
    abi::DT_VERDEFNUM,
];

const PAGE: usize = 4096;

/// Headers and text together.
const MOST_PAGES: usize = 2;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn main() {
    let (here, out) = (PathBuf::from(variable("CARGO_MANIFEST_DIR")), PathBuf::from(variable("OUT_DIR")));
    for path in ["build.rs", "image", "../abi/src/clock.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=LD_LLD");

    let (object, linked) = (out.join("vdso.o"), out.join("linked.so"));
    compile(&here, &object);
    link(&here.join("image/vdso.ld"), &object, &linked);
    let mut image = fs::read(&linked).expect("the linker made it");
    check(&image);
    // Whole pages, so that nothing else is in the last one when they are mapped.
    image.resize(image.len().next_multiple_of(PAGE), 0);
    fs::write(out.join("vdso.so"), image).expect("OUT_DIR can be written");
}

fn compile(here: &Path, object: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2021", "--crate-name=vdso", "--crate-type=lib", "--emit=obj"]);
    rustc.args(["--target", &variable("HOST")]);
    for option in [
        "opt-level=3",
        "panic=abort",
        "codegen-units=1",
        "relocation-model=pic",
        // Debuggers and profilers find their way through it.
        "force-unwind-tables=yes",
        // The oldest CPU that there is.
        "target-cpu=x86-64",
    ] {
        rustc.args(["-C", option]);
    }
    run(rustc.arg("-o").arg(object).arg(here.join("image/lib.rs")));
}

fn link(script: &Path, object: &Path, linked: &Path) {
    let chosen = env::var("LD_LLD").ok().filter(|name| !name.is_empty());
    let mut names = chosen.as_deref().into_iter().chain(LINKERS);
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let linker = names.find(works).expect("no ld.lld found: install lld");
    let mut lld = Command::new(linker);
    if linker.contains("rust-lld") {
        lld.args(["-flavor", "gnu"]);
    }
    // As Linux does (arch/x86/entry/vdso/Makefile).
    lld.args(["-shared", "-soname=linux-vdso.so.1", "--no-undefined", "-Bsymbolic", "--hash-style=both"]);
    lld.args(["--build-id=sha1", "--eh-frame-hdr", "-znoexecstack", "-zmax-page-size=4096"]);
    lld.args(["-zrodynamic", "--orphan-handling=error", "--strip-all", "--gc-sections"]);
    run(lld.arg("-T").arg(script).arg("-o").arg(linked).arg(object));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
    assert!(status.success(), "failed: {command:?}");
}

/// Looks whether the image can simply be mapped, without a loader that knows anything about it.
fn check(image: &[u8]) {
    assert!(image.len() <= MOST_PAGES * PAGE, "the vDSO has {} bytes", image.len());
    let elf = ElfBytes::<LittleEndian>::minimal_parse(image).expect("the linker made an ELF file");
    let segments = elf.segments().expect("it has segments");
    let load: Vec<_> = segments.iter().filter(|s| s.p_type == PT_LOAD).collect();
    assert!(
        matches!(load.as_slice(), [s] if s.p_flags == PF_R | PF_X
            && (s.p_offset, s.p_vaddr) == (0, 0)
            && s.p_filesz == s.p_memsz),
        "the vDSO is not one read-only segment: {load:?}"
    );
    for entry in elf.dynamic().expect("it can be parsed").expect("it is dynamic") {
        assert!(HARMLESS.contains(&entry.d_tag), "the vDSO has a dynamic entry {entry:?}");
    }
    let sections = elf.section_headers().expect("it has sections");
    assert!(sections.iter().all(|s| s.sh_flags & u64::from(SHF_WRITE) == 0), "the vDSO has data");
}
