# SPDX-License-Identifier: Apache-2.0
# uml.sh - sourced: real Linux kernels (User-Mode Linux) as clients or as the gateway's machine, in a
# network namespace that the test made. Needs root, ip and linux.uml.
#
#   uml_net_up NAME            namespace NAME with loopback up; sets UML_NS; removed by uml_net_down
#   uml_tap TAP ADDR/BITS      a tap in it, for one guest
#   in_ns CMD...               run a command in the namespace
#   uml_start LOG MEM TAP SCRIPT [KERNEL-ARG | NAME=value]...   boots a guest whose init is SCRIPT, root =
#                              the host's file system read-only; sets UML_PID
#   uml_wait SECONDS           waits for it to power off; kills it past the bound (returns 1)
#   uml_kill                   a power cut: SIGKILL to every process of the guest
# A guest script begins with:  . tests/lib/uml-guest.sh

uml_net_up() {
	UML_NS=$1
	ip netns add "$UML_NS"
	ip -n "$UML_NS" link set lo up
}

uml_net_down() {
	[ -n "${UML_NS:-}" ] || return 0
	ip netns pids "$UML_NS" 2>/dev/null | xargs -r kill -9 2>/dev/null
	ip netns del "$UML_NS" 2>/dev/null
	UML_NS=
}

uml_tap() {
	ip -n "$UML_NS" tuntap add "$1" mode tap
	ip -n "$UML_NS" addr add "$2" dev "$1"
	ip -n "$UML_NS" link set "$1" up
}

in_ns() {
	ip netns exec "$UML_NS" "$@"
}

uml_modules() {
	local v
	v=$(basename "$(ls -d /usr/lib/uml/modules/* | head -n 1)")
	[ -e "/lib/modules/$v" ] || { mkdir -p /lib/modules && ln -s "/usr/lib/uml/modules/$v" "/lib/modules/$v"; }
}

uml_start() {
	local log=$1 mem=$2 tap=$3 script=$4 net=()
	shift 4
	uml_modules
	[ "$tap" = none ] || net=("vec0:transport=tap,ifname=$tap,depth=128,gro=1")
	UML_DIR=$(mktemp -d)
	setsid ip netns exec "$UML_NS" env TMPDIR="${UML_TMP:-/tmp}" linux.uml "mem=$mem" root=/dev/root rootfstype=hostfs \
	    rootflags=/ ro "init=$script" con=null con0=null,fd:1 "uml_dir=$UML_DIR" quiet loglevel=3 "${net[@]}" \
	    "CW_SRC=$PWD" "$@" >"$log" 2>&1 </dev/null &
	UML_PID=$!
}

uml_kill() {
	kill -9 -- "-$UML_PID" 2>/dev/null
	pkill -9 -g "$UML_PID" 2>/dev/null
	wait "$UML_PID" 2>/dev/null
	rm -rf "$UML_DIR"
	return 0
}

uml_wait() {
	local end=$((SECONDS + $1))
	while kill -0 "$UML_PID" 2>/dev/null; do
		if [ $SECONDS -ge $end ]; then
			uml_kill
			return 1
		fi
		sleep 0.2
	done
	uml_kill
}
