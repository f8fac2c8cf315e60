# SPDX-License-Identifier: MIT OR Apache-2.0
# Servers and clients as they are: Go's net/http, Rust's std, curl and iperf3, on an isle and on Linux. To be sourced after
# setting `requests` for curl and `seconds` for each iperf3.
. /lib/hermit/lib.sh
isle=1
ip addr add 192.168.28.1/24 dev mmnif
ip addr add fd00:c0a8:1c::1/64 dev mmnif nodad
ip link set mmnif up
echo 640M >$sys/isle1/memory
remember
accepted "isle 1 starts" $sys/isle1/cpus 2-3
export HERMIT_ISLE=1
# awaits PORT: until somebody listens there on the isle
awaits() {
	for n in $(seq 100); do
		! nc -z -w 1 192.168.28.3 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
}

# A connection for all, then one for each.
proxy /usr/share/plain/server >/tmp/server.out 2>&1 &
server=$!
awaits 8080
same "curl of Go's server on the isle, $requests requests by one connection" "$(seq $requests | sed 's/^/hello /' | md5sum)" \
	"$(timeout 900 curl -s "http://192.168.28.3:8080/[1-$requests]" 2>&1 | md5sum)"
same "curl of Go's server on the isle, a connection for each of 30" "$(seq 30 | sed 's/^/hello /' | md5sum)" \
	"$(for n in $(seq 30); do timeout 10 curl -s "http://[fd00:c0a8:1c::3]:8080/$n" 2>&1; done | md5sum)"
same "it counted them" "served $((requests + 30)) requests" "$(timeout 100 curl -s http://192.168.28.3:8080/quit 2>&1)"
wait $server
same "and ended" "0: " "$?: $(cat /tmp/server.out)"
same "curl on the isle, of a server on Linux" "hello 1" "$(/usr/share/plain/server 192.168.28.1:8081 2>/dev/null & sleep 1; timeout 10 proxy /usr/bin/curl -s http://192.168.28.1:8081/1 2>&1; timeout 10 curl -s http://192.168.28.1:8081/quit >/dev/null)"

# A server in another network namespace, behind Linux as the router.
ip netns add far
ip link add near type veth peer name far netns far
ip addr add 10.9.0.1/24 dev near
ip link set near up
ip netns exec far ip addr add 10.9.0.2/24 dev far
ip netns exec far ip link set far up
ip netns exec far ip route add default via 10.9.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
ip netns exec far /usr/share/plain/server :8082 2>/tmp/far.out &
far=$!
sleep 1
same "python's urllib on the isle reaches a server in another namespace" "hello far" \
	"$(timeout 60 proxy /usr/bin/python3 -c 'import urllib.request as r; print(r.urlopen("http://10.9.0.2:8082/far", timeout=30).read().decode(), end="")' 2>&1)"
same "wget, too" "hello wget" "$(timeout 60 proxy /usr/bin/wget -q -O - http://10.9.0.2:8082/wget 2>&1)"
timeout 10 curl -s http://10.9.0.2:8082/quit >/dev/null
wait $far
proxy /usr/share/plain/server >/dev/null 2>&1 &
server=$!
awaits 8080
same "and curl there reaches a server on the isle" "hello back" "$(timeout 30 ip netns exec far curl -s http://192.168.28.3:8080/back 2>&1)"
timeout 10 curl -s http://192.168.28.3:8080/quit >/dev/null
wait $server
ip netns del far

cat >/tmp/echo.py <<'END'
import random, socket, sys, threading
count = int(sys.argv[1]); good = []
sockets = [socket.create_connection(('192.168.28.3', 7000), 60) for n in range(count)]
for n, s in enumerate(sockets): s.sendall(b'%6d' % n * 100)
for n, s in enumerate(sockets): good.append(s.recv(600, socket.MSG_WAITALL) == b'%6d' % n * 100); s.close()
print(good.count(True))
END
for kind in rust tokio; do
	proxy /usr/share/plain/echo-$kind '[::]:7000' 100 >/tmp/echo.out 2>&1 &
	server=$!
	sleep 1
	same "100 connections at once to an echo server, $kind" 100 "$(timeout 100 python3 /tmp/echo.py 100 2>&1)"
	wait $server
	same "it saw them all" "60000 bytes in 100 connections" "$(cat /tmp/echo.out)"
done

# iperf NAME ARGUMENT …: with the server on the isle, then on Linux. No second may pass without anything.
iperf() {
	name=$1
	shift
	for where in isle Linux; do
		if [ $where = isle ]; then
			timeout 100 proxy /usr/bin/iperf3 -s -1 >/tmp/server.out 2>&1 &
			address=192.168.28.3 client=
		else
			timeout 100 iperf3 -s -1 >/tmp/server.out 2>&1 &
			address=192.168.28.1 client=proxy
		fi
		server=$!
		sleep 2
		timeout 100 $client /usr/bin/iperf3 -c $address -t "$seconds" -f m "$@" >/tmp/client.out 2>&1
		status=$?
		wait $server
		stalls=$(grep -c ' 0.00 \(bits\|Mbits\)/sec.*[0-9.]*-[0-9.]*' /tmp/client.out)
		if [ $status = 0 ] && [ "$stalls" = 0 ] && grep -q receiver /tmp/client.out; then
			ok "iperf3 $name, its server on $where"
			grep receiver /tmp/client.out | tail -n 1 | sed 's/^/# /'
		else
			not_ok "iperf3 $name, its server on $where" "status $status, $stalls stalls
$(tail -n 20 /tmp/client.out /tmp/server.out)"
		fi
	done
}
iperf "TCP"
iperf "TCP, the other way" -R
iperf "TCP, 4 streams" -P 4
iperf "UDP" -u -b 20M
same "isle 1 still runs" running "$(cat $sys/isle1/state)"
same "its kernel did not complain" "" "$(grep -v ' ready$' $sys/isle1/log)"
accepted "isle 1 stops" $sys/isle1/cpus -1
nothing_lent "after servers"
