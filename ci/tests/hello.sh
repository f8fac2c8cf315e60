# SPDX-License-Identifier: MIT OR Apache-2.0
# The demo programs print the same on Linux and on an isle, and a branded program starts by itself.
# vm: VCPUS=4 NODES=2 MEM=2G APIC=x2apic TIMEOUT=240
. /lib/hermit/lib.sh

export HERMIT_ISLE=1 HERMIT_CPUS=2-3 HELLO_ENV="from the shell"
for app in hello-c hello-c-pie hello-musl hello-cxx hello-rust hello-rust-exec; do
	want=$(/usr/share/plain/$app one "two three" '' 2>&1; echo "status $?")
	got=$(proxy /usr/share/plain/$app one "two three" '' 2>&1; echo "status $?")
	same "$app prints on the isle what it prints on Linux" "$want" "$got"
done
same "a branded program runs by its name" "$(/usr/share/plain/hello x 2>&1)" "$(hello x 2>&1)"
same "exit status is passed on" 42 "$(fault exit 42 >/dev/null 2>&1; echo $?)"
same "the isle stops after the application" stopped "$(cat $sys/isle1/state)"
