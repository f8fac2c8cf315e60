# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux goes down while isles run and a program on one of them computes: the isles are stopped first.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic KERNEL=debug TIMEOUT=60 APPEND=loglevel=7
# expect: hermit: all isles are stopped for Linux to go down
. /lib/hermit/lib.sh

accepted "isle 0 starts" $sys/isle0/cpus 1
accepted "isle 1 starts" $sys/isle1/cpus 2-3
HERMIT_ISLE=1 proxy /usr/share/plain/fault loop >/dev/null 2>&1 &
sleep 1
check "a program computes on isle 1" kill -0 $!
