#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs the programs and checks output and end, in KTAP. `selftest.sh DIR [RUNNER...]`: with a
# runner, say `proxy`, each program is started by it.

. "$(dirname "$0")/ktap.sh"
dir=$1
shift

run() { # exit status, a line of the output, program, arguments
    status=$1 line=$2 program=$3
    shift 3
    timeout -k 5 "$limit" $runner "$dir/$program" "$@" >"$out" 2>&1 </dev/null
    got=$?
    [ $got = "$status" ] && grep -qxF -e "$line" "$out"
    passed=$((1 - $?))
    [ $passed = 1 ] || echo "# status $got, expected $status; expected line: $line"
    case $* in
    ??????????????????????????????*) result "$program $1 ..." $passed ;;
    *) result "$program $*" $passed ;;
    esac
}

runner=$*
limit=${LIMIT:-120} # seconds for one program

SEGV=139 ILL=132 FPE=136 ABRT=134 TRAP=133
unset TMPDIR

echo "KTAP version 1"
for hello in hello-c hello-c-pie hello-musl hello-cxx hello-rust hello-rust-exec; do
    printf 'one\ntwo\nthree' | HELLO_ENV='a = b' timeout -k 5 "$limit" $runner "$dir/$hello" 'x y' '' - --exit 7 >"$out" 2>&1
    status=$?
    passed=0
    if [ $status = 7 ] && grep -qx 'argv\[0\] = '$hello "$out" && grep -qx 'argv\[1\] = x y' "$out" &&
        grep -qx 'argv\[2\] = ' "$out" && grep -qx 'HELLO_ENV = a = b' "$out" &&
        grep -qx 'stdin: two' "$out" && grep -qx 'stdin: three' "$out" && grep -qx 'file: ok' "$out"; then
        passed=1
    fi
    result "$hello" $passed
done
for fault in fault fault-pie fault-musl; do
    for test in null kernel kread noncanonical hlt cli out text data stack; do
        run $SEGV $test $fault $test
    done
    run $ILL ill $fault ill
    run $FPE fpe $fault fpe
    run $TRAP trap $fault trap
    run $ABRT abort $fault abort
    for test in badptr enosys mem sse time; do
        run 0 ok $fault $test
    done
    run 42 exit $fault exit 42
    run 200 _exit $fault _exit 200
    run 137 raise $fault raise 9
    run 143 raise $fault raise 15
    run 0 '3 arguments, 5 bytes, sum 0584f463' $fault args abc '' de
done
# Many and long arguments: 1 MiB in all.
long=$(head -c 100000 /dev/zero | tr '\0' x)
run 0 '10 arguments, 1000000 bytes, sum 914ce000' fault args \
    "$long" "$long" "$long" "$long" "$long" "$long" "$long" "$long" "$long" "$long"
echo "1..$number"
echo "# $((number - failed)) passed, $failed failed"
[ $failed = 0 ]
