#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzz the decoders: run.sh DIR-OF-BINARIES [NAME...]; each for FUZZ_SECONDS, from its seeds.
# What is found stays as crash-* beside the logs and fails the run.
set -u
dir=$1; shift
here=$(cd "$(dirname "$0")" && pwd)
names=("$@")
[ ${#names[@]} -gt 0 ] || for b in "$dir"/fuzz_*; do names+=("$(basename "$b")"); done
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
rc=0
for n in "${names[@]}"; do
	mkdir -p "$work/$n"
	seeds=$here/corpus/${n#fuzz_}
	[ -d "$seeds" ] || seeds=
	if "$dir/$n" -max_total_time="${FUZZ_SECONDS:-10}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
	    -artifact_prefix="$here/crash-$n-" "$work/$n" $seeds >"$work/log" 2>&1; then
		grep -E 'number_of_executed_units|new_units_added' "$work/log" | tr '\n' ' '; echo "$n ok"
	else
		tail -n 40 "$work/log"; echo "$n FAILED"; rc=1
	fi
done
exit $rc
