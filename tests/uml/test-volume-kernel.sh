#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=900
# A Linux kernel with open-iscsi uses a cached volume: CHAP both ways, digests, ext4 and XFS, fstrim, two
# sessions to one LUN, growing online, and causewayd killed every few seconds while it writes.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml-volume.sh
world_up vol
initiator=iqn.1993-08.org.debian:01:uml
cli volume chap demo $initiator --secret in-secret-123 --target-secret out-secret-45 || die "chap"
uml_start "$dir/guest.log" 768M tap0 "$PWD/tests/uml/guest-volume.sh" GUEST_ADDR=192.0.2.2/24 PORTAL=192.0.2.1:3260 \
	INITIATOR=$initiator TARGET=iqn.1997-05.com.amazon:demo SECRET=in-secret-123 TARGET_SECRET=out-secret-45 "DONE=$dir/done"
says "two sessions done" 300
[ "$(cli volume initiators demo | wc -l)" = 2 ] || die "sessions: $(cli volume initiators demo)"
says "resize please" 30
cli volume resize demo 2G || die "resize"
says "kill please" 60
for _ in 1 2 3 4 5; do
	sleep 3
	kill -9 "$(cat "$dir/home/run/causewayd.pid")"
	for _ in $(seq 100); do
		sleep 0.1
		in_ns curl -sf -m 1 -o /dev/null http://192.0.2.1:8080/healthz && break
	done
done
sleep 3
: >"$dir/done"
says "verdict yes" 240
uml_wait 60 || die "the guest did not power off"
cli volume drain demo && cli drain --timeout 120 >/dev/null || die "drain"
echo OK
