# SPDX-License-Identifier: MIT OR Apache-2.0
# Busybox's applets on files do on an isle what they do on Linux.
# vm: VCPUS=4 NODES=2 MEM=3G APIC=x2apic ROOT=/ TIMEOUT=1200
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

mkdir -p /tmp/template/tree/a/b/c "/tmp/template/tree/two words" /tmp/template/tree/empty
cd /tmp/template
seq 1 5000 >numbers
seq 2 3 5000 | sort >some
cp /usr/share/common-licenses/GPL-3 text
printf 'zoe 3 x\nanna 1 y\nmax 2 x\nanna 1 y\n' >table
printf 'one\r\ntwo\r\n' >dos
cat text numbers text >tree/a/large
cp table "tree/two words/t"
seq 1 2 5000 >tree/a/b/odd
sed 's/3/three/' numbers >tree/a/b/c/changed
ln -s ../../numbers tree/a/link
ln table tree/hard
ln -s nowhere tree/broken
chmod 600 table
diff -u numbers tree/a/b/c/changed >patch.diff
gzip -n -c text >text.gz
bzip2 -c text >text.bz2
xz -c text >text.xz
tar -cf tree.tar tree
find tree | sort >names
base64 text >text.b64
find . -depth -exec touch -h -d @1700000000 {} +
cd /

files() { cp -a /tmp/template/. .; }

begin 512M
input=/tmp/template/text
table <<'END'
# Whole files and trees.
/bin/busybox cp text copy
/bin/busybox cp -a tree copy
/bin/busybox cp -rL numbers tree/a tree/empty
/bin/busybox cp text /dev/stdout
/bin/busybox mv tree moved
/bin/busybox mv text tree/text
/bin/busybox rm -r tree
/bin/busybox rm -f nothing table
/bin/busybox mkdir -p x/y/z tree/a/new
/bin/busybox mkdir -m 700 private
/bin/busybox rmdir tree/empty
/bin/busybox ln text hard
/bin/busybox ln -s text soft
/bin/busybox ln -sf numbers tree/broken
/bin/busybox chmod -R go-r tree
/bin/busybox chmod u+x,g=w text
/bin/busybox chown -h 12:34 tree/broken
/bin/busybox touch -d @1600000000 text new
/bin/busybox truncate -s 100 text
/bin/busybox truncate -s 1M sparse
/bin/busybox sh -c 'mkfifo -m 640 pipe && test -p pipe && rm pipe'
/bin/busybox link text second
/bin/busybox unlink text
/bin/busybox sync
/bin/busybox dd if=text of=out bs=1000 skip=2 seek=3 count=5
/bin/busybox dd of=out bs=7
/bin/busybox dd if=numbers of=text bs=100 count=3 conv=notrunc
# What there is.
/bin/busybox ls -l
/bin/busybox ls -lR tree
/bin/busybox ls -la --full-time tree
/bin/busybox ls -1S
/bin/busybox find . -type f
/bin/busybox find tree -name '*[ad]*' -size +10k
/bin/busybox find . -type l -o -perm 600
/bin/busybox stat -c '%n %s %a %U %G %F %h %Y' text table tree tree/a/link
/bin/busybox du -a tree
/bin/busybox readlink tree/a/link
/bin/busybox readlink -f tree/a/link
/bin/busybox realpath tree/a/../a/link
/bin/busybox test -d tree
/bin/busybox pwd
/bin/busybox id
/bin/busybox whoami
/bin/busybox uname -s -m
/bin/busybox which sh busybox
# Contents.
/bin/busybox cat text numbers -
/bin/busybox cat -A dos
/bin/busybox tac numbers
/bin/busybox rev text
/bin/busybox head -n 20 text
/bin/busybox head -c 100 text
/bin/busybox tail -n 5 text numbers
/bin/busybox tail -c 77
/bin/busybox sort -r text
/bin/busybox sort -n -k 2 table
/bin/busybox sort -u table -o sorted
/bin/busybox uniq -c table
/bin/busybox cut -d ' ' -f 1,3 table
/bin/busybox cut -c 2-9 text
/bin/busybox paste numbers some
/bin/busybox tr a-z A-Z
/bin/busybox tr -d '\n'
/bin/busybox tee one two
/bin/busybox grep -n -i free text
/bin/busybox grep -r -c 1 tree
/bin/busybox grep -E '^[0-9]{2}5$' numbers
/bin/busybox sed -e 's/the/THE/g' -e '/^$/d' text
/bin/busybox sed -i 's/1/one/' numbers tree/a/b/odd
/bin/busybox sed -n '/freedom/,+2p' text
/bin/busybox awk '{ n[$1] += $2 } END { print n["anna"], n["zoe"], NR }' table
/bin/busybox awk '{ w += NF } END { print NR, w, w % 7, substr("hermit", 2, 3) }' text
/bin/busybox awk -F ' ' '{ print $2 > $1 ".out" }' table
/bin/busybox wc text numbers dos
/bin/busybox nl table
/bin/busybox fold -w 30 text
/bin/busybox expand text
/bin/busybox unexpand -a text
/bin/busybox od -A x -t x1 text
/bin/busybox od -t d2 numbers
/bin/busybox hexdump -C table
/bin/busybox xxd table
/bin/busybox strings tree.tar
/bin/busybox dos2unix dos
/bin/busybox unix2dos table
/bin/busybox base64 text
/bin/busybox base64 -d text.b64
/bin/busybox uuencode -m name
/bin/busybox cmp text text
/bin/busybox patch numbers patch.diff
# Sums and archives.
/bin/busybox md5sum text numbers
/bin/busybox sha1sum text
/bin/busybox sha256sum text numbers tree/a/large
/bin/busybox sha512sum text
/bin/busybox gzip numbers
/bin/busybox gzip -c
/bin/busybox gunzip text.gz -c
/bin/busybox zcat text.gz
/bin/busybox bzip2 -k numbers
/bin/busybox bunzip2 -c text.bz2
/bin/busybox unxz -c text.xz
/bin/busybox tar -cf new.tar tree
/bin/busybox tar -tvf tree.tar
/bin/busybox tar -C tree/empty -xvf tree.tar
/bin/busybox tar -xOf tree.tar tree/a/b/odd
# Values.
/bin/busybox expr 6 '*' 7
/bin/busybox seq -w 8 2 120
/bin/busybox factor 1234567890 97
/bin/busybox printf '%05d %s %x\n' 42 answer 255
/bin/busybox echo -e 'a\tb\n'
/bin/busybox env -i A=1 B='x y'
/bin/busybox date -u -d @86400
/bin/busybox cal 11 2026
/bin/busybox basename /a/b.c .c
/bin/busybox dirname /a/b.c
/bin/busybox getopt -o ab: -- -a -b c d
/bin/busybox usleep 1000
/bin/busybox sh -c 'i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; echo $i; for f in *; do echo "$f"; done; cd tree; pwd'
/bin/busybox sh -c 'while read -r a b c; do echo "$c-$b-$a" >>"$a.new"; done <table; umask 077; : >secret; test -s secret || echo empty'
/bin/busybox true
END

status=1
table <<'END'
/bin/busybox false
/bin/busybox cat nothing
/bin/busybox cmp text numbers
/bin/busybox diff -u numbers tree/a/b/c/changed
/bin/busybox diff -r tree tree/a
/bin/busybox cp text nothing/text
/bin/busybox rmdir tree
/bin/busybox mkdir tree
/bin/busybox rm tree
/bin/busybox grep -q nosuchword text
/bin/busybox mv nothing something
/bin/busybox test -e nothing
/bin/busybox ln -s text table
END
finish
