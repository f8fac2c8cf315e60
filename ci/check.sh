#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Formatting and clippy of all crates, warnings denied. The module's own warnings are denied where it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
rustfmt=$(command -v rustfmt || true)
clippy=$(command -v cargo-clippy || true)
if [ -n "$rustfmt" ]; then
	echo "rustfmt: all crates and the module"
	for dir in isle-kernel/abi isle-kernel/plat isle-kernel/kernel isle-kernel/vdso proxy apps/tests/echo-tokio ci/vm ci/bench ci/fuzz rust-module/host-tests; do
		edition=$(sed -n 's/^edition = "\(.*\)"/\1/p' "$dir/Cargo.toml")
		git ls-files "$dir/*.rs" | xargs rustfmt --check --edition "$edition" || failed=1
	done
	git ls-files 'rust-module/*.rs' | xargs rustfmt --check --edition 2021 || failed=1
else
	echo "check: formatting skipped, there is no rustfmt" >&2
fi
if [ -n "$clippy" ]; then
	# Clippy works with the toolchain it came with.
	for dir in isle-kernel/abi isle-kernel/abi/model proxy apps/tests/echo-tokio ci/vm ci/bench rust-module/host-tests; do
		echo "clippy: $dir"
		(cd "$dir" && env -u RUSTC cargo clippy --quiet --locked --all-targets --target-dir target/clippy -- -D warnings) || failed=1
	done
	echo "clippy: ci/fuzz"
	# Not as tests: files of the module that are built in have some of their own.
	(cd ci/fuzz && env -u RUSTC cargo clippy --quiet --locked --lib --bins --features fuzzers --target-dir target/clippy -- -D warnings) || failed=1
	echo "clippy: isle-kernel"
	(cd isle-kernel && env -u RUSTC cargo clippy --quiet --locked -p hermit-plat -p isle-kernel -p hermit-vdso --target-dir target/clippy -- -D warnings) || failed=1
else
	echo "check: clippy skipped, there is none (Debian has none for its newest compiler)" >&2
fi
exit $failed
