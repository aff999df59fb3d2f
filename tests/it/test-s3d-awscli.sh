#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=240
# The AWS CLI works with causeway-s3d: buckets, copies, multipart, sync, presigned URLs, removal.
set -eu
O=${O:-build/debug}
[ -x "$O/causeway-s3d" ] || { echo "skip: $O/causeway-s3d is not built"; exit 77; }
command -v aws >/dev/null || { echo "skip: aws is not installed"; exit 77; }
tmp=$(mktemp -d)
pid=
cleanup() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT
printf '[default]\naws_access_key_id = AKIDCLI\naws_secret_access_key = cli/secret\n' >"$tmp/credentials"
"$O/causeway-s3d" --dir "$tmp/store" --listen 127.0.0.1:0 --credentials "$tmp/credentials" \
	--no-fsync >"$tmp/out" &
pid=$!
for ((i = 0; i < 100; i++)); do
	grep -q listening "$tmp/out" && break
	sleep 0.05
done
ep=http://$(sed -n 's/listening on //p' "$tmp/out")
# Without this the CLI presigns with Signature V2, which is refused.
printf '[default]\ns3 =\n  signature_version = s3v4\n' >"$tmp/config"
export AWS_SHARED_CREDENTIALS_FILE=$tmp/credentials AWS_CONFIG_FILE=$tmp/config
export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE
cli() { aws --endpoint-url "$ep" "$@"; }

cli s3 mb s3://cli >/dev/null
mkdir -p "$tmp/tree/sub dir/deep"
echo one >"$tmp/tree/one.txt"
echo two >"$tmp/tree/sub dir/two & more.txt"
: >"$tmp/tree/sub dir/deep/empty"
head -c 20971520 /dev/urandom >"$tmp/tree/big.bin" # 20 MiB: multipart

cli s3 sync --no-progress "$tmp/tree" s3://cli/tree >/dev/null
[ "$(cli s3 ls --recursive s3://cli/ | wc -l)" = 4 ]
cli s3 ls s3://cli/tree/ | grep 'PRE sub dir/' >/dev/null
[ -z "$(cli s3 sync "$tmp/tree" s3://cli/tree)" ] # nothing left to do
cmp "$tmp/tree/big.bin" "$tmp/store/cli/tree/big.bin" # plain files for whoever looks
cli s3api head-object --bucket cli --key tree/big.bin | grep -- '-3' >/dev/null
cli s3 sync --no-progress s3://cli/tree "$tmp/back" >/dev/null
diff -r "$tmp/tree" "$tmp/back"

cli s3 cp --no-progress s3://cli/tree/big.bin s3://cli/copy.bin >/dev/null # by UploadPartCopy
cmp "$tmp/tree/big.bin" "$tmp/store/cli/copy.bin"
cli s3 mv --no-progress s3://cli/copy.bin s3://cli/moved.bin >/dev/null
[ ! -e "$tmp/store/cli/copy.bin" ]
curl -fsS --noproxy '*' "$(cli s3 presign s3://cli/tree/one.txt --expires-in 60)" | grep -x one >/dev/null
[ "$(curl -sS --noproxy '*' -o /dev/null -w '%{http_code}' "$ep/cli/tree/one.txt")" = 403 ]

! cli s3 rb s3://cli 2>/dev/null || exit 1
cli s3 rm --recursive s3://cli/ >/dev/null
[ -z "$(cli s3 ls s3://cli/)" ]
cli s3 rb s3://cli >/dev/null
[ "$(find "$tmp/store" -type f | wc -l)" = 1 ] # the lock
kill "$pid"
wait "$pid"
pid=
