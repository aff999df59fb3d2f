#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-volume.sh - init of the guest of test-volume-kernel.sh: open-iscsi, file systems, what they must survive.
cd "$CW_SRC" || exit 1
. tests/lib/uml-guest.sh
. tests/lib/uml-initiator.sh
guest_net
fail() {
	guest_say "FAILED $*"
	dmesg | tail -n 30
	guest_off
}
modprobe ext4 2>/dev/null
modprobe xfs 2>/dev/null
initiator_up "$INITIATOR" "node.session.auth.authmethod = CHAP" \
	"node.session.auth.username = $INITIATOR" "node.session.auth.password = $SECRET" \
	"node.session.auth.username_in = $TARGET" "node.session.auth.password_in = $TARGET_SECRET" \
	"node.conn[0].timeo.noop_out_interval = 5" "node.conn[0].timeo.noop_out_timeout = 60"
node() { iscsiadm -m node -T "$TARGET" -p "$PORTAL" "$@"; }

iscsiadm -m discovery -t st -p "$PORTAL" | grep -q "$TARGET" || fail "discovery"
node -o update -n node.session.auth.password -v wrong-secret-1 && node -l >/dev/null 2>&1 && fail "logged in with a wrong secret"
node -o update -n node.session.auth.password -v "$SECRET"
node -l >/dev/null || fail "login"
iscsiadm -m session -P 3 | grep -E "HeaderDigest: CRC32C" >/dev/null || fail "no header digest"
iscsiadm -m session -P 3 | grep -E "DataDigest: CRC32C" >/dev/null || fail "no data digest"
sd=$(disk_of_session 1)
disk=$(dev "$sd")
[ "$(cat /sys/class/block/$sd/device/model)" = "Storage Gateway " ] || fail "model $(cat /sys/class/block/$sd/device/model)"
[ "$(cat /sys/class/block/$sd/queue/logical_block_size)/$(cat /sys/class/block/$sd/queue/physical_block_size)" = 512/4096 ] ||
	fail "block sizes"
guest_say "logged in, CHAP both ways, digests on"

round() { # FSTYPE
	mkfs."$1" -q ${2:-} "$disk" || fail "mkfs.$1"
	mkdir -p /tmp/m && mount -t "$1" "$disk" /tmp/m || fail "mount $1"
	mkdir /tmp/m/tree && head -c 16000000 /dev/urandom | split -b 40000 -a 3 - /tmp/m/tree/f || fail "write"
	sync
	(cd /tmp/m/tree && sha256sum f* >/tmp/sums) || fail "read back"
	dd if=/dev/urandom of=/tmp/m/large bs=1M count=64 conv=fsync 2>/dev/null || fail "large file"
	rm /tmp/m/large
	fstrim /tmp/m || fail "fstrim"
	umount /tmp/m || fail "umount"
	echo 3 >/proc/sys/vm/drop_caches
	mount -t "$1" "$disk" /tmp/m && (cd /tmp/m/tree && sha256sum --quiet -c /tmp/sums) || fail "$1: files differ"
	umount /tmp/m
	guest_say "$1 done"
}

round ext4 -F
e2fsck -fn "$disk" >/tmp/fsck 2>&1 || fail "e2fsck: $(tail -n 5 /tmp/fsck)"
if command -v mkfs.xfs >/dev/null; then
	round xfs -f
	xfs_repair -n "$disk" >/tmp/fsck 2>&1 || fail "xfs_repair"
fi

# A second session to the same LUN sees what the first one wrote.
node -o update -n node.session.nr_sessions -v 2
node -l >/dev/null || fail "second session"
sd2=$(disk_of_session 2)
second=$(dev "$sd2")
dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
dd if=/tmp/block of="$disk" bs=1M seek=900 oflag=direct 2>/dev/null || fail "direct write"
dd if="$second" of=/tmp/block2 bs=1M skip=900 count=1 iflag=direct 2>/dev/null || fail "direct read"
cmp /tmp/block /tmp/block2 || fail "two sessions, two contents"
guest_say "two sessions done"

# Growing while it is logged in.
guest_say "resize please"
for _ in $(seq 300); do
	echo 1 >/sys/class/block/"$sd"/device/rescan
	[ "$(cat /sys/class/block/$sd/size)" = 4194304 ] && break
	sleep 0.2
done
[ "$(cat /sys/class/block/$sd/size)" = 4194304 ] || fail "not grown: $(cat /sys/class/block/$sd/size)"

# Writing while the daemon is killed again and again: no I/O error, fsck clean.
mkfs.ext4 -q -F "$disk" && mount "$disk" /tmp/m || fail "mkfs"
guest_say "kill please"
n=0
while [ ! -e "/mnt/host$DONE" ]; do
	n=$((n + 1))
	head -c 300000 /dev/urandom >/tmp/one && cp /tmp/one /tmp/m/k$n && sync -f /tmp/m/k$n || fail "write while killed"
	(cd /tmp/m && sha256sum k$n) >>/tmp/ksums
done
echo 3 >/proc/sys/vm/drop_caches
(cd /tmp/m && sha256sum --quiet -c /tmp/ksums) || fail "files differ after kills"
umount /tmp/m || fail "umount after kills"
e2fsck -fn "$disk" >/tmp/fsck 2>&1 || fail "e2fsck after kills: $(tail -n 5 /tmp/fsck)"
guest_say "killed, $n files"
dmesg | grep -E "I/O error|Buffer I/O|critical" && fail "I/O errors"

node -u >/dev/null || fail "logout"
node -l >/dev/null || fail "login again"
sd=$(disk_of_session 1)
disk=$(dev "$sd")
mount "$disk" /tmp/m && (cd /tmp/m && sha256sum --quiet -c /tmp/ksums) || fail "files differ after a new login"
umount /tmp/m
node -u >/dev/null || fail "logout"
guest_say "verdict yes"
guest_off
