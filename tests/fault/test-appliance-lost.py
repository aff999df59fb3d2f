#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""The appliance is lost: a new one over the same bucket shows everything that was clean, with modes,
owners, times, symlinks and empty directories; and it goes on working with it."""
import os
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, s3d  # noqa: E402

FILES = {
    "plain": (b"plain text\n", 0o644, 1000, 1000),
    "bin/run me": (b"#!/bin/sh\n", 0o755, 0, 0),
    "bin/suid": (b"x" * 5000, 0o4711, 3, 4),
    "dir/sub/deep/empty": (b"", 0o600, 4294967294, 4294967294),
    "dir/naïve ☃ name": (b"utf-8", 0o444, 12, 34),
    "dir/%41 + & <x>": (b"signs", 0o664, 5, 6),
    "dir/big": (faultgw.pattern("big", 20 * MIB + 17), 0o640, 7, 8),
    "dir/nul\x01ctl": (b"control", 0o600, 1, 1),
}
DIRS = {"bin": 0o755, "dir": 0o750, "dir/sub": 0o700, "dir/sub/deep": 0o1777, "void": 0o711,
        "void/inner": 0o2755, "many": 0o755}
LINKS = {"link": "dir/big", "dir/dangling": "/no/such/place", "dir/link to ☃": "naïve ☃ name"}
MANY = 300


def fill(c):
    for d, mode in DIRS.items():
        c.mkdir(d, mode=mode)
    for name, (data, mode, uid, gid) in FILES.items():
        c.put(name, data, mode=mode)
        c.setattr(name, uid=uid, gid=gid)
        c.setattr(name, mode=mode)  # a change of owner drops the set-id bits
    for i in range(MANY):
        c.put("many/f%03d" % i, b"%d" % i, mode=0o600 + i % 64)
    for name, target in LINKS.items():
        c.symlink(name, target)
    for i, name in enumerate(FILES):
        c.setattr(name, mtime=(1000000000 + i * 1000, 123456789), atime=(1100000000, 987654321))
    for i, (d, mode) in enumerate(DIRS.items()):
        c.setattr(d, mode=mode, uid=i, gid=i * 2)
        c.setattr(d, mtime=(1200000000 + i, 5))


def pull(c, top, to):
    """The tree as clients see it, as files, for bucket_compare.py."""
    for name, e in c.list(top).items():
        path = (top + "/" + name).strip("/")
        full = os.path.join(to, path)
        a = c.getattr(path)
        if a.type == faultgw.nfs3.DIR:
            os.mkdir(full)
            pull(c, path, to)
        elif a.type == faultgw.nfs3.LNK:
            os.symlink(c.readlink(path), full)
        else:
            with open(full, "wb") as f:
                f.write(c.get(path))
        os.lchown(full, a.uid, a.gid)
        if not stat.S_ISLNK(os.lstat(full).st_mode):
            os.chmod(full, a.mode)
        ns = a.mtime[0] * 10**9 + a.mtime[1]
        os.utime(full, ns=(ns, ns), follow_symlinks=False)


def compare_bucket(g, c, bucket):
    to = os.path.join(g.dir, "pulled")
    shutil.rmtree(to, ignore_errors=True)
    os.mkdir(to)
    pull(c, "", to)
    env = dict(os.environ, AWS_ACCESS_KEY_ID=s3d.ACCESS, AWS_SECRET_ACCESS_KEY=s3d.SECRET)
    r = subprocess.run([os.path.join(s3d.TOP, "tests/lib/bucket_compare.py"), "--endpoint",
                        g.store.endpoint, "--bucket", bucket, to], env=env)
    assert r.returncode == 0, "the bucket is not the tree"


def lose_everything(g):
    shutil.rmtree(g.cache)
    os.mkdir(g.cache)
    g.gateway_arn = None


def lost():
    """Cache and index gone, killed first; a new gateway on the bucket."""
    if os.geteuid() != 0:
        print("skipped: owners need root")
        sys.exit(77)
    with faultgw.Gateway() as g:
        g.share("lost")
        c = g.nfs("lost")
        fill(c)
        g.drain()
        before = c.tree()
        compare_bucket(g, c, "lost")
        etags = {k: o["ETag"] for k, o in g.objects("lost").items()}
        g.kill()
        lose_everything(g)
        c.close()
        g.run()
        g.share("lost")
        c = g.nfs("lost")
        g.clear_stats()
        after = c.tree()
        for p in sorted(set(before) | set(after)):
            assert before.get(p) == after.get(p), (p, before.get(p), after.get(p))
        for name, (data, *_) in FILES.items():
            assert c.get(name) == data, name
        for i in range(0, MANY, 7):
            assert c.get("many/f%03d" % i) == b"%d" % i
        print("  seen again with %s" % g.ops(), flush=True)
        compare_bucket(g, c, "lost")
        g.drain()
        assert {k: o["ETag"] for k, o in g.objects("lost").items()} == etags, "it wrote for nothing"
        assert not g.events("conflict")
        g.stop_and_check()
        g.run()

        # what the lost one wrote is not a stranger's: the new one changes it without a conflict
        c.forget()
        c.put("plain", b"changed by the new one")
        c.write("dir/big", 10 * MIB, b"overwritten")
        c.setattr("bin/run me", mode=0o700)
        assert c.rename("many", "dir/lots") == 0
        c.remove("link")
        g.drain()
        faultgw.wait_for("the old names to go", lambda: not any(
            k.startswith("many/") for k in g.objects("lost")))
        assert not g.events("conflict"), g.events("conflict")
        compare_bucket(g, c, "lost")
        big = bytearray(FILES["dir/big"][0])
        big[10 * MIB:10 * MIB + 11] = b"overwritten"
        assert g.body("lost", "dir/big") == big
        g.stop_and_check()


def lost_with_duties():
    """What was not clean is lost with the appliance, what was clean is not; nothing is mixed."""
    with faultgw.Gateway() as g:
        g.share("half")
        c = g.nfs("half")
        c.put("clean", b"old " * 1000)
        c.mkdir("d")
        c.put("d/clean", b"stays")
        g.drain()
        g.store.faults({"op": "write", "action": "status", "status": 503})
        c.write("clean", 0, b"new " * 1000)
        c.put("never", b"seen")
        assert c.rename("d", "e") == 0
        g.kill()
        lose_everything(g)
        g.store.faults()
        c.close()
        g.run()
        g.share("half")
        c = g.nfs("half")
        assert sorted(c.tree()) == ["clean", "d", "d/clean"], sorted(c.tree())
        assert c.get("clean") == b"old " * 1000 and c.get("d/clean") == b"stays"
        g.stop_and_check()


def old_inode_numbers_mean_nothing():
    """A new index counts inodes anew: marks of the lost one must not be taken for ours."""
    with faultgw.Gateway() as g:
        g.share("anew")
        c = g.nfs("anew")
        for i in range(20):
            c.put("f%d" % i, b"first %d" % i)
        g.drain()
        g.kill()
        lose_everything(g)
        c.close()
        g.run()
        g.share("anew")
        c = g.nfs("anew")
        for i in range(19, -1, -1):  # other numbers for the same names
            c.put("f%d" % i, b"second %d" % i)
        c.put("g", b"new")
        g.drain()
        for i in range(20):
            assert g.body("anew", "f%d" % i) == b"second %d" % i
        assert not g.events("conflict"), g.events("conflict")[:3]
        g.stop_and_check()


faultgw.main(lost, lost_with_duties, old_inode_numbers_mean_nothing)
