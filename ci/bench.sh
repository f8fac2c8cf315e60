#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# bench.sh: runs the benchmarks under Linux and on an isle in the VM, and compares them in target/bench/report.json and
# report.html. From the environment:
#
#   METHODS  icount, mttcg, or both (the default): time as instructions executed, and time under multi-threaded TCG
#   RUNS     runs of each benchmark under mttcg (default 5); under icount there are always two, each in a machine of its own
#   ROOT     the guest's root file system, for the time that a dynamically linked python3 takes to start
#   NOISE    seconds for which interrupts and kernel entries are counted under mttcg (default 60); a sixth of it under icount
#
# What can't be measured is missing from the report. The status is 1 if a machine failed as such.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
methods=${METHODS:-icount mttcg}
runs=${RUNS:-5}
noise=${NOISE:-60}
out=target/bench
logs=build/logs
failed=0
[[ $runs =~ ^[1-9][0-9]*$ && $noise =~ ^[1-9][0-9]*$ ]] || { echo "bench: RUNS and NOISE are whole numbers" >&2; exit 2; }
for method in $methods; do
	[[ $method =~ ^(icount|mttcg)$ ]] || { echo "bench: METHODS=$methods: write icount, mttcg or both" >&2; exit 2; }
done

# machine METHOD SYSTEMS RUNS NOISE PARTS: boots one and runs the benchmarks in it.
machine() {
	# Linux needs memory for a file of 1 GiB while the isle has that of the other node.
	local method=$1 systems=$2 runs=$3 noise=$4 parts=$5 cpus=2-3 vcpus=4 mem=4G append="" try status
	# Under icount all CPUs share a clock, so there are as few as possible.
	[ "$method" = mttcg ] || cpus=1 vcpus=2 mem=2G
	[ "$systems" != linux_isolated ] || append="isolcpus=$cpus nohz_full=$cpus rcu_nocbs=$cpus"
	for try in 1 2 3; do
		status=0
		build/hermit-vm --qemu "$qemu" exec SCRIPT=ci/guest/bench.sh SHARE=$out METHOD="$method" APPEND="$append" \
			VCPUS=$vcpus NODES=2 MEM=$mem APIC=xapic TIMEOUT=3600 ${ROOT:+ROOT="$ROOT"} \
			ARGS="method=$method systems='$systems' runs='$runs' cpus=$cpus isle=1 noise=$noise parts='$parts'" \
			</dev/null || status=$?
		# 75: this machine is not fit for measuring, another one may be.
		[ $status = 75 ] || break
	done
	cp $logs/exec.kernel.log "$out/logs/$method.${systems// /+}.kernel.log" 2>/dev/null || true
	[ $status = 0 ] || {
		echo "bench: the machine for $systems by $method failed, status $status" | tee -a $out/errors.txt >&2
		failed=1
	}
}

(cd ci/bench && "$cargo" build --locked --release) >$logs/bench-report.log 2>&1 || { cat $logs/bench-report.log >&2; exit 1; }
qemu=$(ci/qemu.sh)

rm -rf $out
mkdir -p $out/results $out/logs
{
	echo "Measured at: $(date -u '+%F %R UTC'), commit $(git describe --always --dirty 2>/dev/null || echo unknown)"
	echo "Host: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r)," \
		"load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
	echo "QEMU: $("$qemu" --version | head -n 1), emulation only (TCG)"
} >$out/about.txt

for method in $methods; do
	case $method in
	icount)
		for run in 1 2; do
			machine icount "linux isle" $run $((noise / 6 + 1)) "$([ $run = 2 ] && echo basic || echo basic noise)"
			machine icount linux_isolated $run $((noise / 6 + 1)) "$([ $run = 2 ] && echo basic || echo basic noise)"
		done
		;;
	mttcg)
		machine mttcg "linux isle" "$(seq -s ' ' "$runs")" "$noise" "basic io net start stream omp hg noise"
		machine mttcg linux_isolated "$(seq -s ' ' "$runs")" "$noise" "basic io net start stream omp hg noise"
		;;
	esac
done
# Of each run: machines of their own.
if [[ " $methods " == *" mttcg "* ]]; then
	for run in $(seq "$runs"); do
		ci/start.sh "$qemu" >$out/start.txt 2>>$out/errors.txt || { tail -n 1 $out/errors.txt >&2; failed=1; }
		for system in linux isle; do
			sed -n "s/^$system //p" $out/start.txt >>$out/results/mttcg.$system.$run.txt
		done
	done
	rm -f $out/start.txt
fi
echo "Load of the host at the end: $(cut -d' ' -f1-3 /proc/loadavg)" >>$out/about.txt
ci/bench/target/release/hermit-bench $out
echo "bench: $out/report.html"
exit $failed
