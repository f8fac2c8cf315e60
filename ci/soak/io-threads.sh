# SPDX-License-Identifier: MIT OR Apache-2.0
# 64 threads do I/O at once on an isle for five minutes, and check what comes back; then a file system becomes full.
# vm: VCPUS=4 NODES=2 MEM=2G TIMEOUT=500
. /lib/hermit/lib.sh
isle=1
remember
accepted "the isle starts" $sys/isle1/cpus 2-3
export HERMIT_ISLE=1
same "five minutes of I/O by 64 threads" "all right" "$(timeout 400 proxy /usr/share/plain/iothreads 300 2>&1)"
mkdir /tmp/small
mount -t tmpfs -o size=1m small /tmp/small
same "a disk that is full" "No space left on device" \
	"$(proxy /bin/busybox dd if=/dev/zero of=/tmp/small/file bs=64k 2>&1 | grep -o 'No space left on device')"
umount /tmp/small
same "the isle still runs" running "$(cat $sys/isle1/state)"
same "its kernel did not complain" "" "$(grep -v ' ready$' $sys/isle1/log)"
accepted "it stops" $sys/isle1/cpus -1
nothing_lent "after I/O"
