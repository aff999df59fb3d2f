#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""Renaming a directory with 10,000 files is one row: acknowledged at once, crash-resumable, and free
where nothing was uploaded yet."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import nfs3  # noqa: E402

FILES = int(os.environ.get("CW_FILES", "10000"))
AT_ONCE = 1.0 * faultgw.SLOW


def names():
    return ["d%02d/f%04d" % (i % 20, i) for i in range(FILES)]


def fill(c, top):
    """Many calls in flight: 10,000 creates one by one would take the test's whole time."""
    c.mkdir(top)
    for i in range(20):
        c.mkdir("%s/d%02d" % (top, i))
    window = []

    def take():
        xid = window.pop(0)
        r = c.raw.recv(xid)
        assert r.u32() == nfs3.OK

    for n in names():
        up, _, name = n.rpartition("/")
        args = nfs3.opaque(c.fh(top + "/" + up)) + nfs3.opaque(name) + nfs3.u32(0) + nfs3.sattr(mode=0o640)
        window.append(c.raw.send(100003, 8, args))
        if len(window) >= 64:
            take()
    while window:
        take()
    for n in names()[::100]:
        c.write(top + "/" + n, 0, n.encode())


def body_of(n, i):
    return n.encode() if i % 100 == 0 else b""


def expect_bucket(g, bucket, top):
    keys = set(g.objects(bucket))
    want = {top + "/"} | {"%s/d%02d/" % (top, i) for i in range(20)} | {top + "/" + n for n in names()}
    assert keys == want, "missing %s, too many %s" % (sorted(want - keys)[:5], sorted(keys - want)[:5])
    for i, n in enumerate(names()):
        if i % 100 == 0:
            assert g.body(bucket, top + "/" + n) == n.encode(), n
    h = g.s3.head_object(Bucket=bucket, Key=top + "/" + names()[1])
    assert h["Metadata"]["file-permissions"] == "0100640", h["Metadata"]


def expect_nfs(c, top):
    c.forget()
    assert sorted(c.list()) == [top]
    have = {"d%02d/%s" % (i, n) for i in range(20) for n in c.list("%s/d%02d" % (top, i))}
    assert have == set(names()), len(have)
    for i, n in enumerate(names()):
        if i % 500 == 0:
            assert c.get(top + "/" + n) == body_of(n, i)


def rename(c, a, b):
    start = time.monotonic()
    assert c.rename(a, b) == nfs3.OK
    took = time.monotonic() - start
    print("  %s -> %s acknowledged after %.0f ms" % (a, b, took * 1000), flush=True)
    assert took < AT_ONCE, took


def before_first_upload():
    """Renamed before it was uploaded: no copy, no delete, no object under the old name."""
    # 15 % of the settle time is what a committed file waits: longer than this test needs to fill
    with faultgw.Gateway(settle_ms=300000, max_age_ms=900000) as g:
        g.share("early")
        c = g.nfs("early")
        c.put("first", b"")  # the store is probed once, with objects of the gateway's own
        g.drain()
        c.remove("first")
        g.drain()
        faultgw.wait_for("the deletion", lambda: not g.objects("early"))
        g.clear_stats()
        fill(c, "old")
        assert not g.ops().get("PutObject"), "the test is too slow: it began to upload"
        rename(c, "old", "new")
        rename(c, "new", "newer")
        g.drain(200)
        ops = g.ops()
        print("  %s" % ops)
        for op in ("CopyObject", "DeleteObject", "DeleteObjects", "UploadPartCopy"):
            assert not ops.get(op), ops
        assert ops["PutObject"] <= FILES + 40, ops
        expect_bucket(g, "early", "newer")
        expect_nfs(c, "newer")
        g.stop_and_check()


def killed_midway():
    """Renamed after the upload, killed several times while the copies run: it converges."""
    with faultgw.Gateway() as g:
        g.share("late")
        c = g.nfs("late")
        fill(c, "first")
        g.drain(200)
        g.clear_stats()
        rename(c, "first", "old")
        g.drain(200)
        ops = g.ops()
        print("  undisturbed: %s" % ops)
        assert FILES <= ops["CopyObject"] <= FILES + 20, ops
        assert sum(ops.values()) <= 3.1 * FILES + 200, ops  # source's metadata, target free?, copy
        expect_bucket(g, "late", "old")
        g.clear_stats()
        g.store.faults({"op": "CopyObject", "latency_ms": 20})
        rename(c, "old", "new")
        for limit in (500, 3000, 6000):
            faultgw.wait_for("some copies", lambda: g.ops().get("CopyObject", 0) >= limit * FILES // 10000)
            g.kill()
            print("  killed after %d copies" % g.ops()["CopyObject"], flush=True)
            g.run()
        c.forget()
        rename(c, "new", "third")  # while it runs
        g.store.faults()
        g.drain(200)
        left = [k for k in g.objects("late") if not k.startswith("third/")]
        assert not left, "old names left: %d, %s" % (len(left), left[:5])
        ops = g.ops()
        print("  %s" % ops)
        assert ops.get("PutObject", 0) < 200, "contents were sent again: %s" % ops
        assert ops["CopyObject"] <= 2.2 * FILES + 500, ops
        assert not g.events("conflict"), g.events("conflict")[:3]
        expect_bucket(g, "late", "third")
        expect_nfs(c, "third")
        g.stop_and_check()


faultgw.main(before_first_upload, killed_midway)
