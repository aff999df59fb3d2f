# SPDX-License-Identifier: Apache-2.0
# uml-guest.sh - sourced by the init script of a User-Mode-Linux guest (see uml.sh).
# Environment from the kernel command line: GUEST_ADDR (addr/bits), GUEST_ROUTE (a router, where
# the guest needs one), what the test passed.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /mnt
mkdir /mnt/host
mount -t hostfs -o / none /mnt/host # the host, with what our tmpfs mounts hide
mount -t devtmpfs dev /dev 2>/dev/null || mount -t tmpfs dev /dev
[ -e /dev/null ] || mknod -m 666 /dev/null c 1 3
[ -e /dev/zero ] || mknod -m 666 /dev/zero c 1 5
[ -e /dev/urandom ] || mknod -m 666 /dev/urandom c 1 9
[ -e /dev/random ] || mknod -m 666 /dev/random c 1 8
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd

guest_net() {
	ip link set lo up
	ip link set vec0 up
	ip addr add "$GUEST_ADDR" dev vec0
	[ -z "${GUEST_ROUTE:-}" ] || ip route add default via "$GUEST_ROUTE"
}

guest_say() {
	echo "GUEST $*"
}

guest_off() {
	sync
	echo o >/proc/sysrq-trigger
	sleep 60
}
