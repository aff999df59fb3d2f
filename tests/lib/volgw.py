# SPDX-License-Identifier: Apache-2.0
"""volgw.py - volumes of a causewayd over causeway-s3d (or another store), a disk whose blocks tell who wrote
them, and what the bucket holds of it.

    with volgw.Gateway() as g:
        v = g.volume("alpha")
        d = volgw.Disk(g, v)
        d.write(7); d.unmap(3, 4); d.check()
        g.drain(v); d.check_image(g.export(v))
"""
import contextlib
import os
import random
import shutil
import struct
import subprocess
import threading
import time

import faultgw
import iscsi
import volfmt
from faultgw import MIB, wait_for  # noqa: F401

BLOCK = 4096
GIB = 1 << 30
AUTHORITY = "iqn.1997-05.com.amazon:"
BUCKET, PREFIX = "volumes", "vols/"
EXPORT = os.path.join(faultgw.O, "causeway-export")


class Volume:
    def __init__(self, name, arn):
        self.name, self.arn, self.id, self.iqn = name, arn, arn.split("/")[-1], AUTHORITY + name


class Gateway(faultgw.Gateway):
    """seal_ms, keep_s: [volumes]; volumes: more of its lines; keys: lines of [keys]"""

    def __init__(self, seal_ms=300, keep_s=86400, volumes="", keys="", **kw):
        self.iscsi_port = faultgw.free_ports(1)[0]
        self.cached_arn = None
        conf = kw.pop("conf", "")
        if os.environ.get("CW_VOLUME_STORE") == "rgw":
            kw.setdefault("store", faultgw.OtherStore())
        super().__init__(conf="""[cache]
disk.buffer = disks/buffer
disk.stored = disks/stored
disk_size.stored = 1G
[iscsi]
listen = 127.0.0.1:%d
[volumes]
bucket = %s
prefix = %s
seal_interval_ms = %d
recovery_keep_s = %d
%s
[keys]
%s
%s""" % (self.iscsi_port, BUCKET, PREFIX, seal_ms, keep_s, volumes, keys, conf), **kw)
        with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou, self.s3.exceptions.BucketAlreadyExists):
            self.s3.create_bucket(Bucket=BUCKET)

    def change_conf(self, old, new):
        assert old in self.extra, old
        self.extra = self.extra.replace(old, new)
        self.write_conf()

    # --- volumes --------------------------------------------------------------------------------------

    def disk_of(self, node):
        return [d["DiskId"] for d in self.sgw().list_local_disks(GatewayARN=self.cached_arn)["Disks"]
                if d["DiskNode"] == node][0]

    def activate_cached(self):
        if self.cached_arn is None:
            key = self.http("GET", "/?activationRegion=us-east-1&gatewayType=CACHED&no_redirect")[1]
            self.cached_arn = self.sgw().activate_gateway(
                ActivationKey=key.decode().strip(), GatewayName="cached", GatewayTimezone="GMT",
                GatewayRegion="us-east-1", GatewayType="CACHED")["GatewayARN"]
            self.sgw().add_cache(GatewayARN=self.cached_arn, DiskIds=[self.disk_of("cache")])
            self.sgw().add_upload_buffer(GatewayARN=self.cached_arn, DiskIds=[self.disk_of("buffer")])
        return self.cached_arn

    def volume(self, name, **kw):
        """A cached volume of 1 GiB, or what kw say; AVAILABLE when this returns."""
        args = dict(GatewayARN=self.activate_cached(), VolumeSizeInBytes=GIB, TargetName=name,
                    NetworkInterfaceId="127.0.0.1", ClientToken="token-" + name)
        args.update(kw)
        v = Volume(name, self.sgw().create_cached_iscsi_volume(**args)["VolumeARN"])
        wait_for("volume " + name, lambda: self.state(v)["status"] == "AVAILABLE")
        return v

    def lose(self):
        """SIGKILL, and everything that it kept is gone: a new machine with the same configuration, which runs."""
        self.kill()
        for name in os.listdir(self.dir):
            path = os.path.join(self.dir, name)
            if name in ("causeway.conf", "credentials", "s3-credentials", "causewayd.log"):
                continue
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        for name in ("run", "cache"):
            os.makedirs(os.path.join(self.dir, name))
        self.cached_arn = None
        self.run()

    def attach(self, v, state="AVAILABLE"):
        """Take the volume from the bucket. v stays valid."""
        self.sgw().attach_volume(GatewayARN=self.activate_cached(), VolumeARN=v.arn, NetworkInterfaceId="127.0.0.1",
                                 TargetName=v.name)
        wait_for("volume %s to be %s" % (v.name, state), lambda: self.state(v)["status"] == state)

    def state(self, v):
        return self.v1("GET", "/v1/volumes/" + v.id)

    def is_clean(self, v):
        return self.state(v)["dirty_bytes"] == 0

    def drain(self, v, seconds=60):
        self.v1("POST", "/v1/volumes/%s/drain" % v.id)
        wait_for("uploads of " + v.name, lambda: self.is_clean(v), seconds)

    def snapshot(self, v):
        return self.sgw().create_snapshot(VolumeARN=v.arn, SnapshotDescription="test")["SnapshotId"]

    def snapshots(self, v):
        """-> {id: state}"""
        return {s["id"]: s["state"] for s in self.v1("GET", "/v1/snapshots?volume=" + v.id)["snapshots"]}

    def wait_snapshot(self, v, snap, seconds=60):
        def state():
            got = self.snapshots(v).get(snap)
            assert got != "error", "snapshot %s failed" % snap
            return got == "completed"
        wait_for("snapshot " + snap, state, seconds)

    def delete_snapshot(self, snap):
        self.v1("DELETE", "/v1/snapshots/" + snap)

    # --- the bucket ---------------------------------------------------------------------------------------

    def export(self, v, *args, rc=0):
        """causeway-export of the first part of a volume. -> the bytes, or what it said when rc is not 0"""
        r = subprocess.run([EXPORT, "--endpoint", self.store.endpoint, "--path-style", "--credentials",
                            os.path.join(self.dir, "s3-credentials"), "--bucket", BUCKET, "--prefix", PREFIX,
                            "--volume", v.id, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = r.stderr.decode(errors="replace")
        assert r.returncode == rc, "causeway-export %s: %d %s" % (" ".join(args), r.returncode, said)
        return said if rc else r.stdout

    def keys_of(self, v, part=""):
        """-> {key below the volume's prefix: ETag}"""
        top = PREFIX + v.id + "/"
        out = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=top + part):
            out.update((o["Key"][len(top):], o["ETag"]) for o in page.get("Contents", []))
        return out

    def only_what_is_needed(self, v):
        """Is there nothing in the bucket but what the image and the snapshots need, and all of that?"""
        keys = self.keys_of(v)
        have = {k for k in keys if k.startswith(("log/", "map/"))}
        try:
            want = volfmt.referenced(keys, lambda key: self.object(v, key))
        except self.s3.exceptions.NoSuchKey:  # deleted since it was listed
            return False
        assert not want - have, "missing: %s" % sorted(want - have)
        return have == want

    def object(self, v, key):
        return self.body(BUCKET, PREFIX + v.id + "/" + key)

    def replace(self, v, key, data):
        self.s3.put_object(Bucket=BUCKET, Key=PREFIX + v.id + "/" + key, Body=data)


def block_bytes(block, serial):
    """What write number `serial` puts into a block: says so itself, and does not compress to nothing."""
    return struct.pack("<QQ", block, serial) + random.Random(serial << 32 | block).randbytes(BLOCK - 16)


class Load:
    """Requests to a disk from a thread of its own until stop(); an error there is one of the test."""

    def __init__(self, disk, rest=0.0, reads=0.3, syncs=0.02):
        self.disk, self.rest, self.reads, self.syncs = disk, rest, reads, syncs
        self.failed, self.is_stopping, self.count = None, False, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.is_stopping:
                r = self.disk.rng.random()
                if r < self.reads:
                    self.disk.look()
                elif r < self.reads + self.syncs:
                    self.disk.lun.sync()
                else:
                    self.disk.step()
                self.count += 1
                time.sleep(self.rest)
        except BaseException as e:
            self.failed = e

    def stop(self):
        self.is_stopping = True
        self.thread.join()
        if self.failed is not None:
            raise self.failed


class Disk:
    """The first blocks of a LUN and their whole history: one request at a time, each with a number.

    now: what the LUN holds already, as a serial a block (a clone); first: no serial of ours is below it"""

    def __init__(self, g, v, nblocks=2048, seed=1, now=None, first=0, **kw):
        self.g, self.v, self.nblocks, self.kw = g, v, nblocks, kw
        self.rng = random.Random(seed)
        self.history = []  # (block, blocks, serial; 0 = zeros); its length is the number of requests
        self.now, self.first = list(now or [0] * nblocks), first
        self.acked = 0  # so many of them
        self.lun = None
        self.connect()

    def connect(self):
        if self.lun is not None:
            self.lun.close()
        self.lun = iscsi.Lun(self.g.iscsi_port, self.v.iqn, **self.kw)

    def close(self):
        self.lun.close()

    def note(self, block, n, is_zero):
        self.history.append((block, n, 0 if is_zero else self.first + len(self.history) + 1))
        self.now[block:block + n] = [self.history[-1][2]] * n
        return self.history[-1][2]

    def write(self, block, n=1, fua=False):
        serial = self.note(block, n, False)
        self.lun.write(block * BLOCK, b"".join(block_bytes(block + i, serial) for i in range(n)), fua)
        self.acked = len(self.history)

    def unmap(self, block, n=1):
        self.note(block, n, True)
        self.lun.unmap(block * BLOCK, n * BLOCK)
        self.acked = len(self.history)

    def step(self, most=8):
        """Something random."""
        n = self.rng.randrange(1, most + 1)
        block = self.rng.randrange(self.nblocks - n)
        if self.rng.random() < 0.1:
            self.unmap(block, n)
        else:
            self.write(block, n)

    def steps(self, n, most=8):
        for _ in range(n):
            self.step(most)

    def look(self, most=16):
        """Read something random: it must be what was written last."""
        n = self.rng.randrange(1, most + 1)
        block = self.rng.randrange(self.nblocks - n)
        got = self.lun.read(block * BLOCK, n * BLOCK)
        for b in range(block, block + n):
            at = (b - block) * BLOCK
            want = block_bytes(b, self.now[b]) if self.now[b] else bytes(BLOCK)
            assert got[at:at + BLOCK] == want, "block %d should hold write %d, holds %s" % (
                b, self.now[b], struct.unpack("<QQ", got[at:at + 16]))

    # --- the oracle -----------------------------------------------------------------------------------------

    def image(self, now=None):
        now = self.now if now is None else now
        return b"".join(block_bytes(b, s) if s else bytes(BLOCK) for b, s in enumerate(now))

    def check_image(self, data, now=None, what="image"):
        want = self.image(now)
        data = data[:len(want)]
        if data == want:
            return
        assert len(data) == len(want), (what, len(data), len(want))
        for b in range(self.nblocks):
            got = data[b * BLOCK:(b + 1) * BLOCK]
            if got != want[b * BLOCK:(b + 1) * BLOCK]:
                raise AssertionError("%s: block %d should hold write %d, holds %s" % (
                    what, b, (self.now if now is None else now)[b], struct.unpack("<QQ", got[:16])))

    def read(self):
        return b"".join(self.lun.read(off, min(MIB, self.nblocks * BLOCK - off))
                        for off in range(0, self.nblocks * BLOCK, MIB))

    def check(self, what="LUN"):
        self.check_image(self.read(), what=what)

    def export(self, *args, **kw):
        return self.g.export(self.v, "--length", str(self.nblocks * BLOCK), *args, **kw)

    def check_export(self, *args, now=None):
        self.check_image(self.export(*args), now, "export " + " ".join(args))

    def serials(self, data):
        """-> the write number that each block of an image tells; every byte is looked at"""
        out = []
        for b in range(self.nblocks):
            got = data[b * BLOCK:(b + 1) * BLOCK]
            block, serial = struct.unpack("<QQ", got[:16])
            want = bytes(BLOCK) if serial == 0 else block_bytes(b, serial)
            assert got == want, "block %d is none that was ever written: %d of block %d" % (b, serial, block)
            out.append(serial)
        return out

    def state_at(self, k):
        """-> what each block holds after the first k requests"""
        state = [0] * self.nblocks
        for block, n, serial in self.history[:k]:
            state[block:block + n] = [serial] * n
        return state

    def prefix_of(self, data):
        """-> K: the image is exactly the first K requests. An AssertionError if it is no prefix."""
        seen = self.serials(data)
        count = {serial: k + 1 for k, (_, _, serial) in enumerate(self.history) if serial}
        newest = max(count.get(s, 0) for s in seen)
        state = [0] * self.nblocks
        differ = sum(s != 0 for s in seen)
        for k in range(len(self.history) + 1):
            if k >= newest and differ == 0:
                return k
            if k == len(self.history):
                break
            block, n, serial = self.history[k]
            for b in range(block, block + n):
                differ += (state[b] == seen[b]) - (serial == seen[b])
                state[b] = serial
        raise AssertionError("no prefix of the %d requests; newest write in it is %d" % (len(self.history), newest))
