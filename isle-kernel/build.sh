#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the isle kernel and puts it in a folder, with and without what debuggers need: build.sh <outdir>
# CARGO, RUSTC and CARGO_TARGET_DIR are honoured; ISLE_FEATURES=selftest builds one that can be made to crash.
# The default is the distribution's toolchain, since rustup's proxies shadow it on the PATH and the sources of core
# and alloc must be there for -Zbuild-std.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 <outdir>" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"

if [ -z "${CARGO:-}" ]; then
    if [ -x /usr/bin/cargo ]; then CARGO=/usr/bin/cargo; else CARGO=cargo; fi
fi
if [ -z "${RUSTC:-}" ]; then
    if [ -x /usr/bin/rustc ]; then RUSTC=/usr/bin/rustc; else RUSTC=rustc; fi
fi
linker=${LD_LLD:-}
if [ -z "$linker" ]; then
    for name in ld.lld ld.lld-19 ld.lld-20 ld.lld-18 ld.lld-17 ld.lld-16 ld.lld-15 ld.lld-14 rust-lld; do
        if command -v "$name" >/dev/null 2>&1; then linker=$name; break; fi
    done
fi
[ -n "$linker" ] || { echo "$0: no ld.lld found: install lld" >&2; exit 1; }

# LD_LLD: for the vDSO, which a build script links.
export RUSTC RUSTC_BOOTSTRAP=1 LD_LLD="$linker"
export CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER="$linker"
target=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR=$target "$CARGO" build --locked --release --package isle-kernel \
    --features "${ISLE_FEATURES:-}" --target x86_64-unknown-none -Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem

# The image is what is loaded; what debuggers need is beside it. Only the image itself decides whether anything has changed.
built=$target/x86_64-unknown-none/release/isle-kernel
cp "$built" "$out/isle-kernel.debug"
"${STRIP:-strip}" -o "$out/isle-kernel.new" "$built"
cmp -s "$out/isle-kernel.new" "$out/isle-kernel" || cp "$out/isle-kernel.new" "$out/isle-kernel"
rm "$out/isle-kernel.new"
