#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# The appliance through the AWS CLI and signals: state survives restarts and SIGKILL, a deleted share
# drains or is forced, credentials are re-read, and every failed start says what is wrong.
GW_CONF='[s3]
timeout_s = 3
[credentials "other"]
source = static
access_key = NOBODY
secret_key = nothing
role_arn = arn:aws:iam::123456789012:role/Other'
. "$(dirname "$0")/../lib/gateway.sh"
gw_need nfs-cp nfs-ls
gw_start

step() { echo "--- $*"; }
expect() { # TEXT COMMAND...: the command fails and says TEXT
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then gw_fail "$* went through: $out"; fi
	case $out in *"$text"*) ;; *) gw_fail "$* said: $out; not: $text" ;; esac
}
url() { echo "nfs://127.0.0.1/$1?nfsport=$GW_NFS_PORT&mountport=$GW_NFS_PORT"; }
event_count() { gw_v1 GET "/v1/events?type=$1" | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["events"]))'; }
has_event() { [ "$(event_count "$1")" -ge "$2" ]; }
share_gone() { ! gw_aws list-file-shares --output text | grep -q "$1"; }
status_of() { gw_aws describe-nfs-file-shares --file-share-arn-list "$1" --query 'NFSFileShareInfoList[0].FileShareStatus' --output text; }

step "errors as the AWS CLI shows them"
expect "(InvalidGatewayRequestException)" gw_aws describe-gateway-information \
	--gateway-arn arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-00000000
expect "(InvalidSignatureException)" env AWS_ACCESS_KEY_ID=GWAPIKEY AWS_SECRET_ACCESS_KEY=wrong \
	aws --endpoint-url "$GW_API" storagegateway list-gateways

step "state survives a restart and a SIGKILL"
share=$(gw_share alpha --tags Key=a,Value=b) || exit 1
GW_GATEWAY_ARN=$(cat "$GW_DIR/gateway-arn")
before=$(gw_aws describe-nfs-file-shares --file-share-arn-list "$share")
has_event unclean-stop-recovered 1 && gw_fail "the first start was no recovery"
gw_restart
has_event unclean-stop-recovered 1 && gw_fail "a clean stop was taken for an unclean one"
[ "$(gw_aws describe-nfs-file-shares --file-share-arn-list "$share")" = "$before" ] || gw_fail "the share changed"
gw_aws add-tags-to-resource --resource-arn "$share" --tags Key=late,Value=1 >/dev/null || gw_fail tags
gw_kill
gw_run
grep -q "recovered from an unclean stop" "$GW_DIR/causewayd.log" || gw_fail "nothing about the unclean stop"
gw_wait 10 "the event" has_event unclean-stop-recovered 1
gw_aws list-tags-for-resource --resource-arn "$share" | grep -q late || gw_fail "an acknowledged tag is lost"
gw_aws list-gateways | grep -q "$GW_GATEWAY_ARN" || gw_fail "the gateway is lost"
gw_aws describe-cache --gateway-arn "$GW_GATEWAY_ARN" --query 'length(DiskIds)' | grep -q 1 || gw_fail "the disk is lost"

step "a notification asked for before a SIGKILL is told after it"
nfs-ls "$(url alpha)" >/dev/null || gw_fail "nfs-ls" # a listed directory can be written to without the store
kill -STOP "$GW_S3D_PID"
echo hello >"$GW_DIR/hello"
nfs-cp "$GW_DIR/hello" "$(url alpha/hello)" >/dev/null || gw_fail "nfs-cp"
gw_aws notify-when-uploaded --file-share-arn "$share" >/dev/null || gw_fail "notify"
gw_kill
kill -CONT "$GW_S3D_PID"
gw_run
gw_wait 30 "the notification" has_event upload-complete 1
[ "$(gw_s3 s3 cp s3://alpha/hello -)" = hello ] || gw_fail "told, but not in the bucket"

step "a deleted share waits for its uploads"
nfs-ls "$(url alpha)" >/dev/null || gw_fail "nfs-ls"
kill -STOP "$GW_S3D_PID"
nfs-cp "$GW_DIR/hello" "$(url alpha/late)" >/dev/null || gw_fail "nfs-cp"
gw_aws delete-file-share --file-share-arn "$share" >/dev/null || gw_fail "delete"
[ "$(status_of "$share")" = DELETING ] || gw_fail "not DELETING"
expect "being deleted" gw_aws update-nfs-file-share --file-share-arn "$share" --read-only
gw_kill # in the middle: goes on after the restart
gw_run
[ "$(status_of "$share")" = DELETING ] || gw_fail "DELETING was forgotten"
kill -CONT "$GW_S3D_PID"
gw_wait 60 "the share to go" share_gone "$share"
[ "$(gw_s3 s3 cp s3://alpha/late -)" = hello ] || gw_fail "deleted without its last upload"

step "ForceDelete does not wait; a tag is a setting"
share=$(gw_share beta --tags Key=causeway:settle-ms,Value=900000 Key=causeway:max-age-ms,Value=900000) || exit 1
nfs-cp "$GW_DIR/hello" "$(url beta/never)" >/dev/null || gw_fail "nfs-cp"
gw_v1 GET /v1/status | grep -q '"pending_files":[12]' || gw_fail "nothing is pending: $(gw_v1 GET /v1/status)"
gw_aws delete-gateway --gateway-arn "$GW_GATEWAY_ARN" 2>&1 | grep -q "not in the bucket yet" ||
	gw_fail "a gateway with pending uploads was deleted"
gw_aws delete-file-share --file-share-arn "$share" --force-delete >/dev/null || gw_fail "force delete"
gw_wait 60 "the share to go" share_gone "$share"
gw_s3 s3 ls s3://beta/never >/dev/null && gw_fail "forced, but uploaded"

step "a role selects credentials; wrong ones show; SIGHUP takes new ones"
gw_s3 s3api create-bucket --bucket gamma >/dev/null
share=$(gw_aws create-nfs-file-share --client-token token-gamma --gateway-arn "$GW_GATEWAY_ARN" \
	--role arn:aws:iam::123456789012:role/Other --location-arn arn:aws:s3:::gamma \
	--query FileShareARN --output text) || gw_fail create
gw_wait 30 "UNAVAILABLE" gw_status_is "$share" UNAVAILABLE
gw_v1 GET /v1/status | grep -q "credentials" || gw_fail "the reason does not name credentials"
sed -i 's/^access_key = NOBODY/access_key = GWTESTKEY/; s/^secret_key = nothing/secret_key = gwtestsecret/' "$GW_DIR/causeway.conf"
kill -HUP "$GW_PID"
gw_wait 30 "AVAILABLE after SIGHUP" gw_status_is "$share" AVAILABLE
echo 'nonsense' >>"$GW_DIR/causeway.conf"
kill -HUP "$GW_PID"
gw_wait 10 "the refusal" grep -q not-reloaded "$GW_DIR/causewayd.log"
sed -i '$d' "$GW_DIR/causeway.conf"
gw_write_credentials "$GW_DIR/credentials" GWAPIKEY changed
expect "(InvalidSignatureException)" gw_aws list-gateways
gw_write_credentials "$GW_DIR/credentials" GWAPIKEY gwapisecret
gw_aws list-gateways >/dev/null || gw_fail "credentials were not read again"

step "starts that fail say why"
start_fails() { # CONF TEXT
	local out
	out=$(timeout 60 "$GW_O/causewayd" --config "$1" 2>&1) && gw_fail "started with $1"
	case $out in *"$2"*) ;; *) gw_fail "said: $out; not: $2" ;; esac
}
start_fails "$GW_DIR/causeway.conf" port-taken
start_fails "$GW_DIR/no.conf" "No such file"
printf '[gateway]\nhme = /x\n' >"$GW_DIR/bad.conf"
start_fails "$GW_DIR/bad.conf" 'line 2: unknown key "hme"'
# shellcheck disable=SC2086
set -- $(gw_free_ports 2)
sed "s/^listen = .*:$GW_NFS_PORT/listen = 127.0.0.1:$1/; s/^listen = .*:$GW_API_PORT/listen = 127.0.0.1:$2/; s/^socket/#socket/" \
	"$GW_DIR/causeway.conf" >"$GW_DIR/second.conf"
start_fails "$GW_DIR/second.conf" cache-busy
[ -s "$GW_DIR/run/causewayd.pid" ] || gw_fail "a second daemon took the first one's pid file away"
sed -i "s/^listen = 127.0.0.1:$2/listen = 203.0.113.77:$2/" "$GW_DIR/second.conf"
start_fails "$GW_DIR/second.conf" "is [api] listen an address of this host?"
gw_stop_daemon
head -c 5000 "$GW_DIR/cache/index.db" >"$GW_DIR/cut" && cp "$GW_DIR/cache/index.db" "$GW_DIR/whole"
cp "$GW_DIR/cut" "$GW_DIR/cache/index.db"
rm -f "$GW_DIR"/cache/index.db-*
start_fails "$GW_DIR/causeway.conf" index-damaged
cp "$GW_DIR/whole" "$GW_DIR/cache/index.db"

step "healthz tells starting from serving; a stop is clean"
gw_run
[ "$(curl -s -o /dev/null -w '%{http_code}' "$GW_API/healthz")" = 200 ] || gw_fail healthz
gw_stop
[ ! -e "$GW_DIR/run/causewayd.pid" ] || gw_fail "the pid file stayed"
echo "all good"
