# SPDX-License-Identifier: MIT OR Apache-2.0
# As ci/tests/mmnif-abuse.sh, with frames of every length, and 50 times stopped under full load.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=6000
kills=50 step=1
. /lib/hermit/abuse.sh
