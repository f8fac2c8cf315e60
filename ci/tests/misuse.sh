# SPDX-License-Identifier: MIT OR Apache-2.0
# What users may do wrong in sysfs: the documented error, nothing left lent, and a good start right after.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=xapic KERNEL=debug TIMEOUT=300
# allow: hermit:
. /lib/hermit/lib.sh

isle=1 dir=$sys/isle1
einval="Invalid argument" ebusy="Device or resource busy"
echo 256M >$dir/memory
echo 256M >$sys/isle0/memory
remember
for list in garbage 0 0-1 99 2, 3-2 2,2 -2 2-3-4; do
	refused "cpus refuses $list" $dir/cpus "$list" "$einval"
done
refused "-1 on a stopped isle" $dir/cpus -1 "$einval"
echo 0 >/sys/devices/system/cpu/cpu3/online
refused "an offline CPU" $dir/cpus 2-3 "$einval"
echo 1 >/sys/devices/system/cpu/cpu3/online
nothing_lent "wrong lists"

refused "path refuses a missing file" $dir/path /no/such/file "No such file or directory"
same "path keeps what it was" /boot/isle-kernel "$(cat $dir/path)"
: >/tmp/empty
head -c 5000 /boot/isle-kernel >/tmp/truncated
printf '\177ELF\001\001\001' | cat - /dev/zero | head -c 4096 >/tmp/32bit
for image in empty truncated 32bit; do
	accepted "path takes the $image image" $dir/path /tmp/$image
	refused "but it is not started" $dir/cpus 2 "Exec format error"
	nothing_lent "an image that is $image"
done
cp /boot/isle-kernel /tmp/gone
echo /tmp/gone >$dir/path
rm /tmp/gone
refused "an image that has gone" $dir/cpus 2 "No such file or directory"
echo /boot/isle-kernel >$dir/path

refused "memory refuses what is no size" $dir/memory lots "$einval"
refused "memory refuses 0" $dir/memory 0 "$einval"
accepted "a good start right after" $dir/cpus 2-3
refused "a second start" $dir/cpus 2-3 "$ebusy"
refused "another isle on a CPU that is lent" $sys/isle0/cpus 1-2 "$ebusy"
same "the other isle took nothing" "0-1 stopped" "$(online) $(cat $sys/isle0/state)"
refused "bringing a lent CPU on line" /sys/devices/system/cpu/cpu2/online 1 "$ebusy"
probe=/sys/devices/system/memory/probe
if [ -e $probe ]; then
	start=$(sed 's/.* \(0x[0-9a-f]*\)-.*/\1/' $dir/memory)
	refused "adding lent memory" $probe "$start" "File exists"
else
	ok "adding lent memory # SKIP this kernel has no $probe"
fi
accepted "and a good stop" $dir/cpus -1
nothing_lent "all of this"

# Isle kernels that never report, never stop, or scribble over what they share.
for kind in mute deaf liar minimal; do
	echo /boot/isle-$kind >$dir/path
	error=$(store $dir/cpus 2-3)
	case $kind in
	mute) same "an isle kernel that never reports" "Connection timed out" "$error" ;;
	deaf | minimal) same "an isle kernel that is $kind starts" "" "$error" ;;
	esac
	cat $dir/log $dir/stats $dir/state >/dev/null
	store $dir/cpus -1 >/dev/null
	nothing_lent "an isle kernel that is $kind"
done
echo /boot/isle-kernel >$dir/path
same "hello after all that" "$(/usr/share/plain/hello)" "$(HERMIT_ISLE=1 HERMIT_CPUS=2 proxy /usr/share/plain/hello 2>&1)"

rmmod hermit && ok "the module can be removed" || not_ok "the module can be removed"
insmod /lib/hermit.ko
echo /boot/isle-kernel >$dir/path
echo 2-3 >$dir/cpus
rmmod hermit && ok "removing the module stops its isles" || not_ok "removing the module stops its isles"
same "all CPUs are back" 0-3 "$(online)"
