#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=240
# The same promises where the file system has no extended attributes.
exec "$(dirname "$0")/test-s3d-durability.py" --no-xattr
