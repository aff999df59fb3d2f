#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""Snapshots of volumes: a chain of them with random deletes and kills in between, clones that go their own way, and
snapshots while clients write.

CW_SNAPSHOTS: how long the chain is (default 50); CW_SEED: its seed."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
import volgw  # noqa: E402

SNAPSHOTS = int(os.environ.get("CW_SNAPSHOTS", "50"))
SEED = int(os.environ.get("CW_SEED", "1"))
KEEP_S = 1


def check_snapshots(g, d, snaps):
    for snap, now in snaps.items():
        d.check_export("--snapshot", snap, now=now)


def take(g, d):
    """-> its id, when it is complete"""
    snap = g.snapshot(d.v)
    g.wait_snapshot(d.v, snap)
    return snap


def chain():
    """A long chain with random deletes and kills: what remains is bit-exact, what nobody needs is gone."""
    rng = random.Random(SEED)
    with volgw.Gateway(seal_ms=100, keep_s=KEEP_S) as g:
        d = volgw.Disk(g, g.volume("chain"), nblocks=512, seed=SEED)
        snaps, deleted = {}, 0
        for i in range(SNAPSHOTS):
            d.steps(rng.randrange(1, 30), most=64)  # so much that objects soon serve one snapshot alone
            if i % 20 == 13:
                d.lun.sync()
                g.kill()
                g.run()
                d.connect()
            snaps[take(g, d)] = list(d.now)
            while snaps and rng.random() < 0.5:
                gone = rng.choice(list(snaps))
                g.delete_snapshot(gone)
                del snaps[gone]
                deleted += 1
            if i % 10 == 9:
                check_snapshots(g, d, snaps)
                d.check_export()
                d.check()
        # the checkpoint of a last snapshot leaves no log behind it, and soon no recovery point before it
        last = take(g, d)
        time.sleep(KEEP_S + 0.2)
        g.delete_snapshot(last)
        volgw.wait_for("what nobody needs to go", lambda: g.only_what_is_needed(d.v))
        print("  %d snapshots, %d deleted, %d remain in %d objects" % (
            SNAPSHOTS, deleted, len(snaps), len(g.keys_of(d.v, "log/"))))
        check_snapshots(g, d, snaps)
        d.check_export()
        for snap in snaps:
            g.delete_snapshot(snap)
        volgw.wait_for("the manifests to go", lambda: not g.keys_of(d.v, "snap/"))
        volgw.wait_for("the rest to go", lambda: g.only_what_is_needed(d.v))
        g.drop_clean()
        d.check("LUN at the end")
        d.check_export()
        d.close()
        g.stop_and_check()


def clone():
    """A clone begins as its snapshot and goes its own way, also when snapshot and source are gone."""
    with volgw.Gateway(seal_ms=100, keep_s=KEEP_S) as g:
        d = volgw.Disk(g, g.volume("source"), nblocks=512, seed=SEED)
        d.steps(100)
        snap, then = take(g, d), list(d.now)
        d.steps(50)
        c = volgw.Disk(g, g.volume("clone", SnapshotId=snap), nblocks=512, seed=SEED + 1, now=then, first=1 << 32)
        c.check("clone as it begins")
        c.steps(100)
        d.steps(100)
        for each in (c, d):
            g.drain(each.v)
            each.check()
            each.check_export()
        d.check_export("--snapshot", snap, now=then)
        g.delete_snapshot(snap)
        d.close()
        g.sgw().delete_volume(VolumeARN=d.v.arn)
        volgw.wait_for("the source to go", lambda: d.v.arn not in [
            x["VolumeARN"] for x in g.sgw().list_volumes()["VolumeInfos"]])
        g.drop_clean()
        c.check("clone of a source that was deleted")
        c.check_export()
        # a clone of the clone needs both of them, and outlives them
        snap = take(g, c)
        e = volgw.Disk(g, g.volume("second", SnapshotId=snap), nblocks=512, seed=SEED + 2, now=c.now, first=1 << 33)
        g.delete_snapshot(snap)
        c.steps(50)
        c.close()
        g.sgw().delete_volume(VolumeARN=c.v.arn)
        volgw.wait_for("the first clone to go", lambda: c.v.arn not in [
            x["VolumeARN"] for x in g.sgw().list_volumes()["VolumeInfos"]])
        g.drop_clean()
        e.check("clone of a clone, of which all before it were deleted")
        e.check_export()
        e.steps(50)
        e.close()
        g.sgw().delete_volume(VolumeARN=e.v.arn)
        volgw.wait_for("all three to be gone from the bucket", lambda: not any(g.keys_of(x.v) for x in (c, d, e)))
        g.stop_and_check()


def under_load():
    """Each is the volume between two requests: all that was answered before it was asked for, nothing begun after it
    was complete."""
    with volgw.Gateway(seal_ms=200) as g:
        d = volgw.Disk(g, g.volume("load"), nblocks=1024, seed=SEED)
        load, snaps = volgw.Load(d), []
        try:
            for _ in range(5):
                before = d.acked
                snap = take(g, d)
                snaps.append((snap, before, len(d.history)))
                time.sleep(0.3)
        finally:
            load.stop()
        for snap, before, after in snaps:
            k = d.prefix_of(d.export("--snapshot", snap))
            assert before <= k <= after, (before, k, after)
        print("  taken after %s of %d requests" % ([s[1] for s in snaps], len(d.history)))
        g.drain(d.v)
        d.check()
        d.check_export()
        d.close()
        g.stop_and_check()


faultgw.main(chain, clone, under_load)
