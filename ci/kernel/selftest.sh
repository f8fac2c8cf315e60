#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Tests what decides whether a kernel is built, without building one. Prints TAP.

set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=$work/cache
count=0 failed=0

# check <what> <command …>
check() {
	what=$1 count=$((count + 1))
	shift
	if "$@"; then
		echo "ok $count - kernel: $what"
	else
		echo "not ok $count - kernel: $what"
		failed=$((failed + 1))
	fi
}

fails() {
	! "$@"
}

is() {
	[ "$1" = "$2" ] || { printf '# got:\n%s\n# wanted:\n%s\n' "$1" "$2"; return 1; }
}

# Configuration.
. "$here/config.sh"
fragments() {
	echo "$work/first $work/second"
}
printf 'CONFIG_A=y\n# A comment.\nCONFIG_B=y\nCONFIG_N=8\n' >"$work/first"
printf '# CONFIG_B is not set\nCONFIG_N=64\n' >"$work/second"
check "a later fragment wins" is "$(merge_fragments any)" "$(printf 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64')"
merge_fragments any >"$work/wanted"
printf 'CONFIG_A=y\nCONFIG_N=64\n' >"$work/made"
check "a configuration with all that was asked for passes" is "$(missing_options "$work/wanted" "$work/made")" ""
printf '# CONFIG_A is not set\nCONFIG_N=32\nCONFIG_B=y\n' >"$work/made"
check "dropped and changed options are named" is "$(missing_options "$work/wanted" "$work/made")" \
	"$(printf 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64')"

# Entries of the cache.
new_entry() {
	rm -rf "$work/entry"
	mkdir -p "$work/entry/kdir/rust" "$work/entry/headers/include"
	echo image >"$work/entry/bzImage"
	echo meta >"$work/entry/kdir/rust/libcore.rmeta"
	echo header >"$work/entry/headers/include/a.h"
	ln -s ../headers "$work/entry/kdir/source"
	seal "$work/entry"
}
new_entry
check "a sealed entry is sound" sound "$work/entry"
cp -a "$work/entry" "$work/moved"
check "also elsewhere" sound "$work/moved"
check "a missing entry is not" fails sound "$work/none"
rm "$work/entry/manifest.sums"
check "one without its seal is not" fails sound "$work/entry"
new_entry
: >"$work/entry/bzImage"
check "a truncated image is noticed" fails sound "$work/entry"
new_entry
echo imagf >"$work/entry/bzImage"
check "a changed image is noticed" fails sound "$work/entry"
new_entry
rm "$work/entry/headers/include/a.h"
check "a missing header is noticed" fails sound "$work/entry"
new_entry
echo more >"$work/entry/kdir/more"
check "a file too many is noticed" fails sound "$work/entry"

# Checksums are remembered, but not for another content.
echo one >"$work/archive"
first=$(sha256 "$work/archive")
check "a checksum is right" is "$first" "$(sha256sum <"$work/archive" | cut -d' ' -f1)"
echo three >"$work/archive"
check "and is again when the file has changed" [ "$(sha256 "$work/archive")" != "$first" ]

# The series of patches.
. "$here/source"
patches=$top/linux-patches/$series
check "the series names all patches" is "$(grep -v '^#' "$patches/series")" "$(cd "$patches" && ls -- *.patch)"
check "each says its licence" is "$(grep -L '^SPDX-License-Identifier: GPL-2.0' "$patches"/*.patch)" ""
check "each is signed off" is "$(grep -L '^Signed-off-by: ' "$patches"/*.patch)" ""
lines=$(cat "$patches"/*.patch | grep -c '^[+-]\([^+-]\|$\)')
check "the series is small ($lines lines)" [ "$lines" -le 300 ]

echo "1..$count"
[ $failed = 0 ]
