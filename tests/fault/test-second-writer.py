#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""Others write and delete in the bucket (P9): theirs stays, ours is kept beside it, an event and
`causeway conflicts` say so; RefreshCache shows what is new, changed and gone."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, nfs3  # noqa: E402


def put(g, bucket, key, body, **meta):
    g.s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata=meta)


def gone(g, bucket, key):
    g.s3.delete_object(Bucket=bucket, Key=key)


def refresh(g, share):
    """RefreshCache to its end: names show up while it runs, so only its event says that all are there."""
    uuid = g.sgw().refresh_cache(FileShareARN=g.shares[share], FolderList=["/"], Recursive=True)["NotificationId"]
    faultgw.wait_for("the end of the refresh", lambda: [
        e for e in g.events("refresh-complete") if e["detail"]["notification-id"] == uuid], 20)


def refreshed(g, c, share, want, text):
    """RefreshCache, then want(c) must become true."""
    refresh(g, share)

    def look():
        c.forget()
        return want()

    faultgw.wait_for(text, look, 20)


def copies(g, bucket, name):
    return sorted(k for k in g.objects(bucket) if k.startswith(name + ".conflict-"))


def conflicts(g):
    """What the CLI says; it must agree with the events."""
    r = subprocess.run([os.path.join(faultgw.O, "causeway"), "--config", g.conf_path, "conflicts", "--json"],
                       stdout=subprocess.PIPE, text=True, timeout=60)
    assert r.returncode == 0, r
    return json.loads(r.stdout)["conflicts"]


class hold:
    """Uploads held back, so that the other writer is surely first."""

    def __init__(self, g):
        self.g = g

    def __enter__(self):
        self.g.store.faults({"op": "PutObject,CopyObject,DeleteObject,DeleteObjects,CreateMultipartUpload,"
                             "CompleteMultipartUpload", "key": "[!~]*", "action": "status", "status": 503})

    def __exit__(self, *_):
        self.g.store.faults()


def others(g, fn):
    """Act as the other writer while the gateway is held: rules hit everybody, so lift them shortly."""
    os.kill(g.proc.pid, 19)
    g.store.faults()
    fn()


def resume(g):
    os.kill(g.proc.pid, 18)


def content_against_content():
    """Both changed a file: the bucket's keeps its name, ours becomes a conflict copy, in full."""
    with faultgw.Gateway() as g:
        g.share("both")
        c = g.nfs("both")
        c.put("small", b"base")
        c.put("large", faultgw.pattern("base", 20 * MIB))
        g.drain()
        with hold(g):
            c.put("small", b"ours")
            c.write("large", 3 * MIB, b"ours")
            c.put("new", b"ours is new")
            c.symlink("link", "ours")
            others(g, lambda: [put(g, "both", "small", b"theirs, longer"), put(g, "both", "large", b"theirs"),
                               put(g, "both", "new", b"theirs is new"), put(g, "both", "link", b"theirs")])
            resume(g)
        g.drain()
        for name, body in (("small", b"theirs, longer"), ("large", b"theirs"), ("new", b"theirs is new"),
                           ("link", b"theirs")):
            assert g.body("both", name) == body, name
            assert len(copies(g, "both", name)) == 1, (name, copies(g, "both", name))
        large = bytearray(faultgw.pattern("base", 20 * MIB))
        large[3 * MIB:3 * MIB + 4] = b"ours"
        want = {"small": b"ours", "large": bytes(large), "new": b"ours is new", "link": b"ours"}
        c.forget()
        for name, body in want.items():
            k = copies(g, "both", name)[0]
            assert g.body("both", k) == body, k
            if name != "link":
                assert c.get(k) == body, k
        assert c.get("small") == b"theirs, longer" and c.get("large") == b"theirs"
        got = conflicts(g)
        paths = {x.get("path") or x["detail"]["path"] for x in got}
        assert len(got) == 4 and all(any(n in p for p in paths) for n in want), got
        assert len(g.events("conflict")) == 4
        assert g.status()["shares"][0]["conflicts"] == 4
        g.stop_and_check()


def deleted_behind_our_back():
    """The object of a changed file is deleted: ours comes back. Of an unchanged one: it goes, once seen."""
    with faultgw.Gateway() as g:
        g.share("del")
        c = g.nfs("del")
        for n in ("changed", "chmodded", "renamed", "untouched", "removed", "d/f"):
            if "/" in n:
                c.mkdir("d")
            c.put(n, b"base of " + n.encode())
        c.put("big", faultgw.pattern("big", 12 * MIB))
        g.drain()
        with hold(g):
            c.put("changed", b"ours")
            c.write("big", MIB, b"ours")
            c.setattr("chmodded", mode=0o600)
            assert c.rename("renamed", "renamed2") == nfs3.OK
            c.remove("removed")
            others(g, lambda: [gone(g, "del", n) for n in ("changed", "chmodded", "renamed", "untouched",
                                                           "removed", "d/f", "d/", "big")])
            resume(g)
        g.drain()
        assert g.body("del", "changed") == b"ours"
        big = bytearray(faultgw.pattern("big", 12 * MIB))
        big[MIB:MIB + 4] = b"ours"
        assert g.body("del", "big") == big, "ours was sent, whatever of it was ours alone"
        refreshed(g, c, "del", lambda: sorted(c.list()) == ["big", "changed"], "the deletions to show")
        assert c.get("changed") == b"ours" and c.get("big") == big
        assert sorted(g.objects("del")) == ["big", "changed"], sorted(g.objects("del"))
        kinds = {e["detail"]["path"].strip("/"): e["detail"]["kind"] for e in g.events("conflict")}
        assert kinds.get("changed") == "deleted-there" and kinds.get("big") == "deleted-there", kinds
        g.stop_and_check()


def deletion_against_change():
    """We removed or replaced what others changed meanwhile: theirs stays and is shown again."""
    with faultgw.Gateway() as g:
        g.share("removes")
        c = g.nfs("removes")
        c.put("a", b"base")
        c.put("b", b"base b")
        c.put("c", b"base c")
        g.drain()
        with hold(g):
            c.remove("a")
            assert c.rename("b", "c") == nfs3.OK  # replaces c, leaves b
            others(g, lambda: [put(g, "removes", "a", b"theirs"), put(g, "removes", "b", b"theirs b"),
                               put(g, "removes", "c", b"theirs c")])
            resume(g)
        g.drain()
        assert g.body("removes", "a") == b"theirs"
        refreshed(g, c, "removes", lambda: "a" in c.list() and c.get("a") == b"theirs", "theirs to be shown")
        bodies = {g.body("removes", k) for k in g.objects("removes")}
        assert {b"theirs", b"theirs b", b"theirs c"} <= bodies, bodies
        assert g.events("conflict")
        g.stop_and_check()


def attributes_against_content():
    """We changed only the mode, others the content: their bytes, our mode; no copy is needed."""
    with faultgw.Gateway() as g:
        g.share("attr")
        c = g.nfs("attr")
        c.put("f", b"base", mode=0o644)
        g.drain()
        with hold(g):
            c.setattr("f", mode=0o600)
            others(g, lambda: put(g, "attr", "f", b"theirs is another content"))
            resume(g)
        g.drain()
        assert g.body("attr", "f") == b"theirs is another content"
        faultgw.wait_for("their bytes", lambda: c.get("f") == b"theirs is another content", 20)
        assert c.getattr("f").mode & 0o777 == 0o600
        meta = g.s3.head_object(Bucket="attr", Key="f")["Metadata"]
        assert meta["file-permissions"] == "0100600", meta
        assert not copies(g, "attr", "f")
        g.stop_and_check()


def refresh_shows_it():
    """New, changed and deleted objects, prefixes and attributes, after RefreshCache; with an open handle."""
    with faultgw.Gateway() as g:
        g.share("ref")
        c = g.nfs("ref")
        c.put("keep", b"keep")
        c.put("change", b"before")
        c.put("grow", faultgw.pattern("g", MIB))
        c.mkdir("dir")
        c.put("dir/x", b"x")
        c.put("loses", b"bytes")
        g.drain()
        assert sorted(c.list()) == ["change", "dir", "grow", "keep", "loses"]
        fh = c.fh("change")
        put(g, "ref", "change", b"after", **{"file-permissions": "0100600", "file-owner": "7",
                                             "file-group": "8", "file-mtime": "1234567890123456789ns"})
        put(g, "ref", "grow", faultgw.pattern("h", 2 * MIB))
        put(g, "ref", "fresh", b"fresh")
        put(g, "ref", "implicit/deep/er", b"deep")
        put(g, "ref", "marker/", b"", **{"file-permissions": "0040700"})
        gone(g, "ref", "loses")
        gone(g, "ref", "dir/x")
        refreshed(g, c, "ref", lambda: sorted(c.list()) == ["change", "dir", "fresh", "grow", "implicit", "keep",
                                                            "marker"], "the new names")
        assert c.fh("change") == fh, "the handle changed"
        assert c.get("change") == b"after" and c.get("fresh") == b"fresh"
        assert c.get("grow") == faultgw.pattern("h", 2 * MIB)
        assert c.get("implicit/deep/er") == b"deep" and c.list("dir") == {}
        a = c.getattr("change")
        assert (a.mode & 0o7777, a.uid, a.gid, a.mtime) == (0o600, 7, 8, (1234567890, 123456789)), a
        assert c.getattr("marker").mode & 0o7777 == 0o700
        assert not g.events("conflict"), g.events("conflict")
        assert [e for e in g.events() if "refresh" in e["type"].lower()], [e["type"] for e in g.events()]
        # names that cannot be files must not hurt
        for key in ("a//b", "bad/../x", "keep/under-a-file", "x" * 300, "./y", "nul\x01"):
            put(g, "ref", key, b"odd")
        refreshed(g, c, "ref", lambda: c.getattr("keep").type == nfs3.DIR, "a name that is object and prefix")
        assert c.get("keep/under-a-file") == b"odd"  # or else what is below it could not be reached
        assert c.get("fresh") == b"fresh"
        g.drain()
        assert g.body("ref", "keep/under-a-file") == b"odd" and g.body("ref", "keep") == b"keep"
        g.stop_and_check()


def local_wins():
    """The setting of the share: ours overwrites, and it is still said."""
    with faultgw.Gateway() as g:
        g.share("mine", Tags=[{"Key": "causeway:conflict-policy", "Value": "local-wins"}])
        c = g.nfs("mine")
        c.put("f", b"base")
        g.drain()
        with hold(g):
            c.put("f", b"ours")
            others(g, lambda: put(g, "mine", "f", b"theirs"))
            resume(g)
        g.drain()
        assert g.body("mine", "f") == b"ours" and not copies(g, "mine", "f")
        assert len(g.events("conflict")) == 1
        g.stop_and_check()


def torn_reads_of_a_changing_object():
    """An object that others replace while it is read never gives a mix, once it stops changing."""
    with faultgw.Gateway() as g:
        g.share("mix")
        versions = [faultgw.pattern(i, 6 * MIB) for i in range(5)]
        put(g, "mix", "f", versions[0])
        c = g.nfs("mix")
        for v in list(versions):
            put(g, "mix", "f", v)
            g.drop_clean()
            for off in range(0, 6 * MIB, MIB):
                got = c.read("f", off, MIB)
                assert any(got == w[off:off + MIB] for w in versions), "bytes of no version"
                if off == 2 * MIB:
                    put(g, "mix", "f", v[::-1])
                    versions.append(v[::-1])
        last = versions[-1]
        refreshed(g, c, "mix", lambda: c.get("f") == last, "the last version")
        g.stop_and_check()


faultgw.main(content_against_content, deleted_behind_our_back, deletion_against_change,
             attributes_against_content, refresh_shows_it, local_wins, torn_reads_of_a_changing_object)
