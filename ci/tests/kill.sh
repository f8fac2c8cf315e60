# SPDX-License-Identifier: MIT OR Apache-2.0
# kill -9 of the proxy at random moments, 100 times: nothing stays lent, the next start works.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic KERNEL=debug TIMEOUT=600
# allow: hermit:
. /lib/hermit/lib.sh

isle=1
echo 128M >$sys/isle1/memory
remember
export HERMIT_ISLE=1 HERMIT_CPUS=2-3
bad=0
for n in $(seq 100); do
	proxy /usr/share/plain/fault loop >/dev/null 2>&1 &
	pid=$!
	usleep $(($(od -An -N2 -tu2 /dev/urandom) * 12))
	kill -9 $pid
	wait $pid 2>/dev/null
	# The last close of the door gives all back before the process is gone.
	[ "$(cat $sys/isle1/state)" = stopped ] && [ "$(online)" = 0-3 ] || {
		bad=$((bad + 1))
		echo "# after kill $n: $(cat $sys/isle1/state), online $(online)"
		sleep 5
	}
done
same "100 proxies killed, nothing stayed lent" 0 $bad
check "Linux has everything back" restored
same "hello works after that" "$(/usr/share/plain/hello)" "$(proxy /usr/share/plain/hello 2>&1)"

# On an isle that keeps running, only the application goes.
echo 2-3 >$sys/isle1/cpus
bad=0
for n in $(seq 20); do
	proxy /usr/share/plain/fault loop >/dev/null 2>&1 &
	pid=$!
	usleep $(($(od -An -N2 -tu2 /dev/urandom) * 5))
	kill -9 $pid
	wait $pid 2>/dev/null
	[ "$(proxy /usr/share/plain/fault exit 7 >/dev/null 2>&1; echo $?)" = 7 ] || bad=$((bad + 1))
done
same "20 applications killed, the isle serves the next" 0 $bad
same "the isle still runs" running "$(cat $sys/isle1/state)"
echo -1 >$sys/isle1/cpus
check "and gives everything back" restored
