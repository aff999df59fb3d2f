#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""The store fails in every way it can while a volume is written and read: initiators see slowness, never an error
and never a wrong block; afterwards all converges and causeway-export gives the LUN.

CW_VOLUME_FAULT_S: seconds of each fault (default 2)."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
import iscsi  # noqa: E402
import volgw  # noqa: E402
from faultgw import MIB, s3d  # noqa: E402

SECONDS = float(os.environ.get("CW_VOLUME_FAULT_S", "2"))
# name, rules; each must have fired
FAULTS = (
    ("a third of all requests gets 503", {"op": "*", "probability": 0.3, "action": "status", "status": 503}),
    ("a third gets 500", {"op": "*", "probability": 0.3, "action": "status", "status": 500}),
    ("torn bodies", {"op": "GetObject", "probability": 0.3, "action": "torn", "at": 0.4},
     {"op": "list", "probability": 0.3, "action": "torn"}),
    ("lost replies", {"op": "PutObject", "probability": 0.4, "action": "lost-reply"},
     {"op": "DeleteObject,DeleteObjects", "probability": 0.3, "action": "lost-reply"}),
    ("no manifest can be written for a while", {"op": "PutObject", "key": "*/snap/*", "count": 6, "action": "status",
                                                "status": 503}),
    ("dropped connections", {"op": "*", "probability": 0.2, "action": "drop"}),
)


def converge(g, d, seconds=60):
    """Nothing fails any more: all is uploaded, and the same from the LUN, without the cache, and from the bucket."""
    start = time.monotonic()
    g.store.faults()
    g.drain(d.v, seconds)
    took = time.monotonic() - start
    d.check("LUN")
    g.drop_clean()
    d.check("LUN without its cache")
    d.check_export()
    s = g.state(d.v)
    assert s["owner"] and s["store_reachable"] and s["status"] == "AVAILABLE", s
    print("  %d requests, slowest %.1f s, %d BUSY; converged %.1f s after the trouble" % (
        len(d.history), d.lun.slowest, d.lun.busy, took), flush=True)


def has_fired(g):
    return [r["fired"] for r in g.store.admin("GET", "/-/faults")["rules"]]


def snapshots_too(g, d, seconds):
    """Ask for snapshots, and to delete some, for so long, and until every fault has happened.
    -> {id: requests acknowledged before}"""
    begin, snaps = time.monotonic(), {}
    while time.monotonic() < begin + seconds or (not all(has_fired(g)) and time.monotonic() < begin + 30):
        before = d.acked
        snaps[g.snapshot(d.v)] = before
        done = [s for s, state in g.snapshots(d.v).items() if state == "completed" and s in snaps]
        if len(done) > 1:
            g.delete_snapshot(done[0])
            del snaps[done[0]]
        time.sleep(0.5)
        g.drop_clean()  # so that reads go to the store
    return snaps


def matrix():
    """503, 500, torn bodies, lost replies, dropped connections, under load and with snapshots."""
    with volgw.Gateway(seal_ms=100, keep_s=1, s3="max_tries = 3") as g:
        d = volgw.Disk(g, g.volume("matrix"))
        for name, *rules in FAULTS:
            g.store.faults(*rules, seed=9)
            load = volgw.Load(d)
            try:
                snaps = snapshots_too(g, d, SECONDS)
            finally:
                load.stop()
            fired = has_fired(g)
            print("  %s: %s of %d requests" % (name, fired, sum(g.ops().values())), flush=True)
            assert all(fired), "a fault never happened"
            g.clear_stats()
            converge(g, d)
            for snap, before in snaps.items():
                g.wait_snapshot(d.v, snap)
                k = d.prefix_of(d.export("--snapshot", snap))
                assert k >= before, "the snapshot lacks requests that were acknowledged before: %d < %d" % (k, before)
                g.delete_snapshot(snap)
        d.close()
        g.stop_and_check()


def refused():
    """Nobody listens for a while: what is here is read and written, the rest waits."""
    with volgw.Gateway(s3="max_tries = 2") as g:
        d = volgw.Disk(g, g.volume("refused"))
        d.steps(200)
        g.drain(d.v)
        cold, hot = d.nblocks - 1, 0
        d.write(cold)
        g.drain(d.v)
        g.drop_clean()
        d.lun.read(hot, volgw.BLOCK)
        g.store.admin("POST", "/-/refuse?ms=%d" % (3 * SECONDS * 1000))
        start = time.monotonic()
        d.lun.slowest = 0.0
        while time.monotonic() < start + 2 * SECONDS:
            d.write(hot, 8)
            d.lun.read(hot, volgw.BLOCK)
        assert d.lun.slowest < 1 * faultgw.SLOW, "slow without the store: %.1f s" % d.lun.slowest
        volgw.wait_for("the outage to be noticed", lambda: not g.state(d.v)["store_reachable"])
        print("  meanwhile: %s" % g.state(d.v)["reason"])
        assert d.lun.read(cold * volgw.BLOCK, volgw.BLOCK) == volgw.block_bytes(cold, d.now[cold])
        print("  the cold read was answered %.1f s after the store came back" % (
            time.monotonic() - start - 3 * SECONDS))
        converge(g, d)
        d.close()
        g.stop_and_check()


def expired_token():
    """A session's token expires under load; the new one is picked up from the file."""
    with volgw.Gateway() as g:
        g.keys(s3d.ACCESS2, s3d.SECRET2, s3d.TOKEN2)
        g.stop()
        g.run()
        d = volgw.Disk(g, g.volume("token"))
        d.steps(50)
        g.store.faults({"op": "*", "action": "expired-token"})
        g.keys(s3d.ACCESS2, s3d.SECRET2, "stale token")
        load = volgw.Load(d)
        volgw.wait_for("it to be noticed", lambda: not g.state(d.v)["store_reachable"])
        print("  meanwhile: %s" % g.state(d.v)["reason"])
        g.store.faults()
        g.keys(s3d.ACCESS2, s3d.SECRET2, s3d.TOKEN2)
        load.stop()
        converge(g, d)
        d.close()
        g.stop_and_check()


def slow_uplink():
    """Far more is written than the uplink takes: overwrites coalesce, dirty data is bounded, no error."""
    rate = MIB
    with volgw.Gateway(capacity="48M", dirty_max="12M") as g:
        d = volgw.Disk(g, g.volume("slow"), nblocks=1024)
        g.store.faults({"op": "PutObject", "bytes_per_s": rate})
        g.clear_stats()
        load, peak, until = volgw.Load(d, reads=0.1), 0, time.monotonic() + 3 * SECONDS
        while time.monotonic() < until and load.failed is None:
            peak = max(peak, g.status()["cache"]["dirty_bytes"])
            time.sleep(0.1)
        load.stop()
        written, sent = g.state(d.v)["write_bytes"], g.bytes_in()
        print("  4 MiB over and over: %.0f MiB written, %.1f MiB sent, at most %.1f MiB dirty" % (
            written / MIB, sent / MIB, peak / MIB))
        assert sent < written / 4 and peak <= 12 * MIB, (written, sent, peak)
        wide = volgw.Disk(g, d.v, nblocks=8192, seed=2)
        wide.history, wide.now[:1024] = list(d.history), d.now
        d.close()
        load, peak, until = volgw.Load(wide, reads=0), 0, time.monotonic() + 3 * SECONDS
        while time.monotonic() < until and load.failed is None:
            peak = max(peak, g.status()["cache"]["dirty_bytes"])
            time.sleep(0.1)
        g.store.faults()
        load.stop()
        print("  32 MiB at random: at most %.1f MiB dirty of 12, %d BUSY" % (peak / MIB, wide.lun.busy))
        assert peak <= 13 * MIB, peak
        converge(g, wide)
        wide.close()
        g.stop_and_check()


def small_cache():
    """A cache of 2 MiB under a working set of 32 MiB, and a store that takes its time."""
    with volgw.Gateway(capacity="2M") as g:
        d = volgw.Disk(g, g.volume("small"), nblocks=8192)
        g.store.faults({"op": "*", "latency_ms": 3})
        load = volgw.Load(d)
        time.sleep(2 * SECONDS)
        load.stop()
        converge(g, d)
        used = g.status()["cache"]["used_bytes"]
        assert used <= 3 * MIB, used
        d.close()
        g.stop_and_check()


def disk_full():
    """The cache's disk is full of what cannot be uploaded: writers wait, nothing that was synced is lost."""
    with faultgw.tmpfs("24m") as disk:
        if disk is None:
            print("  left out: no tmpfs can be mounted")
            return
        with volgw.Gateway(cache=os.path.join(disk, "cache")) as g:
            d = volgw.Disk(g, g.volume("full"), nblocks=16384, patience=3)
            d.steps(50)
            d.lun.sync()
            g.store.faults({"op": "write", "action": "status", "status": 503})
            refused = None
            try:
                for block in range(0, d.nblocks, 16):
                    d.write(block, 16, fua=block % 1024 == 0)
            except iscsi.IoError as e:
                refused = e
            assert refused is not None, "64 MiB on 24 MiB?"
            print("  after %d MiB: %s" % (block * volgw.BLOCK / MIB, refused))
            assert refused.status == iscsi.BUSY, refused
            assert block * volgw.BLOCK > 10 * MIB, "full too early"
            d.look()
            g.store.faults()
            d.lun.patience = 120
            d.write(block, 16)
            converge(g, d)
            d.close()
            g.stop_and_check()


faultgw.main(matrix, refused, expired_token, slow_uplink, small_cache, disk_full)
