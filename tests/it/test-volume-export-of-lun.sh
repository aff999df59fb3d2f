#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# What clients wrote to a LUN is what causeway-export reads out of the bucket: after random writes, discards and
# a SIGKILL amid them; each of several snapshots as it was; a range of it; and damage is named, not served.
GW_VOLUMES=1
GW_VOLUMES_CONF='seal_interval_ms = 300'
. "$(dirname "$0")/../lib/gateway.sh"
gw_need qemu-io qemu-img cmp
gw_start
trap gw_end EXIT
step() { echo "--- $*"; }
id=$(gw_volume alpha) || exit 1
id=${id##*/}
url=$(gw_iscsi alpha)
gw_cli() { "$GW_O/causeway" --config "$GW_DIR/causeway.conf" "$@"; }
export_() { "$GW_O/causeway-export" --endpoint "$GW_S3" --path-style --credentials "$GW_DIR/s3-credentials" --bucket volumes \
	--prefix vols/ --volume "$id" "$@"; }
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "SEED=$seed"

round() { # N: some 60 writes and discards over the first 64 MiB and the last one
	local args=() i at
	for i in $(seq 60); do
		at=$((RANDOM % 16384 * 4096))
		case $((RANDOM % 8)) in
		0) args+=(-c "discard $at $((RANDOM % 64 * 4096 + 4096))") ;;
		1) args+=(-c "write -P $((RANDOM % 255 + 1)) $((at + 512)) 1536") ;; # not whole blocks
		*) args+=(-c "write -P $((RANDOM % 255 + 1)) $at $((RANDOM % 32 * 4096 + 4096))") ;;
		esac
	done
	args+=(-c "write -P $(($1 + 1)) $(((1 << 30) - 65536)) 64k" -c flush)
	qemu-io -f raw -d unmap "${args[@]}" "$url" >"$GW_DIR/io.log" 2>&1 || gw_fail "I/O of round $1: $(tail -n 3 "$GW_DIR/io.log")"
}
image_is() { qemu-img convert -f raw -O raw "$url" "$GW_DIR/lun.img" && cmp "$GW_DIR/lun.img" "$1"; }
completed() { gw_v1 GET /v1/snapshots | grep -o "{[^{}]*\"$1\"[^{}]*}" | grep -q '"completed"'; }
is_clean() { gw_v1 GET /v1/volumes/alpha | grep -q '"dirty_bytes":0[,}]'; }

step "three rounds, each kept as a snapshot"
for n in 1 2 3; do
	round "$n"
	[ "$n" != 2 ] || { gw_kill; gw_run; } # what was flushed is there after a kill
	snaps[n]=$(gw_cli snapshot create alpha) || gw_fail "snapshot $n"
	gw_wait 60 "snapshot $n" completed "${snaps[n]}"
	qemu-img convert -f raw -O raw "$url" "$GW_DIR/round$n.img" || gw_fail "read the LUN"
done
step "the newest state and each snapshot equal the LUN of their moment"
gw_wait 60 "uploads" is_clean
export_ --output "$GW_DIR/now.img" || gw_fail "export"
image_is "$GW_DIR/now.img" || gw_fail "the exported image is not the LUN"
for n in 1 2 3; do
	export_ --snapshot "${snaps[n]}" --output "$GW_DIR/s.img" --force || gw_fail "export of snapshot $n"
	cmp "$GW_DIR/s.img" "$GW_DIR/round$n.img" || gw_fail "snapshot $n is not the LUN of its moment"
done
[ "$(export_ --offset $(((1 << 30) - 4096)) --length 4096 | tr -d '\004' | wc -c)" = 0 ] || gw_fail "a range of it"

step "a snapshot less: the others stay what they were"
gw_cli snapshot delete "${snaps[2]}" || gw_fail "delete"
for n in 1 3; do
	export_ --snapshot "${snaps[n]}" | cmp - "$GW_DIR/round$n.img" || gw_fail "snapshot $n after the deletion of another"
done
export_ --snapshot "${snaps[2]}" >/dev/null 2>&1 && gw_fail "a deleted snapshot can be read"

step "without the gateway, too; and what is damaged is named"
gw_stop_daemon
export_ | cmp - "$GW_DIR/now.img" || gw_fail "export without a gateway"
key=$(gw_s3 s3api list-objects-v2 --bucket volumes --prefix "vols/$id/log/" --query 'Contents[0].Key' --output text)
gw_s3 s3 cp "s3://volumes/$key" "$GW_DIR/object" >/dev/null || gw_fail "get $key"
size=$(stat -c %s "$GW_DIR/object")
printf '\245' | dd of="$GW_DIR/object" bs=1 seek=$((size - 100)) conv=notrunc status=none
gw_s3 s3 cp "$GW_DIR/object" "s3://volumes/$key" >/dev/null || gw_fail "put $key"
export_ --snapshot "${snaps[1]}" --output "$GW_DIR/bad.img" 2>"$GW_DIR/said"
[ $? = 4 ] || gw_fail "damage ended with another status: $(cat "$GW_DIR/said")"
[ ! -e "$GW_DIR/bad.img" ] || gw_fail "a damaged image came into being"
grep -q "${key##*/}" "$GW_DIR/said" || gw_fail "the damaged object is not named: $(cat "$GW_DIR/said")"
echo "  $(head -n 1 "$GW_DIR/said")"
