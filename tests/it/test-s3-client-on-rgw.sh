#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: needs=rgw timeout=200
# What the gateway relies on in a store holds on Ceph RGW, through our own client.
set -eu
[ -n "${CW_RGW_ENDPOINT:-}" ] || { echo "skip: CW_RGW_ENDPOINT is not set"; exit 77; }
tools=${O:-build/debug}/tools
[ -x "$tools/tool_s3check" ] || { echo "skip: make tools was not run"; exit 77; }
bucket=s3c-$$
"$tools/tool_s3" --endpoint "$CW_RGW_ENDPOINT" --bucket "$bucket" --key "$CW_RGW_ACCESS" \
	--secret "$CW_RGW_SECRET" --path make-bucket
out=$("$tools/tool_s3check" "$CW_RGW_ENDPOINT" "$bucket" "$CW_RGW_ACCESS" "$CW_RGW_SECRET" us-east-1 pre/) || {
	echo "$out"
	exit 1
}
echo "$out" | grep -v '^ok'
# conditional PUT is what protects the bucket's other writers here
grep -q '^yes  probe: conditional PUT' <<<"$out"
