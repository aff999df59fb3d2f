#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-postgres.sh - init of the initiator's guest of volume-postgres.sh: PostgreSQL on ext4 on an iSCSI volume.
#
# TEMPLATE (a tar file on the host) fills a new file system at the first boot (FIRST=1); every later boot follows
# a power cut: the journal is replayed, fsck must find nothing, and PostgreSQL recovers. It serves until the
# file STOP appears on the host, stops cleanly, and every page, the file system and the kernel's log are checked.
cd "$CW_SRC" || exit 1
. tests/lib/uml-guest.sh
. tests/lib/uml-initiator.sh
guest_net
fail() {
	guest_say "FAILED $*"
	dmesg | tail -n 30
	guest_off
}
as_postgres() { exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
fsck() {
	e2fsck -fn "$disk" >/tmp/fsck 2>&1 || fail "e2fsck $1: $(tail -n 20 /tmp/fsck)"
}
has_errors() { dmesg | grep -E "I/O error|Buffer I/O|critical|aborted journal|EXT4-fs error"; }
modprobe ext4 2>/dev/null
initiator_up iqn.1993-08.org.debian:01:postgres "node.conn[0].timeo.noop_out_interval = 1" \
	"node.conn[0].timeo.noop_out_timeout = 4"
iscsiadm -m discovery -t st -p "$PORTAL" | grep -q "$TARGET" || fail "discovery"
iscsiadm -m node -T "$TARGET" -p "$PORTAL" -l >/dev/null || fail "login"
disk=$(dev "$(disk_of_session 1)")
mkdir -p /tmp/m
if [ "$FIRST" = 1 ]; then
	mkfs.ext4 -q -F "$disk" || fail "mkfs"
	mount "$disk" /tmp/m && tar -xf "/mnt/host$TEMPLATE" -C /tmp/m && sync -f /tmp/m || fail "first content"
else
	mount "$disk" /tmp/m && umount /tmp/m || fail "journal replay"
	fsck "after a power cut"
	mount "$disk" /tmp/m || fail "mount"
fi
guest_say "mounted"
as_postgres /usr/lib/postgresql/15/bin/postgres -D /tmp/m/data 2>&1 & # execs: $! is PostgreSQL itself
server=$!
until [ -e "/mnt/host$STOP" ]; do
	kill -0 $server 2>/dev/null || fail "PostgreSQL ended"
	has_errors && fail "I/O errors"
	sleep 0.5
done
kill -INT $server
wait $server || fail "PostgreSQL ended with $?"
(as_postgres /usr/lib/postgresql/15/bin/pg_checksums --check -D /tmp/m/data) >/tmp/pages || fail "pages: $(cat /tmp/pages)"
umount /tmp/m || fail "umount"
fsck "at the end"
has_errors && fail "I/O errors"
iscsiadm -m node -u >/dev/null || fail "logout"
guest_say "verdict yes"
guest_off
