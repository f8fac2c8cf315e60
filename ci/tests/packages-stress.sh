# SPDX-License-Identifier: MIT OR Apache-2.0
# stress-ng's stressors for what an isle does itself, for a short time.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=900
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh
. /lib/hermit/stress.sh

begin 1G
stressors 120 1
finish
