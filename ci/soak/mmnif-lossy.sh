# SPDX-License-Identifier: MIT OR Apache-2.0
# 1 GB each way at each MTU, though frames are lost, doubled and reordered.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=14000
mib=1000
. /lib/hermit/lossy.sh
