#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tgt.sh start DIR PORT SIZE | stop DIR - the peer of the iSCSI benchmarks: iqn.2016-04.test:tgt with two file
# stores (LUN 0 is a controller there), 1, and 2 whose file is opened O_SYNC; its negotiable values raised to what
# the AWS guide gives to initiators. TGT_PREFIX: taskset...
set -eu
cmd=$1 dir=$2
# an instance of its own beside any other
control=$(( $(cksum <<<"$dir" | cut -d' ' -f1) % 20000 + 100 ))
case $cmd in
start)
	mkdir -p "$dir"
	for f in disk disk-sync; do [ -e "$dir/$f" ] || truncate -s "$4" "$dir/$f"; done
	setsid ${TGT_PREFIX:-} tgtd -f -C $control --iscsi "portal=127.0.0.1:$3" >"$dir/log" 2>&1 </dev/null &
	echo $! >"$dir/pid"
	for _ in $(seq 50); do
		tgtadm -C $control --op show --mode sys >/dev/null 2>&1 && break
		sleep 0.1
	done
	a="tgtadm -C $control --lld iscsi"
	$a --op new --mode target --tid 1 -T iqn.2016-04.test:tgt
	$a --op new --mode logicalunit --tid 1 --lun 1 -b "$dir/disk" --bstype rdwr
	$a --op new --mode logicalunit --tid 1 --lun 2 -b "$dir/disk-sync" --bstype rdwr --bsoflags sync
	$a --op bind --mode target --tid 1 -I ALL
	for kv in MaxRecvDataSegmentLength=262144 MaxXmitDataSegmentLength=262144 FirstBurstLength=262144 \
	    MaxBurstLength=1048576 InitialR2T=No ImmediateData=Yes MaxOutstandingR2T=8; do
		$a --op update --mode target --tid 1 --name "${kv%%=*}" --value "${kv#*=}"
	done
	;;
stop)
	[ -s "$dir/pid" ] || exit 0
	# it ends when it has no target any more, not by SIGTERM
	tgtadm -C $control --lld iscsi --op delete --mode target --tid 1 --force 2>/dev/null || true
	tgtadm -C $control --op delete --mode system 2>/dev/null || true
	for _ in $(seq 30); do
		kill -0 "$(cat "$dir/pid")" 2>/dev/null || exit 0
		sleep 0.1
	done
	kill -KILL "$(cat "$dir/pid")" 2>/dev/null || true
	;;
esac
