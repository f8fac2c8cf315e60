#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# build.sh OUT: builds the isle kernel into the folder OUT.
#
# core and alloc are built from source, since Debian's compiler brings none for a bare machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
cargo=${CARGO:-/usr/bin/cargo}
rustc=${RUSTC:-/usr/bin/rustc}
[ -x "$cargo" ] || cargo=cargo
[ -x "$rustc" ] || rustc=rustc
lld=$(command -v ld.lld-19 || command -v ld.lld || command -v ld)
cd "$here"
# No red zone: interrupts use the same stack. Soft float: vector registers are the application's.
RUSTC="$rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS="-C relocation-model=static -C code-model=kernel \
	-C force-frame-pointers=yes -C no-redzone=yes -C linker=$lld -C linker-flavor=ld \
	-C link-arg=-T$here/link.ld -C link-arg=-z -C link-arg=max-page-size=4096 -D warnings" \
	"$cargo" build --locked --release -Zbuild-std=core,alloc,compiler_builtins \
	-Zbuild-std-features=compiler-builtins-mem --target x86_64-unknown-none -p isle-kernel
cp target/x86_64-unknown-none/release/isle-kernel "$out/isle-kernel.new"
mv "$out/isle-kernel.new" "$out/isle-kernel"
