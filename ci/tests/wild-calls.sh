# SPDX-License-Identifier: MIT OR Apache-2.0
# Random system calls with random arguments, for 20 s here: isle kernel and Linux are well afterwards (make soak: 10 minutes).
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=200
. /lib/hermit/wild.sh
wild 20
