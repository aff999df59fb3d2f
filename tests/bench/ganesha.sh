#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ganesha.sh start DIR EXPORT NFSPORT MOUNTPORT | stop DIR - the peer of the NFS benchmarks: NFS-Ganesha with its VFS back end.
# It insists on an rpcbind, so both live in a network namespace of their caller and a private /run.
set -eu
cmd=$1 dir=$2
case $cmd in
start)
	mkdir -p "$dir/rec" "$3"
	rm -f "$dir/log"
	cat >"$dir/ganesha.conf" <<CONF
NFS_CORE_PARAM { NFS_Port = $4; MNT_Port = $5; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; Protocols = 3; }
NFSV4 { Graceless = true; RecoveryRoot = $dir/rec; }
EXPORT { Export_Id = 1; Path = $3; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; Protocols = 3;
  Transports = TCP; SecType = sys; FSAL { Name = VFS; } }
LOG { Default_Log_Level = EVENT; }
CONF
	setsid unshare -m sh -c "mount -t tmpfs tmpfs /run; mkdir -p /run/ganesha /run/rpcbind; rpcbind -f & echo \$! >$dir/rpcbind.pid; sleep 0.3;
		exec ${GANESHA_PREFIX:-} ganesha.nfsd -F -L $dir/log -f $dir/ganesha.conf -p $dir/pid" >"$dir/out" 2>&1 </dev/null &
	for _ in $(seq 100); do
		grep -q 'NFS SERVER INITIALIZED' "$dir/log" 2>/dev/null && exit 0
		sleep 0.2
	done
	tail -n 5 "$dir/log" "$dir/out" >&2
	"$0" stop "$dir"
	exit 1
	;;
stop)
	[ ! -s "$dir/pid" ] || kill "$(cat "$dir/pid")" 2>/dev/null || true
	for _ in $(seq 50); do
		[ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
		sleep 0.1
	done
	[ ! -s "$dir/rpcbind.pid" ] || kill "$(cat "$dir/rpcbind.pid")" 2>/dev/null || true
	;;
esac
