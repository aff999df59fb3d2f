#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=120
"""A store that takes requests and does not answer keeps nobody from stopping the daemon: uploads, a
listing, a read, a probe under way are cancelled, and nothing is lost."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB  # noqa: E402

STOP_S = 9  # 3 s of grace for the calls of clients, 3 s for uploads of all shares, and a bit


def stop_quickly(g):
    start = time.monotonic()
    g.stop()
    took = time.monotonic() - start
    print("  stopped in %.1f s" % took, flush=True)
    assert took < STOP_S * faultgw.SLOW, "%.1f s to stop" % took


def hang(g):
    g.store.faults({"op": "*", "action": "latency", "latency_ms": 600000})


def freed(g):
    g.store.stop(9)  # with whatever it sleeps over
    g.store.start()


def main():
    with faultgw.Gateway(settle_ms=50) as g:
        g.share("hung")
        g.share("second")
        c, c2 = g.nfs("hung"), g.nfs("second")
        c2.put("old", b"so that the names here are known")
        c.put("old", faultgw.pattern("old", 3 * MIB))
        g.drain()
        g.s3.put_object(Bucket="hung", Key="theirs/x", Body=b"x")
        g.drop_clean()

        hang(g)
        new = faultgw.pattern("new", 20 * MIB)
        c.put("small", b"small")
        c.put("big", new)
        c2.put("big", new)
        c.rename("old", "renamed")
        reader = threading.Thread(target=read_something, args=(g,), daemon=True)
        reader.start()
        time.sleep(1)  # let the requests get there
        stop_quickly(g)
        freed(g)

        # and right after a start, when it asks whether the bucket is there
        hang(g)
        g.run()
        time.sleep(0.5)
        stop_quickly(g)
        freed(g)

        g.run()
        g.drain()
        reader.join(30)
        assert g.body("hung", "small") == b"small"
        assert g.body("hung", "big") == new and g.body("second", "big") == new
        assert g.body("hung", "renamed") == faultgw.pattern("old", 3 * MIB)
        assert "old" not in g.objects("hung")
        g.stop_and_check()


def read_something(g):
    try:
        c = faultgw.Client(g, "hung", patience=60)
        c.read("renamed", 0, MIB)
        c.list("theirs")
    except (AssertionError, OSError):
        pass  # the gateway went away under it


faultgw.main(main)
