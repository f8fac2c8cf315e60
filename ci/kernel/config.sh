# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced after common.sh: the configuration of the test VM's kernel.

# fragments <variant>: the files it is made of; a later one wins.
fragments() {
	echo "$top/Kconfig.fragment $here/vm.config"
	[ "$1" = normal ] || echo "$here/$1.config"
}

# One line an option, the last that was given; comments dropped.
merge_fragments() {
	cat $(fragments "$1") | awk '
		/^CONFIG_/ { name = $0; sub(/=.*/, "", name) }
		/^# CONFIG_.* is not set$/ { name = $2 }
		!/^CONFIG_/ && !/^# CONFIG_.* is not set$/ { next }
		!(name in value) { order[++count] = name }
		{ value[name] = $0 }
		END { for (i = 1; i <= count; i++) print value[order[i]] }'
}

# missing_options <wanted> <made>: Kconfig drops silently what lacks something it depends on.
missing_options() {
	awk '
		NR == FNR { made[$0] = 1; name = $0; sub(/=.*/, "", name); if (/^CONFIG_/) set[name] = 1; next }
		/^#/ { if ($2 in set) print $0; next }
		!($0 in made) { print $0 }' "$2" "$1"
}

# configure <variant> <build directory>
configure() {
	merge_fragments "$1" >"$2/wanted.config"
	KCONFIG_ALLCONFIG=$2/wanted.config kmake "$src" O="$2" -s allnoconfig >"$log" 2>&1 9>&- ||
		die "cannot configure, see $log"
	missing_options "$2/wanted.config" "$2/.config" >"$2/missing"
	if [ -s "$2/missing" ]; then
		say "Kconfig dropped options that were asked for; what do they depend on?"
		cat "$2/missing" >&2
		exit 1
	fi
}
