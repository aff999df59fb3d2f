# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# gateway.sh - a store, a gateway, shares, for tests in bash:  . tests/lib/gateway.sh
#
#   gw_start [DIR]      causeway-s3d and causewayd on free ports, their state under DIR (default: a
#                       temporary directory that goes when the test ends); waits until shares are served
#   gw_share NAME [OPT...]  bucket NAME and share /NAME, waits until it is AVAILABLE; prints the ARN.
#                       OPT go to `aws storagegateway create-nfs-file-share`
#   gw_drain [SECONDS]  waits until nothing is pending in any share
#   gw_restart          a clean stop and a start; gw_kill: SIGKILL of causewayd; gw_run: start it again
#   gw_stop             ends both, the daemon first; fails if the daemon did not end cleanly
#   gw_aws ARG...       aws storagegateway on the gateway; gw_s3 SERVICE ARG...: aws on the store
#   gw_s3_env COMMAND ARG...  COMMAND with the store's credentials in its environment
#   gw_v1 METHOD PATH   a signed request to /v1
#   gw_activate [TYPE [NAME]]  one more gateway; gw_share makes the first by itself
#   gw_volume NAME [SIZE]  (with GW_VOLUMES) a cached volume on a CACHED gateway, waits until it is AVAILABLE; prints the ARN
#   gw_iscsi NAME       the URL of LUN 0 of target NAME for libiscsi
#   gw_fail TEXT...     ends the test; gw_skip TEXT... ends it as skipped
#
# Sets GW_DIR GW_API (http://address:port) GW_API_PORT GW_NFS_PORT GW_S3 GW_PID GW_GATEWAY_ARN and AWS_*.
# Before gw_start may be set: GW_STORE=rgw (with CW_RGW_ENDPOINT, CW_RGW_ACCESS, CW_RGW_SECRET in the
# environment), GW_CAPACITY (1G), GW_SETTLE_MS (50), GW_MAX_AGE_MS (2000), GW_CONF (more INI lines),
# GW_S3D_ARGS, GW_WAIT (seconds, 60), GW_VOLUMES=1 (iSCSI on a free port, disks buffer, working and stored, bucket
# volumes; then GW_ISCSI_PORT is set, too), GW_VOLUMES_CONF (more lines of section [volumes]).
set -u

GW_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
GW_O=$(cd "${O:-$GW_TOP/build/debug}" && pwd)
GW_STORE=${GW_STORE:-s3d} GW_CAPACITY=${GW_CAPACITY:-1G} GW_SETTLE_MS=${GW_SETTLE_MS:-50}
GW_MAX_AGE_MS=${GW_MAX_AGE_MS:-2000} GW_CONF=${GW_CONF:-} GW_S3D_ARGS=${GW_S3D_ARGS:-} GW_WAIT=${GW_WAIT:-60}
GW_VOLUMES=${GW_VOLUMES:-} GW_VOLUMES_CONF=${GW_VOLUMES_CONF:-}
GW_PID='' GW_S3D_PID='' GW_GATEWAY_ARN='' GW_TEMP=''

gw_fail() {
	echo "FAILED: $*" >&2
	if [ -s "${GW_DIR:-/nonexistent}/causewayd.log" ]; then
		echo "--- causewayd.log" >&2
		tail -n 60 "$GW_DIR/causewayd.log" >&2
	fi
	exit 1
}

gw_skip() {
	echo "skipped: $*"
	exit 77
}

gw_need() {
	local p
	for p in "$@"; do
		command -v "$p" >/dev/null || gw_skip "$p is not installed"
	done
}

gw_free_ports() {
	python3 - "$1" <<-'EOF'
		import socket, sys
		socks = [socket.socket() for _ in range(int(sys.argv[1]))]
		for s in socks:
		    s.bind(("127.0.0.1", 0))
		print(*[s.getsockname()[1] for s in socks])
	EOF
}

# gw_wait SECONDS TEXT COMMAND... - until COMMAND succeeds
gw_wait() {
	local until=$((SECONDS + $1)) text=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$until" ] || gw_fail "waited in vain for $text"
		sleep 0.05
	done
}

gw_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

gw_end() {
	[ -z "$GW_PID" ] || kill -9 "$GW_PID" 2>/dev/null
	[ -z "$GW_S3D_PID" ] || kill -9 "$GW_S3D_PID" 2>/dev/null # a stopped one takes no other signal
	wait 2>/dev/null
	[ -z "$GW_TEMP" ] || rm -rf "$GW_TEMP"
}
trap gw_end EXIT

gw_write_conf() {
	cat >"$GW_DIR/causeway.conf" <<-EOF
		[gateway]
		home = $GW_DIR
		[nfs]
		listen = 127.0.0.1:$GW_NFS_PORT
		rpcbind = no
		[api]
		listen = 127.0.0.1:$GW_API_PORT
		credentials = credentials
		[cache]
		index = cache/index.db
		disk.cache = cache
		capacity = $GW_CAPACITY
		[s3]
		endpoint = $GW_S3
		region = us-east-1
		path_style = yes
		[credentials "default"]
		source = profile
		file = s3-credentials
		profile = default
		[sync]
		settle_ms = $GW_SETTLE_MS
		max_age_ms = $GW_MAX_AGE_MS
		[fuse]
		socket = run/fuse.sock
		$GW_CONF
	EOF
	[ -z "$GW_VOLUMES" ] || gw_volumes_conf >>"$GW_DIR/causeway.conf"
}

gw_volumes_conf() {
	cat <<-EOF
		[cache]
		disk.buffer = disks/buffer
		disk.working = disks/working
		disk.stored = disks/stored
		disk_size.stored = 2G
		[iscsi]
		listen = 127.0.0.1:$GW_ISCSI_PORT
		[volumes]
		bucket = volumes
		prefix = vols/
		$GW_VOLUMES_CONF
	EOF
}

gw_write_credentials() { # FILE ACCESS SECRET
	printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$2" "$3" >"$1"
	chmod 600 "$1"
}

gw_start_store() {
	if [ "$GW_STORE" = rgw ]; then
		[ -n "${CW_RGW_ENDPOINT:-}" ] || gw_skip "no Ceph RGW"
		GW_S3=$CW_RGW_ENDPOINT
		gw_write_credentials "$GW_DIR/s3-credentials" "$CW_RGW_ACCESS" "$CW_RGW_SECRET"
		return
	fi
	gw_write_credentials "$GW_DIR/s3-credentials" GWTESTKEY gwtestsecret
	GW_S3=http://127.0.0.1:$GW_S3_PORT
	# shellcheck disable=SC2086
	"$GW_O/causeway-s3d" --dir "$GW_DIR/store" --listen "127.0.0.1:$GW_S3_PORT" \
		--credentials "$GW_DIR/s3-credentials" $GW_S3D_ARGS >>"$GW_DIR/s3d.log" 2>&1 &
	GW_S3D_PID=$!
	gw_wait "$GW_WAIT" "causeway-s3d" gw_answers "$GW_S3_PORT"
}

# gw_run - start causewayd alone
gw_run() {
	"$GW_O/causewayd" --config "$GW_DIR/causeway.conf" >>"$GW_DIR/causewayd.log" 2>&1 &
	GW_PID=$!
	gw_wait "$GW_WAIT" "causewayd to serve" gw_is_up
}

gw_is_up() {
	kill -0 "$GW_PID" 2>/dev/null || gw_fail "causewayd ended"
	curl -sf -o /dev/null "$GW_API/healthz"
}

gw_start() {
	local ports
	gw_need aws curl python3
	if [ $# -gt 0 ]; then
		GW_DIR=$1
	else
		GW_TEMP=$(mktemp -d /tmp/cw-gw-XXXXXX)
		GW_DIR=$GW_TEMP
	fi
	mkdir -p "$GW_DIR/store" "$GW_DIR/cache" "$GW_DIR/run"
	ports=$(gw_free_ports 4)
	read -r GW_NFS_PORT GW_API_PORT GW_S3_PORT GW_ISCSI_PORT <<<"$ports"
	GW_API=http://127.0.0.1:$GW_API_PORT
	export GW_DIR GW_API GW_API_PORT GW_NFS_PORT GW_S3_PORT GW_ISCSI_PORT
	gw_start_store
	export GW_S3
	gw_write_credentials "$GW_DIR/credentials" GWAPIKEY gwapisecret
	gw_write_conf
	export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_PAGER='' \
		AWS_EC2_METADATA_DISABLED=true AWS_DEFAULT_REGION=us-east-1 AWS_DEFAULT_OUTPUT=json \
		AWS_MAX_ATTEMPTS=2 AWS_REQUEST_CHECKSUM_CALCULATION=when_required \
		AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
	[ -z "$GW_VOLUMES" ] || gw_s3 s3api create-bucket --bucket volumes >/dev/null || gw_fail "bucket volumes"
	gw_run
}

gw_aws() {
	AWS_ACCESS_KEY_ID=GWAPIKEY AWS_SECRET_ACCESS_KEY=gwapisecret \
		aws --endpoint-url "$GW_API" storagegateway "$@"
}

gw_s3_env() {
	local access secret
	access=$(sed -n 's/^aws_access_key_id = //p' "$GW_DIR/s3-credentials")
	secret=$(sed -n 's/^aws_secret_access_key = //p' "$GW_DIR/s3-credentials")
	AWS_ACCESS_KEY_ID=$access AWS_SECRET_ACCESS_KEY=$secret "$@"
}

gw_s3() { gw_s3_env aws --endpoint-url "$GW_S3" "$@"; }

gw_v1() {
	curl -sS --fail-with-body -X "$1" --aws-sigv4 aws:amz:us-east-1:storagegateway \
		--user GWAPIKEY:gwapisecret "$GW_API$2"
}

# gw_activate [TYPE [NAME]] - sets GW_GATEWAY_ARN, gives it the first disk
gw_activate() {
	local type=${1:-FILE_S3} name=${2:-test} key disk
	key=$(curl -sf "$GW_API/?activationRegion=us-east-1&gatewayType=$type&no_redirect") ||
		gw_fail "no activation key"
	GW_GATEWAY_ARN=$(gw_aws activate-gateway --activation-key "$key" --gateway-name "$name" \
		--gateway-timezone GMT --gateway-region us-east-1 --gateway-type "$type" \
		--query GatewayARN --output text) || gw_fail "activate-gateway"
	export GW_GATEWAY_ARN
	echo "$GW_GATEWAY_ARN" >"$GW_DIR/gateway-arn" # gw_share is often called as $(gw_share ...)
	[ "$type" != STORED ] || return 0
	disk=$(gw_aws list-local-disks --gateway-arn "$GW_GATEWAY_ARN" \
		--query 'Disks[?DiskAllocationType==`AVAILABLE`].DiskId | [0]' --output text)
	[ "$disk" = None ] || gw_aws add-cache --gateway-arn "$GW_GATEWAY_ARN" --disk-ids "$disk" \
		>/dev/null || gw_fail "add-cache"
}

gw_status_is() { # ARN STATUS
	[ "$(gw_aws describe-nfs-file-shares --file-share-arn-list "$1" \
		--query 'NFSFileShareInfoList[0].FileShareStatus' --output text)" = "$2" ]
}

gw_share() {
	local name=$1 arn
	shift
	if [ -z "$GW_GATEWAY_ARN" ] && [ -s "$GW_DIR/gateway-arn" ]; then
		GW_GATEWAY_ARN=$(cat "$GW_DIR/gateway-arn")
	fi
	[ -n "$GW_GATEWAY_ARN" ] || gw_activate
	gw_s3 s3api head-bucket --bucket "$name" >/dev/null 2>&1 ||
		gw_s3 s3api create-bucket --bucket "$name" >/dev/null || gw_fail "create-bucket $name"
	arn=$(gw_aws create-nfs-file-share --client-token "token-$name-$$" \
		--gateway-arn "$GW_GATEWAY_ARN" --role arn:aws:iam::123456789012:role/test \
		--location-arn "arn:aws:s3:::$name" --squash NoSquash "$@" --query FileShareARN \
		--output text) || gw_fail "create-nfs-file-share $name"
	gw_wait "$GW_WAIT" "share $name to be AVAILABLE" gw_status_is "$arn" AVAILABLE
	echo "$arn"
}

gw_disk() { # NODE - its id
	gw_aws list-local-disks --gateway-arn "$GW_GATEWAY_ARN" --query "Disks[?DiskNode=='$1'].DiskId | [0]" --output text
}

gw_volume_is() { # ARN STATUS
	[ "$(gw_aws describe-cached-iscsi-volumes --volume-arns "$1" \
		--query 'CachediSCSIVolumes[0].VolumeStatus' --output text)" = "$2" ]
}

gw_volume() {
	local name=$1 size=${2:-1073741824} arn
	if [ -s "$GW_DIR/cached-arn" ]; then
		GW_GATEWAY_ARN=$(cat "$GW_DIR/cached-arn")
	else
		gw_activate CACHED "cached-$$"
		gw_aws add-upload-buffer --gateway-arn "$GW_GATEWAY_ARN" --disk-ids "$(gw_disk buffer)" >/dev/null ||
			gw_fail "add-upload-buffer"
		echo "$GW_GATEWAY_ARN" >"$GW_DIR/cached-arn"
	fi
	arn=$(gw_aws create-cached-iscsi-volume --gateway-arn "$GW_GATEWAY_ARN" --volume-size-in-bytes "$size" \
		--target-name "$name" --network-interface-id 127.0.0.1 --client-token "token-$name-$$" \
		--query VolumeARN --output text) || gw_fail "create-cached-iscsi-volume $name"
	gw_wait "$GW_WAIT" "volume $name to be AVAILABLE" gw_volume_is "$arn" AVAILABLE
	echo "$arn"
}

gw_iscsi() { echo "iscsi://127.0.0.1:$GW_ISCSI_PORT/iqn.1997-05.com.amazon:$1/0"; }

gw_is_drained() {
	gw_v1 GET /v1/status | python3 -c 'import json, sys
s = json.load(sys.stdin)
sys.exit(any(x["pending_files"] for x in s["shares"]) or any(x["dirty_bytes"] for x in s["volumes"]))'
}

gw_drain() {
	gw_v1 POST /v1/drain >/dev/null || gw_fail "drain"
	gw_wait "${1:-$GW_WAIT}" "uploads to end" gw_is_drained
}

gw_kill() {
	kill -9 "$GW_PID"
	wait "$GW_PID" 2>/dev/null
	GW_PID=''
}

gw_stop_daemon() {
	local code
	kill -TERM "$GW_PID"
	wait "$GW_PID"
	code=$?
	GW_PID=''
	[ $code -eq 0 ] || gw_fail "causewayd ended with $code"
}

gw_restart() {
	gw_stop_daemon
	gw_run
}

gw_stop() {
	[ -z "$GW_PID" ] || gw_stop_daemon
	if [ -n "$GW_S3D_PID" ]; then
		kill -TERM "$GW_S3D_PID"
		wait "$GW_S3D_PID"
		GW_S3D_PID=''
	fi
}
