#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs as init of a guest: open-iscsi logs in to the targets of SERVER:PORT (vol0: none; vol1: CHAP both ways, digests)
# and the kernel's file systems work on them, while the server asks for logout again and again.
. "$CW_SRC/tests/lib/uml-guest.sh"
guest_net
for m in iscsi_tcp sd_mod crc32c_generic ext4 xfs; do modprobe "$m" 2>/dev/null; done
ok=yes
t() { "$@" >/tmp/out 2>&1 || { guest_say "FAILED: $*: $(tail -n 3 /tmp/out | tr '\n' ' ')"; ok=no; }; }
mount -t tmpfs tmpfs /etc/iscsi
mkdir -p /run/lock/iscsi /etc/iscsi/nodes /etc/iscsi/send_targets
echo "InitiatorName=iqn.2016-04.test:guest" >/etc/iscsi/initiatorname.iscsi
cat >/etc/iscsi/iscsid.conf <<-CONF
	node.startup = manual
	node.session.timeo.replacement_timeout = 120
	node.conn[0].timeo.noop_out_interval = 2
	node.conn[0].timeo.noop_out_timeout = 5
	node.session.cmds_max = 128
	node.session.queue_depth = 32
	node.session.iscsi.InitialR2T = No
	node.session.iscsi.ImmediateData = Yes
	node.session.iscsi.FirstBurstLength = 262144
	node.session.iscsi.MaxBurstLength = 1048576
	node.conn[0].iscsi.MaxRecvDataSegmentLength = 262144
CONF
iscsid -f >/tmp/iscsid.log 2>&1 &
sleep 1
iqn=iqn.1997-05.com.amazon
t iscsiadm -m discovery -t st -p "$SERVER:$PORT"
set_node() { t iscsiadm -m node -T "$1" -p "$SERVER:$PORT" -o update -n "$2" -v "$3"; }
set_node $iqn:vol1 node.session.auth.authmethod CHAP
set_node $iqn:vol1 node.session.auth.username iqn.2016-04.test:guest
set_node $iqn:vol1 node.session.auth.password "$SECRET"
set_node $iqn:vol1 node.session.auth.username_in $iqn:vol1
set_node $iqn:vol1 node.session.auth.password_in "$TARGET_SECRET"
set_node $iqn:vol1 'node.conn[0].iscsi.HeaderDigest' CRC32C
set_node $iqn:vol1 'node.conn[0].iscsi.DataDigest' CRC32C
t iscsiadm -m node -T $iqn:vol0 -p "$SERVER:$PORT" -l
t iscsiadm -m node -T $iqn:vol1 -p "$SERVER:$PORT" -l
for _ in $(seq 50); do [ "$(ls -d /sys/block/sd? 2>/dev/null | wc -l)" = 2 ] && break; sleep 0.2; done
iscsiadm -m session -P 2 | grep -E 'HeaderDigest|DataDigest|FirstBurst|MaxBurst|MaxRecv|ImmediateData|InitialR2T' | sort | uniq -c |
	while read -r l; do guest_say "$l"; done

# file systems on both, 128 MiB of files, read back past the cache
n=0
for dev in /sys/block/sd?; do
	d=/dev/$(basename "$dev")
	[ -b "$d" ] || mknod "$d" b $(tr : ' ' <"$dev/dev")
	if [ $n = 0 ]; then t mkfs.ext4 -q -F "$d"; else t mkfs.xfs -q -f "$d" || t mkfs.ext4 -q -F "$d"; fi
	mkdir -p /mnt/$n
	t mount "$d" /mnt/$n
	n=$((n + 1))
done
guest_say "ready"
dd if=/dev/urandom of=/tmp/a bs=1M count=16 2>/dev/null
for i in $(seq 8); do
	for k in $(seq 0 $((n - 1))); do t cp /tmp/a "/mnt/$k/f$i"; done
	sync
	sleep 0.5
done
echo 3 >/proc/sys/vm/drop_caches
for i in $(seq 8); do for k in $(seq 0 $((n - 1))); do t cmp /tmp/a "/mnt/$k/f$i"; done; done
for k in $(seq 0 $((n - 1))); do t fstrim "/mnt/$k"; t umount "/mnt/$k"; done
for dev in /sys/block/sd?; do
	d=/dev/$(basename "$dev")
	case $(blkid -o value -s TYPE "$d") in ext4) t fsck.ext4 -f -n "$d" ;; xfs) t xfs_repair -n "$d" ;; esac
done
[ "$n" = 2 ] || { guest_say "FAILED: $n disks"; ok=no; }
dmesg | grep -iE 'I/O error|rejecting I/O|aborted journal' | tail -n 3 | while read -r l; do guest_say "$l"; done
dmesg | grep -qiE 'I/O error|rejecting I/O' && ok=no
guest_say "relogins $(dmesg | grep -c 'detected conn error')"
t iscsiadm -m node -u
guest_say "verdict $ok"
guest_off
