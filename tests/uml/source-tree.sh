#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# source-tree.sh calm|killed - a Linux 6.1 kernel mounts the share (NFSv3, nolock, hard), unpacks a real source tree of
# 21,000 files, compiles some of it and compares; with "killed" causewayd gets SIGKILL every few seconds meanwhile.
# Afterwards the bucket (calm: on Ceph RGW) must be exactly the tree, attributes included.
set -u
mode=$1
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
export CW_SRC=$PWD
dir=$(mktemp -d /var/tmp/cw-tree-XXXXXX)
mkdir "$dir/store"
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "${killer:-}" ] || kill "$killer" 2>/dev/null
	[ ! -s "$dir/pid" ] || kill -9 "$(cat "$dir/pid")" 2>/dev/null
	[ -z "${store:-}" ] || kill "$store" 2>/dev/null
	[ ! -d "$dir/rgw" ] || in_ns tests/lib/rgw.sh stop "$dir/rgw" >/dev/null 2>&1
	uml_net_down
	[ -n "${KEEP:-}" ] && echo "kept $dir" || rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	tail -n 30 "$dir"/*.log 2>/dev/null
	exit 1
}
gateway() {
	(exec ip netns exec "$UML_NS" "$O/causewayd" --config "$dir/causeway.conf" >>"$dir/causewayd.log" 2>&1) &
	echo $! >"$dir/pid"
}
healthy() {
	for _ in $(seq 200); do
		in_ns curl -sf -m 1 http://192.0.2.1:8080/healthz >/dev/null && return 0
		sleep 0.1
	done
	return 1
}

uml_net_up "cwst$$"
uml_tap tap0 192.0.2.1/24
if [ "$mode" = killed ] && [ -z "${FULL:-}" ]; then
	tests/lib/srctree.sh "$dir/src.tar" fs kernel lib scripts # 3,800 files: a kill costs the client seconds; FULL=1 takes all
else
	tests/lib/srctree.sh "$dir/src.tar"
fi
mkdir "$dir/ref" && tar -C "$dir/ref" -xf "$dir/src.tar"
if [ "$mode" = calm ]; then
	eval "$(in_ns tests/lib/rgw.sh start "$dir/rgw" 2>"$dir/rgw.log")"
	[ -n "${CW_RGW_ENDPOINT:-}" ] || die "Ceph RGW did not start"
	endpoint=$CW_RGW_ENDPOINT access=$CW_RGW_ACCESS secret=$CW_RGW_SECRET
else
	endpoint=http://127.0.0.1:9000 access=AKIDTREE secret=tree-secret-key
fi
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" >"$dir/credentials"
chmod 600 "$dir/credentials"
if [ "$mode" != calm ]; then
	(exec ip netns exec "$UML_NS" "$O/causeway-s3d" --dir "$dir/store" --listen 127.0.0.1:9000 --credentials "$dir/credentials" \
		--no-fsync >"$dir/store.log" 2>&1) &
	store=$!
fi
cat >"$dir/causeway.conf" <<CONF
[gateway]
home = $dir/home
[nfs]
listen = 192.0.2.1:2049
rpcbind = no
[api]
listen = 192.0.2.1:8080
credentials = $dir/credentials
[cache]
index = $dir/home/cache/index.db
disk.cache0 = $dir/home/cache
capacity = 4G
[s3]
endpoint = $endpoint
region = us-east-1
path_style = yes
[credentials "default"]
source = profile
file = $dir/credentials
[sync]
settle_ms = 1000
CONF
export AWS_SHARED_CREDENTIALS_FILE=$dir/credentials AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
cli() {
	in_ns "$O/causeway" --api http://192.0.2.1:8080 --credentials "$dir/credentials" "$@"
}
gateway
healthy || die "causewayd did not start"
in_ns /usr/bin/python3 -c "import boto3; boto3.client('s3', endpoint_url='$endpoint').create_bucket(Bucket='treebucket')" || die "no bucket"
cli share create --bucket treebucket --squash NoSquash tree >/dev/null || die "no share"
if [ "$mode" = killed ]; then
	(while sleep $((3 + RANDOM % 4)); do
		kill -9 "$(cat "$dir/pid")" 2>/dev/null
		echo kill >>"$dir/kills"
		sleep 0.5
		gateway
	done) &
	killer=$!
fi
start=$SECONDS
uml_start "$dir/guest.log" 1G tap0 "$PWD/tests/uml/guest-source-tree.sh" GUEST_ADDR=192.0.2.2/24 SERVER=192.0.2.1 PORT=2049 SHARE=tree \
	"TAR=$dir/src.tar" "REF=$dir/ref"
uml_wait ${GUEST_TIMEOUT:-600} || die "the guest did not finish"
if [ -n "${killer:-}" ]; then
	kill "$killer"; wait "$killer" 2>/dev/null; killer=
	sleep 1
	kill -9 "$(cat "$dir/pid")" 2>/dev/null; sleep 0.3; gateway; healthy || die "causewayd did not come back"
	echo "killed $(wc -l <"$dir/kills") times"
fi
grep GUEST "$dir/guest.log"
grep -q 'GUEST verdict yes' "$dir/guest.log" || die "the guest's verdict"
echo "guest took $((SECONDS - start)) s"
start=$SECONDS
cli status --wait --timeout 240 >/dev/null || die "the bucket did not converge"
echo "drained after $((SECONDS - start)) s more"
# a kill in the middle of the probe leaves its object, which is hidden and swept after an hour
in_ns tests/lib/bucket_compare.py --endpoint "$endpoint" --bucket treebucket \
	--ignore .causeway-probe- "$dir/ref" || die "bucket and tree differ"
kill -TERM "$(cat "$dir/pid")"
for _ in $(seq 100); do kill -0 "$(cat "$dir/pid")" 2>/dev/null || break; sleep 0.1; done
"$O/causeway" --config "$dir/causeway.conf" check || die "causeway check"
echo OK
