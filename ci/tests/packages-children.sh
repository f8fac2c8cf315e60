# SPDX-License-Identifier: MIT OR Apache-2.0
# Programs that start others from an isle: by shells, system(), popen(), posix_spawn(), fork and exec. Pipes, environment, working
# directory and exit status are what they are on Linux.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=1200
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

mkdir /tmp/template
cd /tmp/template
cp /usr/share/common-licenses/GPL-3 text
seq 30 >words
cat >Makefile <<'END'
all: sum; cat sum
sum: one two; cat one two >$@
one two:; @sleep 0.1; echo $@ >$@
END
cat >pipes.sh <<'END'
set -o pipefail
words() { tr -cs 'A-Za-z' '\n' <"$1" | tr A-Z a-z | sort | uniq -c | sort -k 1nr,1 -k 2 | head -n 5; }
words text
x=$(cat <<<"here"; exit 3); echo "$x $?"
(cd /usr && pwd); pwd
for i in 1 2 3; do (exit $i); echo -n "$? "; done; echo
false | true; echo $?
sleep 0.2 & wait $!; echo $?
sh -c 'kill -9 $$' 2>/dev/null; echo $?
diff <(seq 3) <(seq 2 4)
trap 'echo trapped' USR1; kill -USR1 $$
exec 3>file; echo out >&3; exec 3>&-; cat file
nothing-of-this-name 2>/dev/null; echo $?
export A=b; env | grep '^A='
END
cat >many.pl <<'END'
$| = 1;
print system("exit 3") >> 8, " ", `pwd`, scalar(my @lines = `cat text`), "\n";
open my $p, '-|', 'sort', '-u' , 'text' or die; my $n = () = <$p>; close $p; print "$n $?\n";
open $p, '|-', 'cat -n' or die; print $p "a\nb\n"; close $p;
my $pid = fork // die "fork: $!"; if (!$pid) { exit 7 } waitpid $pid, 0; print $? >> 8, "\n";
pipe my $r, my $w; if (!($pid = fork)) { close $r; print $w "from the child\n"; exit 0 } close $w; print <$r>; wait;
$pid = fork; if (!$pid) { sleep 60; exit } kill 'TERM', $pid; waitpid $pid, 0; print $? & 127, "\n";
exec 'echo', 'the', 'end';
END
cat >many.py <<'END'
import multiprocessing, os, signal, subprocess, sys
run = lambda *a, **k: subprocess.run(*a, capture_output=True, text=True, **k)
print(run(["sh", "-c", "echo out; echo err >&2; exit 4"]))
print(run(["cat"], input="through a pipe\n").stdout, run(["pwd"], cwd="/usr").stdout, run(["sh", "-c", "echo $X"], env={"X": "y"}).stdout)
print(os.system("exit 5") >> 8, os.popen("echo popen").read(), subprocess.call(["sh", "-c", "kill -15 $$"]))
try: subprocess.run(["sleep", "60"], timeout=0.3)
except subprocess.TimeoutExpired as e: print(e.cmd)
try: subprocess.run(["nothing-of-this-name"])
except FileNotFoundError as e: print(e)
print(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 6"], os.environ), 0)[1]))
first = subprocess.Popen(["seq", "100"], stdout=subprocess.PIPE)
second = subprocess.Popen(["tail", "-n", "2"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close(); print(second.communicate()[0], first.wait(), second.wait())
sys.stdout.flush(); pid = os.fork()
if pid == 0: os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
def square(n): return n * n
with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(square, range(10)))
END
find . -exec touch -d @1700000000 {} +
cd /
files() { cp -a /tmp/template/. .; }

# Bash tells of a process that was killed, with its number.
mask='s/line 9: +[0-9]+ Killed/line 9: PID Killed/'
begin 1G
table <<'END'
/bin/busybox sh -c 'echo a | /bin/cat'
/bin/busybox sh -c '/bin/echo a; exit 2 | exit 0'
/bin/busybox xargs -n 2 echo
/bin/busybox find . -name text -exec wc -l {} +
/bin/busybox timeout 5 echo in time
/usr/bin/env X=y sh -c 'echo $X; echo $PWD'
/usr/bin/nohup /usr/bin/true
/usr/bin/xargs -a words -n 7 -P 1 echo
/usr/bin/lua5.4 -e 'print(os.execute("exit 3")); print(io.popen("sort text | tail -n 1"):read("a"))'
/usr/bin/awk 'BEGIN { system("echo system"); while (("seq 3" | getline x) > 0) s += x; print s; print "b\na" | "sort" }'
/usr/bin/tar -czf - --sort=name --mtime=@0 text
/usr/bin/make -s -j2
/usr/bin/perl many.pl
/usr/bin/python3 many.py
/usr/bin/bash pipes.sh
/usr/bin/gcc --version
END
finish
