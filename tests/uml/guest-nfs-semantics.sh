#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs as init of a guest: what applications do to files, on SHARE of SERVER mounted by the kernel's NFSv3 client.
. "$CW_SRC/tests/lib/uml-guest.sh"
guest_net
modprobe nfsv3
mkdir /mnt/n
ok=yes
t() { "$@" || { guest_say "FAILED: $*"; ok=no; }; }
not() { if "$@" 2>/dev/null; then guest_say "succeeded, should not: $*"; ok=no; fi; }
same() { [ "$1" = "$2" ] || { guest_say "FAILED: $3: $1, not $2"; ok=no; }; }
do_mount() {
	mount -i -t nfs -o "addr=$SERVER,vers=3,nolock,hard,proto=tcp,mountproto=tcp,port=$PORT,mountport=$PORT,mountaddr=$SERVER" \
		"$SERVER:$1" /mnt/n
}
do_mount "/$SHARE" || { guest_say "verdict mount-failed"; guest_off; }
grep -q 'rsize=1048576,wsize=1048576,namlen=255' /proc/mounts || { guest_say "FAILED: sizes $(grep /mnt/n /proc/mounts)"; ok=no; }
cd /mnt/n && mkdir work && cd work || ok=no

dd if=/dev/urandom of=/tmp/a bs=1M count=24 2>/dev/null
t cp /tmp/a a; t sync a; t cmp /tmp/a a
echo 3 >/proc/sys/vm/drop_caches; t cmp /tmp/a a
t dd if=/tmp/a of=a bs=777 count=5 seek=9 skip=9 conv=notrunc status=none; t cmp /tmp/a a
t truncate -s 1234567 a; same "$(stat -c %s a)" 1234567 size; t cmp -n 1234567 /tmp/a a
t truncate -s 2000000 a; echo 3 >/proc/sys/vm/drop_caches
same "$(tail -c 765433 a | tr -d '\0' | wc -c)" 0 "extended with zeros"
t ln -s a link; same "$(readlink link)" a readlink
not ln a hard; not mkfifo pipe; not mknod dev c 1 3
t mv a b; t test -f b; not test -e a
t chmod 600 b; same "$(stat -c %a b)" 600 mode
t chown 5:6 b; same "$(stat -c %u:%g b)" 5:6 owner
t touch -d '2001-02-03 04:05:06.789' b; same "$(stat -c %y b | cut -c1-23)" "2001-02-03 04:05:06.789" mtime
for i in $(seq 300); do echo "$i" >"f$i"; done
same "$(find . -name 'f*' | wc -l)" 300 "names"
rm f*; same "$(find . -name 'f*' | wc -l)" 0 "names after rm"
mkdir -p x/y/z; not rmdir x; t rm -r x; not test -e x
exec 5>open; rm open; echo data >&5; exec 5>&-
same "$(find . -name '.nfs*' | wc -l)" 0 "left over silly renames"
t touch "$(printf 'n%.0s' $(seq 255))"; not touch "$(printf 'n%.0s' $(seq 256))"
(set -o noclobber; echo 1 >excl) 2>/dev/null || ok=no
not bash -c 'set -o noclobber; echo 2 >excl'
echo aa >app; echo bb >>app; same "$(tr '\n' , <app)" aa,bb, append
t cp -a /etc/ssl/certs certs; t diff -r /etc/ssl/certs certs
(for i in $(seq 40); do echo "one $i" >>"p$i"; done) & (for i in $(seq 40); do echo "two $i" >"q$i"; done) & wait
same "$(cat p* q* | wc -l)" 80 "two processes"
mkdir deep; cd deep && for i in $(seq 40); do mkdir "d$i" && cd "d$i" || ok=no; done; echo bottom >file
cd /mnt/n/work; same "$(cat "$(find deep -name file)")" bottom "40 levels"
cd / && t umount /mnt/n
t do_mount "/$SHARE/work/certs"; t diff -r /etc/ssl/certs /mnt/n; t umount /mnt/n
not do_mount /absent; not do_mount "/$SHARE/absent"
guest_say "verdict $ok"
guest_off
