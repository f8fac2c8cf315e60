# SPDX-License-Identifier: MIT OR Apache-2.0
# Linux's broadcasts to all its CPUs reach no isle CPU.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=xapic TIMEOUT=120
. /lib/hermit/lib.sh

interrupts() { awk 'NR > 1 { sum += $2 } END { print sum }' $sys/isle1/stats; }
calls() { awk '/^ *CAL:/ { sum = 0; for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+$/) sum += $i; print sum }' /proc/interrupts; }

echo 3 >$sys/isle1/cpus
before=$(interrupts)
calls_before=$(calls)
# Each of these interrupts all of Linux's CPUs: caches that every CPU has, and MTRRs, which must be alike on all.
for n in $(seq 100); do
	echo 1 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	echo "base=0xf0000000 size=0x100000 type=uncachable" >/proc/mtrr
	echo "disable=$(sed -n 's/^reg\([0-9]*\): base=0x0*f0000000.*/\1/p' /proc/mtrr | tail -n 1)" >/proc/mtrr
done
check "Linux's CPUs got at least 100 broadcasts" test $(($(calls) - calls_before)) -ge 100
same "the isle's CPU got none" "$before" "$(interrupts)"
same "none came unasked" "" "$(grep 'nobody on the isle asked' $sys/isle1/log)"
echo -1 >$sys/isle1/cpus
