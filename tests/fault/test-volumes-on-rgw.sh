#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: needs=rgw timeout=600
# Volumes with Ceph RGW as the store, whose conditional writes are not ours: two owners of one volume, a lost appliance,
# snapshots and clones with what must be gone from the bucket behind them, compaction.
cd "$(dirname "$0")/../.." || exit 1
[ -n "${CW_RGW_ENDPOINT:-}" ] || { echo "skipped: no Ceph RGW"; exit 77; }
export CW_VOLUME_STORE=rgw
set -e
GW_STORE=rgw tests/fault/test-volume-second-owner.sh
CW_SNAPSHOTS=${CW_SNAPSHOTS:-12} tests/fault/test-volume-snapshots.py
tests/fault/test-volume-appliance-lost.py
tests/fault/test-volume-compaction.py
