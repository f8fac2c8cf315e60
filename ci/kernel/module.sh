#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds a module, in place, against a kernel that build.sh made:
#
#   module.sh <directory that build.sh printed> <module's directory> [arguments of make …]

set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

[ $# -ge 2 ] || die "usage: module.sh <kernel> <module's directory> [arguments of make …]"
entry=$(cd "$1" && pwd)
module=$(cd "$2" && pwd)
shift 2

. "$here/toolchain.sh"
[ "$toolchain_id" = "$(cat "$entry/toolchain")" ] ||
	die "$entry was built with other compilers; build.sh builds one for these"

kmake "$entry/kdir" M="$module" "$@"
