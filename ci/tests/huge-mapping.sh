# SPDX-License-Identifier: MIT OR Apache-2.0
# Where Linux maps its memory by 1 GiB pages, a part of one can't be lent: that is said, and nothing else happens.
# vm: VCPUS=4 NODES=2 MEM=6G APIC=xapic APPEND=gbpages TIMEOUT=100
# allow: hermit:
# expect: boot it with nogbpages
. /lib/hermit/lib.sh

isle=1
remember
grep -q pdpe1gb /proc/cpuinfo || { ok "a start is refused # SKIP this CPU has no 1 GiB pages"; exit; }
refused "a start is refused" $sys/isle1/cpus 2-3 "Cannot allocate memory"
nothing_lent "memory in 1 GiB pages"
