# SPDX-License-Identifier: MIT OR Apache-2.0
# Data arrive as they were sent, though frames are lost, doubled and reordered.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=500
mib=8
. /lib/hermit/lossy.sh
