#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hook.sh DIR WORD - what tool_model runs: asks test-model.sh over its pipes and waits for the answer.
echo "$2" >"$1/ask"
read -r verdict <"$1/told"
[ "$verdict" = ok ]
