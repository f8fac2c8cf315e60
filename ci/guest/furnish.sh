# SPDX-License-Identifier: MIT OR Apache-2.0
# Run by root.sh in the tree, with the initramfs at /.initramfs: puts what the guest needs where all scripts look for it.
set -e
busybox=/.initramfs/bin/busybox
# Until this is there, busybox can't find itself.
$busybox mkdir -p /app /boot /dev /host /proc /root /run /sys /tmp
$busybox mount -t proc proc /proc

# Where the host's kernel would answer.
xargs -0 -r -n 1 mount -t tmpfs -o ro,mode=0555 mask </.initramfs/request/masks

cd /.initramfs
find ./init ./app ./boot ./lib ./request ./usr/share ./bin/busybox ./bin/hermit-agent ./usr/bin/proxy -type f ! -name masks |
	while read -r file; do
		mkdir -p "/${file%/*}"
		rm -f "/$file"
		cp -p "$file" "/$file"
	done
# Programs branded for an isle are found by their names, like the tree's own, which come first.
find ./usr/bin -type f | while read -r file; do
	[ -e "/$file" ] || cp -p "$file" "/$file"
done
# So that the machine's own name is known.
grep -q -w hermit /etc/hosts 2>/dev/null || echo "127.0.1.1 hermit" >>/etc/hosts
umount /proc
