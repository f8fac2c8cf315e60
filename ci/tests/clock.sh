# SPDX-License-Identifier: MIT OR Apache-2.0
# An isle's clocks are Linux's to within 1 ms, also when Linux's are set, or go faster or slower.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=120
. /lib/hermit/lib.sh
. /lib/hermit/clock.sh

remember
echo 2-3 >$sys/isle1/cpus
mkfifo /tmp/questions /tmp/answers

in_step "clocks left alone" 12
date -s @2000000000 >/dev/null
sleep 1
in_step "CLOCK_REALTIME set forward" 3
date -s @1000000000 >/dev/null
sleep 1
in_step "CLOCK_REALTIME set back" 3
adjtimex -q -t 10050 >/dev/null
sleep 2
in_step "clocks 0.5 % faster" 5
adjtimex -q -t 9950 >/dev/null
sleep 2
in_step "clocks 0.5 % slower" 5
echo -1 >$sys/isle1/cpus
check "Linux has everything back" restored
