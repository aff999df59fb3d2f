#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""A volume whose blocks are overwritten at random for long, but a few that never are: what lies in the bucket stays
bounded, as what is left in old objects is moved, over kills and beside a snapshot; and every bit stays what it was.

CW_VOLUME_STORE=rgw: on Ceph RGW. CW_SEED: its seed."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import volgw  # noqa: E402
from volgw import BLOCK, MIB  # noqa: E402

SEED = int(os.environ.get("CW_SEED", "1"))
NBLOCKS = 6144
COLD = 20  # every so many-th run is never overwritten
RUN = 4
ROUNDS = 34
WASTE_MIN = 64 * MIB  # below it nothing is moved
KEEP_S = 1


def log_bytes(g, v):
    top = volgw.PREFIX + v.id + "/log/"
    pages = g.s3.get_paginator("list_objects_v2").paginate(Bucket=volgw.BUCKET, Prefix=top)
    return sum(o["Size"] for page in pages for o in page.get("Contents", []))


def main():
    rng = random.Random(SEED)
    runs = list(range(0, NBLOCKS, RUN))
    hot = [b for i, b in enumerate(runs) if i % COLD != 0]
    with volgw.Gateway(seal_ms=300, keep_s=KEEP_S) as g:
        d = volgw.Disk(g, g.volume("moved"), nblocks=NBLOCKS, seed=SEED)
        for b in rng.sample(runs, len(runs)):
            d.write(b, RUN)
        g.drain(d.v)
        first = set(g.keys_of(d.v, "log/"))
        written, most, snap, then = NBLOCKS * BLOCK, 0, None, None
        for n in range(ROUNDS):
            for b in rng.sample(hot, len(hot) * 3 // 10):
                d.write(b, RUN)
                written += RUN * BLOCK
            if n % 12 == 7:
                d.lun.sync()
                g.kill()
                g.run()
                d.connect()
            g.drain(d.v)
            most = max(most, log_bytes(g, d.v))
            if n == ROUNDS // 2:
                snap, then = g.snapshot(d.v), list(d.now)
                g.wait_snapshot(d.v, snap)
        live = NBLOCKS * BLOCK
        print("  %d MiB written over %d MiB: at most %d MiB in the bucket, of the first %d objects %d are left" % (
            written // MIB, live // MIB, most // MIB, len(first), len(first & set(g.keys_of(d.v, "log/")))), flush=True)
        d.check_export("--snapshot", snap, now=then)
        g.delete_snapshot(snap)
        # what was moved is named by the next epochs
        bound = live + WASTE_MIN + 24 * MIB
        for _ in range(20):
            if log_bytes(g, d.v) < bound:
                break
            for b in rng.sample(hot, len(hot) // 10):
                d.write(b, RUN)
            g.drain(d.v)
            time.sleep(KEEP_S + 0.2)
        left = first & set(g.keys_of(d.v, "log/"))
        print("  then %d MiB, of the first objects %d" % (log_bytes(g, d.v) // MIB, len(left)), flush=True)
        assert log_bytes(g, d.v) < bound
        assert len(left) < len(first), "what is cold was never moved"
        g.drop_clean()
        d.check("LUN at the end")
        d.check_export()
        is_tidy = False
        for _ in range(6):
            # an epoch names what was moved, and the checkpoint of a last snapshot leaves no log behind it, and soon
            # no recovery point before it
            d.write(hot[0], RUN)
            g.drain(d.v)
            snap = g.snapshot(d.v)
            g.wait_snapshot(d.v, snap)
            time.sleep(KEEP_S + 0.2)
            g.delete_snapshot(snap)
            until = time.monotonic() + 5
            while not is_tidy and time.monotonic() < until:
                time.sleep(0.2)
                is_tidy = g.only_what_is_needed(d.v)
            if is_tidy:
                break
        assert is_tidy, "there is what nobody needs"
        d.check_export()
        d.close()
        g.stop_and_check()


main()
print("OK")
