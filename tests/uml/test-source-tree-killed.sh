#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: serial timeout=700
exec "$(dirname "$0")/source-tree.sh" killed
