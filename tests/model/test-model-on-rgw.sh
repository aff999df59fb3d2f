#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: needs=rgw timeout=300
# The model test with Ceph RGW as the store, whose conditional writes, copies and multipart uploads differ from ours.
[ -n "${CW_RGW_ENDPOINT:-}" ] || { echo "skipped: no Ceph RGW"; exit 77; }
GW_STORE=rgw MODEL_OPS=${MODEL_OPS:-15000} exec "$(dirname "$0")/test-model.sh"
