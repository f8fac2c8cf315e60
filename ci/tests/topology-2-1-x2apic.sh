# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 2 CPUs, 1 nodes, x2apic.
# vm: VCPUS=2 NODES=1 MEM=2G APIC=x2apic TIMEOUT=200
. /lib/hermit/topology.sh
