#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the Debian packages in ci/packages that are missing; does nothing when all are there.
set -euo pipefail
here=$(dirname "$0")
# No process substitution in here: a chroot may have no /dev/fd.
read -r -d '' -a wanted <<<"$(grep -v '^#' "$here/packages")" || true

missing() {
	local package
	for package in "${wanted[@]}"; do
		# Linux's source may also come from kernel.org, where no package can be had.
		[ "$package" = linux-source-6.12 ] && [ -n "${no_source_package:-}" ] && continue
		[[ " $installed " == *" $package "* ]] || echo "$package"
	done
}

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null | awk '$2 == "installed" { printf "%s ", $1 }') || {
	echo "deps: this is no Debian; install what ci/packages lists by your own means" >&2
	exit 0
}
read -r -d '' -a needed <<<"$(missing)" || true
[ ${#needed[@]} -gt 0 ] || exit 0

command="apt-get install --no-install-recommends ${needed[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "deps: packages are missing; as root, run:" >&2
	echo "  $command" >&2
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
apt-get install -y --no-install-recommends "${needed[@]}" >>"$log" 2>&1 || {
	tail -n 15 "$log" >&2
	echo "deps: '$command' failed, see $log" >&2
	exit 1
}
