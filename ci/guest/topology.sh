# SPDX-License-Identifier: MIT OR Apache-2.0
# Every node's isle runs hello on the last CPU, and one takes all CPUs but 0. The machine's shape is the caller's.
. /lib/hermit/lib.sh

remember
last=$(($(nproc) - 1))
mode=$(grep -q x2apic /proc/cpuinfo && dmesg | grep -q -i 'x2apic enabled' && echo x2apic || echo xapic)
want=$(/usr/share/plain/hello 2>&1)
for dir in $sys/isle*; do
	isle=${dir#$sys/isle}
	same "isle $isle on CPU $last, $mode" "$want" "$(HERMIT_ISLE=$isle HERMIT_CPUS=$last proxy /usr/share/plain/hello 2>&1)"
done
if [ "$last" -gt 1 ]; then
	same "isle 0 on CPUs 1-$last" "$want" "$(HERMIT_ISLE=0 HERMIT_CPUS=1-$last proxy /usr/share/plain/hello 2>&1)"
fi
check "Linux has everything back" restored
