# SPDX-License-Identifier: MIT OR Apache-2.0
# Ten minutes of random system calls with random arguments, by four threads on two CPUs of an isle: isle kernel and Linux
# are well afterwards, and nothing is lost.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=1500
. /lib/hermit/wild.sh
wild 600
