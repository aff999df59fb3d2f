#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# volume-postgres.sh MODE WHERE EVENT... - PostgreSQL on ext4 on a volume, while machines die under it.
#
# MODE is cached or stored. The initiator is always a User-Mode-Linux guest (open-iscsi, ext4, PostgreSQL); clients
# (pgbench) and what they were told - the ledger - are outside. WHERE says what the gateway runs on: with `host`
# causewayd is a process here, with `guest` it is a machine of its own with cache and index on its own disk.
# After a second or a few comes each EVENT:
#   g  the gateway ends: SIGKILL of causewayd, or a power cut of its guest; the initiator must ride through
#   i  a power cut of the initiator; fsck must be clean, PostgreSQL recovers and the ledger is compared
#   b  both at once
# `causeway check` proves the index before each start of the gateway. At the end: every row, amcheck of all indexes
# and tables, all page checksums, fsck, and the image in the bucket (causeway-export) equals the volume.
# SEED repeats the pauses, KEEP=1 keeps the directory, SCALE is pgbench's, CACHE the size of the cache.
set -u
mode=$1 where=$2
shift 2
cd "$(dirname "$0")/../.."
. tests/lib/uml.sh
for p in linux.uml iscsid iscsiadm ip psql pgbench qemu-img; do
	command -v $p >/dev/null || { echo "skipped: $p is not installed"; exit 77; }
done
pg=/usr/lib/postgresql/15/bin
[ -x $pg/postgres ] || { echo "skipped: PostgreSQL 15 is not installed"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: only root makes network namespaces"; exit 77; }
O=$(cd "${O:-build/release}" && pwd)
dir=$(mktemp -d /var/tmp/cw-postgres-XXXXXX)
chmod 711 "$dir"
RANDOM=${SEED:=$RANDOM}
scale=${SCALE:-2}
echo "seed $SEED: $mode volume, gateway on the $where: $*"
host_ip=192.0.2.1 guest_ip=192.0.2.2 db=198.51.100.2
if [ "$where" = guest ]; then gw=$guest_ip home=/mnt/disk/home; else gw=$host_ip home=$dir/home; fi
declare -A uml_pid uml_dir
boots=0 gen=0 probes=0 bench='' store='' daemon=''
cleanup() {
	for g in gateway initiator; do [ -z "${uml_pid[$g]:-}" ] || on $g uml_kill; done
	for p in $bench $daemon $store; do kill -9 "$p" 2>/dev/null; done
	uml_net_down
	[ -n "${KEEP:-}" ] && echo "kept $dir" || rm -rf "$dir"
}
trap cleanup EXIT
die() {
	echo "FAILED: $*"
	grep -ah 'GUEST\|CHECK' "$dir"/*.log | tail -n 20
	for f in "$dir"/initiator-$boots.log "$dir"/causewayd.log "$dir"/bench-$gen.log; do
		[ ! -s "$f" ] || { echo "--- $f"; tail -n 40 "$f"; }
	done
	exit 1
}
# on GUEST COMMAND... - a function of uml.sh, for one of two guests
on() {
	local guest=$1 rc UML_PID UML_DIR
	UML_PID=${uml_pid[$1]:-} UML_DIR=${uml_dir[$1]:-}
	shift
	"$@"
	rc=$?
	uml_pid[$guest]=$UML_PID uml_dir[$guest]=$UML_DIR
	return $rc
}
# until_s SECONDS TEXT COMMAND...
until_s() {
	local until=$((SECONDS + $1)) text=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || die "waited in vain for $text"
		! grep -aqs 'GUEST FAILED\|CHECK FAILED' "$dir"/*.log || die "a guest"
		sleep 0.1
	done
}

# --- the gateway -------------------------------------------------------------------------------------

make_conf() {
	printf '[default]\naws_access_key_id = AKIDPOSTGRES\naws_secret_access_key = postgres-secret-key-0123456789abcdef\n' >"$dir/credentials"
	chmod 600 "$dir/credentials"
	cat >"$dir/causeway.conf" <<-CONF
		[gateway]
		home = $home
		[nfs]
		listen = $gw:2049
		rpcbind = no
		[api]
		listen = $gw:8080
		credentials = $1$dir/credentials
		[cache]
		index = cache/index.db
		disk.cache = cache
		disk.buffer = buffer
		disk.stored = stored
		disk_size.stored = 1G
		capacity = ${CACHE:-64M}
		[iscsi]
		listen = $gw:3260
		[s3]
		endpoint = http://$host_ip:9000
		path_style = yes
		[credentials "default"]
		source = profile
		file = $1$dir/credentials
		[volumes]
		bucket = volumes
		seal_interval_ms = 500
	CONF
}
is_healthy() { in_ns curl -sf -m 1 -o /dev/null http://$gw:8080/healthz; }
gateway_up() {
	if [ "$where" = guest ]; then
		on gateway uml_start "$dir/gateway.log" 512M tap0 "$PWD/tests/uml/guest-gateway.sh" GUEST_ADDR=$guest_ip/24 \
			GUEST_ROUTE=$host_ip "CONF=$dir/causeway.conf" "O=/mnt/host$O" "ubd0=$dir/disk"
	else
		[ ! -e "$home/cache/index.db" ] || "$O/causeway" --config "$dir/causeway.conf" check >"$dir/check.log" ||
			die "causeway check: $(cat "$dir/check.log")"
		ip netns exec "$UML_NS" "$O/causewayd" --config "$dir/causeway.conf" >>"$dir/causewayd.log" 2>&1 &
		daemon=$!
	fi
	until_s 60 "the gateway" is_healthy
}
gateway_down() {
	if [ "$where" = guest ]; then on gateway uml_kill; else kill -9 $daemon; wait $daemon 2>/dev/null; fi
}
cli() { in_ns "$O/causeway" --api http://$gw:8080 --credentials "$dir/credentials" "$@"; }

# --- the database ------------------------------------------------------------------------------------

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
# A cluster with pgbench's tables, made here, so that the guest only has to unpack it. Small segments and a small
# buffer, so that files are made, recycled and read all the time.
make_template() {
	install -d -o postgres "$dir/pg"
	as_postgres $pg/initdb -k --wal-segsize=1 -N -A trust -D "$dir/pg/data" >/dev/null || die "initdb"
	echo "host all all 198.51.100.0/24 trust" >>"$dir/pg/data/pg_hba.conf"
	cat >>"$dir/pg/data/postgresql.conf" <<-CONF
		listen_addresses = '*'
		unix_socket_directories = '/tmp'
		dynamic_shared_memory_type = sysv
		shared_buffers = 8MB
		max_connections = 20
		min_wal_size = 2MB
		max_wal_size = 8MB
		checkpoint_timeout = 30s
		autovacuum_naptime = 5s
	CONF
	as_postgres $pg/pg_ctl -D "$dir/pg/data" -o "-c listen_addresses='' -c unix_socket_directories=$dir/pg" -l "$dir/pg/log" -w start >/dev/null || die "pg_ctl start"
	PGHOST=$dir/pg PGUSER=postgres pgbench -q -i -s "$scale" postgres 2>/dev/null || die "pgbench -i"
	PGHOST=$dir/pg PGUSER=postgres psql -qX postgres <<-SQL || die "tables"
		CREATE TABLE ledger (gen int, client int, seq int, aid int, delta int, len int, pad text, PRIMARY KEY (gen, client, seq));
		ALTER TABLE ledger ALTER pad SET STORAGE PLAIN;
		CREATE INDEX ON ledger (aid);
		CREATE TABLE probe (n int PRIMARY KEY);
		CREATE EXTENSION amcheck;
	SQL
	as_postgres $pg/pg_ctl -D "$dir/pg/data" -w stop >/dev/null || die "pg_ctl stop"
	tar -cf "$dir/template.tar" -C "$dir/pg" data
}
sql() { in_ns env PGCONNECT_TIMEOUT=5 psql -h $db -U postgres -qAtX -v ON_ERROR_STOP=1 "$@"; }
initiator_up() { # FIRST
	boots=$((boots + 1))
	on initiator uml_start "$dir/initiator-$boots.log" 512M tap1 "$PWD/tests/uml/guest-postgres.sh" GUEST_ADDR=$db/24 \
		GUEST_ROUTE=198.51.100.1 PORTAL=$gw:3260 TARGET=iqn.1997-05.com.amazon:pg "FIRST=$1" "TEMPLATE=$dir/template.tar" "STOP=$dir/stop"
	until_s 120 "PostgreSQL" sql -c 'SELECT 1'
}
bench_up() {
	gen=$((gen + 1))
	in_ns pgbench -n -c 4 -s "$scale" -f tests/lib/pg_ledger.sql -D seq=0 -D gen=$gen -T 3600 -l "--log-prefix=$dir/ack-$gen" \
		"--random-seed=$((SEED + gen))" "host=$db user=postgres dbname=postgres application_name=bench keepalives_idle=2 keepalives_interval=1 keepalives_count=4 tcp_user_timeout=5000" \
		>"$dir/bench-$gen.log" 2>&1 &
	bench=$!
}
bench_ended() { ! kill -0 $bench 2>/dev/null; }
end_bench() {
	[ "$1" = cut ] || sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bench'"
	bench_ended
}
# pgbench gives up when the server is gone, not for an error that the server reports.
bench_down() {
	until_s 60 "pgbench to end" end_bench "$1"
	wait $bench
	bench=
	! grep 'ERROR\|PANIC' "$dir/bench-$gen.log" || die "pgbench"
	! grep -a 'PANIC\|could not \(read\|write\|fsync\|open\)\|invalid page\|corrupt' "$dir/initiator-$boots.log" || die "PostgreSQL"
}
probe() {
	probes=$((probes + 1))
	sql -c "INSERT INTO probe VALUES ($probes)" || die "a commit after the gateway was back"
	echo $probes >>"$dir/probes"
}
compare() { in_ns tests/lib/pg_ledger.py "$dir" $db || die "THE LEDGER"; }

# --- the run -----------------------------------------------------------------------------------------

make_conf "$([ "$where" = host ] || echo /mnt/host)"
make_template
mkdir -p "$dir/store" "$dir/home"
: >"$dir/probes"
uml_net_up "cwpg$$"
uml_tap tap0 $host_ip/24
uml_tap tap1 198.51.100.1/24
in_ns sysctl -q -w net.ipv4.ip_forward=1
in_ns "$O/causeway-s3d" --dir "$dir/store" --listen $host_ip:9000 --credentials "$dir/credentials" --no-fsync >"$dir/store.log" 2>&1 &
store=$!
if [ "$where" = guest ]; then truncate -s 4G "$dir/disk" && mkfs.ext4 -q -F "$dir/disk"; fi
gateway_up
AWS_SHARED_CREDENTIALS_FILE=$dir/credentials in_ns /usr/bin/python3 - <<-PY || die "no bucket"
	import boto3
	boto3.client('s3', endpoint_url='http://$host_ip:9000', region_name='us-east-1').create_bucket(Bucket='volumes')
PY
cli gateway activate --type "${mode^^}" --name pg --buffer buffer >/dev/null || die "gateway activate"
if [ "$mode" = stored ]; then
	cli volume create pg --stored --disk stored >/dev/null || die "volume create"
else
	cli volume create pg --size 1G >/dev/null || die "volume create"
fi
initiator_up 1
echo "$SECONDS s: ready"
bench_up
for event in "$@"; do
	sleep "$((RANDOM % 3 + 1)).$((RANDOM % 10))"
	! bench_ended || die "pgbench ended by itself"
	case $event in
	g) gateway_down; gateway_up; probe ;;
	i) on initiator uml_kill ;;
	b) gateway_down; on initiator uml_kill; gateway_up ;;
	esac
	if [ "$event" != g ]; then
		initiator_up 0
		bench_down cut
		compare
		bench_up
	fi
	echo "$SECONDS s: $event"
done
sleep 1
bench_down stop
compare
sql -c "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE amname = 'btree' AND relkind = 'i' AND relpersistence = 'p'" >/dev/null || die "amcheck: indexes"
[ "$(sql -c "SELECT count(*) FROM pg_class c, verify_heapam(c.oid) WHERE relkind = 'r' AND relpersistence = 'p'")" = 0 ] || die "amcheck: tables"
: >"$dir/stop"
on initiator uml_wait 60 || die "the initiator's guest did not end"
grep -aq 'GUEST verdict yes' "$dir/initiator-$boots.log" || die "the initiator's guest"
echo "$SECONDS s: stopped"

cli volume drain pg >/dev/null || die "drain"
id=$(cli volume show pg --json | sed -n 's/^ *"id": "\(vol-[^"]*\)".*/\1/p')
in_ns "$O/causeway-export" --bucket volumes --endpoint http://$host_ip:9000 --path-style --credentials "$dir/credentials" \
	--volume "$id" --output "$dir/image" >/dev/null || die "causeway-export"
in_ns qemu-img compare -q -f raw -F raw "$dir/image" iscsi://$gw:3260/iqn.1997-05.com.amazon:pg/0 || die "the image in the bucket is not the volume"
e2fsck -fn "$dir/image" >"$dir/fsck" 2>&1 || die "e2fsck of the image in the bucket: $(cat "$dir/fsck")"
echo "$SECONDS s: OK"
