# SPDX-License-Identifier: MIT OR Apache-2.0
# A network that loses, doubles and reorders frames both ways; what arrives is what was sent. To be sourced after setting `mib`
# for each direction at each MTU.
. /lib/hermit/lib.sh
isle=1
ip addr add 192.168.28.1/24 dev mmnif
# Frames are lost, and not whole trains of segments.
ip link set mmnif up gso_max_segs 1 gro_max_size 1
# It is there if the driver is a part of the kernel.
[ -e /sys/class/net/ifb0 ] || ip link add ifb0 type ifb
ip link set ifb0 up
echo 640M >$sys/isle1/memory
remember
accepted "isle 1 starts" $sys/isle1/cpus 2-3
cat >/tmp/transfer.py <<'END'
import hashlib, random, socket, sys, threading
# serve | HOST, then MiB each way: both ends send the same, and say what they got
mib = int(sys.argv[2])
base = random.Random(28).randbytes(1 << 20)
def blocks():
    for n in range(mib): yield base[n * 4099 % len(base):] + base[:n * 4099 % len(base)]
if sys.argv[1] == 'serve':
    l = socket.create_server(('0.0.0.0', 5001)); print('ready', flush=True); s, _ = l.accept()
else:
    s = socket.create_connection((sys.argv[1], 5001), 60)
s.settimeout(120)
def send():
    for b in blocks(): s.sendall(b)
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
h = hashlib.md5(); total = 0
while d := s.recv(1 << 18): h.update(d); total += len(d)
t.join()
w = hashlib.md5()
for b in blocks(): w.update(b)
print(total, 'bytes,', 'as sent' if h.digest() == w.digest() else 'something else')
END
# disturb DEVICE LOSS
disturb() { tc qdisc add dev "$1" root netem limit 20000 delay 500us loss "$2%" duplicate 1% reorder 1%; }
wanted="$((mib << 20)) bytes, as sent"
for mtu in 65535 9000 1500; do
	ip link set mmnif mtu $mtu
	# Where frames are few, more of them are lost, so that it can't be that none is.
	loss=$((3000 * mtu / (mib << 20)))
	loss=$((loss < 1 ? 1 : loss > 15 ? 15 : loss))
	disturb mmnif $loss
	tc qdisc add dev mmnif handle ffff: ingress
	tc filter add dev mmnif parent ffff: matchall action mirred egress redirect dev ifb0
	disturb ifb0 $loss
	HERMIT_ISLE=1 timeout $((120 + mib * 4)) proxy /usr/bin/python3 /tmp/transfer.py serve $mib >/tmp/server.out 2>&1 &
	server=$!
	for n in $(seq 300); do
		! grep -q ready /tmp/server.out || break
		sleep 0.1
	done
	got=$(timeout $((120 + mib * 4)) python3 /tmp/transfer.py 192.168.28.3 $mib 2>&1)
	wait $server
	same "MTU $mtu: $mib MiB to Linux" "$wanted" "$got"
	same "MTU $mtu: $mib MiB to the isle" "ready
$wanted" "$(cat /tmp/server.out)"
	for device in mmnif ifb0; do
		dropped=$(tc -s qdisc show dev $device root | sed -n 's/.*(dropped \([0-9]*\),.*/\1/p')
		echo "# $device: $dropped dropped of $(tc -s qdisc show dev $device root | sed -n 's/.* bytes \([0-9]*\) pkt.*/\1/p')"
		check "MTU $mtu: frames on $device were lost, $loss %" [ "${dropped:-0}" -gt 0 ]
		tc qdisc del dev $device root
	done
	tc qdisc del dev mmnif ingress
done
same "isle 1 still runs" running "$(cat $sys/isle1/state)"
same "its kernel did not complain" "" "$(grep -v ' ready$' $sys/isle1/log)"
accepted "isle 1 stops" $sys/isle1/cpus -1
nothing_lent "after losses"
