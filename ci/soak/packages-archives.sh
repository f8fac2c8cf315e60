# SPDX-License-Identifier: MIT OR Apache-2.0
# What compresses, packs and sums files does on an isle what it does on Linux: gzip, xz, zstd, tar, openssl, sha256sum.
# vm: VCPUS=4 NODES=2 MEM=4G APIC=x2apic ROOT=/ TIMEOUT=900
. /lib/hermit/lib.sh
. /lib/hermit/packages.sh

mkdir -p /tmp/template
cd /tmp/template
# Some hundred small files, and a large one.
cp -a /usr/include/x86_64-linux-gnu/bits tree
cp /usr/lib/x86_64-linux-gnu/libc.so.6 library
ln -s tree/nothing tree/link
seq 1 20000 >numbers
find . -depth -exec touch -h -d @1700000000 {} +
tar -cf tree.tar --sort=name tree
gzip -n -k library
xz -k -T1 library
zstd -q -k library
touch -d @1700000000 ./*.* .
cd /
files() { cp -a /tmp/template/. .; }

begin 1G
limit=150
table <<'END'
/usr/bin/gzip -9 library.zst
/usr/bin/gzip -dc library.gz
/usr/bin/gzip -tv library.gz
/usr/bin/gzip -l library.gz
/usr/bin/xz -1 -T1 -k numbers
/usr/bin/xz -T2 --block-size=100KiB -k -1 library -c
/usr/bin/xz -d -T1 -k library.xz -c
/usr/bin/xz -lv library.xz
/usr/bin/zstd -q -3 library -o new.zst
/usr/bin/zstd -q -T2 -5 library -c
/usr/bin/zstd -q -dc library.zst
/usr/bin/tar -cf new.tar --sort=name --owner=0 --group=0 tree
/usr/bin/tar -tvf tree.tar
/usr/bin/tar -xf tree.tar --one-top-level=there
/usr/bin/tar -df tree.tar
/usr/bin/tar -rf tree.tar numbers
/usr/bin/sha256sum library numbers tree.tar
/usr/bin/sha512sum library
/usr/bin/md5sum library
/usr/bin/b2sum library
/usr/bin/cksum -a crc library
/usr/bin/cp -a tree copy
/usr/bin/cp --sparse=always library copy
/usr/bin/mv tree moved
/usr/bin/ls -lR --time-style=long-iso tree
/usr/bin/sort -R --random-source=library numbers -o shuffled
/usr/bin/sort -r numbers
/usr/bin/diff -r tree tree
/usr/bin/find tree -name 'n*' -printf '%p %s %m\n'
/usr/bin/grep -r -c -i a tree
/usr/bin/sed -i 's/1/one/' numbers
/usr/bin/split -n 5 library part.
/usr/bin/dd if=library of=out bs=4k skip=3 status=none
/usr/bin/od -A x -t x1z -N 3000 library
/usr/bin/wc library numbers
/usr/bin/df --output=fstype .
/usr/bin/truncate -s +5K numbers
/usr/bin/openssl dgst -sha256 library
/usr/bin/openssl dgst -sha3-512 library
/usr/bin/openssl dgst -hmac key -sha1 library
/usr/bin/openssl enc -aes-256-cbc -pbkdf2 -nosalt -k secret -in library -out encrypted
/usr/bin/openssl enc -chacha20 -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00000000000000000000000000000001 -in numbers
/usr/bin/openssl enc -base64 -in numbers
/usr/bin/openssl prime 65537 65539
/usr/bin/openssl version
END

# What these print is of chance and speed; that they end well is what is compared.
mask='s/.*//'
both "openssl makes a key" /usr/bin/openssl genrsa 1024
both "openssl speed sha256" /usr/bin/openssl speed -seconds 1 -bytes 1024 sha256
both "openssl speed aes-128-cbc" /usr/bin/openssl speed -seconds 1 -bytes 1024 -evp aes-128-cbc
mask=
finish
