# SPDX-License-Identifier: MIT OR Apache-2.0
# Memory that can't move: an isle gets other memory or says so in bounded time, and nothing is lost. Nor is Linux
# put to sleep while an isle runs.
# While only CPUs of node 0 run, what the guest's files take is memory of that node: it could be moved, and the isle would get its place.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic APPEND=maxcpus=2 TIMEOUT=200
# allow: hermit:
# Linux says which page keeps a block from leaving.
# allow: migrating pfn
# allow: page:
# allow: callbacks suppressed
# allow: head:
# allow: flags:
# allow: raw:
# allow: page dumped because:
. /lib/hermit/lib.sh
for cpu in 2 3; do
	echo 1 >/sys/devices/system/cpu/cpu$cpu/online
done

isle=1 dir=$sys/isle1
echo 256M >$dir/memory
remember

# pin MIB: until `unpin`.
pin() {
	rm -f /tmp/pinned
	/usr/share/plain/pin 1 "$1" >/tmp/pinned &
	pinner=$!
	for n in $(seq 600); do
		[ ! -s /tmp/pinned ] || return
		usleep 100000
	done
	not_ok "pages are pinned" "$(cat /tmp/pinned)"
}
unpin() {
	kill $pinner
	wait $pinner 2>/dev/null || true
}

# What is left is less than a block of memory.
pin 900
start=$(date +%s)
refused "a node whose memory is all pinned" $dir/cpus 2-3 "Cannot allocate memory"
took=$(($(date +%s) - start))
check "that is said within 30 s ($took s)" test $took -le 30
nothing_lent "pinned memory"
unpin
accepted "a good start right after" $dir/cpus 2-3
refused "Linux is not put to sleep meanwhile" /sys/power/state freeze "Device or resource busy"
accepted "and a good stop" $dir/cpus -1
nothing_lent "the start after that"

pin 100
accepted "where some is pinned, the isle gets other memory" $dir/cpus 2-3
same "as much as it asked for" 256 "$(awk '/hermit isle/ { print }' /proc/iomem | sed 's/ *\(.*\)-\(.*\) :.*/\1 \2/' |
	while read -r a b; do echo $(((0x$b - 0x$a + 1) >> 20)); done | awk '{ sum += $1 } END { print sum }')"
accepted "and gives it back" $dir/cpus -1
nothing_lent "the start beside pinned memory"
unpin
