#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=1200
# Random operations of two NFS connections and a FUSE mount against an oracle, with eviction, uploads, restarts and kills
# in between; then the bucket must be the oracle's tree. MODEL_OPS (default 100,000 in all), MODEL_SEED; GW_STORE as for
# tests/lib/gateway.sh.
cd "$(dirname "$0")/../.." || exit 1
GW_CAPACITY=128M GW_SETTLE_MS=100
. tests/lib/gateway.sh
gw_start
bucket=model-$$ # a store that other tests use, too, may have a "model"
gw_share "$bucket" --nfs-file-share-defaults FileMode=0666,DirectoryMode=0777,GroupId=0,OwnerId=0 >/dev/null
export GW_CREDENTIALS=$GW_DIR/credentials
cleanup_mount() {
	[ -z "${mount_pid:-}" ] || { kill "$mount_pid"; wait "$mount_pid"; } 2>/dev/null
	umount -l "$GW_DIR/mnt" 2>/dev/null
}
trap 'cleanup_mount; gw_end' EXIT
fuse=()
if [ -e /dev/fuse ] && [ "$(id -u)" = 0 ]; then
	mkdir -p "$GW_DIR/mnt"
	"$GW_O/causeway" mount -s "$GW_DIR/run/fuse.sock" "$bucket" "$GW_DIR/mnt" >"$GW_DIR/mount.log" 2>&1 &
	mount_pid=$!
	gw_wait 10 "the FUSE mount" mountpoint -q "$GW_DIR/mnt"
	fuse=(--fuse "$GW_DIR/mnt")
else
	echo "no FUSE here: NFS clients only"
fi
# The model asks for its disturbances over a pipe: this shell knows the daemon's process.
mkfifo "$GW_DIR/ask" "$GW_DIR/told"
url="nfs://127.0.0.1/$bucket?nfsport=$GW_NFS_PORT&mountport=$GW_NFS_PORT&version=3"
ops=${MODEL_OPS:-100000}
seed=${MODEL_SEED:-$RANDOM}
"$GW_O/tools/tool_model" --url "$url" "${fuse[@]}" --seed "$seed" --ops "$ops" --every $((ops / 40 + 1)) --dump "$GW_DIR/dump" \
	--hook "$PWD/tests/model/hook.sh $GW_DIR" >"$GW_DIR/model.log" 2>&1 &
model=$!
# Both ends of both pipes: else the next hook could open "told" just before this shell closes it after the last
# answer, and read an end of file.
exec 3<>"$GW_DIR/ask" 4<>"$GW_DIR/told"
while kill -0 "$model" 2>/dev/null; do
	read -r -t 1 word <&3 || continue
	verdict=ok
	case $word in
	evict) gw_v1 POST /v1/cache/drop >/dev/null || verdict=failed ;;
	drain) gw_drain 60 || verdict=failed ;;
	restart) gw_restart || verdict=failed ;;
	kill) gw_kill && gw_run || verdict=failed ;;
	esac
	echo "$verdict" >&4
done
wait "$model" || { cat "$GW_DIR/model.log"; gw_fail "the model differs"; }
cat "$GW_DIR/model.log"
gw_drain 60
gw_s3_env tests/lib/bucket_compare.py --endpoint "$GW_S3" --bucket "$bucket" \
	--no-mtime --no-owner --ignore .causeway-probe- "$GW_DIR/dump" || gw_fail "the bucket is not the model's tree"
cleanup_mount
mount_pid=
gw_stop || exit 1
"$GW_O/causeway" --config "$GW_DIR/causeway.conf" check || gw_fail "causeway check"
