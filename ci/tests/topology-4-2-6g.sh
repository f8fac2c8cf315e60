# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 4 CPUs, 2 nodes, memory on both sides of the hole below 4 GiB.
# vm: VCPUS=4 NODES=2 MEM=6G APIC=x2apic TIMEOUT=200
. /lib/hermit/topology.sh
