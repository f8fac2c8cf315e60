# SPDX-License-Identifier: MIT OR Apache-2.0
# Debian's programs on much data: SQLite with a database of 1 GB, archives of a large tree, openssl's speeds.
# vm: VCPUS=4 NODES=2 MEM=12G APIC=x2apic ROOT=/ TIMEOUT=10000
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

mount -o remount,size=9G /tmp
begin 1536M
limit=3000
cat >/tmp/make.sql <<'END'
PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, v BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)
	INSERT INTO t SELECT i, i * 7919 % 250007, printf('%.*c', 3900, char(65 + i % 26)) FROM n;
CREATE INDEX k ON t (k);
END
cat >/tmp/ask.sql <<'END'
SELECT count(*), sum(k), sum(length(v)), min(substr(v, 3900)), max(substr(v, 1, 1)) FROM t;
SELECT id, length(v) FROM t WHERE k BETWEEN 1000 AND 1010 ORDER BY k;
UPDATE t SET v = lower(v) WHERE id % 1000 = 0;
SELECT count(*) FROM t WHERE v GLOB '[a-z]*';
PRAGMA quick_check;
END
input=/tmp/make.sql
afterwards() {
	[ "$(stat -c %s large.db)" -gt 1000000000 ] || echo "the database is too small"
	sqlite3 large.db "SELECT count(*), sum(k) FROM t"
}
both "sqlite3 makes a database of 1 GB" /usr/bin/sqlite3 large.db
mv $out/linux.files/large.db /tmp/large.db
rm -rf $out/*.files
files() { cp /tmp/large.db .; }
afterwards() { :; }
input=/tmp/ask.sql
both "sqlite3 asks and changes it" /usr/bin/sqlite3 large.db
rm -rf /tmp/large.db $out/*.files

# 100 MB in ten thousand files.
input=/dev/null
mkdir /tmp/template
cp -a /usr/include /usr/lib/python3*/ /usr/share/perl /tmp/template/
tar -cf /tmp/tree.tar --sort=name -C /tmp/template .
files() { cp -a /tmp/template/. .; }
both "tar packs a large tree" /usr/bin/tar -cf /dev/stdout --sort=name .
both "tar packs and compresses it" /usr/bin/tar -c --zstd -f /tmp/work/tree.tar.zst --sort=name include
files() { ln -s /tmp/tree.tar tree.tar; }
both "tar unpacks it" /usr/bin/tar -xf tree.tar
both "find walks it" /usr/bin/find /usr/include /usr/share/perl -type f -size +30k -printf '%p %s %m %u\n'
files() { head -c 50M /tmp/tree.tar >data; touch -d @1700000000 data; }
for program in "gzip -6" "xz -T2 -1" "zstd -q -T2 -9"; do
	# shellcheck disable=SC2086
	both "$program of 50 MB" /usr/bin/$program -k data
done
both "sha256sum of 50 MB" /usr/bin/sha256sum data
both "sort of 50 MB" /usr/bin/sort -S 64M --parallel=2 -o sorted data

# Speeds differ.
files() { :; }
mask='s/.*//'
for what in sha256 "-evp aes-256-gcm" rsa2048 ecdsap256 "-multi 2 sha512"; do
	# shellcheck disable=SC2086
	both "openssl speed $what" /usr/bin/openssl speed -seconds 2 $what
done
finish
