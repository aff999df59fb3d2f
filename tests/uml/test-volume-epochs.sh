#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# A Linux kernel works on ext4 on a cached volume while epochs are cut at random moments; then the appliance is lost. From
# the bucket alone, every recovery point is a file system that needs its journal replayed and nothing else.
# EPOCHS (default 12): how many are cut.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml-volume.sh
world_up ep e2fsck dumpe2fs
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
