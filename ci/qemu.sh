#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints the QEMU to use: HERMIT_QEMU, or the system's if it is 9 or newer (x2APIC under TCG), or one from
# Debian's backports that is unpacked into the cache, so that the system's stays what it is.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -z "${HERMIT_QEMU:-}" ] || { echo "$HERMIT_QEMU"; exit; }
system=$(command -v qemu-system-x86_64)
major=$("$system" --version | sed -n '1s/.*version \([0-9]*\)\..*/\1/p')
own=${HERMIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hermit}/qemu-backports
[ "$major" -lt 9 ] || { echo "$system"; exit; }
[ ! -x "$own/usr/bin/qemu" ] || { echo "$own/usr/bin/qemu"; exit; }
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
fetch() {
	# A private list, so that nobody's own sources are touched.
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
		grep -v '^#' | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ')
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $codename-backports main" >"$work/list"
	cp /var/lib/dpkg/status "$work/status"
	mkdir -p "$work/lists/partial" "$work/archives/partial" "$own.new"
	options=(-o Dir::Etc::sourcelist="$work/list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
	apt-get "${options[@]}" update
	(cd "$work" && apt-get "${options[@]}" download -t "$codename-backports" qemu-system-x86 qemu-system-common qemu-system-data seabios 2>/dev/null ||
		apt-get "${options[@]}" download qemu-system-x86 qemu-system-common qemu-system-data)
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$own.new"; done
	cat >"$own.new/usr/bin/qemu" <<-'END'
		#!/bin/sh
		exec "$(dirname "$0")/qemu-system-x86_64" -L "$(dirname "$0")/../share/qemu" -L "$(dirname "$0")/../share/seabios" -L /usr/share/seabios -L /usr/share/qemu "$@"
	END
	chmod +x "$own.new/usr/bin/qemu"
	"$own.new/usr/bin/qemu" --version
	rm -rf "$own"
	mv "$own.new" "$own"
}
mkdir -p build/logs "$(dirname "$own")"
if (set -e; fetch) >build/logs/qemu-backports.log 2>&1; then
	echo "$own/usr/bin/qemu"
else
	rm -rf "$own.new"
	echo "qemu: none of version 9 or newer from $codename-backports, so no x2APIC; see build/logs/qemu-backports.log" >&2
	echo "$system"
fi
