#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rgw.sh - a real S3 store for tests: Ceph monitor, manager, one OSD in memory, radosgw, on loopback.
#
#   rgw.sh start DIR [PORT]   everything lives under DIR; PORT 0 or absent = a free one; prints
#                             CW_RGW_ENDPOINT=... CW_RGW_ACCESS=... CW_RGW_SECRET=... to be eval'ed
#   rgw.sh env DIR            prints them again
#   rgw.sh gateway-stop DIR   stops radosgw alone (an outage); gateway-start DIR brings it back
#   rgw.sh stop DIR           ends every process by its id
#   rgw.sh admin DIR ARG...   radosgw-admin on it
#
# Exit 77 if the packages are not there. Needs root (the daemons insist on their own directories).
set -u

die() {
	echo "rgw.sh: $*" >&2
	exit 1
}

need() {
	local p
	for p in ceph-mon ceph-mgr ceph-osd radosgw radosgw-admin monmaptool ceph python3; do
		command -v "$p" >/dev/null || {
			echo "rgw.sh: $p is not installed" >&2
			exit 77
		}
	done
}

# free_ports N - N different ports that nobody listens on now
free_ports() {
	python3 - "$1" <<-'EOF'
		import socket, sys
		socks = [socket.socket() for _ in range(int(sys.argv[1]))]
		for s in socks:
		    s.bind(("127.0.0.1", 0))
		print(*[s.getsockname()[1] for s in socks])
	EOF
}

write_conf() {
	cat >"$dir/ceph.conf" <<-EOF
		[global]
		fsid = $fsid
		mon host = [v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]
		mon initial members = a
		auth cluster required = none
		auth service required = none
		auth client required = none
		auth allow insecure global id reclaim = true
		ms cluster mode = crc
		ms service mode = crc
		ms client mode = crc
		ms mon cluster mode = crc
		ms mon service mode = crc
		ms mon client mode = crc
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		ms bind port min = $((mon2 > 50000 ? 20000 : 52000))
		ms bind port max = $((mon2 > 50000 ? 24000 : 56000))
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 8
		osd pool default pgp num = 8
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		mon allow pool size one = true
		mon warn on pool no redundancy = false
		mon data avail warn = 1
		mon data avail crit = 1
		run dir = $dir/run
		pid file = $dir/run/\$name.pid
		admin socket = $dir/run/\$name.asok
		log file = $dir/log/\$name.log
		mon cluster log file = $dir/log/cluster.log
		crash dir = $dir/crash
		keyring = $dir/keyring
		log to stderr = false
		err to stderr = false
		debug ms = 0
		[mon]
		mon data = $dir/mon
		mon osd min in ratio = 0
		[mgr]
		mgr data = $dir/mgr
		mgr initial modules =
		[osd]
		osd data = $dir/osd
		osd objectstore = memstore
		memstore device bytes = ${CW_RGW_BYTES:-6442450944}
		osd memory target = 1073741824
		osd op threads = 2
		osd class load list = *
		osd class default list = *
		[client]
		rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
		rgw enable usage log = false
		rgw enable ops log = false
		rgw gc obj min wait = 5
		rgw gc processor period = 5
		rgw gc processor max time = 5
		rgw thread pool size = 64
		rgw data = $dir/rgw
		rgw dns name =
		rgw lc debug interval = -1
		rgw run sync thread = false
		rgw relaxed s3 bucket names = false
	EOF
}

ceph_() {
	timeout 30 ceph -c "$dir/ceph.conf" --connect-timeout 20 "$@"
}

admin_() {
	timeout 60 radosgw-admin -c "$dir/ceph.conf" "$@"
}

# launch NAME PROGRAM ARG... - in the foreground of its own session, its id kept in DIR/pid.NAME
launch() {
	local name=$1
	shift
	setsid "$@" >"$dir/log/$name.out" 2>&1 </dev/null &
	echo $! >"$dir/pid.$name"
}

alive() {
	local pid
	pid=$(cat "$dir/pid.$1" 2>/dev/null) && kill -0 "$pid" 2>/dev/null
}

start_gateway() {
	local i
	launch rgw radosgw -f -n client.admin -c "$dir/ceph.conf" --setuser root --setgroup root
	for ((i = 0; i < 200; i++)); do
		alive rgw || die "radosgw ended: $(tail -3 "$dir/log/rgw.out")"
		curl -s -o /dev/null --noproxy '*' "http://127.0.0.1:$port/" && return
		sleep 0.1
	done
	die "radosgw does not answer"
}

stop_one() {
	local pid i
	pid=$(cat "$dir/pid.$1" 2>/dev/null) || return 0
	kill "$2" "$pid" 2>/dev/null
	for ((i = 0; i < 100; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	kill -9 "$pid" 2>/dev/null
	rm -f "$dir/pid.$1"
}

stop_all() {
	stop_one rgw -TERM
	stop_one osd -KILL # nothing in it is to survive
	stop_one mgr -KILL
	stop_one mon -TERM
}

print_env() {
	echo "CW_RGW_ENDPOINT=http://127.0.0.1:$port"
	echo "CW_RGW_ACCESS=$access"
	echo "CW_RGW_SECRET=$secret"
}

storage_classes() {
	local c
	for c in STANDARD_IA INTELLIGENT_TIERING ONEZONE_IA; do
		admin_ zonegroup placement add --rgw-zonegroup default \
			--placement-id default-placement --storage-class $c >/dev/null 2>&1 ||
			die "cannot add storage class $c to the zonegroup"
		admin_ zone placement add --rgw-zone default --placement-id default-placement \
			--storage-class $c --data-pool default.rgw.buckets.data >/dev/null 2>&1 ||
			die "cannot add storage class $c to the zone"
	done
}

start() {
	need
	[ "$(id -u)" = 0 ] || {
		echo "rgw.sh: needs root" >&2
		exit 77
	}
	mkdir -p "$dir"/{run,log,crash,mon,mgr,osd,rgw} || die "cannot write in $dir"
	read -r mon1 mon2 free <<<"$(free_ports 3)"
	[ "$port" = 0 ] && port=$free
	fsid=$(cat /proc/sys/kernel/random/uuid)
	osd_uuid=$(cat /proc/sys/kernel/random/uuid)
	access=CWTEST$(head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \n')
	secret=$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')
	: >"$dir/keyring"
	write_conf
	printf 'port=%s\naccess=%s\nsecret=%s\n' "$port" "$access" "$secret" >"$dir/state"

	monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]" \
		"$dir/monmap" >/dev/null 2>&1 || die "monmaptool failed"
	ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" --setuser root \
		--setgroup root >"$dir/log/mkfs.out" 2>&1 || die "$(tail -2 "$dir/log/mkfs.out")"
	launch mon ceph-mon -f -c "$dir/ceph.conf" -i a --setuser root --setgroup root
	ceph_ mon stat >/dev/null 2>&1 || die "the monitor does not answer: $(tail -3 "$dir/log/mon.out")"
	ceph_ config set global auth_allow_insecure_global_id_reclaim true >/dev/null 2>&1
	launch mgr ceph-mgr -f -c "$dir/ceph.conf" -i x --setuser root --setgroup root
	ceph_ osd new "$osd_uuid" >/dev/null 2>&1 || die "ceph osd new failed"
	ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd_uuid" --setuser root \
		--setgroup root >"$dir/log/mkfs.out" 2>&1 || die "$(tail -2 "$dir/log/mkfs.out")"
	launch osd ceph-osd -f -c "$dir/ceph.conf" -i 0 --setuser root --setgroup root
	local i
	for ((i = 0; i < 200; i++)); do
		ceph_ osd stat 2>/dev/null | grep -q ' 1 up' && break
		alive osd || die "the osd ended: $(tail -3 "$dir/log/osd.out")"
		sleep 0.1
	done
	admin_ user create --uid causeway --display-name causeway --access-key "$access" \
		--secret-key "$secret" >/dev/null 2>&1 || die "cannot create the user"
	storage_classes
	start_gateway
	print_env
}

cmd=${1:-}
dir=${2:-}
[ -n "$dir" ] || die "usage: rgw.sh start|stop|env|gateway-stop|gateway-start|admin DIR [...]"
case $cmd in
start)
	port=${3:-0}
	mkdir -p "$dir" && dir=$(realpath "$dir") || exit 1
	trap '[ $? = 0 ] || stop_all' EXIT
	start
	;;
stop)
	stop_all
	;;
env | gateway-stop | gateway-start | admin)
	# shellcheck disable=SC1091
	dir=$(realpath "$dir") && . "$dir/state" || exit 1
	shift 2
	case $cmd in
	env) print_env ;;
	gateway-stop) stop_one rgw -KILL ;;
	gateway-start) start_gateway ;;
	admin) admin_ "$@" ;;
	esac
	;;
*)
	die "unknown command $cmd"
	;;
esac
