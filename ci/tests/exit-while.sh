# SPDX-License-Identifier: MIT OR Apache-2.0
# A hundred programs, one after the other, that use all CPUs and exit while their threads still run; afterwards as much of the
# isle's memory is free as before.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=400
. /lib/hermit/lib.sh

free_memory() { proxy /bin/busybox grep MemFree /proc/meminfo; }
remember
echo 2-3 >$sys/isle1/cpus
export HERMIT_ISLE=1
before=$(free_memory)
ended=0
for n in $(seq 25); do
	for how in return exit _exit thread-exit; do
		timeout -s KILL 60 proxy /usr/share/plain/exit-while $how >/dev/null 2>&1
		status=$?
		if [ $status = 3 ]; then ended=$((ended + 1)); else echo "  # $how: status $status"; fi
	done
done
same "all of 100 programs that exit while threads run end well" 100 $ended
check "there is free memory to be compared ($before)" test -n "$before"
same "as much memory is free as before" "$before" "$(free_memory)"
same "none is in use by nobody" "" "$(grep 'in use by nobody' $sys/isle1/log)"
isle=1
echo -1 >$sys/isle1/cpus
nothing_lent "afterwards"
