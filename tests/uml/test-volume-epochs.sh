#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# A Linux kernel works on ext4 on a cached volume while epochs are cut at random moments; then the appliance is lost. From
# the bucket alone, every recovery point is a file system that needs its journal replayed and nothing else.
# EPOCHS (default 12): how many are cut.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
O=$(cd "${O:-build/release}" && pwd)
for p in linux.uml iscsid iscsiadm ip e2fsck; do
	command -v $p >/dev/null || { echo "skipped: $p is not installed"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: only root makes network namespaces"; exit 77; }
dir=$(mktemp -d /var/tmp/cw-epochs-XXXXXX)
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "${run:-}" ] || { kill -TERM "$run"; kill -CONT "$run"; wait "$run" 2>/dev/null; }
	uml_net_down
	rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	tail -n 30 "$dir/guest.log" "$dir/run.log" 2>/dev/null
	exit 1
}
says() { # TEXT SECONDS: the guest
	local until=$((SECONDS + $2))
	until grep -aq "GUEST $1" "$dir/guest.log"; do
		kill -0 "$UML_PID" 2>/dev/null || die "the guest ended"
		[ $SECONDS -lt $until ] || die "waited in vain for the guest: $1"
		sleep 0.2
	done
}
uml_net_up "cwep$$"
uml_tap tap0 192.0.2.1/24
(exec ip netns exec "$UML_NS" env O="$O" CAUSEWAY_HOME="$dir/home" CAUSEWAY_NFS=192.0.2.1:2049 CAUSEWAY_API=192.0.2.1:8080 CAUSEWAY_S3=192.0.2.1:9000 \
	CAUSEWAY_ISCSI=192.0.2.1:3260 gateway/run.sh >"$dir/run.log" 2>&1 </dev/null) &
run=$!
for _ in $(seq 300); do
	grep -q 'Ctrl-C stops it' "$dir/run.log" && break
	kill -0 "$run" 2>/dev/null || die "run.sh ended"
	sleep 0.1
done
cli() { in_ns "$O/causeway" --home "$dir/home" "$@"; }
uml_start "$dir/guest.log" 512M tap0 "$PWD/tests/uml/guest-epochs.sh" GUEST_ADDR=192.0.2.2/24 PORTAL=192.0.2.1:3260 \
	INITIATOR=iqn.1993-08.org.debian:01:uml TARGET=iqn.1997-05.com.amazon:demo
says "working" 60
for _ in $(seq "${EPOCHS:-12}"); do
	sleep "0.$((RANDOM % 9 + 1))"
	for _ in $(seq 100); do
		cli volume list --json | grep -q '"dirty_bytes":0[,}]' || break
		sleep 0.1
	done
	cli volume drain demo >/dev/null || die "drain"
done
kill -0 "$UML_PID" 2>/dev/null || die "the guest ended"
grep -a "GUEST FAILED" "$dir/guest.log" && die "the guest"
# The appliance is lost, the bucket is not.
kill -STOP "$run" # it would start the daemon again
kill -9 "$(cat "$dir/home/run/causewayd.pid")"
uml_kill; UML_PID=
rm -rf "$dir/home/cache"
volume=$(basename "$(ls -d "$dir"/home/store/volumes/vol-*)")
export_() {
	in_ns "$O/causeway-export" --endpoint http://192.0.2.1:9000 --path-style --credentials "$dir/home/credentials" --bucket volumes \
		--volume "$volume" "$@"
}
export_ --list | awk '$1 == "point" { sub("epoch=", "", $2); print $2 }' | sort -n >"$dir/points"
replayed=0 full=0
while read -r epoch; do
	[ "$epoch" != 0 ] || continue
	export_ --epoch "$epoch" --output "$dir/image" --force || die "export of epoch $epoch"
	dumpe2fs -h "$dir/image" >"$dir/head" 2>/dev/null || continue # before mkfs was through
	full=$((full + 1))
	if grep -q needs_recovery "$dir/head"; then
		replayed=$((replayed + 1))
		e2fsck -E journal_only -y "$dir/image" >"$dir/fsck" 2>&1
	fi
	e2fsck -fn "$dir/image" >"$dir/fsck" 2>&1 || { tail -n 20 "$dir/fsck"; die "epoch $epoch needs more than its journal"; }
done <"$dir/points"
echo "$full of $(wc -l <"$dir/points") recovery points hold the file system, $replayed had a journal to replay"
[ "$replayed" -ge $((${EPOCHS:-12} / 2)) ] || die "too few were cut amid work"
echo OK
