#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=900
# A Linux kernel with open-iscsi uses a cached volume: CHAP both ways, digests, ext4 and XFS, fstrim, two
# sessions to one LUN, growing online, and causewayd killed every few seconds while it writes.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
O=$(cd "${O:-build/release}" && pwd)
for p in linux.uml iscsid iscsiadm ip; do
	command -v $p >/dev/null || { echo "skipped: $p is not installed"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: only root makes network namespaces"; exit 77; }
dir=$(mktemp -d /var/tmp/cw-volume-XXXXXX)
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "${run:-}" ] || { kill -TERM "$run" 2>/dev/null; wait "$run" 2>/dev/null; }
	uml_net_down
	rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	grep -a GUEST "$dir/guest.log" 2>/dev/null | tail -n 30
	tail -n 40 "$dir/guest.log" 2>/dev/null
	tail -n 40 "$dir/run.log"
	exit 1
}
says() { # TEXT SECONDS: the guest
	local until=$((SECONDS + $2))
	until grep -aq "GUEST $1" "$dir/guest.log"; do
		grep -aq "GUEST FAILED" "$dir/guest.log" && die "the guest"
		kill -0 "$UML_PID" 2>/dev/null || die "the guest ended"
		[ $SECONDS -lt $until ] || die "waited in vain for the guest: $1"
		sleep 0.2
	done
}
uml_net_up "cwvol$$"
uml_tap tap0 192.0.2.1/24
in_ns env O="$O" CAUSEWAY_HOME="$dir/home" CAUSEWAY_NFS=192.0.2.1:2049 CAUSEWAY_API=192.0.2.1:8080 CAUSEWAY_S3=192.0.2.1:9000 \
	CAUSEWAY_ISCSI=192.0.2.1:3260 gateway/run.sh >"$dir/run.log" 2>&1 </dev/null &
run=$!
for _ in $(seq 300); do
	grep -q 'Ctrl-C stops it' "$dir/run.log" && break
	kill -0 "$run" 2>/dev/null || die "run.sh ended"
	sleep 0.1
done
cli() { in_ns "$O/causeway" --home "$dir/home" "$@"; }
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
