# SPDX-License-Identifier: MIT OR Apache-2.0
# Two isles answer pings over mmnif, whose carrier follows them; isles that misbehave or die cost packets only.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic KERNEL=debug TIMEOUT=240
# allow: hermit:
# allow: mmnif: mtu
. /lib/hermit/lib.sh
carrier() { cat /sys/class/net/mmnif/carrier; }
# lost ADDRESS SIZE COUNT: of so many pings, in percent, after one by which an isle that has just started finds out where Linux is
lost() { ping -q -c 1 -W 1 "$1" >/dev/null; ping -q -c "$3" -i 0.01 -W 3 -s "$2" "$1" | sed -n 's/.* \([0-9]*\)% packet loss/\1/p'; }

isle=1
ifconfig mmnif 192.168.28.1 netmask 255.255.255.0 up
ip -6 addr add fd00:c0a8:1c::1/64 dev mmnif
check "ifconfig shows mmnif" sh -c 'ifconfig mmnif | grep "HWaddr 02:48:45:52:00:00"'
same "no isle, no carrier" 0 "$(carrier)"
echo 128M >$sys/isle0/memory
echo 128M >$sys/isle1/memory
remember
accepted "isle 1 starts" $sys/isle1/cpus 2-3

irq=$(sed -n 's/^ *\([0-9]*\):.* mmnif-isle1$/\1/p' /proc/interrupts)
for cpu in 0 1 0; do
	taskset -c $cpu ping -q -c 200 -i 0.001 192.168.28.3 >/dev/null
	same "its interrupt is on CPU $cpu, as who sends" $cpu "$(cat /proc/irq/$irq/effective_affinity_list)"
done

accepted "isle 0 starts" $sys/isle0/cpus 1
same "isles, carrier" 1 "$(carrier)"
sleep 2
for address in 192.168.28.2 192.168.28.3 fd00:c0a8:1c::2 fd00:c0a8:1c::3; do
	for size in 0 56 1472 9000 65000; do
		same "$address answers pings of $size bytes" 0 "$(lost $address $size 20)"
	done
done
check "nobody is at 192.168.28.4" sh -c '! ping -c 1 -W 1 192.168.28.4'
for mtu in 1280 1500 9000; do
	ifconfig mmnif mtu $mtu
	# Of IPv6 an isle takes no fragments.
	same "at an MTU of $mtu, an isle answers pings of 5000 bytes" 0 "$(lost 192.168.28.3 5000 20)"
	same "at an MTU of $mtu, an isle answers IPv6 pings" 0 "$(lost fd00:c0a8:1c::3 1200 20)"
done
for mtu in 67 65536; do
	check "an MTU of $mtu is refused" sh -c "! ip link set mmnif mtu $mtu"
done
ifconfig mmnif mtu 68
ifconfig mmnif mtu 65535
ifconfig mmnif down
ifconfig mmnif up
same "down and up" 0 "$(lost 192.168.28.3 56 20)"

# Under load the isle goes, again and again.
for n in $(seq 10); do
	ping -q -i 0.001 -w 3 -s 30000 192.168.28.3 >/dev/null &
	ping -q -i 0.001 -w 3 192.168.28.3 >/dev/null &
	usleep $((n * 50000))
	echo -1 >$sys/isle1/cpus
	wait
	echo 2-3 >$sys/isle1/cpus
done
same "10 times stopped under load, the isle answers" 0 "$(lost 192.168.28.3 56 20)"
same "and the other one" 0 "$(lost 192.168.28.2 56 20)"
accepted "isle 1 stops" $sys/isle1/cpus -1

# One that fills its rings with garbage, then one that hears nothing.
path=$(cat $sys/isle1/path)
for kind in liar deaf; do
	echo /boot/isle-$kind >$sys/isle1/path
	# The one that lies may seem not to have started.
	store $sys/isle1/cpus 2-3 >/dev/null
	ping -q -i 0.001 -w 2 -s 60000 192.168.28.3 >/dev/null
	same "the other isle answers beside isle-$kind" 0 "$(lost 192.168.28.2 56 20)"
	store $sys/isle1/cpus -1 >/dev/null
	same "isle-$kind is stopped" stopped "$(cat $sys/isle1/state)"
done
echo $path >$sys/isle1/path
accepted "isle 1 starts" $sys/isle1/cpus 2-3
same "after those, the isle answers" 0 "$(lost 192.168.28.3 56 20)"
accepted "isle 0 stops" $sys/isle0/cpus -1
accepted "isle 1 stops" $sys/isle1/cpus -1
same "no isle, no carrier again" 0 "$(carrier)"
nothing_lent "after pings"
