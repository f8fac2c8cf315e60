# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced: tells how far a kernel build is.

# with_progress <log> <steps expected> <command …>: runs it with its output in the log, and returns its status.
# One line that is updated on a terminal, else a line every half minute.
with_progress() (
	log=$1 expected=$2
	shift 2
	pause=30 start=$(date +%s)
	[ ! -t 2 ] || pause=1
	"$@" >"$log" 2>&1 9>&- &
	pid=$!
	trap 'kill $pid 2>/dev/null; wait $pid; exit 130' INT TERM HUP
	ticks=0
	while kill -0 $pid 2>/dev/null; do
		if [ $ticks -ge $pause ]; then
			show_progress
			ticks=0
		fi
		ticks=$((ticks + 1))
		sleep 1
	done
	status=0
	wait $pid || status=$?
	[ ! -t 2 ] || printf '\n' >&2
	exit $status
)

show_progress() {
	steps=$(grep -c '^  [A-Z]' "$log" || true)
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
