# SPDX-License-Identifier: MIT OR Apache-2.0
# For tests that run Debian's own programs, after lib.sh: each runs under Linux, then in the same way on isle 1. Standard
# output and error, exit status and the files that it leaves must be the same. `make exec ROOT=/ ARGS=RUNNER=env` has them
# run under Linux twice, which shows whether that is the same each time.

for argument; do
	export "$argument"
done
isle=1 runner=${RUNNER:-proxy} control=$sys/isle1
work=/tmp/work out=/tmp/out
mkdir $out
export HERMIT_ISLE=1 LC_ALL=C.UTF-8 TZ=UTC HOME=/root

# Of the next programs: what they read, how long they may run, how they are to end, what sed makes of their output.
input=/dev/null limit=60 status=0 mask=

# files: what is in the directory in which a program starts. Tests have their own.
files() { :; }

# afterwards: what a test makes of the files that the program left: it removes some, and prints of them what is to be compared.
afterwards() { :; }

# begin MEMORY: how much the isle is to have.
begin() {
	[ "$runner" = proxy ] || return 0
	echo "$1" >$control/memory
	remember
	accepted "the isle starts with $1" $control/cpus 2-3
}

finish() {
	[ "$runner" = proxy ] || return 0
	same "the isle still runs" running "$(cat $control/state)"
	same "its kernel did not complain" "" "$(grep -i -E 'panic|isle kernel stops|in use by nobody' $control/log)"
	accepted "it stops" $control/cpus -1
	nothing_lent "after all programs"
}

# once SYSTEM PROGRAM ARGUMENT …
once() {
	system=$1
	shift
	rm -rf $work $out/"$system".files
	mkdir $work
	(cd $work && files) >/dev/null || echo "# the files could not be made"
	(cd $work && exec timeout -k 5 "$limit" "$@") >$out/"$system".stdout 2>$out/"$system".stderr <$input
	echo $? >$out/"$system".status
	if [ -n "$mask" ]; then
		for stream in stdout stderr; do
			sed -E -i "$mask" $out/"$system".$stream
		done
	fi
	(cd $work && afterwards) >>$out/"$system".stdout 2>&1
	mv $work $out/"$system".files
	(cd $out/"$system".files && find . \( -type d -printf '%P/ %m\n' \) -o -printf '%P %y %m %s %l\n' | sort) >$out/"$system".list
}

# differs KIND: tells how, if what is compared differs.
differs() {
	! cmp -s $out/linux."$1" $out/isle."$1" || return 1
	echo "$1 (< Linux, > isle):"
	diff -a $out/linux."$1" $out/isle."$1" | cut -c 1-200 | head -n 12
}

lines_of_log() { wc -l <$control/log; }

# both NAME PROGRAM ARGUMENT …: the program by its full name.
both() {
	name=$1
	shift
	once linux "$@"
	if [ "$(cat $out/linux.status)" != "$status" ]; then
		not_ok "$name" "on Linux: status $(cat $out/linux.status), wanted $status
$(tail -n 5 $out/linux.stdout $out/linux.stderr)"
		return
	fi
	before=$(lines_of_log)
	once isle $runner "$@"
	why=$(for kind in status stdout stderr list; do differs $kind; done
		diff -r --no-dereference -q $out/linux.files $out/isle.files 2>&1 | head -n 5)
	if [ -z "$why" ]; then ok "$name"; else not_ok "$name" "$why
$(tail -n +$((before + 1)) $control/log | tail -n 12 | sed 's/^/isle: /')"; fi
	[ "$runner" = proxy ] || return 0
	case $(cat $control/state) in
	running) ;;
	*)
		not_ok "$name: the isle is $(cat $control/state)"
		store $control/cpus -1 >/dev/null
		store $control/cpus 2-3 >/dev/null
		;;
	esac
}

# table: `both` for each line of the input; its words are quoted as in a shell.
table() {
	while IFS= read -r line; do
		case $line in
		'' | '#'*) ;;
		*)
			eval "set -- $line"
			both "$line" "$@"
			;;
		esac
	done
}
