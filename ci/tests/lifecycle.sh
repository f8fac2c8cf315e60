# SPDX-License-Identifier: MIT OR Apache-2.0
# Two isles at the same time, started by echo; afterwards Linux has exactly what it had. Then 50 times more.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic KERNEL=debug TIMEOUT=600
. /lib/hermit/lib.sh

isle=1
remember
echo 256M >$sys/isle0/memory
echo 256M >$sys/isle1/memory
accepted "isle 1 starts on CPUs 2-3" $sys/isle1/cpus 2-3
irq=$(sed -n 's/^ *\([0-9]*\):.* hermit-isle1$/\1/p' /proc/interrupts)
for cpu in 0 1 0; do
	# Who doesn't look for calls at all has to be rung for each.
	HERMIT_ISLE=1 HERMIT_SPIN=0 taskset -c $cpu proxy /usr/share/plain/files >/dev/null
	same "its doorbell is on CPU $cpu, as the proxy" $cpu "$(cat /proc/irq/$irq/effective_affinity_list)"
done
accepted "isle 0 starts on CPU 1" $sys/isle0/cpus 1
same "isle 1 runs" "running 2-3" "$(cat $sys/isle1/state) $(cat $sys/isle1/cpus)"
same "isle 0 runs" "running 1" "$(cat $sys/isle0/state) $(cat $sys/isle0/cpus)"
same "CPU 0 alone is left" 0 "$(online)"
check "iomem tells of lent memory" grep -q 'hermit isle' /proc/iomem
check "MemTotal is smaller" test "$(memtotal)" -lt $((memtotal_before - 400000))
want=$(/usr/share/plain/hello 2>&1)
same "hello on isle 1" "$want" "$(HERMIT_ISLE=1 proxy /usr/share/plain/hello 2>&1)"
same "hello on isle 0" "$want" "$(HERMIT_ISLE=0 proxy /usr/share/plain/hello 2>&1)"
same "isle 1 still runs" running "$(cat $sys/isle1/state)"
check "the log tells that the isle is ready" grep -q 'CPUs.*ready' $sys/isle1/log
same "a row of counters for each CPU" "2 3" "$(awk 'NR > 1 { print $1 }' $sys/isle1/stats | xargs)"
accepted "isle 1 stops" $sys/isle1/cpus -1
accepted "isle 0 stops" $sys/isle0/cpus -1
check "Linux has everything back" restored
check "the log is still there" grep -q ready $sys/isle1/log

# From the second time on there is no drift at all (at the first, the memory map moves: 1/64 of the memory).
second=
drift=0
for n in $(seq 50); do
	echo 2-3 >$sys/isle1/cpus && echo 1 >$sys/isle0/cpus || drift=$n
	echo -1 >$sys/isle0/cpus && echo -1 >$sys/isle1/cpus || drift=$n
	now="$(ram) $(online)"
	[ -n "$second" ] || second=$now
	[ "$now" = "$second" ] || drift=$n
	[ "$n" -ne 2 ] || memtotal_second=$(memtotal)
done
same "50 starts and stops of both, no drift" 0 $drift
same "MemTotal is that of the second time" "$memtotal_second" "$(memtotal)"
check "Linux still has everything" restored
