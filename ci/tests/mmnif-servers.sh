# SPDX-License-Identifier: MIT OR Apache-2.0
# Servers and clients as they are, on an isle and on Linux.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=500
requests=300 seconds=3
. /lib/hermit/servers.sh
