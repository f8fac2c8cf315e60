# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced after common.sh: chooses the compilers that build Linux and its Rust modules.
# Sets RUSTC, LLVM, BINDGEN and toolchain_id, and defines kmake. A choice made in the environment is kept.

bindgen_version=0.71.1

# at_least <version> <wanted>
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

has_rust_source() {
	[ -f "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs" ]
}

rustc_fits() {
	command -v "$1" >/dev/null && at_least "$("$1" --version 2>/dev/null | cut -d' ' -f2)" 1.78.0 && has_rust_source "$1"
}

choose_rustc() {
	if [ -n "${RUSTC:-}" ]; then
		rustc_fits "$RUSTC" || die "RUSTC=$RUSTC is older than 1.78 or has no rust-src"
		return
	fi
	# Debian's own first: rustup's shims shadow it on the PATH and may miss the library source.
	for RUSTC in /usr/bin/rustc rustc; do
		rustc_fits "$RUSTC" && RUSTC=$(command -v "$RUSTC") && return
	done
	die "no rustc >= 1.78 with its library source: apt-get install rustc-web cargo-web rust-web-src"
}

choose_llvm() {
	for LLVM in ${LLVM:-} -19 -20 -21 -18 -17 -16 -15 1; do
		suffix=$LLVM
		[ "$LLVM" != 1 ] || suffix=
		command -v "clang$suffix" >/dev/null && command -v "ld.lld$suffix" >/dev/null &&
			command -v "llvm-objcopy$suffix" >/dev/null && return
	done
	die "no clang with lld and the LLVM tools: apt-get install clang-19 lld-19 llvm-19 libclang-19-dev"
}

bindgen_fits() {
	at_least "$("$1" --version 2>/dev/null | cut -d' ' -f2)" 0.65.1
}

choose_bindgen() {
	own=$cache/bindgen-$bindgen_version
	for BINDGEN in ${BINDGEN:-} bindgen "$own/bin/bindgen"; do
		command -v "$BINDGEN" >/dev/null && bindgen_fits "$BINDGEN" && BINDGEN=$(command -v "$BINDGEN") && return
	done
	cargo=/usr/bin/cargo
	[ -x $cargo ] && [ "$RUSTC" = /usr/bin/rustc ] || cargo=cargo
	command -v $cargo >/dev/null || die "no bindgen and no cargo to build it: apt-get install cargo-web"
	say "building bindgen $bindgen_version (about a minute)"
	(
		lock bindgen
		[ -x "$own/bin/bindgen" ] && exit
		rm -rf "$cache"/.bindgen.*
		tmp=$(mktemp -d "$cache/.bindgen.XXXXXX")
		RUSTC=$RUSTC $cargo install --quiet --locked --root "$tmp/root" --target-dir "$tmp/target" \
			"bindgen-cli@$bindgen_version" >"$cache/bindgen.log" 2>&1 9>&- ||
			die "bindgen does not build, see $cache/bindgen.log"
		rm -rf "$own"
		mv "$tmp/root" "$own"
		rm -rf "$tmp"
	) || exit 1
	BINDGEN=$own/bin/bindgen
}

# kmake <kernel build directory> <arguments of make>: with $launcher in front. C is for gcc, which needs
# little more than half of clang's time; LLVM is there for bindgen, whose libclang has to be of the same version, and for lld.
kmake() {
	kdir=$1
	shift
	${launcher:-} make -C "$kdir" LLVM="$LLVM" CC=gcc HOSTCC=gcc HOSTCXX=g++ RUSTC="$RUSTC" HOSTRUSTC="$RUSTC" CLIPPY_DRIVER="$clippy" \
		BINDGEN="$BINDGEN" "$@"
}

choose_rustc
# For "module.sh … CLIPPY=1": of the same version, or it can't read what the compiler wrote.
clippy=${RUSTC%rustc}clippy-driver
choose_llvm
choose_bindgen

# The bindgen of a rustup-free machine finds libclang by itself only where one version is installed.
libclang=/usr/lib/llvm${LLVM}/lib
if [ -z "${LIBCLANG_PATH:-}" ] && [ -d "$libclang" ]; then
	LIBCLANG_PATH=$libclang
	export LIBCLANG_PATH
fi

# What a kernel and its modules must have in common.
toolchain_id=$("$RUSTC" --version && gcc --version | head -n 1 && "clang$suffix" --version | head -n 1 &&
	"$BINDGEN" --version)
