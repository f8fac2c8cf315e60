# SPDX-License-Identifier: MIT OR Apache-2.0
# For self tests: results in KTAP, with what the program printed, which is in $out.

number=0
failed=0
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT

result() { # name, passed
	number=$((number + 1))
	if [ "$2" = 1 ]; then
		echo "ok $number $1"
	else
		failed=$((failed + 1))
		echo "not ok $number $1"
		sed 's/^/# /' "$out"
	fi
}
