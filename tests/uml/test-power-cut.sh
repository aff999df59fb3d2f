#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=600
# A few power cuts of the gateway in every run; `make soak` does a hundred.
exec "$(dirname "$0")/power-cut.sh" "${CUTS:-6}"
