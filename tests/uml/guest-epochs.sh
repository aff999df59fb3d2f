#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-epochs.sh - init of the guest of test-volume-epochs.sh: ext4 on TARGET, and metadata that never rests.
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
initiator_up "$INITIATOR"
iscsiadm -m discovery -t st -p "$PORTAL" | grep -q "$TARGET" || fail "discovery"
iscsiadm -m node -T "$TARGET" -p "$PORTAL" -l >/dev/null || fail "login"
disk=$(dev "$(disk_of_session 1)")
mkfs.ext4 -q -F "$disk" && mkdir -p /tmp/m && mount "$disk" /tmp/m || fail "mkfs"
mkdir -p /tmp/m/{a,b,c}
guest_say "working"
n=0
while :; do
	n=$((n + 1))
	mkdir /tmp/m/a/d$n && head -c $((n % 40 * 4000 + 100)) /dev/urandom >/tmp/m/a/d$n/f || fail "write"
	mv /tmp/m/a/d$n /tmp/m/b/ && ln -s x$n /tmp/m/c/l$n || fail "rename"
	[ $((n % 3)) != 0 ] || rm -r /tmp/m/b/d$((n - 2)) || fail "remove"
	[ $((n % 2)) != 0 ] || sync -f /tmp/m || fail "sync"
done
