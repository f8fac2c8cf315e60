#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# start.sh QEMU: prints, as `name value unit`, how long it takes from the command to a program's first output: in a virtual machine of
# the isle kernel's (lines that begin with "isle"), and as the init of a Linux in one that is otherwise the same ("linux"). Parts:
#
#   vm_start_emulator  QEMU and firmware; on Linux also what its kernel does before its clock runs
#   vm_start_kernel    the kernel, until it could run a program; on Linux until it does
#   vm_start_program   the rest: the program is loaded and begins
set -euo pipefail
cd "$(dirname "$0")/.."
qemu=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# first COMMAND…: sets `took`, microseconds until the first line that says so, and `at`, what it says.
first() {
	local began word fd
	began=${EPOCHREALTIME//[.,]/}
	exec {fd}< <(exec timeout -k 5 120 "$@" 2>"$work/words" </dev/null)
	word= at=
	until [ "$word" = first ]; do
		read -r word at <&$fd || { echo "start: $1 printed nothing of use: $(tail -n 3 "$work/words")" >&2; exit 1; }
	done
	took=$((${EPOCHREALTIME//[.,]/} - began))
	at=${at//[^0-9]/}
	# Until it has ended.
	cat <&$fd >/dev/null
	exec {fd}<&-
}

# say SYSTEM NAME MICROSECONDS
say() { awk -v "line=$1 $2" -v "us=$3" 'BEGIN { printf "%s %.3f ms\n", line, us / 1000 }'; }

# What the proxy and the isle kernel's log say, in microseconds.
words() { sed -n -E "s/$1/\\1/p" "$work/words" | head -n 1 | awk '{ printf "%d", $1 * 1000000 }'; }

export HERMIT_ISLE=qemu HERMIT_QEMU="$qemu" HERMIT_VERBOSE=1
unset HERMIT_CPUS HERMIT_MEM HERMIT_MACHINE HERMIT_NET
first build/proxy build/bench/first
emulator=$(words '.*QEMU and its firmware took ([0-9.]+) s.*')
kernel=$(words '^\[ *([0-9.]+)\] .* ready$')
say isle vm_start $took
say isle vm_start_emulator "$emulator"
say isle vm_start_kernel "$kernel"
say isle vm_start_program $((took - emulator - kernel))

mkdir "$work/root"
cp build/bench/first "$work/root/init"
(cd "$work/root" && echo init | cpio --quiet -o -H newc) >"$work/initrd"
first "$qemu" -machine q35 -accel tcg,thread=multi -cpu max -m 2048M -nodefaults -no-user-config -display none -no-reboot \
	-kernel build/normal/bzImage -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 tsc=reliable" -serial stdio
say linux vm_start $took
say linux vm_start_emulator $((took - at / 1000))
say linux vm_start_kernel $((at / 1000))
