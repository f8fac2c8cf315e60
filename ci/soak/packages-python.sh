# SPDX-License-Identifier: MIT OR Apache-2.0
# Python's own regression tests: each has on an isle the result that it has on Linux.
# vm: VCPUS=4 NODES=2 MEM=5G APIC=x2apic ROOT=/ TIMEOUT=7200
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

# What Python prints meanwhile tells of times, processes and temporary files; what counts is each test's result.
mask=d
results() {
	python3 - <<-'END'
		import xml.etree.ElementTree as tree
		for case in sorted(tree.parse("results.xml").iter("testcase"), key=lambda case: case.get("name")):
		    print(case.get("name"), case.get("status"), case.get("result"), *[part.tag for part in case])
	END
}
afterwards() {
	results
	rm -rf results.xml build
}

begin 1536M
export PYTHONDONTWRITEBYTECODE=1
limit=1500
for test in math json struct mmap io os threading subprocess sqlite3; do
	if [ -e /usr/lib/python3*/test/test_$test.py ] || [ -d /usr/lib/python3*/test/test_$test ]; then
		both "test_$test" /usr/bin/python3 -m test -v --junit-xml results.xml test_$test
	else
		ok "test_$test # SKIP Debian's package doesn't have it"
	fi
done
finish
