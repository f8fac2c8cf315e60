# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 3 CPUs, 2 nodes, x2apic.
# vm: VCPUS=3 NODES=2 MEM=2G APIC=x2apic TIMEOUT=200
. /lib/hermit/topology.sh
