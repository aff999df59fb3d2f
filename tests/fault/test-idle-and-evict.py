#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""An idle gateway asks the store for nothing and uses no processor; a busy one with a cache much too
small evicts what is clean and never serves a wrong byte.

CW_IDLE: seconds to be idle (default 15)."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB  # noqa: E402

IDLE = int(os.environ.get("CW_IDLE", "15"))


def idle():
    """Clients are connected, everything is clean: nothing happens."""
    with faultgw.Gateway(settle_ms=100) as g:
        for name in ("idle-one", "idle-two"):
            g.share(name)
            c = g.nfs(name)
            for i in range(200):
                c.put("f%d" % i, b"%d" % i)
            c.rename("f0", "g0")
            c.remove("f1")
        g.drain()
        time.sleep(2)  # what follows a drain: deletions, the commit of the last results
        assert g.is_drained()
        for what in ("after work", "after a restart"):
            g.clear_stats()
            cpu, start = g.cpu_seconds(), time.monotonic()
            time.sleep(IDLE)
            ops, cpu = g.ops(), g.cpu_seconds() - cpu
            print("  %s: %.0f s idle: %.2f s of processor, requests %s" % (
                what, time.monotonic() - start, cpu, ops), flush=True)
            assert not ops, ops
            assert cpu < 0.01 * IDLE * faultgw.SLOW, cpu
            g.stop()
            g.run()
            time.sleep(2)
        g.stop_and_check()


def evict():
    """64 MiB of files through 12 MiB of cache: three clients write, overwrite, read, truncate."""
    nfiles, size = 96, 704 * 1024
    with faultgw.Gateway(capacity="12M", settle_ms=100, max_age_ms=500) as g:
        g.share("evict")
        failed, ops, until = [], [0], time.monotonic() + 15
        contents = [{} for _ in range(3)]
        clients = [g.nfs("evict") for _ in range(3)]

        def loop(who):
            try:
                c, mine, rng = clients[who], contents[who], random.Random(who)
                c.mkdir("w%d" % who)
                for n in range(100000):
                    if time.monotonic() > until or failed:
                        return
                    name = "w%d/f%d" % (who, rng.randrange(nfiles // 3))
                    r, old = rng.random(), mine.get(name)
                    if old is None or r < 0.2:
                        mine[name] = faultgw.pattern((who, n), rng.randrange(size * 2))
                        c.put(name, mine[name])
                    elif r < 0.4:
                        off, data = rng.randrange(len(old) + 1), faultgw.pattern(n, rng.randrange(1, 20000))
                        c.write(name, off, data)
                        mine[name] = old[:off] + data + old[off + len(data):]
                    elif r < 0.45:
                        cut = rng.randrange(len(old) + 1)
                        c.setattr(name, size=cut)
                        mine[name] = old[:cut]
                    else:
                        off = rng.randrange(len(old) + 1)
                        got = c.read(name, off, 300000)
                        assert got == old[off:off + 300000], "%s at %d" % (name, off)
                    ops[0] += 1
            except BaseException as e:
                failed.append(e)

        threads = [threading.Thread(target=loop, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        peak = 0
        while any(t.is_alive() for t in threads):
            peak = max(peak, g.status()["cache"]["used_bytes"])
            time.sleep(0.1)
        if failed:
            raise failed[0]
        g.drain()
        total = 0
        for who, mine in enumerate(contents):
            for name, data in mine.items():
                total += len(data)
                assert clients[who].get(name) == data, name
                assert g.body("evict", name) == data, "in the bucket: " + name
        print("  %d operations on %.0f MiB, cache at most %.1f MiB of 12; %s" % (
            ops[0], total / MIB, peak / MIB, g.ops()), flush=True)
        assert peak <= 14 * MIB, peak
        assert total > 24 * MIB, "the test did too little"
        assert not g.events("conflict")
        g.stop_and_check()


faultgw.main(idle, evict)
