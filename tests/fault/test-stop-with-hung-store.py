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

        g.hang_store()
        new = faultgw.pattern("new", 20 * MIB)
        c.put("small", b"small")
        c.put("big", new)
        c2.put("big", new)
        c.rename("old", "renamed")
        reader = threading.Thread(target=read_something, args=(g,), daemon=True)
        reader.start()
        time.sleep(1)  # let the requests get there
        g.stop_quickly()
        g.free_store()

        # and right after a start, when it asks whether the bucket is there
        g.hang_store()
        g.run()
        time.sleep(0.5)
        g.stop_quickly()
        g.free_store()

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
