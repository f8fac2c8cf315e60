# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 10 CPUs, 4 nodes, x2apic.
# vm: VCPUS=10 NODES=4 MEM=3G APIC=x2apic TIMEOUT=200
. /lib/hermit/topology.sh
