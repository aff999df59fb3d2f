# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# uml-initiator.sh - sourced after uml-guest.sh: open-iscsi in a guest. The script defines fail TEXT.
#
#   initiator_up NAME [LINE...]  modules and iscsid for initiator NAME; LINEs go to iscsid.conf
#   disk_of_session N            name (sda) of the Nth disk of our sessions, once it is there
#   dev NAME                     its device node, made where devtmpfs is missing

initiator_up() {
	modprobe iscsi_tcp && modprobe sd_mod || fail "modules"
	modprobe crc32c 2>/dev/null
	modprobe crc32c_generic 2>/dev/null
	mount -t tmpfs tmpfs /etc/iscsi && mkdir -p /run/lock/iscsi
	echo "InitiatorName=$1" >/etc/iscsi/initiatorname.iscsi
	shift
	cat >/etc/iscsi/iscsid.conf <<-CONF
		iscsid.startup = /usr/sbin/iscsid
		node.startup = manual
		node.conn[0].iscsi.HeaderDigest = CRC32C
		node.conn[0].iscsi.DataDigest = CRC32C
		node.session.timeo.replacement_timeout = 600
		node.conn[0].timeo.login_timeout = 30
		node.session.initial_login_retry_max = 8
		node.session.cmds_max = 128
		node.session.queue_depth = 64
	CONF
	printf '%s\n' "$@" >>/etc/iscsi/iscsid.conf
	iscsid || fail "iscsid"
}

disk_of_session() {
	local d
	for _ in $(seq 100); do
		d=$(ls -d /sys/class/iscsi_session/session*/device/target*/*:*/block/sd* 2>/dev/null | sed -n "$1p")
		if [ -n "$d" ]; then
			basename "$d"
			return
		fi
		sleep 0.1
	done
	fail "no disk $1"
}

dev() {
	[ -b "/dev/$1" ] || mknod "/dev/$1" b $(tr : ' ' <"/sys/class/block/$1/dev")
	echo "/dev/$1"
}
