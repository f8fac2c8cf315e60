# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 2 CPUs, 1 nodes, xapic.
# vm: VCPUS=2 NODES=1 MEM=2G APIC=xapic TIMEOUT=200
. /lib/hermit/topology.sh
