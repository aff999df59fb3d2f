#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: needs=rgw timeout=300
# The semantics that test-s3d-boto3.py demands of causeway-s3d hold on Ceph RGW too, but for the
# differences listed there.
exec "$(dirname "$0")/test-s3d-boto3.py" --rgw
