# SPDX-License-Identifier: MIT OR Apache-2.0
# Programs with threads, signals and timers print on an isle what they print on Linux, and end in the same way.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=900
# What Linux says of a program that passes wrong arguments to it.
# allow: new_value NULL pointer
. /lib/hermit/lib.sh

echo 512M >$sys/isle1/memory
remember
echo 2-3 >$sys/isle1/cpus
export HERMIT_ISLE=1
CPUS=2 LIMIT=100 sh /usr/share/plain/compare.sh /usr/share/plain proxy
same "the isle still runs" running "$(cat $sys/isle1/state)"
same "all of its memory came back" "" "$(grep 'in use by nobody' $sys/isle1/log)"
echo -1 >$sys/isle1/cpus
check "Linux has everything back" restored
