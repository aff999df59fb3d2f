#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=700
exec "$(dirname "$0")/source-tree.sh" killed
