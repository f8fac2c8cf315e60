# SPDX-License-Identifier: MIT OR Apache-2.0
# Servers and clients as they are, on an isle and on Linux: 10,000 requests, and each iperf3 for a minute.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=2400
requests=10000 seconds=60
. /lib/hermit/servers.sh
