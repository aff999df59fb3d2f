#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""A file eight times the cache: written, read back cold, overwritten in 1,000 random places. The bytes
are right and what goes up stays near the parts that were touched.

CW_FULL=1: 2 GiB through 256 MiB; else 256 MiB through 32 MiB."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, nfs3  # noqa: E402

FULL = os.environ.get("CW_FULL") == "1"
SIZE = (2048 if FULL else 256) * MIB
CACHE = (256 if FULL else 32) * MIB
OVERWRITES = 1000 if FULL else 200
BLOCK = 4096
PART = 8 * MIB  # what a part has at most at these sizes


def block(n, version):
    return faultgw.pattern((n, version), BLOCK)


class Model:
    """The file as it must be: a version for each block."""

    def __init__(self):
        self.version = {}

    def mib(self, i):
        base = faultgw.pattern(("mib", i), MIB)
        touched = [b for b in range(i * 256, i * 256 + 256) if b in self.version]
        if not touched:
            return base
        out = bytearray(base)
        for b in touched:
            out[(b - i * 256) * BLOCK:(b - i * 256 + 1) * BLOCK] = block(b, self.version[b])
        return bytes(out)


def rate(what, start, size):
    took = time.monotonic() - start
    print("  %s: %.1f s, %.0f MiB/s" % (what, took, size / MIB / took), flush=True)


def watch(g, stop, seen):
    """The cache never holds more than it may."""
    while not stop.wait(0.2):
        c = g.status()["cache"]
        seen["used"] = max(seen.get("used", 0), c["used_bytes"])
        seen["disk"] = max(seen.get("disk", 0), sum(
            os.stat(os.path.join(d, f)).st_blocks * 512
            for d, _, fs in os.walk(g.cache) for f in fs if not f.startswith("index")))


def verify_nfs(c, m):
    for i in range(SIZE // MIB):
        assert c.read("big", i * MIB, MIB) == m.mib(i), "MiB %d is wrong" % i


def verify_bucket(g, m):
    body = g.s3.get_object(Bucket="big", Key="big")["Body"]
    for i in range(SIZE // MIB):
        assert body.read(MIB) == m.mib(i), "MiB %d is wrong in the bucket" % i
    assert body.read(1) == b""


def main():
    with faultgw.Gateway(capacity=str(CACHE), settle_ms=500, max_age_ms=60000) as g:
        g.share("big")
        c, m, stop, seen = g.nfs("big"), Model(), threading.Event(), {}
        watcher = threading.Thread(target=watch, args=(g, stop, seen))
        watcher.start()
        try:
            start = time.monotonic()
            c.create("big")
            for i in range(SIZE // MIB):
                c.write("big", i * MIB, m.mib(i), nfs3.UNSTABLE)
            c.commit("big")
            rate("written", start, SIZE)
            g.drain(300)
            rate("written and in the bucket", start, SIZE)
            up = g.bytes_in()
            print("  uploaded %.2f times its size" % (up / SIZE), flush=True)

            g.drop_clean()
            start = time.monotonic()
            verify_nfs(c, m)
            rate("read cold", start, SIZE)
            verify_bucket(g, m)

            g.clear_stats()
            rng = random.Random(6)
            for n in range(OVERWRITES):
                b = rng.randrange(SIZE // BLOCK)
                m.version[b] = n
                c.write("big", b * BLOCK, block(b, n), nfs3.UNSTABLE)
                if n % 50 == 49:
                    c.commit("big")
            c.commit("big")
            g.drain(300)
            up, parts = g.bytes_in(), len({b * BLOCK // PART for b in m.version})
            print("  %d overwrites in %d parts of 8 MiB of %d: uploaded %.1f MiB; %s" % (
                OVERWRITES, parts, SIZE // PART, up / MIB, g.ops()), flush=True)
            # touched parts once; a moment that is superseded may cost them twice
            assert up <= 2.2 * parts * PART + 16 * MIB, "uploaded %d MiB" % (up // MIB)

            g.clear_stats()
            few = [rng.randrange(SIZE // BLOCK) for _ in range(3)]
            for b in few:
                m.version[b] = b + 1000000
                c.write("big", b * BLOCK, block(b, b + 1000000))
            g.drain(300)
            up = g.bytes_in()
            print("  3 overwrites: uploaded %.1f MiB; %s" % (up / MIB, g.ops()), flush=True)
            assert up <= 2 * 3 * PART + MIB, "uploaded %d MiB for 3 blocks" % (up // MIB)
            assert g.ops().get("UploadPartCopy", 0) > 0
        finally:
            stop.set()
            watcher.join()
        g.drop_clean()
        verify_nfs(c, m)
        verify_bucket(g, m)
        print("  cache at most %.0f MiB of %.0f (on disk %.0f), JUKEBOX %d times, slowest call %.1f s" % (
            seen["used"] / MIB, CACHE / MIB, seen["disk"] / MIB, c.jukebox, c.slowest))
        assert seen["used"] <= CACHE * 1.1, seen
        assert seen["disk"] <= CACHE * 1.25 + 8 * MIB, seen
        g.stop_and_check()


faultgw.main(main)
