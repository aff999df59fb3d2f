#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=240
"""Volumes and snapshots that are deleted while the store does not answer: gone for the user at once, gone from
the bucket when it answers again, over restarts; nobody's stop waits for it, and what a snapshot needs stays."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
import volgw  # noqa: E402


def listed(g):
    return [v["VolumeARN"] for v in g.sgw().list_volumes()["VolumeInfos"]]


def delete(g, v):
    start = time.monotonic()
    g.sgw().delete_volume(VolumeARN=v.arn)
    took = time.monotonic() - start
    assert took < 5 * faultgw.SLOW, "%.1f s to delete" % took
    assert v.arn not in listed(g)


def main():
    with volgw.Gateway(seal_ms=100) as g:
        gone = volgw.Disk(g, g.volume("gone"), nblocks=512, seed=1)
        kept = volgw.Disk(g, g.volume("kept"), nblocks=512, seed=2, first=1 << 32)
        for d in gone, kept:
            d.steps(50)
            g.drain(d.v)
        snap, then = g.snapshot(kept.v), list(kept.now)
        g.wait_snapshot(kept.v, snap)
        kept.steps(20)
        for d in gone, kept:
            g.drain(d.v)
            d.close()

        g.hang_store()
        delete(g, gone.v)
        delete(g, kept.v)
        time.sleep(1)  # let the requests get there
        g.stop_quickly()
        g.run()
        assert not listed(g)
        time.sleep(1)
        g.free_store()
        assert g.keys_of(gone.v) and g.keys_of(kept.v, "log/"), "deleted without the store?"
        volgw.wait_for("the volume to be gone from the bucket", lambda: not g.keys_of(gone.v), 90)
        volgw.wait_for("the other one to be deleted", lambda: b'"deleted":true' in g.object(
            kept.v, "volume.json").replace(b" ", b""), 90)
        kept.check_export("--snapshot", snap, now=then)
        assert g.snapshots(kept.v) == {snap: "completed"}, g.snapshots(kept.v)

        # what was asked for before the volume was deleted is done before it goes
        last = volgw.Disk(g, g.volume("last"), nblocks=512, seed=3, first=1 << 33)
        last.steps(50)
        first_snap = g.snapshot(last.v)
        g.wait_snapshot(last.v, first_snap)
        last.steps(20)
        last.lun.sync()
        g.hang_store()
        second_snap, now = g.snapshot(last.v), list(last.now)
        g.delete_snapshot(first_snap)
        last.close()
        delete(g, last.v)
        time.sleep(1)
        try:
            last.connect()
        except ConnectionError as e:
            print("  login to what waits for its deletion:", e)
        else:
            raise AssertionError("logged in to a volume that was deleted")
        g.stop_quickly()
        g.free_store()
        g.run()
        volgw.wait_for("the last one to be deleted", lambda: b'"deleted":true' in g.object(
            last.v, "volume.json").replace(b" ", b""), 90)
        assert g.snapshots(last.v) == {second_snap: "completed"}, g.snapshots(last.v)
        last.check_export("--snapshot", second_snap, now=now)
        assert len(g.keys_of(last.v, "snap/")) == 1, g.keys_of(last.v)

        g.hang_store()
        g.delete_snapshot(snap)
        time.sleep(1)
        g.stop_quickly()
        g.free_store()
        assert g.keys_of(kept.v, "snap/")
        g.run()
        volgw.wait_for("the rest to be gone from the bucket", lambda: not g.keys_of(kept.v), 90)
        g.stop_and_check()


main()
print("OK")
