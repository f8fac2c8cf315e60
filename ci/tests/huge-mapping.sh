# SPDX-License-Identifier: MIT OR Apache-2.0
# Where Linux maps its memory by 1 GiB pages, parts of them can be lent, and come back; an isle's programs get such pages.
# vm: VCPUS=4 NODES=2 MEM=6G APIC=xapic TIMEOUT=200
# allow: hermit:
. /lib/hermit/lib.sh

isle=1
remember
grep -q pdpe1gb /proc/cpuinfo || { ok "parts of 1 GiB pages are lent # SKIP this CPU has none"; exit; }
# Node 1 has 3 GiB from 5 GiB on, all of it mapped so, and at its top what never moves: so the last page goes in part.
echo 3G >$sys/isle1/memory
for round in 1 2 3; do
	accepted "round $round: a start" $sys/isle1/cpus 2-3
	lent=$(sed 's/M .*//' $sys/isle1/memory)
	check "round $round: $lent MiB were got, more than two such pages but not all three" test "$lent" -gt 2048 -a "$lent" -lt 3072
	check "round $round: hello runs" env HERMIT_ISLE=1 proxy /usr/share/plain/hello
	check "round $round: a program gets such a page" env HERMIT_ISLE=1 proxy /usr/share/plain/huge merged
	accepted "round $round: a stop" $sys/isle1/cpus -1
	nothing_lent "round $round"
done
