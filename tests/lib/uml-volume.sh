# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# uml-volume.sh - sourced, in the top directory: what `make run` starts, in a network namespace, for a guest that has the
# demo volume for a disk.
#
#   world_up NAME [PROGRAM...]  skips without the programs; sets dir, O and run (the process of run.sh), which serves
#                               at 192.0.2.1; the guest's tap is tap0. All of it ends with the script
#   says TEXT SECONDS           waits until the guest (guest.log in dir) says TEXT
#   cli ARG...                  the causeway command
#   die TEXT
. tests/lib/uml.sh

world_down() {
	[ -z "${UML_PID:-}" ] || uml_kill
	[ -z "${run:-}" ] || { kill -TERM "$run" 2>/dev/null; kill -CONT "$run" 2>/dev/null; wait "$run" 2>/dev/null; }
	uml_net_down
	rm -rf "$dir"
}

die() {
	echo "FAILED: $*"
	grep -a GUEST "$dir/guest.log" 2>/dev/null | tail -n 30
	tail -n 40 "$dir/guest.log" 2>/dev/null
	tail -n 40 "$dir/run.log"
	exit 1
}

world_up() {
	local name=$1 p
	shift
	for p in linux.uml iscsid iscsiadm ip "$@"; do
		command -v "$p" >/dev/null || { echo "skipped: $p is not installed"; exit 77; }
	done
	[ "$(id -u)" = 0 ] || { echo "skipped: only root makes network namespaces"; exit 77; }
	O=$(cd "${O:-build/release}" && pwd)
	dir=$(mktemp -d "/var/tmp/cw-$name-XXXXXX")
	trap world_down EXIT
	uml_net_up "cw$name$$"
	uml_tap tap0 192.0.2.1/24
	(exec ip netns exec "$UML_NS" env O="$O" CAUSEWAY_HOME="$dir/home" CAUSEWAY_NFS=192.0.2.1:2049 CAUSEWAY_API=192.0.2.1:8080 \
		CAUSEWAY_S3=192.0.2.1:9000 CAUSEWAY_ISCSI=192.0.2.1:3260 gateway/run.sh >"$dir/run.log" 2>&1 </dev/null) &
	run=$!
	for _ in $(seq 300); do
		grep -q 'Ctrl-C stops it' "$dir/run.log" && return
		kill -0 "$run" 2>/dev/null || die "run.sh ended"
		sleep 0.1
	done
	die "run.sh does not serve"
}

says() {
	local until=$((SECONDS + $2))
	until grep -aq "GUEST $1" "$dir/guest.log"; do
		grep -aq "GUEST FAILED" "$dir/guest.log" && die "the guest"
		kill -0 "$UML_PID" 2>/dev/null || die "the guest ended"
		[ $SECONDS -lt $until ] || die "waited in vain for the guest: $1"
		sleep 0.2
	done
}

cli() { in_ns "$O/causeway" --home "$dir/home" "$@"; }
