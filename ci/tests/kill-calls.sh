# SPDX-License-Identifier: MIT OR Apache-2.0
# kill -9 of the proxy in the middle of every kind of call: the isle serves the next program, and nothing is lost.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic KERNEL=debug TIMEOUT=600
. /lib/hermit/lib.sh

isle=1
remember
accepted "the isle starts" $sys/isle1/cpus 2-3
export HERMIT_ISLE=1
mkdir -p /tmp/work
cd /tmp/work
for kind in $(/usr/share/plain/stuck | grep -v lines); do
	bad=
	for n in 1 2 3; do
		rm -rf /tmp/work/*
		proxy /usr/share/plain/stuck "$kind" >/tmp/said 2>&1 &
		pid=$!
		tries=0
		until [ "$(cat /tmp/said)" = "in $kind" ] || [ $((tries += 1)) = 100 ]; do usleep 100000; done
		usleep $(($(od -An -N2 -tu2 /dev/urandom) * 3))
		kill -9 $pid 2>/dev/null || bad="$bad it was over;"
		wait $pid 2>/dev/null
		[ "$(cat /tmp/said)" = "in $kind" ] || bad="$bad it said: $(cat /tmp/said);"
		status=$(timeout -s KILL 30 proxy /usr/share/plain/fault exit 7 >/dev/null 2>&1; echo $?)
		[ "$status" = 7 ] || bad="$bad the next program ended with $status;"
	done
	same "killed in $kind" "" "$bad"
done
# What was running on Linux for a program goes on, as it would on Linux.
killall -q sleep true
cd /
rm -rf /tmp/work
# pipe(7): SIGPIPE.
sh -c 'proxy /usr/share/plain/stuck lines; echo $? >/tmp/status' 2>/dev/null | head -n 1 >/dev/null
same "whoever writes to a pipe that nobody reads dies of it" 141 "$(cat /tmp/status)"
same "the isle still runs" running "$(cat $sys/isle1/state)"
same "its kernel did not complain" "" "$(grep -v ' ready$' $sys/isle1/log)"
accepted "it stops" $sys/isle1/cpus -1
nothing_lent "after all kills"
