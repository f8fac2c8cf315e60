# SPDX-License-Identifier: MIT OR Apache-2.0
# The self test of the demo programs, each run by the proxy: output, exit status, death by the right signal.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=xapic TIMEOUT=400
. /lib/hermit/lib.sh

isle=1
echo 2-3 >$sys/isle1/cpus
export HERMIT_ISLE=1 LIMIT=60
sh /usr/share/plain/selftest.sh /usr/share/plain proxy
echo -1 >$sys/isle1/cpus
same "the isle stopped" stopped "$(cat $sys/isle1/state)"
same "the isle kernel did not complain" "" "$(grep -E 'panic|isle kernel stops' $sys/isle1/log)"
