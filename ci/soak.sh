#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints the names of the test scripts that take too long for every day: those in ci/soak, and many that it writes into
# build/soak: machines of 2 to 10 CPUs and 1 to 4 nodes in both APIC modes, with memory below 4 GiB and around the hole there. Nodes
# have 768 MiB or more: in 512 MiB, Linux's own pages (its image at a random place, the node's data, memory for a
# RAM disk) sometimes lie in all four blocks.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/soak
rm -f build/soak/*
ls ci/soak/*.sh

# shape VCPUS NODES APIC MEM
shape() {
	script=build/soak/topology-$1-$2-$3-$4.sh
	cat >"$script" <<-END
		# vm: VCPUS=$1 NODES=$2 APIC=$3 MEM=$4 TIMEOUT=300
		. /lib/hermit/topology.sh
	END
	echo "$script"
}

for apic in xapic x2apic; do
	for nodes in 1 2 3 4; do
		for cpus in 2 3 4 5 6 7 8 9 10; do
			shape $cpus $nodes $apic $([ "$nodes" = 4 ] && echo 3G || echo 2G)
		done
		shape 4 $nodes $apic 6G
	done
done
