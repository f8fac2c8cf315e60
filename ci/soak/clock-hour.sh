# SPDX-License-Identifier: MIT OR Apache-2.0
# An isle's clocks stay Linux's to within 1 ms for an hour, looked at for 2 s in each minute.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=5400
. /lib/hermit/lib.sh
. /lib/hermit/clock.sh

remember
echo 2-3 >$sys/isle1/cpus
mkfifo /tmp/questions /tmp/answers
start=$(date +%s)
for minute in $(seq 0 60); do
	in_step "minute $minute" 2
	left=$((start + 60 * (minute + 1) - $(date +%s)))
	[ $left -le 0 ] || [ "$minute" = 60 ] || sleep $left
done
echo -1 >$sys/isle1/cpus
check "Linux has everything back" restored
