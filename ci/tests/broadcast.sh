# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux's broadcasts to all its CPUs reach no isle CPU.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=xapic TIMEOUT=120
. /lib/hermit/lib.sh

interrupts() { awk 'NR > 1 { sum += $2 } END { print sum }' $sys/isle1/stats; }
calls() { awk '/^ *CAL:/ { sum = 0; for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+$/) sum += $i; print sum }' /proc/interrupts; }

echo 3 >$sys/isle1/cpus
before=$(interrupts)
calls_before=$(calls)
# Each change of a static key in kernel text interrupts all CPUs.
for n in $(seq 100); do
	echo $((n % 2)) >/proc/sys/kernel/sched_schedstats
done
check "Linux's CPUs got at least 100 broadcasts" test $(($(calls) - calls_before)) -ge 100
same "the isle's CPU got none" "$before" "$(interrupts)"
same "none came unasked" "" "$(grep 'nobody on the isle asked' $sys/isle1/log)"
echo -1 >$sys/isle1/cpus
