#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# srctree.sh OUT.tar [DIR...] - a plain tar of a real source tree (Linux 6.1, Debian's linux-source-6.1):
# all of the named top directories, by default 21,000 files.
set -eu
out=$1; shift
[ $# -gt 0 ] || set -- include tools sound fs net kernel lib scripts
src=$(ls /usr/src/linux-source-6.1.tar.xz)
dirs=()
for d in "$@"; do dirs+=("linux-source-6.1/$d"); done
work=$(mktemp -d "$(dirname "$out")/srctree-XXXXXX")
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xf "$src" "${dirs[@]}"
tar -C "$work/linux-source-6.1" -cf "$out" "$@"
