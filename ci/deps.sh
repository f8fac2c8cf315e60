#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# deps.sh [LIST]: installs the Debian packages that are in the list, by default ci/packages, and missing; does nothing when all
# are there.
set -euo pipefail
list=${1:-$(dirname "$0")/packages}
# No process substitution in here: a chroot may have no /dev/fd.
read -r -d '' -a wanted <<<"$(grep -v '^#' "$list")" || true

is_installed() {
	[[ " $installed " == *" $1 "* ]]
}

# An entry of which no alternative is installed.
missing() {
	local entry package
	for entry in "${wanted[@]}"; do
		# Linux's source may also come from kernel.org, where no package can be had.
		[ "$entry" = linux-source-6.12 ] && [ -n "${no_source_package:-}" ] && continue
		for package in ${entry//|/ }; do
			! is_installed "$package" || continue 2
		done
		echo "$entry"
	done
}

# Of each entry, the first package that can be had; the last one where none can, so that apt-get complains of it.
chosen() {
	local entry package
	for entry in "${needed[@]}"; do
		for package in ${entry//|/ }; do
			! apt-cache show "$package" >/dev/null 2>&1 || break
		done
		echo "$package"
	done
}

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" { printf "%s ", $1 }') || {
	echo "deps: this is no Debian; install what $list lists by your own means" >&2
	exit 0
}
read -r -d '' -a needed <<<"$(missing)" || true
[ ${#needed[@]} -gt 0 ] || exit 0

command="apt-get install --no-install-recommends"
if [ "$(id -u)" != 0 ]; then
	echo "deps: packages are missing; as root, run:" >&2
	echo "  $command" $(chosen) >&2
	exit 1
fi
echo "deps: installing ${#needed[@]} packages" >&2
log=build/logs/apt.log
mkdir -p build/logs
export DEBIAN_FRONTEND=noninteractive
apt-get update >"$log" 2>&1 || { tail -n 5 "$log" >&2; echo "deps: apt-get update failed, see $log" >&2; exit 1; }
if ! apt-cache show linux-source-6.12 >/dev/null 2>&1; then
	no_source_package=1
	read -r -d '' -a needed <<<"$(missing)" || true
fi
read -r -d '' -a packages <<<"$(chosen)" || true
apt-get install -y --no-install-recommends "${packages[@]}" >>"$log" 2>&1 || {
	tail -n 15 "$log" >&2
	echo "deps: '$command ${packages[*]}' failed, see $log" >&2
	exit 1
}
