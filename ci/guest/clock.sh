# SPDX-License-Identifier: MIT OR Apache-2.0
# For tests of the clocks, after lib.sh; they make the FIFOs /tmp/questions and /tmp/answers.

# in_step NAME SECONDS
in_step() {
	/usr/share/plain/clock_distance answer /tmp/questions /tmp/answers &
	if said=$(HERMIT_ISLE=1 proxy /usr/share/plain/clock_distance ask /tmp/questions /tmp/answers "$2" 1000000 2>&1); then
		ok "$1: in step with Linux's"
		echo "  # $said"
	else
		not_ok "$1: in step with Linux's" "$said"
		kill $!
	fi
	wait
}
