# SPDX-License-Identifier: MIT OR Apache-2.0
# The host's directory tree as the guest's root: its programs run under the guest's Linux, and nothing of it changes.
# /host is one of the tree's directories as the host sees it.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic ROOT=/ SHARE=/var/tmp TIMEOUT=300
. /lib/hermit/lib.sh

for program in perl make gcc; do
	check "$program, linked dynamically, runs" $program --version
done
same "perl finds its modules" 3 "$(perl -MList::Util=max -e 'print max(1, 3, 2)')"
cat >/tmp/twice.c <<-'END'
	#include <stdio.h>
	int main(int argc, char **argv) { return printf("%s twice\n", argv[1]) != 8; }
END
check "a program is compiled with the host's compiler" gcc -o /tmp/twice /tmp/twice.c
same "and runs" "a twice" "$(/tmp/twice a)"
same "owner and mode are the host's" "0 0 644, 0 0 1777" "$(stat -c '%u %g %a' /etc/passwd /var/tmp | paste -s -d, | sed 's/,/, /')"

# What is changed is changed in memory. That of a run before would be seen here.
mark=hermit-root-test
for dir in /etc /usr/bin /root /var/tmp /lib/hermit; do
	check "nothing is left of a run before in $dir" test ! -e "$dir/$mark"
	check "a file can be made in $dir" cp /etc/passwd "$dir/$mark"
done
check "the host has no file that was made here" test ! -e /host/$mark
check "nor do files change" sh -c '! grep hermit: /etc/group'
check "but here they do" sh -c 'echo "hermit:x:12345:" >>/etc/group && grep hermit: /etc/group'
check "a program can be removed" sh -c 'rm /usr/bin/make && ! make --version'
check "what the tree has can be renamed" mv /etc/passwd /etc/passed
odd="a b'\"*\\$(printf '\t\n\303\251')"
echo odd >"/host/$mark.$odd"
same "a file of an odd name is in the tree" odd "$(cat "/var/tmp/$mark.$odd")"
echo changed >"/var/tmp/$mark.$odd"
same "is changed here" changed "$(cat "/var/tmp/$mark.$odd")"
same "and not on the host" odd "$(cat "/host/$mark.$odd")"
rm "/var/tmp/$mark.$odd"
check "nor removed there" test -e "/host/$mark.$odd"
rm "/host/$mark.$odd"
same "no other way leads to the tree" "host" "$(awk '$3 == "9p" { print $1 }' /proc/mounts)"

# Kernels' answers are this kernel's.
same "/proc is this Linux's" "$(uname -r)" "$(cat /proc/sys/kernel/osrelease)"
check "and so is /sys" test -e $sys/isle1/state
check "and /dev" test -c /dev/hermit/isle1

export HERMIT_ISLE=1 HERMIT_CPUS=2
same "a program on an isle" "$(/usr/share/plain/hello 2>&1)" "$(proxy /usr/share/plain/hello 2>&1)"
same "one that is found by its name" "$(/usr/share/plain/hello 2>&1)" "$(hello 2>&1)"
same "one of the tree, linked statically" "$(busybox sha256sum /etc/hosts)" "$(proxy /bin/busybox sha256sum /etc/hosts 2>&1)"
