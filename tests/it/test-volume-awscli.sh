#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
# Volumes through the AWS CLI and signals: they survive restarts, SIGKILL and the loss of the appliance,
# snapshots are listed and deleted by `aws ec2`, and what goes wrong says why.
GW_VOLUMES=1
GW_VOLUMES_CONF='seal_interval_ms = 300
[keys]
mine = AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
. "$(dirname "$0")/../lib/gateway.sh"
gw_need qemu-io iscsi-ls
gw_start

step() { echo "--- $*"; }
expect() { # TEXT COMMAND...: the command fails and says TEXT
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then gw_fail "$* went through: $out"; fi
	case $out in *"$text"*) ;; *) gw_fail "$* said: $out; not: $text" ;; esac
}
gw_ec2() {
	AWS_ACCESS_KEY_ID=GWAPIKEY AWS_SECRET_ACCESS_KEY=gwapisecret aws --endpoint-url "$GW_API" ec2 "$@"
}
fill() { qemu-io -f raw -c "write -P $2 $3 64k" -c flush "$(gw_iscsi "$1")" >/dev/null || gw_fail "write to $1"; }
holds() {
	local out
	out=$(qemu-io -f raw -r -c "read -P $2 $3 64k" "$(gw_iscsi "$1")" 2>&1) || return 1
	case $out in *"verification failed"*) return 1 ;; *"read 65536/65536"*) return 0 ;; esac
	return 1
}
is_clean() { gw_v1 GET "/v1/volumes/$1" | grep -q '"dirty_bytes":0[,}]'; }
attachment_is() { [ "$(gw_aws describe-cached-iscsi-volumes --volume-arns "$1" --query 'CachediSCSIVolumes[0].VolumeAttachmentStatus' --output text)" = "$2" ]; }
snapshot_is() { [ "$(gw_ec2 describe-snapshots --snapshot-ids "$1" --query 'Snapshots[0].State' --output text)" = "$2" ]; }
event_is_there() { gw_v1 GET "/v1/events?type=$1" | grep -q "$2"; }
objects() { gw_s3 s3api list-objects-v2 --bucket volumes --prefix "$1" --query 'length(Contents || `[]`)' --output text; }

step "a volume survives a restart and a SIGKILL"
alpha=$(gw_volume alpha) || exit 1
GW_GATEWAY_ARN=$(cat "$GW_DIR/cached-arn")
iscsi-ls -s "iscsi://127.0.0.1:$GW_ISCSI_PORT/" | grep -q 'iqn.1997-05.com.amazon:alpha' || gw_fail "not discovered"
fill alpha 17 0
before=$(gw_aws list-volumes)
gw_restart
[ "$(gw_aws list-volumes)" = "$before" ] || gw_fail "the list changed"
holds alpha 17 0 || gw_fail "data lost by a restart"
holds alpha 18 0 && gw_fail "the test is blind"
fill alpha 34 1M
gw_kill
gw_run
[ "$(gw_aws list-volumes)" = "$before" ] || gw_fail "the list changed"
holds alpha 17 0 && holds alpha 34 1M || gw_fail "data lost by a SIGKILL"

step "when it is uploaded is changed by SIGHUP and by tags, at once"
reloads() { [ "$(grep -c 'gateway.main reloaded' "$GW_DIR/causewayd.log")" -eq "$1" ]; }
interval() { # FROM TO: in [volumes]
	local n
	n=$(grep -c 'gateway.main reloaded' "$GW_DIR/causewayd.log")
	sed -i "s/^seal_interval_ms = $1$/seal_interval_ms = $2/" "$GW_DIR/causeway.conf"
	kill -HUP "$GW_PID"
	gw_wait 10 "the reload" reloads $((n + 1))
	sleep 1 # volumes take it over behind that line
}
gw_wait 60 "uploads" is_clean alpha
interval 300 86400000
fill alpha 35 4M
sleep 2
is_clean alpha && gw_fail "uploaded before its time"
interval 86400000 300
gw_wait 20 "the upload of what was written before" is_clean alpha
gw_aws add-tags-to-resource --resource-arn "$alpha" --tags Key=causeway:seal-interval-ms,Value=86400000 >/dev/null || gw_fail tag
fill alpha 36 5M
sleep 2
is_clean alpha && gw_fail "uploaded before the time that the tag says"
expect "is not a number" gw_aws add-tags-to-resource --resource-arn "$alpha" --tags Key=causeway:seal-interval-ms,Value=soon
gw_aws remove-tags-from-resource --resource-arn "$alpha" --tag-keys causeway:seal-interval-ms >/dev/null || gw_fail untag
gw_wait 20 "the upload after the tag went" is_clean alpha
holds alpha 35 4M && holds alpha 36 5M || gw_fail "data lost"

step "CHAP credentials are asked for after a restart, too"
target=$(gw_aws describe-cached-iscsi-volumes --volume-arns "$alpha" --query 'CachediSCSIVolumes[0].VolumeiSCSIAttributes.TargetARN' --output text)
gw_aws update-chap-credentials --target-arn "$target" --initiator-name iqn.2008-11.org.linux-kvm \
	--secret-to-authenticate-initiator 123456789012 >/dev/null || gw_fail chap
qemu-io -f raw -r -c "read 0 4k" "$(gw_iscsi alpha)" >/dev/null 2>&1 && gw_fail "logged in without a secret"
gw_restart
qemu-io -f raw -r -c "read 0 4k" "$(gw_iscsi alpha)" >/dev/null 2>&1 && gw_fail "logged in without a secret after a restart"
url="iscsi://iqn.2008-11.org.linux-kvm%123456789012@127.0.0.1:$GW_ISCSI_PORT/iqn.1997-05.com.amazon:alpha/0"
qemu-io -f raw -r -c "read -P 17 0 4k" "$url" >/dev/null || gw_fail "not logged in with the secret"
gw_aws delete-chap-credentials --target-arn "$target" --initiator-name iqn.2008-11.org.linux-kvm >/dev/null || gw_fail chap
holds alpha 17 0 || gw_fail "not logged in without credentials"

step "snapshots through EC2"
snap=$(gw_aws create-snapshot --volume-arn "$alpha" --snapshot-description "the first" --tags Key=Name,Value=first \
	--query SnapshotId --output text) || gw_fail "create-snapshot"
gw_wait 60 "the snapshot" snapshot_is "$snap" completed
gw_wait 10 "its event" event_is_there snapshot-complete "$snap"
fill alpha 51 0
gw_ec2 describe-snapshots --owner-ids self --filters "Name=volume-id,Values=${alpha##*/}" --query 'Snapshots[].[SnapshotId,Description,VolumeSize]' \
	--output text | grep -q "$snap	the first	1" || gw_fail "describe-snapshots"
copy=$(gw_aws create-cached-iscsi-volume --gateway-arn "$GW_GATEWAY_ARN" --volume-size-in-bytes 1073741824 \
	--target-name copy --network-interface-id 127.0.0.1 --client-token token-copy --snapshot-id "$snap" \
	--query VolumeARN --output text) || gw_fail "create from a snapshot"
gw_wait 60 "the copy" gw_volume_is "$copy" AVAILABLE
holds copy 17 0 && holds copy 34 1M || gw_fail "the copy differs"
holds alpha 51 0 || gw_fail "the original changed"
gw_aws delete-volume --volume-arn "$copy" >/dev/null || gw_fail "delete copy"
gw_ec2 delete-snapshot --snapshot-id "$snap" || gw_fail "delete-snapshot"
expect "InvalidSnapshot.NotFound" gw_ec2 describe-snapshots --snapshot-ids "$snap"

step "what was detached is attached again, even over a SIGKILL with the store away"
fill alpha 68 2M
kill -STOP "$GW_S3D_PID"
fill alpha 85 3M
gw_aws detach-volume --volume-arn "$alpha" >/dev/null || gw_fail detach
attachment_is "$alpha" DETACHING || gw_fail "not DETACHING"
gw_kill
gw_run
attachment_is "$alpha" DETACHING || gw_fail "DETACHING was forgotten"
kill -CONT "$GW_S3D_PID"
gw_wait 120 "DETACHED" attachment_is "$alpha" DETACHED
iscsi-ls "iscsi://127.0.0.1:$GW_ISCSI_PORT/" 2>&1 | grep -q alpha && gw_fail "still served"
gw_aws attach-volume --gateway-arn "$GW_GATEWAY_ARN" --volume-arn "$alpha" --network-interface-id 127.0.0.1 >/dev/null || gw_fail attach
gw_wait 60 "AVAILABLE" gw_volume_is "$alpha" AVAILABLE
holds alpha 51 0 && holds alpha 34 1M && holds alpha 68 2M && holds alpha 85 3M || gw_fail "detached, but something was lost"

step "a lost appliance: another one attaches the volume from the bucket"
gw_v1 POST /v1/volumes/alpha/drain >/dev/null
gw_wait 60 "uploads" is_clean alpha
gw_wait 60 "settings.json" gw_s3 s3api head-object --bucket volumes --key "vols/${alpha##*/}/settings.json"
gw_kill
rm -rf "${GW_DIR:?}/cache" "${GW_DIR:?}/disks" "$GW_DIR/cached-arn"
mkdir "$GW_DIR/cache"
gw_run
[ "$(gw_aws list-volumes --query 'length(VolumeInfos)')" = 0 ] || gw_fail "volumes in an empty state"
gw_activate CACHED other
gw_aws add-upload-buffer --gateway-arn "$GW_GATEWAY_ARN" --disk-ids "$(gw_disk buffer)" >/dev/null
echo "$GW_GATEWAY_ARN" >"$GW_DIR/cached-arn"
expect "(InvalidGatewayRequestException)" gw_aws attach-volume --gateway-arn "$GW_GATEWAY_ARN" \
	--volume-arn "${alpha%?????}00000" --network-interface-id 127.0.0.1
alpha=$(gw_aws attach-volume --gateway-arn "$GW_GATEWAY_ARN" --volume-arn "$alpha" --network-interface-id 127.0.0.1 \
	--query VolumeARN --output text) || gw_fail "attach from the bucket"
case $alpha in "$GW_GATEWAY_ARN"/volume/*) ;; *) gw_fail "ARN $alpha" ;; esac
gw_wait 60 "AVAILABLE" gw_volume_is "$alpha" AVAILABLE
holds alpha 51 0 && holds alpha 34 1M && holds alpha 68 2M && holds alpha 85 3M || gw_fail "not what was uploaded"

step "an encrypted volume without its key"
secret=$(gw_aws create-cached-iscsi-volume --gateway-arn "$GW_GATEWAY_ARN" --volume-size-in-bytes 1073741824 \
	--target-name secret --network-interface-id 127.0.0.1 --client-token token-secret --kms-encrypted --kms-key alias/mine \
	--query VolumeARN --output text) || gw_fail create
gw_wait 60 "AVAILABLE" gw_volume_is "$secret" AVAILABLE
fill secret 99 0
sed -i 's/^mine = /other = /' "$GW_DIR/causeway.conf"
gw_restart
gw_wait 10 "IRRECOVERABLE" gw_volume_is "$secret" IRRECOVERABLE
gw_v1 GET /v1/volumes/secret | grep -q 'encrypted with key mine' || gw_fail "the reason: $(gw_v1 GET /v1/volumes/secret)"
holds alpha 51 0 || gw_fail "the other volume suffers"
sed -i 's/^other = /mine = /' "$GW_DIR/causeway.conf"
gw_restart
gw_wait 10 "AVAILABLE" gw_volume_is "$secret" AVAILABLE
holds secret 99 0 || gw_fail "data lost"

step "deleted: nothing of it stays in the bucket"
for v in "$alpha" "$secret"; do
	gw_aws delete-volume --volume-arn "$v" >/dev/null || gw_fail delete
done
nothing_left() { [ "$(objects vols/vol-)" = 0 ]; }
gw_wait 60 "an empty bucket" nothing_left || gw_fail "left: $(gw_s3 s3 ls --recursive s3://volumes)"

step "starts that fail say why"
out=$(timeout 60 "$GW_O/causewayd" --config "$GW_DIR/causeway.conf" 2>&1) && gw_fail "started twice"
case $out in *port-taken*) ;; *) gw_fail "said: $out" ;; esac
# shellcheck disable=SC2086
set -- $(gw_free_ports 2)
sed "s/^listen = .*:$GW_NFS_PORT/listen = 127.0.0.1:$1/; s/^listen = .*:$GW_API_PORT/listen = 127.0.0.1:$2/; s/^socket/#socket/" \
	"$GW_DIR/causeway.conf" >"$GW_DIR/twice.conf"
out=$(timeout 60 "$GW_O/causewayd" --config "$GW_DIR/twice.conf" 2>&1) && gw_fail "started twice"
case $out in *'port-taken'*'what=iscsi'* | *'what=iscsi'*) ;; *) gw_fail "said: $out" ;; esac
gw_stop
echo OK
