#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs each benchmark for a moment and checks the form of what it prints, never how fast it was, in KTAP.
# `selftest.sh DIR [RUNNER...]`: with a runner, say `proxy`, each program is started by it.

. "$(dirname "$0")/../tests/ktap.sh"
trap 'rm -f "$out" "$out.samples"' EXIT
dir=$1
shift
runner=$*
limit=${LIMIT:-60} # seconds for one program

run() { # program, arguments: it must succeed
	program=$1
	shift
	timeout -k 5 "$limit" $runner "$dir/$program" "$@" >"$out" 2>&1 </dev/null
}

lines() { # names of results that have to be there, and nothing else but a histogram
	awk -v wanted="$*" '
		BEGIN { count = split(wanted, names); for (i in names) missing[names[i]] = 1 }
		NF != 3 || $2 !~ /^-?[0-9.]+(e[+-]?[0-9]+)?$/ { bad = 1; next }
		$1 in missing { delete missing[$1]; next }
		$1 !~ /_hist_[0-9]+$/ { bad = 1 }
		END { for (name in missing) bad = 1; exit bad }' "$out"
}

judge() { # name, then a command
	name=$1
	shift
	if "$@"; then result "$name" 1; else result "$name" 0; fi
}

samples() { # every line of the file is two numbers
	awk 'NF != 2 || $1 !~ /^[0-9]+$/ || $2 !~ /^[0-9]+$/ { bad = 1 } END { exit bad || !NR }' "$out.samples"
}

echo "KTAP version 1"
for test in $("$dir/basic" -l | grep -v 2cores); do
	run basic -m -r 3 -n 4 -t "$test"
	judge "basic $test" lines "$test"
done
run io -m -r 3 -s 2
judge "io" lines $("$dir/io" -l)
run io -m -r 1 -t io_stat -d /nonexistent
judge "io tells that it can't make a file" [ $? -eq 1 ]
[ -n "$runner" ] || { # it stays on Linux
	"$dir/netio" -s -p 5999 >/dev/null 2>&1 &
	run netio -m -p 5999 -d 10 -r 1 -q ::1
	judge "netio" lines $("$dir/netio" -l) $("$dir/netio" -l | grep -E '_(to|from)_' | sed 's/.*/&_cycles_here &_cycles_there/')
	run netio -m -p 5999 127.0.0.1 -t net_nothing
	judge "netio wants a test that there is" [ $? -eq 2 ]
	run launch -m -r 3 start_true true
	judge "launch" lines start_true
	run launch -m -r 3 start_false false
	judge "launch wants programs that succeed" [ $? -eq 1 ]
}
run first
judge "first" grep -qE "^first [0-9]+$" "$out"
run hg -m -s 1 -t 1 -o "$out.samples"
judge "hg" lines hg_gap_avg hg_gap_max hg_gaps_over hg_lost
judge "hg's samples" samples
run fwq -m -n 100 -w 10 -o "$out.samples"
judge "fwq" lines fwq_min fwq_median fwq_mean fwq_p999 fwq_max fwq_noise fwq_over
judge "fwq's samples" samples
judge "a line for each sample" [ "$(wc -l <"$out.samples")" -eq 100 ]
for threads in 1 2; do
	run stream -m -n 10001 -r 3 -t $threads
	judge "stream with $threads threads" lines stream_copy_t$threads stream_scale_t$threads stream_add_t$threads \
		stream_triad_t$threads
	run omp -m -n 9 -d 20 -r 3 -t $threads
	judge "omp with $threads threads" lines omp_parallel_t$threads omp_for_t$threads omp_barrier_t$threads \
		omp_critical_t$threads omp_reduction_t$threads omp_schedule_static_t$threads omp_schedule_dynamic_t$threads \
		omp_schedule_guided_t$threads omp_task_t$threads
done
for program in basic hg fwq stream omp io launch; do
	run $program -m -r x
	judge "$program refuses wrong arguments" [ $? -eq 2 ]
done
echo "1..$number"
echo "# $((number - failed)) passed, $failed failed"
[ $failed = 0 ]
