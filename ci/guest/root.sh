# SPDX-License-Identifier: MIT OR Apache-2.0
# Sourced by /init where the request names a tree of the host: makes that the root, and starts /init anew in it.
# The tree can't be written to: what is changed stays in memory, in a layer over it.

fail() {
	echo "init: ROOT: $1" >&2
	/bin/busybox poweroff -f
}

mkdir /tree /layer /new
# The tree doesn't change, so the cache may keep what it has. The message size is the largest that virtio takes.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /tree || fail "cannot mount the tree"
mount -t tmpfs -o mode=0755 layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/tree,upperdir=/layer/upper,workdir=/layer/work overlay /new || fail "cannot cover the tree"
# The layers live on as long as the whole, and nothing else leads to them.
umount /tree /layer

# In the tree /bin, say, may be a link, which leads to where it should only for one whose root the tree is.
mkdir /new/.initramfs
mount --bind / /new/.initramfs
chroot /new /.initramfs/bin/busybox sh /.initramfs/lib/hermit/furnish.sh || fail "cannot put the guest's files into it"
umount /new/.initramfs
rmdir /new/.initramfs
umount /proc
# That removes all that is in the initramfs.
exec /bin/busybox switch_root /new /init in-tree
fail "cannot switch to it"
