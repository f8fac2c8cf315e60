#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# compare.sh DIR RUNNER...: runs each program of programs.list from DIR, first by itself, then by the runner, say
# `proxy`. Standard output and exit status must be the same. Variables: LIMIT, the seconds that one run may take; CPUS,
# how many the isle has; ONLY, names of programs, if not all are to run.

dir=$1
shift
runner=$*
list=$(dirname "$0")/programs.list
limit=${LIMIT:-120}
cpus=${CPUS:-$(nproc)}
passed=0
failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# Busybox has another one than Debian: the program's status is its own, also after its time is up.
timeout=timeout
[ -z "$(command -v busybox)" ] || timeout="busybox timeout"
export HELLO_ENV='a = b' HELLO_EMPTY=
unset TMPDIR
ulimit -c 0
# Where root may, so that programs can open many files.
ulimit -n 20000 2>/dev/null

# run SIGNAL OUTPUT PROGRAM ...: sets $got to the exit status.
run() {
	signal=$1 out=$2
	shift 2
	: >"$out"
	rm -f "$work/pid"
	killer=
	if [ "$signal" != - ]; then
		(
			tries=$((limit * 10))
			until [ -s "$out" ] || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
			[ ! -s "$out" ] || kill -s "$signal" "$(cat "$work/pid")"
		) 2>/dev/null &
		killer=$!
	fi
	# In a shell of its own, which doesn't say what the program died of.
	got=$({
		sh -c 'echo $$ >"$0"; exec "$@"' "$work/pid" $timeout -k 5 "$limit" "$@" >"$out" 2>"$work/errors" </dev/null
		echo $?
	} 2>/dev/null)
	[ -z "$killer" ] || wait "$killer"
}

bad() { # NAME WHY
	failed=$((failed + 1))
	echo "not ok - $1"
	echo "  # $2"
	if cmp -s "$work/want" "$work/got"; then tail -n 5 "$work/got"; else diff "$work/want" "$work/got" | head -n 20; fi |
		sed 's/^/  # /'
	tail -n 10 "$work/errors" | sed 's/^/  # stderr: /'
}

while read -r expected needed signal program args; do
	case $expected in '' | '#'*) continue ;; esac
	case " ${ONLY:-$program} " in *" $program "*) ;; *) continue ;; esac
	name="$program${args:+ $args}"
	[ "$signal" = - ] || name="$name ($signal)"
	if [ "$cpus" -lt "$needed" ]; then
		echo "ok - $name # SKIP needs $needed CPUs"
		continue
	fi
	eval "set -- $args"
	run "$signal" "$work/want" "$dir/$program" "$@"
	if [ "$got" != "$expected" ]; then
		cp "$work/want" "$work/got"
		bad "$name" "on Linux: status $got, expected $expected"
		continue
	fi
	start=$(date +%s)
	run "$signal" "$work/got" $runner "$dir/$program" "$@"
	seconds=$(($(date +%s) - start))
	if [ "$got" != "$expected" ]; then
		bad "$name" "status $got after $seconds s, expected $expected"
	elif ! cmp -s "$work/want" "$work/got"; then
		bad "$name" "standard output differs"
	else
		passed=$((passed + 1))
		echo "ok - $name"
	fi
done <"$list"
echo "# $passed passed, $failed failed"
[ $failed = 0 ]
