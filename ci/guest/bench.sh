# SPDX-License-Identifier: MIT OR Apache-2.0
# In the VM: runs the benchmarks, pinned to some CPUs of Linux and on an isle of the same CPUs,
# and leaves the results in /host/results, named as ci/bench/src/results.rs says. What fails is noted in
# /host/errors.txt and is missing from the results; the rest goes on. Sent there by ci/bench.sh, with these arguments:
#
#   method=icount|mttcg  systems="linux isle"  runs="1 2"  cpus=2-3  isle=1  noise=SECONDS  parts="basic stream …"

for argument; do
	export "$argument"
done
control=/sys/hermit/isle$isle
out=/tmp/results
bin=/usr/share/bench
limit=$((noise + 300))
warm_up=5
mkdir -p $out
export OMP_PROC_BIND=close HERMIT_ISLE="$isle"

# cpus_of 2-3,5: 2 3 5
cpus_of() {
	echo "$1" | tr ',' '\n' | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done | xargs
}

# Prints the command that starts a program on the system and the CPUs.
starter() {
	if [ "$1" = isle ]; then echo proxy; else echo "taskset -c $2"; fi
}

# prepare SYSTEM CPUS, and afterwards release SYSTEM: on the isle, CPUs come and go.
prepare() {
	[ "$1" = isle ] || return 0
	why=$( (echo "$2" >"$control/cpus") 2>&1) || { complain "$1" "cannot start on CPUs $2: $why"; return 1; }
}
release() {
	[ "$1" = isle ] || return 0
	case $(cat "$control/state") in
	running) ;;
	*) complain "$1" "is $(cat "$control/state")" ;;
	esac
	why=$( (echo -1 >"$control/cpus") 2>&1) || complain "$1" "cannot be stopped: $why"
}

# The beginning of what the program complained of.
words() {
	head -n 3 $out/stderr | tr '\n' ' '
}

complain() {
	echo "$1 ($method): $2" | tee -a /host/errors.txt >&2
}

# measure SYSTEM RUN CPUS PROGRAM ARGUMENTS…
measure() {
	system=$1 run=$2 where=$3 program=$4
	shift 4
	file=$method.$system.$run.txt
	timeout -k 5 $limit $(starter "$system" "$where") $bin/"$program" -m "$@" >>$out/"$file" 2>$out/stderr </dev/null
	status=$?
	[ $status = 0 ] || complain "$system" "$program $* ended with status $status: $(words)"
	deliver "$file"
}

# measure_start SYSTEM RUN CPUS NAME PROGRAM ARGUMENTS…: how long a program takes from its start to its end. The proxy is
# started on Linux.
measure_start() {
	system=$1 run=$2 where=$3 name=$4
	shift 4
	file=$method.$system.$run.txt
	case $system in
	isle) set -- $bin/launch -m "start_$name" proxy "$@" ;;
	*) set -- taskset -c "$where" $bin/launch -m "start_$name" "$@" ;;
	esac
	timeout -k 5 $limit "$@" >>$out/"$file" 2>$out/stderr </dev/null
	status=$?
	[ $status = 0 ] || complain "$system" "the start of $name can't be measured, status $status: $(words)"
	deliver "$file"
}

# measure_net SYSTEM RUN CPUS: a client on the other CPUs of Linux, and a server: on the isle, or on these CPUs of Linux in another
# network namespace.
measure_net() {
	system=$1 run=$2 where=$3
	file=$method.$system.$run.txt
	case $system in
	isle)
		address=192.168.28.$((isle + 2))
		proxy $bin/netio -s >/dev/null 2>$out/server &
		;;
	*)
		address=10.9.0.2
		ip netns exec far taskset -c "$where" $bin/netio -s >/dev/null 2>$out/server &
		;;
	esac
	server=$!
	timeout -k 5 $limit taskset -c 1 $bin/netio -m -q $address >>$out/"$file" 2>$out/stderr </dev/null
	status=$?
	[ $status = 0 ] || { complain "$system" "netio ended with status $status: $(words)"; kill $server; }
	wait $server 2>/dev/null
	deliver "$file"
}

# measure_isles RUN: between isle 0, on CPU 1 of Linux, and this isle.
measure_isles() {
	run=$1
	file=$method.isle.$run.txt
	echo 256M >/sys/hermit/isle0/memory
	why=$( (echo 1 >/sys/hermit/isle0/cpus) 2>&1) || { complain isle "isle 0 cannot start: $why"; return; }
	HERMIT_ISLE=0 proxy $bin/netio -s >/dev/null 2>$out/server &
	server=$!
	timeout -k 5 $limit proxy $bin/netio -m -q $($bin/netio -l | sed -n 's/.*_ping.*/-t &/p') 192.168.28.2 2>$out/stderr </dev/null |
		sed 's/^net_/net_isles_/' >>$out/"$file"
	[ ! -s $out/stderr ] || { complain isle "netio between isles: $(words)"; kill $server; }
	wait $server 2>/dev/null
	why=$( (echo -1 >/sys/hermit/isle0/cpus) 2>&1) || complain isle "isle 0 cannot be stopped: $why"
	deliver "$file"
}

# A network namespace at the end of a pair of virtual Ethernet devices.
make_far() {
	ip netns add far
	ip link add near type veth peer name far netns far
	ip addr add 10.9.0.1/24 dev near
	ip link set near up
	ip netns exec far ip addr add 10.9.0.2/24 dev far
	ip netns exec far ip link set far up
}

# Results appear on the host when a program has ended, so that nothing is written there while another one is timed.
deliver() {
	[ ! -e $out/"$1" ] || cp $out/"$1" /host/results/
}

# Sums of the columns of CPUs in /proc/interrupts or /proc/softirqs.
sum_of_columns() { # file, CPUs
	awk -v cpus="$2" '
		BEGIN { split(cpus, list); for (i in list) wanted["CPU" list[i]] = 1 }
		FNR == 1 { for (i = 1; i <= NF; i++) if ($i in wanted) column[i + 1] = 1; next }
		# Rows without a number for each CPU are sums of all.
		NF > 2 { for (i in column) if ($i ~ /^[0-9]+$/) sum += $i }
		END { print sum + 0 }' "$1"
}

# counters SYSTEM CPUS PID: interrupts, faults, system calls, switches and soft interrupts so far. The program makes no
# system call by itself; Linux doesn't count them. The isle has no soft interrupts.
counters() {
	if [ "$1" = isle ]; then
		awk 'NR > 1 { i += $2; f += $3; c += $4; s += $6 } END { print i, f, c, s, "-" }' "$control/stats"
	else
		echo "$(sum_of_columns /proc/interrupts "$2") $(awk '{ print $10 + $12 }' "/proc/$3/stat") 0" \
			"$(cat "/proc/$3"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n + 0 }')" \
			"$(sum_of_columns /proc/softirqs "$2")"
	fi
}

# noise SYSTEM THREADS CPUS: what enters the kernel on these CPUs while fwq computes there, one thread on each.
noise() {
	system=$1 threads=$2 where=$3
	file=$method.$system.noise.txt
	timeout -k 5 $limit $(starter "$system" "$where") $bin/fwq -m -w 19 -t "$threads" -s $((warm_up + noise + 3)) \
		-o $out/samples >$out/fwq 2>$out/stderr </dev/null &
	pid=$!
	sleep $warm_up
	before=$(counters "$system" "$(cpus_of "$where")" $pid 2>/dev/null)
	sleep "$noise"
	after=$(counters "$system" "$(cpus_of "$where")" $pid 2>/dev/null)
	running=$(kill -0 $pid 2>/dev/null && echo yes)
	wait $pid
	status=$?
	if [ "$running" = yes ] && [ $status = 0 ]; then
		cat $out/fwq >>$out/"$file"
		echo "$before $after" | awk -v t="$threads" -v unit="count/${noise}s" '{
			printf "noise_interrupts_t%d %d %s\n", t, $6 - $1, unit
			printf "noise_kernel_entries_t%d %d %s\n", t, $6 + $7 + $8 - $1 - $2 - $3, unit
			printf "noise_switches_t%d %d %s\n", t, $9 - $4, unit
			if ($5 != "-") printf "noise_softirqs_t%d %d %s\n", t, $10 - $5, unit
		}' >>$out/"$file"
		[ "$threads" -gt 1 ] || cp $out/samples "/host/results/$method.$system.fwq.samples"
	else
		complain "$system" "fwq on $threads CPUs ended too early, status $status: $(words)"
	fi
	deliver "$file"
}

part() {
	case " $parts " in
	*" $1 "*) true ;;
	*) false ;;
	esac
}

# On a busy host Linux may take the APIC's timer for broken, and then nothing of it can be compared.
if dmesg | grep -q 'APIC timer disabled'; then
	echo "bench: Linux does not use the APIC's timer in this machine" >&2
	exit 75
fi
echo "Linux $(uname -r) ($method, $systems): $(cat /proc/cmdline)" >>/host/about.txt
all=$(cpus_of "$cpus" | wc -w)
first=$(cpus_of "$cpus" | cut -d' ' -f1)
far=no
if part net; then
	# Busybox has no network namespaces.
	if ip netns list >/dev/null 2>&1; then
		make_far
		far=yes
	fi
	ip addr add 192.168.28.1/24 dev mmnif
	ip link set mmnif up
fi
for run in $runs; do
	for system in $systems; do
		echo "bench: $method, $system, run $run" >&2
		prepare "$system" "$cpus" || continue
		! part basic || measure "$system" "$run" "$cpus" basic
		! part io || measure "$system" "$run" "$cpus" io
		if part net; then
			[ "$system" != isle ] || measure_isles "$run"
			if [ "$system" = isle ] || [ "$far" = yes ]; then measure_net "$system" "$run" "$cpus"; fi
		fi
		if part start; then
			measure_start "$system" "$run" "$first" small $bin/io -l
			# It is there if the guest has the root file system of a host that has it.
			! python3=$(command -v python3) || measure_start "$system" "$run" "$first" python3 "$python3" -c pass
		fi
		if part stream; then
			measure "$system" "$run" "$cpus" stream -t 1
			[ "$all" = 1 ] || measure "$system" "$run" "$cpus" stream -t "$all"
		fi
		if part omp; then
			# While threads spin for each other, as they do by default, there is nothing for a kernel to do.
			measure "$system" "$run" "$cpus" omp -t "$all"
			OMP_WAIT_POLICY=passive measure "$system" "$run" "$cpus" omp -t "$all"
		fi
		if part hg; then
			measure "$system" "$run" "$cpus" hg -s 10 -o $out/samples
			cp $out/samples "/host/results/$method.$system.hg.samples"
		fi
		release "$system"
	done
done
if part noise; then
	for system in $systems; do
		for threads in 1 $([ "$all" = 1 ] || echo "$all"); do
			if [ "$threads" = 1 ]; then where=$first; else where=$cpus; fi
			echo "bench: $method, $system, noise on CPUs $where" >&2
			prepare "$system" "$where" || continue
			noise "$system" "$threads" "$where"
			release "$system"
		done
	done
fi
true
