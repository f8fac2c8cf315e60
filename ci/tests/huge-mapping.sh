# SPDX-License-Identifier: MIT OR Apache-2.0
# Where Linux maps its memory by 1 GiB pages, parts of them can be lent, and come back; an isle's programs get such pages.
# vm: VCPUS=4 NODES=2 MEM=8G APIC=xapic TIMEOUT=200
# allow: hermit:
. /lib/hermit/lib.sh

isle=1
remember
grep -q pdpe1gb /proc/cpuinfo || { ok "parts of 1 GiB pages are lent # SKIP this CPU has none"; exit; }

# How many pages of 1 GiB there are in ranges as in "memory", which end before a multiple of 128 MiB.
pages_in() {
	local count=0 range
	for range; do
		local start=$((${range%-*})) end=$((${range#*-} + 1))
		local pages=$(((end >> 30) - ((start + (1 << 30) - 1) >> 30)))
		[ $pages -le 0 ] || count=$((count + pages))
	done
	echo $count
}

# Node 1 has 4 GiB from 6 GiB on, all of it mapped so, and at its top what never moves: so the last page goes in part.
echo 4G >$sys/isle1/memory
for round in 1 2 3; do
	accepted "round $round: a start" $sys/isle1/cpus 2-3
	memory=$(cat $sys/isle1/memory)
	lent=${memory%%M *}
	check "round $round: $lent MiB were got, more than two such pages but not all four" test "$lent" -gt 2048 -a "$lent" -lt 4096
	check "round $round: hello runs" env HERMIT_ISLE=1 proxy /usr/share/plain/hello
	# Where Linux has something in every page that can't move, which is chance, none is whole.
	if [ "$(pages_in ${memory#*M })" -gt 0 ]; then
		check "round $round: a program gets such a page" env HERMIT_ISLE=1 proxy /usr/share/plain/huge merged
	else
		ok "round $round: a program gets such a page # SKIP none is whole: $memory"
	fi
	accepted "round $round: a stop" $sys/isle1/cpus -1
	nothing_lent "round $round"
done
