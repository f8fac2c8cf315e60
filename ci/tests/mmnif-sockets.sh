# SPDX-License-Identifier: MIT OR Apache-2.0
# Programs on isles use sockets: what they see is what they see on Linux; data arrive as they were sent, between Linux and an isle, two isles,
# and an isle and another network.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=500
. /lib/hermit/lib.sh
isle=1
ip addr add 192.168.28.1/24 dev mmnif
ip addr add fd00:c0a8:1c::1/64 dev mmnif nodad
ip link set mmnif up
echo 384M >$sys/isle0/memory
echo 640M >$sys/isle1/memory
remember
accepted "isle 0 starts" $sys/isle0/cpus 1
accepted "isle 1 starts" $sys/isle1/cpus 2-3
# on ISLE PROGRAM …
on() { HERMIT_ISLE=$1 proxy /usr/bin/python3 "$2" "$3" "$4" "$5"; }

cat >/tmp/semantics.py <<'END'
import errno, os, select, socket, struct, threading, time
def error(f):
    try: return f()
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
print(error(lambda: socket.create_connection(('127.0.0.1', 1), 5)))
print(error(lambda: socket.create_connection(('::1', 1), 5)))
for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    l = socket.create_server((host, 0), family=family)
    def serve():
        c, _ = l.accept()
        while d := c.recv(100): c.sendall(d.upper())
        c.close()
    t = threading.Thread(target=serve); t.start()
    c = socket.create_connection(l.getsockname()[:2])
    print(c.getpeername() == l.getsockname(), c.getsockname()[0])
    c.sendall(b'hello'); print(c.recv(3, socket.MSG_PEEK), c.recv(5, socket.MSG_WAITALL)); c.shutdown(socket.SHUT_WR); print(c.recv(9), error(lambda: c.send(b'x')))
    t.join(); c.close(); l.close()
l = socket.create_server(('127.0.0.1', 0), backlog=128)
print(error(lambda: socket.create_server(l.getsockname())), error(lambda: socket.socket().bind(('192.0.2.1', 0))))
c = socket.socket(); print(error(lambda: c.recv(1)), error(lambda: c.send(b'x')), error(lambda: c.getpeername()), error(lambda: l.connect(('127.0.0.1', 9))))
l.setblocking(False); print(error(l.accept))
c.setblocking(False); print(c.connect_ex(l.getsockname()) in (0, errno.EINPROGRESS)); print(select.select([l], [c], [], 5)[0:2] == ([l], [c]), c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
d, a = l.accept(); print(a == c.getsockname(), c.connect_ex(l.getsockname()) == errno.EISCONN)
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close(); time.sleep(0.2); print(error(lambda: d.recv(1)))
s = [socket.create_connection(l.getsockname()) for _ in range(100)]; print(len({x.getsockname() for x in s}))
r = [l.accept()[0] for _ in range(100)]; e = select.epoll(); [e.register(x, select.EPOLLIN | select.EPOLLET) for x in r]
[x.send(b'y') for x in s]; got = set()
while len(got) < 100: got |= {f for f, _ in e.poll(5)}
print(e.poll(0.05), r[7].recv(9)); s[7].send(b'z'); print(e.poll(5) == [(r[7].fileno(), 1)]); [x.close() for x in s]; time.sleep(0.3); print(all(x.recv(9) in (b'y', b'z') and x.recv(9) == b'' for x in r))
u, v = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
u.bind(('127.0.0.1', 0)); v.connect(u.getsockname()); v.send(b'x' * 60000); d, a = u.recvfrom(70000); print(len(d), a == v.getsockname())
print(error(lambda: v.send(b'x' * 65508)), error(lambda: u.send(b'x'))); v.sendmsg([b'ab', b'', b'cd']); print(u.recvmsg(3)[0::2])
u.sendto(b'', a); print(v.recv(9), error(lambda: v.recv(1, socket.MSG_DONTWAIT))); v.settimeout(0.1); print(error(lambda: v.recv(1)))
p = select.poll(); p.register(v, 5); print(p.poll(0) == [(v.fileno(), 4)]); u.sendto(b'1', a); print(p.poll(1000) == [(v.fileno(), 5)])
f = open('/tmp/semantics.py', 'rb'); text = f.read(); l.setblocking(True); c = socket.create_connection(l.getsockname()); d, _ = l.accept(); os.lseek(f.fileno(), 40, 0)
print(os.sendfile(c.fileno(), f.fileno(), 5, 100), os.lseek(f.fileno(), 0, 1), d.recv(100, socket.MSG_WAITALL) == text[5:105])
print(os.sendfile(c.fileno(), f.fileno(), None, 7), os.lseek(f.fileno(), 0, 1), d.recv(7, socket.MSG_WAITALL) == text[40:47], os.sendfile(c.fileno(), f.fileno(), 1 << 20, 9))
for o in (socket.SO_TYPE, socket.SO_ERROR, socket.SO_REUSEADDR, socket.SO_KEEPALIVE, socket.SO_ACCEPTCONN): print(l.getsockopt(socket.SOL_SOCKET, o), end=' ')
print(error(lambda: socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET)), error(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 17)))
END
same "sockets are on the isle what they are on Linux" "$(timeout 60 python3 /tmp/semantics.py 2>&1)" "$(timeout 60 proxy /usr/bin/true; HERMIT_ISLE=1 timeout 60 proxy /usr/bin/python3 /tmp/semantics.py 2>&1)"

cat >/tmp/interfaces.py <<'END'
import array, fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def get(request, name): return fcntl.ioctl(s, request, struct.pack('16s24x', name))[16:]
buffer = array.array('B', bytes(400)); start, _ = buffer.buffer_info()
length, = struct.unpack('i12x', fcntl.ioctl(s, 0x8912, struct.pack('iq', len(buffer), start)))
print([bytes(buffer[n:n + 16]).strip(b'\0').decode() for n in range(0, length, 40)])
for name in (b'lo', b'mmnif'):
    print(name.decode(), *(socket.inet_ntoa(get(r, name)[4:8]) for r in (0x8915, 0x891b)), struct.unpack('i', get(0x8921, name)[:4])[0], get(0x8927, name)[2:8].hex(':'))
try: get(0x8915, b'eth7')
except OSError as e: print(e.strerror)
END
same "interfaces on the isle" "['lo', 'mmnif']
lo 127.0.0.1 255.0.0.0 65536 00:00:00:00:00:00
mmnif 192.168.28.3 255.255.255.0 65535 02:48:45:52:00:02
No such device" "$(HERMIT_ISLE=1 timeout 60 proxy /usr/bin/python3 /tmp/interfaces.py 2>&1)"

# One CPU gets a packet and computes from then on: the other one looks after the network.
cat >/tmp/computes.py <<'END'
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 6000)); print('ready', flush=True); s.recv(9); end = time.monotonic() + 5; n = 0
while time.monotonic() < end: n += 1
print('computed', n > 1000)
END
HERMIT_ISLE=1 timeout 60 proxy /usr/bin/python3 /tmp/computes.py >/tmp/computes.out 2>&1 &
computes=$!
for n in $(seq 100); do
	! grep -q ready /tmp/computes.out || break
	sleep 0.1
done
python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"go", ("192.168.28.3", 6000))'
same "an isle answers pings while the thread computes that had a packet" 0 "$(busybox ping -q -c 100 -i 0.02 -W 1 192.168.28.3 | sed -n 's/.* \([0-9]*\)% packet loss/\1/p')"
wait $computes
same "and that thread computed" "ready
computed True" "$(cat /tmp/computes.out)"

# What a server does: echo all, until its time is up.
cat >/tmp/server.py <<'END'
import socket, socketserver, sys, threading
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while d := self.request.recv(1 << 16): self.request.sendall(d)
class Server(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address, daemon_threads, request_queue_size = socket.AF_INET6, True, True, 128
Server(('::', 5000), Echo).serve_forever()
END
cat >/tmp/client.py <<'END'
import hashlib, random, socket, sys, threading, time
host, size, streams = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
results = []
def run(seed):
    for n in range(100):
        try: s = socket.create_connection((host, 5000), timeout=60); break
        except ConnectionRefusedError: time.sleep(0.2)
    data = random.Random(seed).randbytes(size)
    def send(): s.sendall(data); s.shutdown(socket.SHUT_WR)
    t = threading.Thread(target=send); t.start(); h = hashlib.md5()
    while d := s.recv(1 << 20): h.update(d)
    t.join(); results.append(h.digest() == hashlib.md5(data).digest())
threads = [threading.Thread(target=run, args=(n,)) for n in range(streams)]
[t.start() for t in threads]; [t.join() for t in threads]
print(results.count(True), 'of', streams)
END
HERMIT_ISLE=1 timeout 400 proxy /usr/bin/python3 /tmp/server.py 2>/tmp/server.log &
server=$!
timeout 400 python3 /tmp/server.py 2>/tmp/linux.log &
linux=$!
for mtu in 1500 9000 65535; do
	ip link set mmnif mtu $mtu
	for address in 192.168.28.3 fd00:c0a8:1c::3; do
		same "Linux, MTU $mtu: 4 streams of 4 MiB to $address and back" "4 of 4" "$(timeout 90 python3 /tmp/client.py $address 4194304 4 2>&1)"
	done
done
same "isle 0 to Linux" "2 of 2" "$(on 0 /tmp/client.py 192.168.28.1 4194304 2 2>&1)"
same "isle 0 to isle 1" "2 of 2" "$(on 0 /tmp/client.py 192.168.28.3 4194304 2 2>&1)"
same "isle 0 to isle 1, IPv6" "2 of 2" "$(on 0 /tmp/client.py fd00:c0a8:1c::3 4194304 2 2>&1)"
kill $linux
wait $linux 2>/dev/null

# Another network, behind Linux.
ip netns add far
ip link add near type veth peer name far netns far
ip addr add 10.9.0.1/24 dev near
ip link set near up
ip netns exec far ip addr add 10.9.0.2/24 dev far
ip netns exec far ip link set far up
ip netns exec far ip route add default via 10.9.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
ip netns exec far timeout 200 python3 /tmp/server.py 2>/tmp/far.log &
far=$!
same "isle 0 to a server in another network" "2 of 2" "$(on 0 /tmp/client.py 10.9.0.2 4194304 2 2>&1)"
same "from that network to isle 1" "2 of 2" "$(ip netns exec far timeout 90 python3 /tmp/client.py 192.168.28.3 4194304 2 2>&1)"
kill $far
ip netns del far

mkdir /tmp/www
seq 100000 >/tmp/www/numbers
(cd /tmp/www && exec timeout 100 python3 -m http.server 8000 >/dev/null 2>&1) &
web=$!
sleep 1
same "urllib on the isle" "$(md5sum </tmp/www/numbers)" "$(on 0 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen("http://192.168.28.1:8000/numbers").read())' | md5sum)"
kill $web $server
wait
same "isle 1 still runs" running "$(cat $sys/isle1/state)"
same "the kernels did not complain" "" "$(grep -h -v ' ready$' $sys/isle0/log $sys/isle1/log)"
accepted "isle 0 stops" $sys/isle0/cpus -1
accepted "isle 1 stops" $sys/isle1/cpus -1
nothing_lent "after sockets"
