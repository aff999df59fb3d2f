#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - the gateway in the foreground with an embedded S3 store: what `make run` does.
#
# Environment: O (where the programs are), CAUSEWAY_HOME (state, default ./var), CAUSEWAY_NFS,
# CAUSEWAY_ISCSI, CAUSEWAY_API, CAUSEWAY_S3 (address:port, defaults 127.0.0.1 with 2049, 3260, 8080, 9000;
# CAUSEWAY_ISCSI=none: no block volumes are served).
# Ends by Ctrl-C or SIGTERM: the daemon first, then the store. Exit: 0 stopped, 1 it does not run,
# 2 wrong environment.
set -u
umask 022

O=${O:-build/release}
HOME_DIR=${CAUSEWAY_HOME:-./var}
NFS=${CAUSEWAY_NFS:-127.0.0.1:2049}
ISCSI=${CAUSEWAY_ISCSI:-127.0.0.1:3260}
API=${CAUSEWAY_API:-127.0.0.1:8080}
S3=${CAUSEWAY_S3:-127.0.0.1:9000}
QUICK_S=10       # a daemon that served for less before it failed died "at once"
QUICK_MAX=5      # so often in a row, then we give up
START_WAIT_S=120 # for /healthz
STOP_WAIT_S=120

say() { printf '%s\n' "$*"; }
fail() { printf 'make run: %s\n' "$*" >&2; exit "${code:-1}"; }

# --- the environment ---------------------------------------------------------------------------------

host_of() { local h=${1%:*}; h=${h#[}; printf '%s' "${h%]}"; }
port_of() { printf '%s' "${1##*:}"; }

# reachable ADDRESS - as a client says it: a server's "all addresses" is loopback for us.
reachable() {
	case $(host_of "$1") in
	0.0.0.0 | '' | '*') printf '127.0.0.1:%s' "$(port_of "$1")" ;;
	::) printf '[::1]:%s' "$(port_of "$1")" ;;
	*) printf '%s' "$1" ;;
	esac
}

answers() { # does somebody listen there?
	local a
	a=$(reachable "$1")
	(exec 3<>"/dev/tcp/$(host_of "$a")/$(port_of "$a")") 2>/dev/null
}

check_address() { # NAME VALUE
	local port
	port=$(port_of "$2")
	case $2 in
	*:*) ;;
	*) code=2 fail "$1=$2 is no address:port" ;;
	esac
	case $port in
	'' | *[!0-9]* | ??????*) code=2 fail "$1=$2 is no address:port" ;;
	esac
	if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
		code=2 fail "$1=$2: no such port"
	fi
	if [ "$port" -lt "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" ] && [ "$(id -u)" != 0 ]; then
		fail "$1=$2: only root may listen on port $port; set $1 to an address with a higher one"
	fi
}

check_free() { # NAME VALUE
	if answers "$2"; then
		fail "port $(port_of "$2") ($2) is taken by another program; set $1=ADDRESS:PORT to another one"
	fi
}

check_address CAUSEWAY_NFS "$NFS"
[ "$ISCSI" = none ] || check_address CAUSEWAY_ISCSI "$ISCSI"
check_address CAUSEWAY_API "$API"
check_address CAUSEWAY_S3 "$S3"
for p in causewayd causeway causeway-s3d; do
	[ -x "$O/$p" ] || fail "$O/$p is missing: build first (make)"
done
O=$(cd "$O" && pwd)
mkdir -p "$HOME_DIR" || fail "cannot make CAUSEWAY_HOME=$HOME_DIR"
HOME_DIR=$(cd "$HOME_DIR" && pwd) || exit 1
mkdir -p "$HOME_DIR/store" "$HOME_DIR/cache" "$HOME_DIR/run" || fail "cannot write in $HOME_DIR"
chmod 700 "$HOME_DIR/run" "$HOME_DIR/cache" || fail "$HOME_DIR belongs to another user"
CONF=$HOME_DIR/causeway.conf
CREDENTIALS=$HOME_DIR/credentials

# One gateway per home. The lock is the truth; programs that an ended run left behind hold it, too.
exec 9>>"$HOME_DIR/run/lock" || fail "cannot write in $HOME_DIR/run"
if ! flock -n 9; then
	other=$(cat "$HOME_DIR/run/run.pid" 2>/dev/null)
	if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
		fail "a gateway already runs in $HOME_DIR (process $other); stop it, or set CAUSEWAY_HOME to another directory"
	fi
	say "waiting for what an earlier run left in $HOME_DIR to end"
	flock -w 60 9 || fail "programs of an earlier run still use $HOME_DIR: $(cat "$HOME_DIR/run/causewayd.pid" "$HOME_DIR/run/s3d.pid" 2>/dev/null | tr '\n' ' ')"
fi
echo $$ >"$HOME_DIR/run/run.pid"
check_free CAUSEWAY_NFS "$NFS"
[ "$ISCSI" = none ] || check_free CAUSEWAY_ISCSI "$ISCSI"
check_free CAUSEWAY_API "$API"
check_free CAUSEWAY_S3 "$S3"

# --- what the first start makes ----------------------------------------------------------------------

make_credentials() {
	local key secret
	key=AKIA$(head -c 400 /dev/urandom | tr -dc 'A-Z2-7' | head -c 16)
	secret=$(head -c 30 /dev/urandom | base64 -w 0)
	(
		umask 077
		printf '%s\n' '# Keys of this gateway, for its API and for its S3 store. Keep them to yourself.' \
			'[default]' "aws_access_key_id = $key" "aws_secret_access_key = $secret" \
			'region = us-east-1' >"$CREDENTIALS.new"
	) && mv "$CREDENTIALS.new" "$CREDENTIALS"
}

make_conf() {
	cat >"$CONF.new" <<EOF && mv "$CONF.new" "$CONF"
# causeway.conf - what causewayd must know to start; causeway.conf(5) is the manual. A key that is
# commented out has the value shown. Shares and gateways are made through the API or \`causeway share\`.
#
# \`make run\` writes the addresses at each start, from CAUSEWAY_NFS, CAUSEWAY_ISCSI, CAUSEWAY_API and
# CAUSEWAY_S3.

[gateway]
# Where the state lives; relative paths below are relative to it. Default: this file's directory.
home = $HOME_DIR
# What is logged: err, warn, info or debug.
log_level = info
# User to become once the ports are open. Default: stay who started it.
#user = causeway
# Twelve digits that stand in ARNs.
#account_id = 000000000000
# Forbid the process everything it does not need (seccomp).
#sandbox = yes

[nfs]
# Where NFS and MOUNT answer.
listen = $NFS
# A second port for MOUNT alone.
#mount_listen = 127.0.0.1:20048
# Tell rpcbind, if one runs, where we are (Windows clients need it).
#rpcbind = yes
# Threads that serve connections; 0 = chosen by the number of processors.
#loops = 0
# Microseconds that a thread looks for work before it sleeps; 0 = the default.
#spin_us = 0
# Connections at once; 0 = 1,024.
#max_connections = 0

[api]
# Where the AWS-compatible API, /metrics and /healthz answer.
listen = $API
# Keys that requests must be signed with (AWS shared-credentials file).
credentials = credentials

[cache]
# The index: one SQLite file.
index = cache/index.db
# Directories that hold cached data, one line for each disk: disk.NAME = DIRECTORY.
disk.cache = cache
$(disk_lines)
# Most bytes of cached data, clean and dirty together.
capacity = 10G
# Dirty bytes from which on writers are slowed; 0 = three quarters of the capacity.
#dirty_max = 0
# Threads that may wait for the disk; 0 = 8.
#workers = 0
# What nobody waits for is made durable at least so often, in milliseconds; 0 = 1,000.
#flush_interval_ms = 0

[s3]
# The store. Without endpoint: AWS itself.
endpoint = http://$(reachable "$S3")
region = us-east-1
# Buckets in the path (most stores) or in the host name (AWS).
path_style = yes
# Certificates to trust, a PEM file. Default: the system's.
#ca_file =
# Proxy, as http://host:port.
#proxy =
# Do not verify the store's certificate: for tests only.
#insecure_tls = no
# Key for SSE-C, base64.
#sse_c_key =
# Connections at once; 0 = 32.
#max_connections = 0
# Tries of one request; 0 = 8.
#max_tries = 0
# Seconds without a byte after which a try has failed; 0 = 60.
#timeout_s = 0

[credentials "default"]
# Where the store's keys come from: static, profile, env, imds or auto (env, profile, imds).
source = profile
# For profile: the file and the profile in it.
file = credentials
profile = default
# For static.
#access_key =
#secret_key =
#session_token =
# For imds: the metadata service. Default: http://169.254.169.254
#imds_endpoint =
# The role that selects this entry; "default" serves every role that no entry names.
#role_arn =

[sync]
# Milliseconds without a change after which a file is uploaded; 0 = 1,000.
#settle_ms = 0
# Milliseconds after which a file is uploaded although it still changes; 0 = 60,000.
#max_age_ms = 0
# Uploads at once; 0 = chosen by the program.
#upload_threads = 0

[fuse]
# The socket that \`causeway mount\` speaks to. Without it: no FUSE.
socket = run/fuse.sock

$(volume_sections)
EOF
}

# What volumes need of the configuration; homes of before volumes get it, too.
disk_lines() {
	cat <<-'EOF'
		# Disks for an upload buffer, for working storage, and for the data of one stored volume.
		disk.buffer = disks/buffer
		disk.working = disks/working
		disk.stored = disks/stored
		# How large a disk calls itself, in whole GiB. Default: its file system's size.
		disk_size.stored = 10G
	EOF
}

volume_sections() {
	cat <<-EOF
		[iscsi]
		# Where iSCSI answers; several addresses with commas between them. Without it: no iSCSI.
		listen = $(iscsi_listen)
		# A volume whose NetworkInterfaceId is no address of ours is served at all addresses.
		any_interface = yes
		# What stands before the target's name in its iSCSI name.
		#naming_authority = iqn.1997-05.com.amazon
		# Threads that serve connections; 0 = chosen by the number of processors.
		#loops = 0
		# Microseconds that a thread looks for work before it sleeps; 0 = the default.
		#spin_us = 0
		# Connections at once; 0 = 1,024.
		#max_connections = 0

		[volumes]
		# The bucket that holds the images of the volumes, and a prefix in it that ends in a slash.
		bucket = volumes
		#prefix =
		# Which [credentials] section its keys come from.
		#credentials = default
		# The name in [keys] that encrypts volumes which are created without a KMSKey. Default: none.
		#key =
		# Compress what is uploaded.
		#compression = yes
		# How long every recovery point is kept, in seconds; 0 = a day.
		#recovery_keep_s = 0
		# A recovery point is made so often while there is something to upload; 0 = 15,000 milliseconds.
		#seal_interval_ms = 0
		# Or when so much waits; 0 = 256M.
		#seal_bytes = 0

		[keys]
		# Keys for encryption: NAME = 32 bytes in base64, or NAME = file:PATH. KMSKey alias/NAME selects one.
		#example = file:keys/example
	EOF
}

iscsi_listen() { [ "$ISCSI" = none ] || printf '%s' "$ISCSI"; }

upgrade_conf() {
	grep -q '^[ \t]*\[iscsi\]' "$CONF" && return 0
	{
		if grep -q '^[ \t]*disk\.cache[ \t]*=' "$CONF" && ! grep -q '^[ \t]*disk\.buffer' "$CONF"; then
			disk_lines >"$CONF.disks" &&
				sed "/^[ \t]*disk\.cache[ \t]*=/r $CONF.disks" "$CONF"
		else
			cat "$CONF"
		fi
		printf '\n'
		volume_sections
	} >"$CONF.new" && chmod --reference="$CONF" "$CONF.new" && mv "$CONF.new" "$CONF" && rm -f "$CONF.disks"
}

# set_key SECTION KEY VALUE - in the configuration, where it is not so already.
set_key() {
	awk -v section="[$1]" -v key="$2" -v value="$3" '
		/^[ \t]*\[/ { here = ($0 ~ /^[ \t]*\[[^]]*\]/ && index($0, section) > 0) }
		here && $0 ~ ("^[ \t]*" key "[ \t]*=") { print key " = " value; next }
		{ print }' "$CONF" >"$CONF.new" || fail "cannot write $CONF"
	if cmp -s "$CONF" "$CONF.new"; then
		rm -f "$CONF.new"
	else
		chmod --reference="$CONF" "$CONF.new" && mv "$CONF.new" "$CONF"
	fi
}

if [ ! -s "$CREDENTIALS" ]; then
	make_credentials || fail "cannot write $CREDENTIALS"
fi
if [ ! -s "$CONF" ]; then
	make_conf || fail "cannot write $CONF"
fi
upgrade_conf || fail "cannot write $CONF"
set_key nfs listen "$NFS"
set_key iscsi listen "$(iscsi_listen)"
set_key api listen "$API"
set_key s3 endpoint "http://$(reachable "$S3")"

# --- processes ---------------------------------------------------------------------------------------

# They run in sessions of their own, so that Ctrl-C reaches this script alone and it stops them in
# order; should this script be killed, the kernel ends them.
store_pid='' daemon_pid='' watch_pid='' stopping='' served_since=''
guard=(setsid)
if setpriv --pdeathsig TERM true 2>/dev/null; then
	guard=(setsid setpriv --pdeathsig TERM)
fi

on_signal() {
	[ -n "$stopping" ] && return
	stopping=$1
}
trap 'on_signal INT' INT
trap 'on_signal TERM' TERM
trap 'on_signal HUP' HUP

start_store() {
	"${guard[@]}" "$O/causeway-s3d" --dir "$HOME_DIR/store" --listen "$S3" --credentials "$CREDENTIALS" \
		--region us-east-1 </dev/null 8>&- &
	store_pid=$!
	echo "$store_pid" >"$HOME_DIR/run/s3d.pid"
}

start_daemon() {
	"${guard[@]}" "$O/causewayd" --config "$CONF" </dev/null 8>&- &
	daemon_pid=$!
	served_since=''
	echo "$daemon_pid" >"$HOME_DIR/run/causewayd.pid"
}

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# nap SECONDS - a sleep that a signal ends.
nap() { read -r -t "$1" -u 8; }
exec 8<> <(:)

# end_process PID NAME - SIGTERM, and patience.
end_process() {
	local pid=$1 name=$2 waited=0
	alive "$pid" || return 0
	kill -TERM "$pid" 2>/dev/null
	while alive "$pid"; do
		nap 0.1
		waited=$((waited + 1))
		if [ $waited = 100 ]; then
			say "$name is still ending (process $pid)"
		elif [ $waited -ge $((STOP_WAIT_S * 10)) ]; then
			say "$name does not end: killing it; what was promised is on disk"
			kill -KILL "$pid" 2>/dev/null
			break
		fi
	done
	wait "$pid" 2>/dev/null
}

stop_watch() {
	alive "$watch_pid" || return 0
	kill -TERM "$watch_pid" 2>/dev/null
	wait "$watch_pid" 2>/dev/null
	watch_pid=''
}

stop_all() {
	stopping=${stopping:-END}
	stop_watch
	end_process "$daemon_pid" causewayd
	end_process "$store_pid" causeway-s3d
	rm -f "$HOME_DIR/run/causewayd.pid" "$HOME_DIR/run/s3d.pid" "$HOME_DIR/run/run.pid"
}

give_up() {
	stop_all
	fail "$*"
}

cli() { "$O/causeway" --home "$HOME_DIR" "$@"; }

# wait_for WHAT COMMAND... - until it succeeds; false when a signal came or a process died.
wait_for() {
	local until=$((SECONDS + START_WAIT_S))
	shift
	until "$@" >/dev/null 2>&1; do
		[ -n "$stopping" ] && return 1
		alive "$store_pid" || return 1
		[ -z "$daemon_pid" ] || alive "$daemon_pid" || return 1
		[ $SECONDS -lt $until ] || return 1
		nap 0.1
	done
	return 0
}

is_healthy() { curl -fsS --noproxy '*' -o /dev/null -m 5 "http://$(reachable "$API")/healthz"; }

has_gateway() { cli gateway list --json | grep -q "\"GatewayType\": *\"$1\""; }

# The gateways for volumes and a volume to try. With a deleted cache the volume is attached again: its
# image is in the bucket.
first_volumes() {
	local id
	[ "$ISCSI" = none ] && return 0
	if ! has_gateway CACHED; then
		: >"$HOME_DIR/run/first-volume"
		cli gateway activate --type CACHED --name causeway-cached --buffer buffer >/dev/null || return 1
	fi
	if ! has_gateway STORED; then
		cli gateway activate --type STORED --name causeway-stored --buffer working >/dev/null || return 1
	fi
	[ -e "$HOME_DIR/run/first-volume" ] || return 0
	if ! cli volume show demo >/dev/null 2>&1; then
		id=$(cat "$HOME_DIR/run/demo-volume" 2>/dev/null)
		if [ -z "$id" ] || ! cli volume attach "$id" >/dev/null 2>&1; then
			cli volume create demo --size 1G --create-bucket >/dev/null || return 1
			cli volume show demo --json | sed -n 's/^ *"id": "\(vol-[^"]*\)".*/\1/p' >"$HOME_DIR/run/demo-volume"
		fi
	fi
	rm -f "$HOME_DIR/run/first-volume"
}

# The gateway and the share of the first start. With a deleted cache it is a first start again: the
# bucket is the same, and so is what the share shows.
first_start() {
	local mark=$HOME_DIR/run/first-start
	if cli gateway list | grep -q 'no gateway is activated'; then
		: >"$mark"
		cli gateway activate --name causeway >/dev/null || return 1
	fi
	[ -e "$mark" ] || return 0
	if ! cli share show demo >/dev/null 2>&1; then
		cli share create demo --bucket demo --create-bucket --squash NoSquash >/dev/null || return 1
	fi
	rm -f "$mark"
}

print_iscsi_help() {
	local iscsi host port
	if [ "$ISCSI" = none ]; then
		return
	fi
	iscsi=$(reachable "$ISCSI")
	host=$(host_of "$iscsi") port=$(port_of "$iscsi")
	cat <<EOF
It serves the 1 GiB volume demo by iSCSI, too; its image is in bucket volumes.

  Linux     iscsiadm -m discovery -t st -p $host:$port && iscsiadm -m node -T iqn.1997-05.com.amazon:demo -l
  Windows   iscsicli QAddTargetPortal $host     then   iscsicli QLoginTarget iqn.1997-05.com.amazon:demo
  libiscsi  iscsi-ls -s iscsi://$iscsi/
  QEMU      qemu-img info iscsi://$iscsi/iqn.1997-05.com.amazon:demo/0
  more      $O/causeway --home $HOME_DIR volume create NAME --size 10G

EOF
}

print_help() {
	local nfs host port
	nfs=$(reachable "$NFS")
	host=$(host_of "$nfs") port=$(port_of "$nfs")
	cat <<EOF

Causeway serves /demo; its objects are in bucket demo.

  Linux     mount -t nfs -o vers=3,nolock,hard,proto=tcp,port=$port,mountport=$port,mountproto=tcp $host:/demo /mnt
  macOS     mount -t nfs -o vers=3,nolocks,hard,tcp,port=$port,mountport=$port $host:/demo /Users/Shared/demo
  Windows   mount -o anon,nolock,mtype=hard \\\\$host\\demo Z:     (asks rpcbind on the gateway; port 2049 only)
  FUSE      $O/causeway --home $HOME_DIR mount demo /mnt
  API       http://$(reachable "$API")     aws --endpoint-url http://$(reachable "$API") storagegateway list-gateways
  S3        http://$(reachable "$S3")     aws --endpoint-url http://$(reachable "$S3") s3 ls s3://demo
  keys      export AWS_SHARED_CREDENTIALS_FILE=$CREDENTIALS
  files     $CONF, objects in $HOME_DIR/store

EOF
	print_iscsi_help
	say "Ctrl-C stops it with nothing lost."
	say ""
}

# --- start -------------------------------------------------------------------------------------------

start_store
if ! wait_for store answers "$S3"; then
	[ -z "$stopping" ] && give_up "the S3 store did not start on $S3 (CAUSEWAY_S3): see above"
fi
[ -z "$stopping" ] && start_daemon
if [ -z "$stopping" ] && ! wait_for gateway is_healthy; then
	if [ -z "$stopping" ]; then
		give_up "causewayd did not come up (CAUSEWAY_NFS=$NFS, CAUSEWAY_API=$API, CAUSEWAY_HOME=$HOME_DIR): see above"
	fi
fi
served_since=$SECONDS
if [ -z "$stopping" ] && ! first_start; then
	[ -z "$stopping" ] && give_up "the first gateway and share could not be made: see above"
fi
if [ -z "$stopping" ] && ! first_volumes; then
	[ -z "$stopping" ] && say "the volume of the first start could not be made: see above; the rest is served"
fi
if [ -z "$stopping" ]; then
	print_help
	"${guard[@]}" "$O/causeway" --home "$HOME_DIR" status --watch </dev/null 8>&- 9>&- &
	watch_pid=$!
fi

# --- stay --------------------------------------------------------------------------------------------

how_it_died() { # STATUS
	if [ "$1" -gt 128 ]; then
		printf 'was killed by signal %s' "$(kill -l $(($1 - 128)) 2>/dev/null || echo $(($1 - 128)))"
	else
		printf 'ended with status %s' "$1"
	fi
}

# A daemon that never served, or failed soon after, died at once. A SIGKILL comes from outside and is no
# fault of its own, however often it comes.
quick=0
restart_daemon() { # STATUS
	if [ -z "$served_since" ]; then
		quick=$((quick + 1))
	elif [ "$1" != 137 ] && [ $((SECONDS - served_since)) -lt $QUICK_S ]; then
		quick=$((quick + 1))
	else
		quick=0
	fi
	if [ $quick -ge $QUICK_MAX ]; then
		give_up "causewayd $(how_it_died "$1") $quick times in a row: not starting it again; see above"
	fi
	say "causewayd $(how_it_died "$1"): starting it again"
	[ $quick -gt 1 ] && nap $((quick - 1))
	[ -n "$stopping" ] && return
	start_daemon
	if wait_for gateway is_healthy; then
		served_since=$SECONDS
		say "causewayd serves again (process $daemon_pid)"
	fi
}

# Polling: `wait -n` misses a process that ended before it was called.
while [ -z "$stopping" ]; do
	nap 0.3
	[ -n "$stopping" ] && break
	if ! alive "$daemon_pid"; then
		wait "$daemon_pid" 2>/dev/null
		restart_daemon $?
	elif ! alive "$store_pid"; then
		wait "$store_pid" 2>/dev/null
		say "causeway-s3d $(how_it_died $?): starting it again"
		nap 1
		[ -z "$stopping" ] && start_store
	fi
done

stop_watch
say ""
say "stopping; what is not uploaded yet is kept and goes on at the next start"
stop_all
say "stopped"
exit 0
