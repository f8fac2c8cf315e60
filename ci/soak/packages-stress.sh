# SPDX-License-Identifier: MIT OR Apache-2.0
# stress-ng's stressors for what an isle does itself, each for some minutes.
# vm: VCPUS=4 NODES=2 MEM=5G APIC=x2apic ROOT=/ TIMEOUT=15000
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh
. /lib/hermit/stress.sh

begin 1536M
stressors 900 20
finish
