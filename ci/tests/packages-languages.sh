# SPDX-License-Identifier: MIT OR Apache-2.0
# Perl, Lua, Python, NumPy and SQLite from Debian's packages print on an isle what they print on Linux.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=900
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

mkdir /tmp/template
cd /tmp/template
cp /usr/share/common-licenses/GPL-3 text
cat >words.pl <<'END'
use strict; use warnings; use List::Util qw(sum first); use Data::Dumper; use POSIX qw(floor strftime); use Storable;
my %count;
open my $in, '<', 'text' or die "text: $!";
while (<$in>) { $count{lc $_}++ for /\b([a-z]{3,})\b/gi }
close $in;
my @most = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 19];
printf "%-12s %5d\n", $_, $count{$_} for @most;
print sum(values %count), " ", strftime('%F %T', gmtime 86400), " ", floor(-2.5), "\n";
store \%count, 'count.store';
my $again = retrieve 'count.store';
print Dumper({ same => join(',', sort keys %$again) eq join(',', sort keys %count) ? 1 : 0 });
open my $out, '>', 'sorted' or die; print $out "$_\n" for sort keys %count; close $out;
rename 'sorted', 'sorted.txt' or die; print -s 'sorted.txt', "\n"; my @names = sort glob '*'; print "@names\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; 1 while 1 }; print $@;
print "ok\n" if eval { mkdir 'd'; chdir 'd'; symlink '../text', 'l'; (stat 'l')[7] == -s '../text' }; exit 3;
END
cat >mandel.lua <<'END'
local rows = {}
for y = -12, 12 do
  local row = {}
  for x = -39, 39 do
    local cr, ci, zr, zi, n = x / 26 - 0.5, y / 10, 0, 0, 0
    while zr * zr + zi * zi < 4 and n < 60 do zr, zi, n = zr * zr - zi * zi + cr, 2 * zr * zi + ci, n + 1 end
    row[#row + 1] = n == 60 and "*" or n > 6 and "+" or "."
  end
  rows[#rows + 1] = table.concat(row)
end
print(table.concat(rows, "\n"))
local lines, file = 0, assert(io.open("text"))
for _ in file:lines() do lines = lines + 1 end
file:close()
local t = setmetatable({}, {__gc = true}); for i = 1, 200000 do t[i % 1000] = {i} end; collectgarbage()
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i ^ 2) end end)
print(lines, co(), co(), co(), string.format("%q %a", "a\nb", 0.1), math.maxinteger, os.getenv("TZ"))
local out = assert(io.open("out", "w")); out:write(("x"):rep(100000)); out:close()
print(os.rename("out", "moved"), os.remove("nothing"), #assert(io.open("moved")):read("a"))
error("the end")
END
cat >many.py <<'END'
import collections, hashlib, json, mmap, os, queue, random, re, struct, sys, tempfile, threading, time, zlib
text = open("text").read()
print(collections.Counter(re.findall(r"[a-z]{4,}", text.lower())).most_common(10))
print(hashlib.sha256(text.encode()).hexdigest(), zlib.crc32(text.encode()), json.dumps({"a": [1, 2.5, None, "é"]}))
random.seed(42); print([random.randrange(1000) for _ in range(8)], 2 ** 500, 1 / 3, float("nan"))
print(struct.pack(">IhQ", 1, -2, 3).hex(), sys.version_info[:2], sys.byteorder, sys.getfilesystemencoding())
with open("mapped", "wb") as f: f.write(b"0" * 10000)
with open("mapped", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    m[5000:5005] = b"hello"; m.flush(); print(m.find(b"hello"))
print(open("mapped", "rb").read()[4999:5006])
with mmap.mmap(-1, 8192) as m: m.write(b"anonymous"); m.seek(0); print(m.read(9))
todo, done, lock = queue.Queue(), [], threading.Lock()
def work():
    while (n := todo.get()) is not None:
        with lock: done.append(sum(i * i for i in range(n)))
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for n in range(200): todo.put(n)
for t in threads: todo.put(None)
for t in threads: t.join()
print(sum(done), len(done))
r, w = os.pipe(); os.write(w, b"pipe"); print(os.read(r, 10), os.get_inheritable(r))
event = threading.Event(); print(event.wait(0.01)); start = time.monotonic(); time.sleep(0.05); print(time.monotonic() - start >= 0.05)
os.makedirs("d/e"); os.symlink("../text", "d/l"); os.chmod("mapped", 0o640); os.utime("mapped", ns=(1, 10 ** 18 + 7))
print(sorted(os.listdir(".")), oct(os.stat("mapped").st_mode), os.stat("mapped").st_mtime_ns, os.readlink("d/l"))
for where, dirs, files in sorted(os.walk(".")): print(where, sorted(dirs), sorted(files))
try: open("nothing")
except OSError as e: print(e.errno, e)
try: os.rmdir("d")
except OSError as e: print(e.errno, e)
with tempfile.TemporaryDirectory() as name: open(name + "/x", "w").write("x"); print(os.listdir(name))
print(os.getcwd(), os.access("text", os.W_OK), os.cpu_count() > 0, os.isatty(0), sys.stdin.read(), sys.argv)
print("to stderr", file=sys.stderr); sys.exit(5)
END
cat >array.py <<'END'
import numpy as np
a = np.arange(250000, dtype=np.float64).reshape(500, 500) % 7 + np.eye(500)
b = a @ a.T
x = np.linalg.solve(a + 500 * np.eye(500), np.ones(500))
print(b.sum(), np.allclose((a + 500 * np.eye(500)) @ x, 1), np.linalg.det(np.array([[2., 1], [1, 3]])).round(12))
rng = np.random.default_rng(1)
s = rng.normal(size=100000)
print(s.mean(), s.std(), np.sort(s)[:3], np.fft.fft(s[:8]).round(6), np.histogram(s, 5)[0])
np.save("a.npy", a)
m = np.load("a.npy", mmap_mode="r")
print(m.shape, float(m[499, 499]), np.array_equal(m, a), np.linalg.eigvalsh(b[:50, :50])[-1].round(3))
END
find . -exec touch -d @1700000000 {} +
cd /
files() { cp -a /tmp/template/. .; }

# The order of a hash is otherwise of chance.
export PERL_HASH_SEED=0
begin 1G
echo "what is read from standard input" >/tmp/input
input=/tmp/input
both "perl prints" /usr/bin/perl -e 'print "hello\n"'
both "perl reads a program" /usr/bin/perl -ne 'print scalar reverse'
both "perl edits in place" /usr/bin/perl -i.bak -pe 's/\bthe\b/THE/g' text
status=3
both "perl counts words" /usr/bin/perl words.pl
status=1
both "lua computes, and ends by an error" /usr/bin/lua5.4 mandel.lua
status=0
both "python starts and ends" /usr/bin/python3 -c pass
both "python prints" /usr/bin/python3 -c 'print(*range(10), sep="-")'
both "python without its site" /usr/bin/python3 -I -S -c 'import sys; print(sys.flags.isolated, sys.path)'
both "python compiles modules" /usr/bin/python3 -m compileall -q many.py array.py
status=5
both "python's library" /usr/bin/python3 many.py one 'two three'
status=1
# The file's name in the traceback is the same, as is all else.
both "python ends by an exception" /usr/bin/python3 -c 'import json; json.loads("{")'
status=0 limit=150
both "numpy" /usr/bin/python3 array.py

limit=60
echo '.print start' >/tmp/input
cat >>/tmp/input <<'END'
PRAGMA journal_mode=WAL;
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, v REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
	INSERT INTO t SELECT i, printf('name %05d', i * 7919 % 20011), i / 3.0 FROM n;
CREATE INDEX v ON t (v);
SELECT count(*), sum(v), min(name), max(name) FROM t;
BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;
UPDATE t SET v = -v WHERE id % 2; SELECT total(v), avg(id) FROM t WHERE v < 0;
ATTACH 'second.db' AS s; CREATE TABLE s.u AS SELECT * FROM t ORDER BY name LIMIT 100; SELECT group_concat(id) FROM s.u;
INSERT INTO t VALUES (1, 'x', 2);
PRAGMA integrity_check; VACUUM;
.dump u
END
status=1
both "sqlite3 makes a database" /usr/bin/sqlite3 first.db
status=0 input=/dev/null
both "sqlite3 in memory" /usr/bin/sqlite3 :memory: "SELECT sqlite_version(), 355 / 113.0, json('[1, 2]'), upper('é')"
finish
