# SPDX-License-Identifier: MIT OR Apache-2.0
# For tests, after packages.sh: stress-ng's stressors check what they get.

# Times and process numbers differ from run to run, and which processor is in the machine is of no interest.
stress_mask='s/\[[0-9]+\]/[PID]/g; s/[0-9]+\.[0-9]+ ?s(ecs?|econds)?/TIME/g; s/TIME \([0-9]+ mins?, TIME\)/TIME/'

# stressors SECONDS FACTOR: each for so many operations, times the factor. One that has not done them by then is stuck: stress-ng's
# own limit, at which it would end as if all were well, is later.
stressors() {
	mask=$stress_mask limit=$1
	while read -r name ops options; do
		# shellcheck disable=SC2086
		both "stress-ng --$name, verified" /usr/bin/stress-ng --no-rand-seed --verify --timeout $(($1 * 2)) \
			--"$name" 1 --"$name"-ops $((ops * $2)) $options
	done <<-'END'
		cpu 40
		vm 20 --vm-bytes 32M
		matrix 20 --matrix-size 64
		pthread 40
		futex 2000
		mmap 4 --mmap-bytes 8M
		signal 2000
		timer 500
		hdd 200 --hdd-bytes 4M
		seek 300 --seek-size 4M
		filename 4
		pipe 2000
	END
	mask=
}
