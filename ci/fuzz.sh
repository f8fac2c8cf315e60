#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# fuzz.sh [SECONDS]: runs the fuzzers of ci/fuzz, each that long (default 600), at low priority, and tells in KTAP what they found.
# An input that is a finding is left in build/fuzz; `build/fuzz/NAME FILE` plays it again. What they have learned stays
# there too, and they go on from it.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz.sh: $seconds is no number of seconds" >&2; exit 2; }
out=build/fuzz
mkdir -p $out
# What `cargo fuzz` passes to the compiler so that libFuzzer sees which ways an input takes.
coverage="-C passes=sancov-module -C codegen-units=1 --cfg fuzzing"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
	coverage+=" -C llvm-args=-sanitizer-coverage-$option"
done
(cd ci/fuzz && RUSTFLAGS=$coverage "${CARGO:-cargo}" build --quiet --locked --release --features fuzzers --target x86_64-unknown-linux-gnu) || exit 1
names="kernel module net proxy"
for name in $names; do
	cp ci/fuzz/target/x86_64-unknown-linux-gnu/release/$name $out/
	mkdir -p $out/$name.corpus
	nice -n 19 $out/$name -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 -artifact_prefix=$out/$name. \
		-print_final_stats=1 $out/$name.corpus >$out/$name.log 2>&1 </dev/null &
	eval "pid_$name=$!"
done
echo "KTAP version 1"
echo "1..4"
number=0 failed=0
for name in $names; do
	number=$((number + 1)) pid=pid_$name
	if wait "${!pid}"; then word=ok; else word="not ok" failed=1; fi
	echo "$word $number $name: $(sed -n 's/^stat::number_of_executed_units: *//p' $out/$name.log) inputs in $seconds s"
	[ "$word" = ok ] || tail -n 30 $out/$name.log | sed 's/^/# /'
done
exit $failed
