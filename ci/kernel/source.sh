# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced after common.sh: the source of Linux, found or fetched, unpacked and patched.
# Sets archive, archive_id and patches_id; unpack_source sets src.

. "$here/source"
patches=$top/linux-patches/$series

find_archive() {
	archive=$tarball
	[ ! -f "$archive" ] || return 0
	archive=$cache/linux-$upstream_version.tar.xz
	[ ! -f "$archive" ] || [ "$(sha256 "$archive")" != "$upstream_sha256" ] || return 0

	say "no $tarball (apt-get install $package); fetching Linux $upstream_version from kernel.org"
	mkdir -p "$cache"
	if command -v curl >/dev/null; then
		fetch="curl --fail --location --silent --show-error --retry 3 --output"
	elif command -v wget >/dev/null; then
		fetch="wget --quiet --output-document"
	else
		die "neither curl nor wget to fetch it with: apt-get install $package"
	fi
	$fetch "$archive.part" "$upstream_url" ||
		die "cannot fetch $upstream_url; install Debian's package instead: apt-get install $package"
	if [ "$(sha256sum <"$archive.part" | cut -d' ' -f1)" != "$upstream_sha256" ]; then
		rm -f "$archive.part"
		die "what $upstream_url gave does not have the expected checksum"
	fi
	mv "$archive.part" "$archive"
}

# Names in the series, in order.
series_of() {
	sed 's/[[:space:]]*#.*//' "$patches/series" | grep .
}

# Much of Linux is for machines and devices that the test VM has not. Kconfig files and Makefiles stay.
unpack_source() {
	src=$cache/kernel-src-$({ echo "$archive_id $patches_id"; cat "$here/source.sh"; } | sha256sum | cut -c1-16)
	[ ! -f "$src/.complete" ] || return 0
	say "unpacking and patching $archive"
	rm -rf "$cache"/kernel-src-* "$cache"/.kernel-src.*
	tmp=$(mktemp -d "$cache/.kernel-src.XXXXXX")
	set --
	for dir in Documentation drivers/gpu drivers/media drivers/infiniband drivers/net/ethernet \
		drivers/net/wireless drivers/scsi drivers/staging sound tools/testing tools/perf arch/alpha arch/arc \
		arch/arm arch/arm64 arch/csky arch/hexagon arch/loongarch arch/m68k arch/microblaze arch/mips \
		arch/nios2 arch/openrisc arch/parisc arch/powerpc arch/riscv arch/s390 arch/sh arch/sparc arch/um \
		arch/xtensa; do
		for name in '*.[chS]' '*.dts' '*.dtsi' '*.rst' '*.yaml' '*.json' '*_defconfig'; do
			set -- "$@" --exclude="*/$dir/$name"
		done
	done
	tar -x -f "$archive" -C "$tmp" --strip-components=1 "$@" || die "cannot unpack $archive"
	for patch in $(series_of); do
		patch -d "$tmp" -p1 --fuzz=0 --silent --no-backup-if-mismatch <"$patches/$patch" >&2 ||
			die "$patch does not apply to $archive"
	done
	touch "$tmp/.complete"
	mv "$tmp" "$src"
}

find_archive
archive_id=$(sha256 "$archive")
# What they change, not what they say about it.
patches_id=$(for patch in $(series_of); do sed -n '/^diff --git /,$p' "$patches/$patch"; done | sha256sum | cut -d' ' -f1)
