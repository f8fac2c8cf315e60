#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# build.sh [normal|debug]: builds all parts into build/, the module for that kernel. Says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:-normal}
logs=build/logs
mkdir -p $logs build/$variant

# step NAME COMMAND …: its output goes to a log, which is shown if it fails.
step() {
	local name=$1 log
	shift
	log=$logs/build-${name// /-}.log
	local start=$SECONDS
	# In the background, since errexit is off for what an "if" tests.
	"$@" >"$log" 2>&1 &
	if ! wait $!; then
		tail -n 30 "$log" >&2
		echo "build: $name failed, see $log" >&2
		exit 1
	fi
	[ $((SECONDS - start)) -lt 3 ] || echo "build: $name (${variant}), $((SECONDS - start)) s" >&2
}

# install_if_changed FROM TO [MODE]: so that what depends on it isn't made again in vain.
install_if_changed() {
	cmp -s "$1" "$2" || install -m "${3:-755}" "$1" "$2"
}

proxy() {
	(cd proxy && "$CARGO" build --locked --release)
	install_if_changed proxy/target/x86_64-unknown-linux-gnu/release/proxy build/proxy
}

vm() {
	(cd ci/vm && RUSTFLAGS="-C target-feature=+crt-static" "$CARGO" build --locked --release --target x86_64-unknown-linux-gnu)
	install_if_changed ci/vm/target/x86_64-unknown-linux-gnu/release/hermit-vm build/hermit-vm
	install_if_changed ci/vm/target/x86_64-unknown-linux-gnu/release/hermit-agent build/hermit-agent
}

apps() {
	make -C apps/tests OUT="$PWD/build/apps-plain" CARGO="$CARGO"
	make -C apps/benchmarks OUT="$PWD/build/bench"
	mkdir -p build/apps
	for app in build/apps-plain/*; do
		[ -x "$app" ] && [ ! -d "$app" ] || continue
		branded=build/apps/${app##*/}
		[ "$branded" -nt "$app" ] && continue
		cp "$app" "$branded.new"
		build/proxy --brand "$branded.new"
		mv "$branded.new" "$branded"
	done
	cp apps/tests/ktap.sh apps/tests/selftest.sh apps/tests/compare.sh apps/tests/programs.list build/apps-plain/
	ci/test-images/build.sh build/test-images
}

module() {
	local stage=build/$variant/stage
	mkdir -p "$stage/isle-kernel"
	# The module includes the shared layouts by their path beside it. Kbuild goes by time stamps.
	rsync -a --delete --exclude target isle-kernel/abi "$stage/isle-kernel/"
	rsync -a --exclude host-tests rust-module "$stage/"
	ci/kernel/module.sh "$kernel" "$stage/rust-module" modules
	install_if_changed "$stage/rust-module/hermit.ko" "build/$variant/hermit.ko" 644
	# Warnings are errors here as anywhere; Kbuild has no switch for it in modules.
	! grep -E '^warning' "$logs/build-module.log"
}

kernel=$(ci/kernel/build.sh "$variant")
cmp -s "$kernel/bzImage" "build/$variant/bzImage" || cp "$kernel/bzImage" "build/$variant/bzImage"
step proxy proxy
step vm vm
step apps apps
step isle-kernel isle-kernel/build.sh build
step module module
