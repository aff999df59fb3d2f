#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs as init of a guest: mounts SHARE of SERVER by NFSv3, unpacks TAR, compiles some of it, compares it with REF.
. "$CW_SRC/tests/lib/uml-guest.sh"
guest_net; guest_say "server=$SERVER port=$PORT share=$SHARE tar=$TAR"
modprobe nfsv3 || guest_say "no nfs module"
mkdir -p /mnt/nfs
mount_share() {
	local i
	for i in $(seq 30); do # a mount is no mounted share: it fails while the server is down
		mount -i -t nfs -o "addr=$SERVER,vers=3,nolock,hard,proto=tcp,mountproto=tcp,port=$PORT,mountport=${MPORT:-$PORT},mountaddr=$SERVER" \
			"$SERVER:/$SHARE" /mnt/nfs && return
		sleep 0.5
	done
	return 1
}
mount_share || { guest_say "verdict mount-failed"; guest_off; }
t0=$(date +%s.%N)
cd /mnt/nfs && tar xf "/mnt/host$TAR" || { guest_say "verdict tar-failed"; guest_off; }
t1=$(date +%s.%N)
guest_say "unpacked $(tar tf "/mnt/host$TAR" | wc -l) entries in $(echo "$t1 - $t0" | bc 2>/dev/null || awk "BEGIN{print $t1-$t0}") s"
mkdir -p out
ok=yes
for f in scripts/basic/fixdep scripts/kallsyms scripts/unifdef scripts/bin2c scripts/mod/mk_elfconfig scripts/recordmcount; do
	gcc -O1 -o "out/$(basename $f)" "$f.c" 2>>out/log || { ok=no; tail -n 3 out/log; }
done
(cd scripts/dtc/libfdt && gcc -O1 -I. -shared -fPIC -o ../../../out/libfdt.so ./*.c) || ok=no
echo 'int x;' | out/unifdef | grep -q 'int x' || ok=no
guest_say "compiled $ok"
mv out out.renamed && rm -r out.renamed || ok=no
cd / && umount /mnt/nfs
mount_share || ok=no
diff -r --no-dereference "/mnt/host$REF" /mnt/nfs >/tmp/diff 2>&1 || { ok=no; head -n 20 /tmp/diff; }
umount /mnt/nfs || ok=no
guest_say "verdict $ok"
guest_off
