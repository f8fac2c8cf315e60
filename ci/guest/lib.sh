# SPDX-License-Identifier: MIT OR Apache-2.0
# For test scripts in the guest: results, and what every test has to leave as it found it.

sys=/sys/hermit

# ok NAME / not_ok NAME [WHY]
ok() { echo "ok - $1"; }
not_ok() {
	echo "not ok - $1"
	[ -z "$2" ] || echo "$2" | sed 's/^/  # /'
}

# check NAME COMMAND …: passes if the command succeeds.
check() {
	name=$1
	shift
	if why=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$why"; fi
}

# same NAME WANTED GOT
same() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2
got: $3"; fi
}

# store FILE TEXT: writes to a sysfs file; prints the error's text, nothing if it went well.
store() {
	# Busybox's echo tells of a write that failed; its printf doesn't.
	(echo "$2" >"$1") 2>&1 | sed 's/.*: //'
}

# refused NAME FILE TEXT ERROR
refused() {
	same "$1" "$4" "$(store "$2" "$3")"
}

# accepted NAME FILE TEXT
accepted() {
	same "$1" "" "$(store "$2" "$3")"
}

ram() { grep -v -E 'Kernel (code|rodata|data|bss)' /proc/iomem; }
online() { cat /sys/devices/system/cpu/online; }
memtotal() { sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo; }

# remember: what must be the same afterwards.
remember() {
	ram_before=$(ram) online_before=$(online) memtotal_before=$(memtotal)
}

# restored: whether CPUs and iomem are what they were, and MemTotal within 2 %.
restored() {
	[ "$(ram)" = "$ram_before" ] || { echo "iomem differs:"; ram; return 1; }
	[ "$(online)" = "$online_before" ] || { echo "online: $(online), was $online_before"; return 1; }
	now=$(memtotal)
	diff=$((now - memtotal_before))
	[ ${diff#-} -le $((memtotal_before / 50)) ] || { echo "MemTotal $now, was $memtotal_before"; return 1; }
}

# nothing_lent NAME: after misuse nothing is lent and the next start is a good one.
nothing_lent() {
	same "$1: the isle is stopped" stopped "$(cat $sys/isle$isle/state)"
	check "$1: Linux has everything back" restored
}
