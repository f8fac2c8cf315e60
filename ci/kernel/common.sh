# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced by the scripts next to it: where things are, messages, the cache.

# shellcheck disable=SC2034  # used by those who source this
here=${here:?the sourcing script sets it to its own directory}
top=$(cd "$here/../.." && pwd)
cache=${HERMIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hermit}
LC_ALL=C
export LC_ALL

# Linux's build takes these from the environment, and make hands its own variables down. None is for it.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS ARCH CROSS_COMPILE LOCALVERSION \
	KBUILD_OUTPUT KBUILD_EXTMOD KCONFIG_CONFIG KCONFIG_ALLCONFIG KCFLAGS KAFLAGS KRUSTFLAGS KCPPFLAGS \
	HOSTCFLAGS HOSTLDFLAGS RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTUP_TOOLCHAIN INSTALL_MOD_PATH launcher

say() {
	printf 'kernel: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# sha256 <file>: its checksum, remembered as long as size and times stay, since tarballs are big.
sha256() {
	memo=$cache/sha256/$(stat -Lc '%n %s %Y %Z %i' "$1" | sha256sum | cut -c1-32)
	if [ ! -s "$memo" ]; then
		mkdir -p "$cache/sha256"
		sha256sum <"$1" | cut -d' ' -f1 >"$memo.$$"
		mv "$memo.$$" "$memo"
	fi
	cat "$memo"
}

# lock <name>: only one process at a time goes on; kept until it ends.
lock() {
	mkdir -p "$cache"
	exec 9>"$cache/$1.lock"
	if ! flock -n 9; then
		say "waiting for another build to finish"
		flock 9
	fi
}

# seal <dir>: records what a finished entry consists of. Headers and what is very large only by size, since
# it is looked at on each use.
seal() (
	cd "$1"
	find . -type f ! -name 'manifest*' ! -path './headers/*' -size -16384k -print0 | sort -z |
		xargs -0 sha256sum >manifest.sums
	find . ! -type d ! -name 'manifest*' -printf '%s %p\n' | sort >manifest.sizes
)

# sound <dir>: whether it is still what was sealed.
sound() (
	cd "$1" 2>/dev/null && [ -s manifest.sums ] && [ -s manifest.sizes ] || exit 1
	find . ! -type d ! -name 'manifest*' -printf '%s %p\n' | sort | cmp -s - manifest.sizes || exit 1
	sha256sum --status -c manifest.sums
)
