#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# power-cut.sh CUTS - cuts the power of the gateway's machine CUTS times at random moments under load.
#
# The gateway runs in a User-Mode-Linux guest with cache and index on a disk of its own; the store and the
# clients live outside.  SIGKILL of the guest loses whatever its page cache had not written: a real power cut.
# Two clients remember every promise and check it after each cut (tool_nfsledger); `causeway check` proves the
# index and the data file before each start; at the end the bucket must hold exactly what the share shows.
set -u
cuts=$1
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
export CW_SRC=$PWD
dir=$(mktemp -d /var/tmp/cw-power-XXXXXX)
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "${store:-}" ] || kill "$store" 2>/dev/null
	uml_net_down
	[ -n "${KEEP:-}" ] && echo "kept $dir" || rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	tail -n 30 "$dir"/guest.log "$dir"/ledger-*.log 2>/dev/null
	exit 1
}

uml_net_up "cwpc$$"
uml_tap tap0 192.0.2.1/24
truncate -s 2G "$dir/disk"
mkfs.ext4 -q -F "$dir/disk"
mkdir -p "$dir/store"
printf '[default]\naws_access_key_id = AKIDPOWERCUT\naws_secret_access_key = power-cut-secret-key-0123456789abcdef\n' >"$dir/credentials"
chmod 600 "$dir/credentials"
cat >"$dir/causeway.conf" <<CONF
[gateway]
home = /mnt/disk/home
[nfs]
listen = 192.0.2.2:2049
rpcbind = no
[api]
listen = 192.0.2.2:8080
credentials = /mnt/host$dir/credentials
[cache]
index = /mnt/disk/home/cache/index.db
disk.cache0 = /mnt/disk/home/cache
capacity = 1G
[s3]
endpoint = http://192.0.2.1:9000
region = us-east-1
path_style = yes
[credentials "default"]
source = profile
file = /mnt/host$dir/credentials
[sync]
settle_ms = 300
max_age_ms = 2000
CONF
in_ns "$O/causeway-s3d" --dir "$dir/store" --listen 192.0.2.1:9000 --credentials "$dir/credentials" --no-fsync >"$dir/store.log" 2>&1 &
store=$!

boot() {
	uml_start "$dir/guest.log" 1G tap0 "$PWD/tests/uml/guest-gateway.sh" GUEST_ADDR=192.0.2.2/24 "CONF=$dir/causeway.conf" "O=/mnt/host$(realpath "$O")" \
		"ubd0=$dir/disk"
	for _ in $(seq 300); do
		in_ns curl -sf -m 1 http://192.0.2.2:8080/healthz >/dev/null && return 0
		grep -q 'CHECK FAILED' "$dir/guest.log" && die "causeway check found a broken promise"
		kill -0 "$UML_PID" 2>/dev/null || break
		sleep 0.1
	done
	die "the gateway did not come up"
}

export AWS_SHARED_CREDENTIALS_FILE=$dir/credentials AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
cli() {
	in_ns "$O/causeway" --api http://192.0.2.2:8080 --credentials "$dir/credentials" "$@"
}
boot
in_ns /usr/bin/python3 - <<PY || die "no bucket"
import boto3
boto3.client('s3', endpoint_url='http://192.0.2.1:9000').create_bucket(Bucket='cutbucket')
PY
cli share create --bucket cutbucket --squash NoSquash cut || die "no share"
clients=()
for i in 1 2; do
	(exec ip netns exec "$UML_NS" "$O/tools/tool_nfsledger" "nfs://192.0.2.2/cut?nfsport=2049&mountport=2049&version=3" "/d$i" $((seed + i)) >"$dir/ledger-$i.log" 2>&1) &
	clients+=($!)
done
for n in $(seq "$cuts"); do
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
	for p in "${clients[@]}"; do kill -0 "$p" 2>/dev/null || die "a client found a broken promise"; done
	uml_kill
	boot
	for _ in $(seq 300); do # both clients went through their check
		[ "$(cat "$dir"/ledger-*.log | grep -c '^round')" -ge $((2 * n)) ] && break
		for p in "${clients[@]}"; do kill -0 "$p" 2>/dev/null || die "a client found a broken promise after cut $n"; done
		sleep 0.1
	done
done
for p in "${clients[@]}"; do kill -TERM "$p"; wait "$p" || die "a client found a broken promise at the end"; done
tail -qn 1 "$dir"/ledger-*.log
cli status --wait --timeout 120 >/dev/null || die "the bucket did not converge"
mkdir "$dir/tree"
for d in d1 d2; do
	mkdir "$dir/tree/$d"
	for f in $(in_ns nfs-ls "nfs://192.0.2.2/cut/$d?nfsport=2049&mountport=2049&version=3" | awk '{print $NF}'); do
		in_ns nfs-cp "nfs://192.0.2.2/cut/$d/$f?nfsport=2049&mountport=2049&version=3" "$dir/tree/$d/$f" >/dev/null || die "could not read $d/$f"
		chmod 644 "$dir/tree/$d/$f"
	done
	chmod 755 "$dir/tree/$d"
done
in_ns tests/lib/bucket_compare.py --endpoint http://192.0.2.1:9000 --bucket cutbucket --no-mtime --no-owner --ignore .causeway-probe- "$dir/tree" || die "bucket and share differ"
kill "$store"; store=
echo "OK $cuts power cuts"
