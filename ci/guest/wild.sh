# SPDX-License-Identifier: MIT OR Apache-2.0
# For tests: random system calls on isle 1. What they do to files they do in a small file system of their own.
. /lib/hermit/lib.sh

isle=1
# Seconds after which a program is stuck that should take five.
limit=60

# wild SECONDS
wild() {
	remember
	mkdir /tmp/wild
	mount -t tmpfs -o size=16M,nr_inodes=1000 wild /tmp/wild
	echo 2-3 >$sys/isle1/cpus
	end=$(($(date +%s) + $1))
	seed=0 died=0
	while [ "$(date +%s)" -lt $end ]; do
		seed=$((seed + 1)) began=$(date +%s)
		(cd /tmp/wild && ulimit -n 100 && HERMIT_ISLE=1 timeout -s KILL $limit proxy /usr/share/plain/wild $seed 5) >/dev/null 2>&1 </dev/null
		status=$?
		[ $status = 0 ] || died=$((died + 1))
		# Some kill themselves, on Linux as well (a timer may send any signal): what is stuck is known by its time.
		took=$(($(date +%s) - began))
		if [ $took -ge $limit ] || [ "$(cat $sys/isle1/state)" != running ]; then
			not_ok "seed $seed: status $status after $took s, the isle is $(cat $sys/isle1/state)" "$(tail -n 5 $sys/isle1/log)"
			break
		fi
		rm -rf /tmp/wild/* /tmp/wild/.[!.]*
	done
	echo "# $seed programs, of which $died ended before their time"
	same "the isle still runs programs" "$(/usr/share/plain/hello 2>&1)" "$(HERMIT_ISLE=1 proxy /usr/share/plain/hello 2>&1)"
	check "its kernel has had no fault" sh -c "! grep -i -E 'panic|crash|in use by nobody' $sys/isle1/log"
	echo -1 >$sys/isle1/cpus
	nothing_lent "random system calls"
	# Commands that the programs have started on Linux may be there still.
	umount -l /tmp/wild
}
