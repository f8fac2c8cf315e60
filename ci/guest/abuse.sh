# SPDX-License-Identifier: MIT OR Apache-2.0
# What an isle on the network has to bear. To be sourced after setting `kills`, how often it is stopped under load, and `step`,
# by which lengths of frames differ.
. /lib/hermit/lib.sh
isle=1
ip addr add 192.168.28.1/24 dev mmnif
ip link set mmnif up
echo 640M >$sys/isle1/memory
remember
accepted "isle 1 starts" $sys/isle1/cpus 2-3
export HERMIT_ISLE=1
cat >/tmp/abuse.py <<'END'
import random, socket, struct, sys, time
HOST = '192.168.28.3'
def frames():
    """One of each length, then headers that are right but for some bytes."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('mmnif', 0))
    r = random.Random(5); step = int(sys.argv[2])
    to, own = bytes.fromhex('024845520002'), bytes.fromhex('024845520000')
    def put(frame):
        try: s.send(frame)
        except OSError as e:
            if e.errno not in (105,): raise
    for n in range(0, 65536, step): put(to + own + b'\x08\x00' + bytes([0x45]) + r.randbytes(n)[1:] if n else to + own + b'\x08\x00')
    def ip(kind, body):
        h = bytearray(struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 1, 0, 64, kind, 0, socket.inet_aton('192.168.28.1'), socket.inet_aton(HOST)))
        total = sum(struct.unpack('>10H', h)); total = (total & 0xffff) + (total >> 16); total = (total & 0xffff) + (total >> 16)
        h[10:12] = struct.pack('>H', ~total & 0xffff); return bytes(h) + body
    tcp = struct.pack('>HHIIBBHHH', 4000, 7000, 1, 1, 0x80, 0x10, 1000, 0, 0) + b'\x01\x01\x08\x0a' + b'\0' * 8
    bodies = [ip(6, tcp + b'hello'), ip(17, struct.pack('>HHHH', 4000, 7000, 13, 0) + b'hello'), ip(1, b'\x08\0\0\0\0\0\0\0'), bytes([0x60, 0, 0, 0, 0, 40, 0, 64]) + b'\xfd' * 32 + b'\x3a\0\0\0\0\0\0\0' * 5]
    for n in range(4000):
        which = r.randrange(4); body = bytearray(bodies[which])
        for _ in range(r.randrange(1, 5)): body[r.randrange(len(body))] = r.randrange(256)
        put(to + own + (b'\x86\xdd' if which == 3 else b'\x08\x00') + bytes(body[:r.randrange(1, len(body) + 1)]))
    print('sent')
def flood():
    """Opens many connections from where nobody is, and meanwhile a few that are meant."""
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW); r = random.Random(6); good = 0
    for n in range(20000):
        source = bytes([192, 168, 28, r.randrange(100, 250)])
        tcp = struct.pack('>HHIIBBHHH', r.randrange(1024, 65536), 7000, r.randrange(1 << 32), 0, 0x50, 2, 1000, 0, 0)
        s.sendto(struct.pack('>BBHHHBBH4s4s', 0x45, 0, 40, n & 0xffff, 0, 64, 6, 0, source, socket.inet_aton(HOST)) + tcp, (HOST, 0))
        if n % 2000 == 1000: good += echo()
    print(good, 'of 10')
def echo():
    for n in range(5):
        try:
            c = socket.create_connection((HOST, 7000), 20); c.sendall(b'hello'); return c.recv(5, socket.MSG_WAITALL) == b'hello'
        except OSError as e: error = e
    print(error); return False
def many():
    """A thousand connections at once."""
    all = [socket.create_connection((HOST, 7000), 60) for n in range(1000)]
    for n, c in enumerate(all): c.sendall(b'%8d' % n)
    print(sum(c.recv(8, socket.MSG_WAITALL) == b'%8d' % n for n, c in enumerate(all)), 'of 1000')
def deaf():
    """Peers that send, and never read; others get what they want."""
    all = []
    for n in range(20):
        c = socket.create_connection((HOST, 7000), 60); c.settimeout(2); all.append(c)
        try:
            while True: c.sendall(bytes(1 << 16))
        except TimeoutError: pass
    print(sum(echo() for n in range(10)), 'of 10')
globals()[sys.argv[1]]()
END
cat >/tmp/server.py <<'END'
import select, socket
l = socket.create_server(('0.0.0.0', 7000), backlog=1024); l.setblocking(False)
e = select.epoll(); e.register(l, select.EPOLLIN); peers = {}
print('ready', flush=True)
def close(c): e.unregister(c); del peers[c.fileno()]; c.close()
while True:
    for fd, events in e.poll():
        if fd == l.fileno():
            try:
                while True: c, _ = l.accept(); c.setblocking(False); peers[c.fileno()] = [c, b'']; e.register(c, select.EPOLLIN)
            except BlockingIOError: pass
            continue
        c, rest = peers[fd]
        try:
            if events & select.EPOLLOUT or not rest:
                if not rest: rest = c.recv(1 << 16)
                if not rest: close(c); continue
                rest = rest[c.send(rest):]
        except BlockingIOError: pass
        except OSError: close(c); continue
        peers[fd][1] = rest; e.modify(c, select.EPOLLOUT if rest else select.EPOLLIN)
END
serve() {
	timeout 1000 proxy /usr/bin/python3 /tmp/server.py >/tmp/server.out 2>&1 &
	server=$!
	for n in $(seq 300); do
		! grep -q ready /tmp/server.out || break
		sleep 0.1
	done
}
abuse() { timeout 300 python3 /tmp/abuse.py "$@" 2>&1; }
serve
same "a thousand connections at once" "1000 of 1000" "$(abuse many)"
same "frames of all lengths, malformed headers" sent "$(abuse frames $step)"
same "afterwards, a thousand connections again" "1000 of 1000" "$(abuse many)"
same "connections through a flood of SYNs" "10 of 10" "$(abuse flood)"
same "connections beside peers that never read" "10 of 10" "$(abuse deaf)"
same "a thousand connections in the end" "1000 of 1000" "$(abuse many)"
kill $server
wait $server 2>/dev/null
same "isle 1 still runs" running "$(cat $sys/isle1/state)"
same "its kernel did not complain" "" "$(grep -v ' ready$' $sys/isle1/log)"

# Stopped under full load, again and again.
bad=0
for n in $(seq $kills); do
	serve
	for stream in 1 2; do
		timeout 60 python3 -c 'import socket, threading
s = socket.create_connection(("192.168.28.3", 7000), 30); s.settimeout(5)
def read():
    try:
        while s.recv(1 << 16): pass
    except OSError: pass
threading.Thread(target=read).start()
while True: s.sendall(bytes(1 << 16))' >/dev/null 2>&1 &
		eval "client$stream=\$!"
	done
	sleep 0.$((500 + n * 79 % 500))
	[ -z "$(store $sys/isle1/cpus -1)" ] || bad=$((bad + 1))
	kill $client1 $client2 2>/dev/null
	wait $server $client1 $client2 2>/dev/null
	[ -z "$(store $sys/isle1/cpus 2-3)" ] || bad=$((bad + 1))
done
same "stopped $kills times under full load, and started again" 0 $bad
serve
same "afterwards, a thousand connections" "1000 of 1000" "$(abuse many)"
kill $server
wait $server 2>/dev/null
accepted "isle 1 stops" $sys/isle1/cpus -1
nothing_lent "after abuse"
