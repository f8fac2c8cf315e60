# SPDX-License-Identifier: MIT OR Apache-2.0
# A machine of another shape: 10 CPUs, 2 nodes, xapic.
# vm: VCPUS=10 NODES=2 MEM=2G APIC=xapic TIMEOUT=200
. /lib/hermit/topology.sh
