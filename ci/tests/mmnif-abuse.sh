# SPDX-License-Identifier: MIT OR Apache-2.0
# Floods, malformed frames, peers that never read, a thousand connections, an isle that goes under load: nothing breaks.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=600
kills=5 step=97
. /lib/hermit/abuse.sh
