# SPDX-License-Identifier: MIT OR Apache-2.0
# While a program computes, nothing enters the isle's kernel: no interrupt, no fault, no call, no switch, for 60 s.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=150
. /lib/hermit/lib.sh

counters() { tail -n +2 $sys/isle1/stats; }
remember
echo 2-3 >$sys/isle1/cpus
HERMIT_ISLE=1 proxy /usr/share/bench/fwq -m -w 19 -t 2 -s 75 >/tmp/fwq 2>&1 &
fwq=$!
sleep 8
before=$(counters)
sleep 60
after=$(counters)
check "the program still computes" kill -0 $fwq
same "counters of both CPUs after 60 s" "$before" "$after"
check "which have counted before" test "$(echo "$before" | awk '{ sum += $2 + $3 + $4 + $6 } END { print sum }')" -gt 0
wait $fwq
same "the program ends well" 0 $?
check "it has taken samples" grep -q fwq_median /tmp/fwq
isle=1
echo -1 >$sys/isle1/cpus
nothing_lent "afterwards"
