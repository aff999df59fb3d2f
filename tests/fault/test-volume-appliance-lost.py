#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""The appliance is lost while its volumes are written: another one, with nothing but the bucket, attaches them. What it
finds is the volume as it was between two requests, and not older than the configured bound.

CW_SEED: when it is lost."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
import volgw  # noqa: E402

SEED = int(os.environ.get("CW_SEED", "1"))
INTERVAL_MS = 1000


class TimedDisk(volgw.Disk):
    """Remembers when each request was answered."""

    def __init__(self, *args, **kw):
        self.times = []
        super().__init__(*args, **kw)

    def write(self, *args, **kw):
        super().write(*args, **kw)
        self.times.append(time.monotonic())

    def unmap(self, *args, **kw):
        super().unmap(*args, **kw)
        self.times.append(time.monotonic())


def recovered(g, d, lost_at):
    """The volume after the loss: which requests are in it? d goes on from there."""
    g.attach(d.v)
    d.connect()
    image = d.read()
    k = d.prefix_of(image)
    missing = [t for t in d.times[k:] if t < lost_at]
    age = lost_at - missing[0] if missing else 0
    print("  %d of %d requests are there, the oldest that is lost was answered %.2f s before" % (k, d.acked, age))
    assert age < (INTERVAL_MS / 1000 + 1) * faultgw.SLOW, "the recovery point is too old: %.2f s" % age
    assert k > 0
    d.check_image(d.export(), d.state_at(k), "export after the loss")
    del d.history[k:], d.times[k:]
    d.now, d.acked = d.state_at(k), k
    d.first += 1 << 32  # a number that was lost is not given again
    return k


def under_load():
    """Three times in a row, each time by a machine that knows nothing."""
    rng = random.Random(SEED)
    with volgw.Gateway(seal_ms=INTERVAL_MS) as g:
        v = g.volume("lost")
        d = TimedDisk(g, v, nblocks=1024, seed=SEED, reconnect=False)
        for _ in range(3):
            load = volgw.Load(d)
            time.sleep(2 * INTERVAL_MS / 1000 + rng.random())
            lost_at = time.monotonic()
            g.lose()
            try:
                load.stop()
            except Exception as e:  # the request under way has no answer
                print("  its client: %s" % e)
            recovered(g, d, lost_at)
            d.check("LUN after the loss")
        g.drain(v)
        g.drop_clean()
        d.check()
        d.check_export()
        d.close()
        g.stop_and_check()


def with_snapshots():
    """Snapshots and recovery points outlive the appliance as well, and are usable by the other one."""
    with volgw.Gateway(seal_ms=100) as g:
        d = TimedDisk(g, g.volume("kept"), nblocks=256, seed=SEED, reconnect=False)
        d.steps(50)
        snap, then = g.snapshot(d.v), list(d.now)
        g.wait_snapshot(d.v, snap)
        d.steps(50)
        g.drain(d.v)
        d.close()
        g.lose()
        recovered(g, d, time.monotonic())
        d.check()
        assert g.snapshots(d.v) == {snap: "completed"}, g.snapshots(d.v)
        d.check_export("--snapshot", snap, now=then)
        c = volgw.Disk(g, g.volume("clone", SnapshotId=snap), nblocks=256, now=then, first=1 << 33)
        c.check("clone of a snapshot of the lost appliance")
        c.steps(20)
        c.check()
        c.close()
        d.close()
        g.stop_and_check()


faultgw.main(under_load, with_snapshots)
