#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# build.sh OUT: builds the isle kernels that misbehave into the folder OUT.
set -eu
here=$(dirname "$0")
out=$1
mkdir -p "$out"
version=$(sed -n 's/^pub const VERSION: u32 = \([0-9]*\);$/\1/p' "$here/../../isle-kernel/abi/src/lib.rs")
for kind in minimal deaf mute liar; do
	define=$(echo "$kind" | tr a-z A-Z)
	gcc -c -D"$define" -DVERSION="${version:?}" -o "$out/$kind.o" "$here/isle.S"
	ld -n -z max-page-size=4096 -T "$here/isle.ld" -o "$out/isle-$kind" "$out/$kind.o"
	rm "$out/$kind.o"
done
