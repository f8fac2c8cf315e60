# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced: tells how far a kernel build is.

# with_progress <log> <steps expected> <arguments of kmake …>: runs it with its output in the log, and returns its
# status. One line that is updated on a terminal, else a line every half minute. Ends make, with all that it
# has started, when it is ended itself.
with_progress() {
	progress_log=$1 expected=$2
	shift 2
	pause=30 start=$(date +%s)
	[ ! -t 2 ] || pause=1
	launcher="exec setsid" kmake "$@" >"$progress_log" 2>&1 9>&- &
	pid=$!
	trap 'end_make; exit 130' INT
	trap 'end_make; exit 143' TERM HUP
	ticks=0
	while kill -0 $pid 2>/dev/null; do
		if [ $ticks -ge $pause ]; then
			show_progress
			ticks=0
		fi
		ticks=$((ticks + 1))
		sleep 1
	done
	trap - INT TERM HUP
	[ ! -t 2 ] || printf '\n' >&2
	wait $pid
}

end_make() {
	kill -- -$pid 2>/dev/null || true
	wait $pid || true
}

show_progress() {
	steps=$(grep -c '^  [A-Z]' "$progress_log" || true)
	seconds=$(($(date +%s) - start))
	[ "$steps" -le "$expected" ] || expected=$steps
	line=$(printf 'kernel: building, %d of about %d steps (%d %%), %d:%02d' "$steps" "$expected" \
		$((steps * 100 / expected)) $((seconds / 60)) $((seconds % 60)))
	if [ -t 2 ]; then
		printf '\r%s ' "$line" >&2
	else
		printf '%s\n' "$line" >&2
	fi
}
