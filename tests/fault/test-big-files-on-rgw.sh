#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: needs=rgw timeout=300
# test-big-files.py with Ceph RGW as the store.
CW_BIG_STORE=rgw exec "$(dirname "$0")/test-big-files.py"
