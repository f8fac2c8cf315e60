# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 6 CPUs, 3 nodes, xapic.
# vm: VCPUS=6 NODES=3 MEM=2G APIC=xapic TIMEOUT=200
. /lib/hermit/topology.sh
