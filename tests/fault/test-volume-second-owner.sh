#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# Two appliances told to own one volume: the later one gets it, the earlier one notices, says so, and writes
# nothing to the bucket any more; what the later one wrote stays, also when the volume is deleted at the earlier one.
GW_VOLUMES=1
GW_VOLUMES_CONF='seal_interval_ms = 300'
. "$(dirname "$0")/../lib/gateway.sh"
gw_need qemu-io
gw_start
step() { echo "--- $*"; }
second=''
trap 'if [ -n "$second" ]; then kill -9 "$second" 2>/dev/null; fi; gw_end' EXIT

io() { # PORT COMMAND...
	local port=$1
	shift
	qemu-io -f raw "$@" "iscsi://127.0.0.1:$port/iqn.1997-05.com.amazon:alpha/0" 2>&1
}
fill() { io "$1" -c "write -P $2 $3 64k" -c flush >/dev/null || gw_fail "write through $1"; }
holds() {
	local out
	out=$(io "$1" -r -c "read -P $2 $3 64k") || return 1
	case $out in *"verification failed"*) return 1 ;; *"read 65536/65536"*) return 0 ;; esac
	return 1
}
aws2() { GW_API=$API2 gw_aws "$@"; }
v1_2() { GW_API=$API2 gw_v1 "$@"; }
is_clean() { "$1" GET /v1/volumes/alpha | grep -q '"dirty_bytes":0[,}]'; }
lost() { gw_v1 GET /v1/volumes/alpha | grep -q '"owner":false'; }
objects() { gw_s3 s3api list-objects-v2 --bucket volumes --prefix "vols/${alpha##*/}/" --query 'Contents[].[Key,ETag]' --output text | sort; }

step "the first appliance writes and uploads"
alpha=$(gw_volume alpha) || exit 1
fill "$GW_ISCSI_PORT" 11 0
gw_v1 POST /v1/volumes/alpha/drain >/dev/null
gw_wait 60 "uploads" is_clean gw_v1
gw_wait 60 "settings.json" gw_s3 s3api head-object --bucket volumes --key "vols/${alpha##*/}/settings.json"

step "the second one attaches the same volume"
# shellcheck disable=SC2046
set -- $(gw_free_ports 3)
API2=http://127.0.0.1:$2 ISCSI2=$3
mkdir "$GW_DIR/two"
cp "$GW_DIR/credentials" "$GW_DIR/s3-credentials" "$GW_DIR/two"
sed "s#^home = .*#home = $GW_DIR/two#; s/:$GW_NFS_PORT\$/:$1/; s/:$GW_API_PORT\$/:$2/; s/:$GW_ISCSI_PORT\$/:$3/" \
	"$GW_DIR/causeway.conf" >"$GW_DIR/two/causeway.conf"
"$GW_O/causewayd" --config "$GW_DIR/two/causeway.conf" >>"$GW_DIR/causewayd-2.log" 2>&1 &
second=$!
gw_wait 60 "the second appliance" curl -sf -o /dev/null "$API2/healthz"
key=$(curl -sf "$API2/?activationRegion=us-east-1&gatewayType=CACHED&no_redirect")
gateway2=$(aws2 activate-gateway --activation-key "$key" --gateway-name two --gateway-timezone GMT --gateway-region us-east-1 \
	--gateway-type CACHED --query GatewayARN --output text) || gw_fail "activate"
aws2 attach-volume --gateway-arn "$gateway2" --volume-arn "$alpha" --network-interface-id 127.0.0.1 >/dev/null || gw_fail "attach"
serves_2() { holds "$ISCSI2" 11 0; }
gw_wait 60 "its data" serves_2
fill "$ISCSI2" 22 0
v1_2 POST /v1/volumes/alpha/drain >/dev/null
gw_wait 60 "uploads of the second one" is_clean v1_2
settings_are_the_second_ones() { gw_s3 s3 cp "s3://volumes/vols/${alpha##*/}/settings.json" - | grep -q "$gateway2"; }
gw_wait 60 "settings.json of the second one" settings_are_the_second_ones

step "the first one notices, says so, and leaves the bucket alone"
fill "$GW_ISCSI_PORT" 33 1M || true
gw_v1 POST /v1/volumes/alpha/drain >/dev/null
gw_wait 60 "the loss to be noticed" lost
gw_v1 GET "/v1/events?type=ownership-lost" | grep -q "${alpha##*/}" || gw_fail "no event"
gw_v1 GET /v1/volumes/alpha | grep -q '"reason":"..*"' || gw_fail "no reason: $(gw_v1 GET /v1/volumes/alpha)"
before=$(objects)
sleep 2
gw_restart
sleep 2
settings_are_the_second_ones || gw_fail "the first one wrote settings.json"
[ "$(objects)" = "$before" ] || gw_fail "the first one went on writing: $(diff <(echo "$before") <(objects))"

step "deleted at the first one, it loses nothing"
is_forgotten() { ! gw_v1 GET /v1/volumes/alpha >/dev/null 2>&1 && gw_v1 GET "/v1/events?type=volume-deleted" | grep -q '"objects-left":true'; }
gw_aws delete-volume --volume-arn "$alpha" >/dev/null || gw_fail "delete"
gw_wait 60 "the first one to forget it" is_forgotten
diff <(echo "$before" | grep -v /owner) <(objects | grep -v /owner) || gw_fail "objects of the second one are gone or other ones"
holds "$ISCSI2" 22 0 || gw_fail "its data"

step "what the second one wrote stays, on a third look from the bucket"
kill -9 "$second"
wait "$second" 2>/dev/null
rm -rf "$GW_DIR/two/cache" "$GW_DIR/two/disks"
"$GW_O/causewayd" --config "$GW_DIR/two/causeway.conf" >>"$GW_DIR/causewayd-2.log" 2>&1 &
second=$!
gw_wait 60 "the second appliance" curl -sf -o /dev/null "$API2/healthz"
key=$(curl -sf "$API2/?activationRegion=us-east-1&gatewayType=CACHED&no_redirect")
gateway2=$(aws2 activate-gateway --activation-key "$key" --gateway-name two --gateway-timezone GMT --gateway-region us-east-1 \
	--gateway-type CACHED --query GatewayARN --output text) || gw_fail "activate"
aws2 attach-volume --gateway-arn "$gateway2" --volume-arn "$alpha" --network-interface-id 127.0.0.1 >/dev/null || gw_fail "attach"
serves_2() { holds "$ISCSI2" 22 0; }
gw_wait 60 "its data" serves_2
holds "$ISCSI2" 0 1M || gw_fail "the first one's late write came through"
kill -TERM "$second"
wait "$second" || gw_fail "the second one did not stop cleanly"
second=''
gw_stop
echo OK
