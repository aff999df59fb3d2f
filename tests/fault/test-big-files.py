#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""Files that go up in parts: overwritten, appended to, cut, renamed, removed and killed on their way.
CW_BIG_STORE=rgw: the same with Ceph RGW as the store."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, nfs3  # noqa: E402

RGW = os.environ.get("CW_BIG_STORE") == "rgw"
SIZE = 33 * MIB
BUCKET = "big-%d" % os.getpid()


class File:
    """A file and what must be in it."""

    def __init__(self, g, c, name, size=SIZE):
        self.g, self.c, self.name = g, c, name
        self.data = bytearray(faultgw.pattern((name, size), size))
        c.create(name)
        self.send(0, size)

    def send(self, off, size):
        for at in range(off, off + size, MIB):
            n = min(MIB, off + size - at)
            self.c.write(self.name, at, bytes(self.data[at:at + n]), nfs3.UNSTABLE)
        self.c.commit(self.name)

    def write(self, off, data):
        if off + len(data) > len(self.data):
            self.data.extend(bytes(off + len(data) - len(self.data)))
        self.data[off:off + len(data)] = data
        self.send(off, len(data))

    def cut(self, size):
        del self.data[size:]
        self.c.setattr(self.name, size=size)

    def rename(self, to):
        assert self.c.rename(self.name, to) == nfs3.OK
        self.name = to

    def same_in_bucket(self):
        body = self.g.body(BUCKET, self.name)
        if body != bytes(self.data):
            bad = [i for i in range(0, max(len(body), len(self.data)), 4096)
                   if body[i:i + 4096] != self.data[i:i + 4096]]
            raise AssertionError("%s: %d bytes in the bucket, %d here; blocks differ at %s..." % (
                self.name, len(body), len(self.data), bad[:5]))

    def same_for_clients(self):
        assert self.c.get(self.name) == bytes(self.data), self.name + " is wrong for clients"

    def check(self):
        self.g.drain(120)
        self.same_in_bucket()
        self.g.drop_clean()
        self.same_for_clients()
        left = self.g.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        assert not left, "uploads left behind: %s" % left


def until_under_way(g, name):
    """-> did we see a part of it in the bucket before all of it was?"""
    g.v1("POST", "/v1/drain")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        ups = [u for u in g.v1("GET", "/v1/uploads?max=10")["uploads"] if u["path"] == "/" + name]
        if not ups:
            return False
        if 0 < ups[0]["done_bytes"] < ups[0]["size"]:
            return True
    raise AssertionError("the upload of %s makes no progress" % name)


def changes(g, c):
    """Overwritten in places, appended to, cut, grown by a hole; warm and cold."""
    rng = random.Random(4)
    f = File(g, c, "changed")
    f.check()
    for cold in (False, True):
        for step in range(3):
            f.write(rng.randrange(len(f.data) - 10000), rng.randbytes(rng.randrange(1, 10000)))
        f.check()
        f.write(len(f.data), rng.randbytes(100001))
        f.check()
        f.cut(len(f.data) - 7 * MIB - 13)
        if not cold:
            f.same_for_clients()
        f.check()
        f.write(len(f.data) + 9 * MIB + 5, b"behind a hole")
        f.check()
    f.cut(100)
    f.check()


def renamed(g, c):
    """Renamed while it goes up, and again when it is there but its change goes up."""
    f = File(g, c, "renamed")
    seen = until_under_way(g, f.name)
    f.rename("renamed.1")
    f.check()
    f.write(20 * MIB + 77, b"changed")
    seen += until_under_way(g, f.name)
    f.rename("renamed.2")
    f.check()
    f.write(30 * MIB + 77, b"and renamed before")
    f.rename("renamed.3")
    f.check()
    names = [k for k in g.objects(BUCKET) if k.startswith("renamed")]
    assert names == ["renamed.3"], names
    print("  caught under way %d of 2 times" % seen)


def overwritten(g, c):
    """Changed while it goes up: each object is one moment, the last one is all of it."""
    f = File(g, c, "overwritten")
    until_under_way(g, f.name)
    for i in range(20):
        f.write(i * MIB + 5, b"change %d" % i)
        if i == 10:
            f.cut(len(f.data) - 100)
    f.check()


def removed(g, c):
    """Removed while it goes up: no object, no upload."""
    f = File(g, c, "removed")
    until_under_way(g, f.name)
    c.remove(f.name)
    g.drain(60)
    assert "removed" not in g.objects(BUCKET)
    faultgw.wait_for("the upload to be aborted", lambda: not g.s3.list_multipart_uploads(
        Bucket=BUCKET).get("Uploads"))


def killed(g, c):
    """kill -9 while it goes up, three times: new, changed in place over a cold base, and renamed."""
    seen = 0
    f = File(g, c, "killed")
    for turn in range(3):
        seen += until_under_way(g, f.name)
        g.kill()
        g.run()
        f.check()
        for i in range(4):
            f.write((8 * i + turn) * MIB + 99, b"turn %d" % turn)
        if turn == 1:
            f.rename("killed.1")
    f.check()
    print("  caught under way %d of 3 times" % seen)


def main():
    store = faultgw.OtherStore() if RGW else None
    with faultgw.Gateway(capacity="256M", settle_ms=300, max_age_ms=30000, store=store) as g:
        if not RGW:  # so that there is a way to be on
            g.store.faults({"op": "UploadPart", "action": "latency", "latency_ms": 60})
        g.share(BUCKET)
        c = g.nfs(BUCKET)
        for case in (changes, renamed, overwritten, removed, killed):
            start = time.monotonic()
            case(g, c)
            print("  %s: %.1f s" % (case.__name__, time.monotonic() - start), flush=True)
        assert not g.events("conflict"), g.events("conflict")
        g.stop_and_check()


faultgw.main(main)
