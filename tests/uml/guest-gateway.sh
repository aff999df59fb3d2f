#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs as init of a guest that is the gateway's machine: cache and index on its own disk (ubd0, ext4), store and clients outside.
# It proves the promises offline before each start. CONF is causewayd's configuration on the host.
. "$CW_SRC/tests/lib/uml-guest.sh"
guest_net
[ -b /dev/ubda ] || mknod /dev/ubda b 98 0
mkdir -p /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk || { guest_say "verdict disk-failed"; guest_off; }
mkdir -p /mnt/disk/home
if [ -e /mnt/disk/home/cache/index.db ]; then
	"$O/causeway" --config "/mnt/host$CONF" check >/tmp/check 2>&1 || { guest_say "CHECK FAILED"; cat /tmp/check; }
fi
"$O/causewayd" --config "/mnt/host$CONF"
guest_say "causewayd ended with $?"
umount /mnt/disk
guest_off
