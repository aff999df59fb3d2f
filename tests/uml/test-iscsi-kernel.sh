#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# A Linux 6.1 kernel with open-iscsi on the iSCSI server (volumes are memory): CHAP both ways, digests, ext4 and XFS, while
# every second all sessions are asked to log out. No I/O error, clean file systems.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
for c in linux.uml iscsid iscsiadm mkfs.xfs; do command -v $c >/dev/null || { echo "skipped: $c is not installed"; exit 77; }; done
O=$(cd "${O:-build/release}" && pwd)
dir=$(mktemp -d /var/tmp/cw-iscsi-XXXXXX)
run=
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "$run" ] || { kill "$run" 2>/dev/null; wait "$run"; }
	uml_net_down
	rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	grep -a GUEST "$dir/guest.log" 2>/dev/null | tail -n 30
	tail -n 20 "$dir/server.log"
	exit 1
}
uml_net_up "cwiscsi$$"
uml_tap tap0 192.0.2.1/24
ip netns exec "$UML_NS" "$O/tools/tool_iscsimem" 192.0.2.1:3260 initiator-secret target-secret-1 >"$dir/server.log" 2>&1 </dev/null &
run=$!
uml_start "$dir/guest.log" 512M tap0 "$PWD/tests/uml/guest-iscsi-kernel.sh" GUEST_ADDR=192.0.2.2/24 SERVER=192.0.2.1 PORT=3260 \
    SECRET=initiator-secret TARGET_SECRET=target-secret-1
for _ in $(seq 100); do
	grep -aq 'GUEST ready' "$dir/guest.log" && break
	sleep 0.5
done
for _ in $(seq 6); do # ip execs: run is the server itself
	sleep 1
	kill -HUP "$run"
done
uml_wait 200 || die "the guest did not finish"
grep -a GUEST "$dir/guest.log"
grep -aq 'GUEST verdict yes' "$dir/guest.log" || die "the guest's verdict"
[ "$(grep -c 'logged-in' "$dir/server.log")" -ge 6 ] || die "nobody logged in again"
echo OK
