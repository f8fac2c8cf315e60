#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the test VM's kernel, or finds it in the cache, and prints the directory where it is:
#
#   build.sh [normal|debug]
#
# There are bzImage, config, and kdir, against which modules are built (see module.sh). Everything else
# goes to stderr. Entries of the cache ($HERMIT_CACHE, by default ~/.cache/hermit) appear whole or not at
# all, and are checked each time.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

# Raise it when these scripts make something else of the same input.
recipe=1

variant=${1:-normal}
case $variant in
normal) steps=1870 ;;
debug) steps=1890 ;;
*) die "usage: build.sh [normal|debug]" ;;
esac

. "$here/toolchain.sh"
. "$here/source.sh"
. "$here/config.sh"
. "$here/progress.sh"

key=$({
	echo "$recipe $variant $archive_id $patches_id"
	merge_fragments "$variant"
	echo "$toolchain_id"
} | sha256sum | cut -c1-16)
entry=$cache/kernel-$key

# What modules need of the source: Makefiles, scripts and headers.
copy_headers() (
	mkdir "$2"
	cd "$1"
	{
		find . -maxdepth 1 -type f ! -name '.*'
		find scripts include arch/x86/include -type f
		find arch/x86 tools/objtool tools/scripts -type f \( -name 'Makefile*' -o -name Kbuild \)
		find arch/x86 -name module.lds.S -o -name '*.lds.h'
		find . -maxdepth 3 -name 'Kconfig*' -type f
		find rust -name '*.h' -o -name Makefile -o -name bindgen_parameters
	} | sed "s|^\./||" | sort -u | cpio --quiet -pdm "$2"
)

# Objects are linked into the image by now. Modules need the rest: no path in it may name where it was built.
finish_entry() {
	cp "$build/arch/x86/boot/bzImage" "$tmp/bzImage"
	cp "$build/.config" "$tmp/config"
	echo "$toolchain_id" >"$tmp/toolchain"
	find "$build" \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.d' -o -name 'vmlinux*' -o -name '.*vmlinux*' \
		-o -name 'modules.*' -o -name '*.s' -o -name '*.order' \) -type f -delete
	rm -rf "$build/arch/x86/boot" "$build/wanted.config" "$build/missing" "$build/source"
	find "$build" -depth -type d -empty -delete
	copy_headers "$src" "$tmp/headers"
	ln -s ../headers "$build/source"
	printf '# Made by ci/kernel/build.sh.\ninclude ../headers/Makefile\n' >"$build/Makefile"
	[ -z "$(find "$build" -type l -lname '/*')" ] || die "a link in $build names where it was built"
}

build_entry() {
	[ ! -d "$entry" ] || say "$entry is broken, building it again"
	unpack_source
	rm -rf "$entry" "$cache"/.kernel.*
	tmp=$(mktemp -d "$cache/.kernel.XXXXXX")
	build=$tmp/kdir
	log=$cache/build-$variant.log
	mkdir "$build"
	configure "$variant" "$build"
	say "building Linux $(kmake "$src" -s O="$build" kernelversion 2>/dev/null | tail -n 1) ($variant)," \
		"log in $log"
	with_progress "$log" "$steps" "$src" O="$build" -j"$(nproc)" KBUILD_BUILD_USER=hermit \
		KBUILD_BUILD_HOST=hermit bzImage modules || {
		grep -m 5 -B 2 -A 8 -i 'error' "$log" >&2 || tail -n 20 "$log" >&2
		die "building failed, see $log"
	}
	finish_entry
	chmod 755 "$tmp"
	seal "$tmp"
	mv "$tmp" "$entry"
	say "built in $entry"
}

if ! sound "$entry"; then
	lock kernel
	sound "$entry" || build_entry
fi
echo "$entry"
