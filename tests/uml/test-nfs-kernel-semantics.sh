#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test: timeout=240
# A Linux 6.1 kernel mounts a share by NFSv3 and does what applications do.
set -u
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 77; }
command -v linux.uml >/dev/null || { echo "skipped: linux.uml is not installed"; exit 77; }
O=$(cd "${O:-build/release}" && pwd)
dir=$(mktemp -d /var/tmp/cw-sem-XXXXXX)
run=
cleanup() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "$run" ] || { kill "$run" 2>/dev/null; wait "$run"; }
	uml_net_down
	rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	grep -a GUEST "$dir/guest.log" 2>/dev/null | tail -n 30
	tail -n 20 "$dir/run.log"
	exit 1
}
uml_net_up "cwsem$$"
uml_tap tap0 192.0.2.1/24
in_ns env O="$O" CAUSEWAY_HOME="$dir/home" CAUSEWAY_NFS=192.0.2.1:2049 CAUSEWAY_API=192.0.2.1:8080 CAUSEWAY_S3=192.0.2.1:9000 \
	gateway/run.sh >"$dir/run.log" 2>&1 </dev/null &
run=$!
for _ in $(seq 300); do
	grep -q 'Ctrl-C stops it' "$dir/run.log" && break
	kill -0 "$run" 2>/dev/null || die "run.sh ended"
	sleep 0.1
done
uml_start "$dir/guest.log" 512M tap0 "$PWD/tests/uml/guest-nfs-semantics.sh" GUEST_ADDR=192.0.2.2/24 SERVER=192.0.2.1 PORT=2049 SHARE=demo
uml_wait 180 || die "the guest did not finish"
grep -aq 'GUEST verdict yes' "$dir/guest.log" || die "the guest's verdict"
echo OK
