#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=400
"""The store fails in every way it can: clients see slowness and never a wrong byte, afterwards all
converges, and the store is not hammered meanwhile.

CW_OUTAGE: seconds of refused connections (default 12; the issue asks for 60)."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, nfs3, s3d  # noqa: E402

OUTAGE = int(os.environ.get("CW_OUTAGE", "12"))


class Worker:
    """Works in a directory of its own and knows what every file holds; reads are checked at once."""

    def __init__(self, g, share, seed):
        self.c = g.nfs(share)
        self.rng = random.Random(seed)
        self.dir, self.files, self.serial, self.ops = "w%d" % seed, {}, 0, 0
        self.c.mkdir(self.dir)

    def body(self):
        self.serial += 1
        n = self.rng.choice((0, 10, 4096, 5000, 70000, 300000))
        return faultgw.pattern((self.dir, self.serial), n)

    def step(self):
        r, names = self.rng.random(), sorted(self.files)
        self.ops += 1
        if r < 0.35 or not names:
            name = "%s/f%d" % (self.dir, self.rng.randrange(60))
            data = self.body()
            self.c.put(name, data)
            self.files[name] = data
        elif r < 0.75:
            name = self.rng.choice(names)
            assert self.c.get(name) == self.files[name], "wrong bytes in %s" % name
        elif r < 0.85:
            name, data = self.rng.choice(names), faultgw.pattern(self.serial, 1000)
            off = self.rng.randrange(len(self.files[name]) + 1)
            self.c.write(name, off, data)
            old = self.files[name]
            self.files[name] = old[:off] + data + old[off + len(data):]
        elif r < 0.93:
            name, to = self.rng.choice(names), "%s/r%d" % (self.dir, self.rng.randrange(30))
            assert self.c.rename(name, to) == nfs3.OK
            self.files[to] = self.files.pop(name)
        else:
            name = self.rng.choice(names)
            self.c.remove(name)
            del self.files[name]

    def verify(self, g, bucket):
        self.c.forget()
        assert {self.dir + "/" + n for n in self.c.list(self.dir)} == set(self.files)
        keys = {k for k in g.objects(bucket) if k.startswith(self.dir + "/")}
        assert keys == set(self.files) | {self.dir + "/"}, (
            sorted(keys - set(self.files)), sorted(set(self.files) - keys))
        for name, data in self.files.items():
            assert self.c.get(name) == data, name
            assert g.body(bucket, name) == data, "in the bucket: " + name


def work(g, share, seconds, nworkers=3, rest=0.0):
    workers = [Worker(g, share, i) for i in range(nworkers)]
    failed, until = [], time.monotonic() + seconds

    def loop(w):
        try:
            while time.monotonic() < until and not failed:
                w.step()
                time.sleep(rest)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=loop, args=(w,)) for w in workers]
    for t in threads:
        t.start()
    return workers, threads, failed


def finish(threads, failed):
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def converge(g, share, workers, seconds=90):
    start = time.monotonic()
    g.store.faults()
    g.drain(seconds)
    took = time.monotonic() - start
    print("  %d operations, slowest %.1f s, %d JUKEBOX; converged %.1f s after the trouble" % (
        sum(w.ops for w in workers), max(w.c.slowest for w in workers),
        sum(w.c.jukebox for w in workers), took), flush=True)
    for w in workers:
        w.verify(g, share)
    g.drop_clean()
    for w in workers:
        w.verify(g, share)
    assert not g.events("conflict"), g.events("conflict")[:3]
    uploads = g.s3.list_multipart_uploads(Bucket=share).get("Uploads", [])
    assert not uploads, "uploads left: %s" % uploads
    g.stop_and_check()


def refused():
    """Nobody listens for a while: writes and cached reads go on, few connections are tried."""
    with faultgw.Gateway(max_age_ms=1000) as g:
        g.share("refused")
        c = g.nfs("refused")
        cold = faultgw.pattern("cold", 3 * MIB)
        c.put("cold", cold)
        c.put("warm", b"warm" * 5000)
        g.drain()
        g.drop_clean()
        assert c.get("warm") == b"warm" * 5000
        g.clear_stats()
        g.store.admin("POST", "/-/refuse?ms=%d" % (OUTAGE * 1000))
        down = time.monotonic()
        got = []
        reader = threading.Thread(target=lambda: got.append(g.nfs("refused").get("cold")))
        reader.start()
        workers, threads, failed = work(g, "refused", OUTAGE - 2, rest=0.02)
        slow = 0.0
        while time.monotonic() < down + OUTAGE - 2:
            at = time.monotonic()
            assert c.get("warm") == b"warm" * 5000
            slow = max(slow, time.monotonic() - at)
            time.sleep(0.2)
        assert slow < 2 * faultgw.SLOW, "a cached read took %.1f s in the outage" % slow
        s = g.status()["shares"][0]
        assert not s["available"] and s["reason"], s
        print("  in the outage: %s, %d files wait, cached read %.0f ms at most" % (
            s["reason"], s["pending_files"], slow * 1000), flush=True)
        finish(threads, failed)
        reader.join()
        back = time.monotonic() - down - OUTAGE
        assert got == [cold], "the cold read was wrong"
        print("  the cold read was answered %.1f s after the store came back" % back)
        assert back < 35, "too late"
        converge(g, "refused", workers)


def no_hammering():
    """A store that refuses everything for 8 s is asked seldom."""
    with faultgw.Gateway(max_age_ms=500) as g:
        g.share("hammer")
        c = g.nfs("hammer")
        for i in range(200):
            c.put("f%03d" % i, b"%d" % i)
        g.drain()
        for what, rule in (("503", {"op": "*", "action": "status", "status": 503}),
                           ("500", {"op": "*", "action": "status", "status": 500}),
                           ("expired token", {"op": "*", "action": "expired-token"}),
                           ("403", {"op": "*", "action": "status", "status": 403, "code": "AccessDenied"}),
                           ("dropped connections", {"op": "*", "action": "drop"})):
            g.store.faults(rule)
            g.clear_stats()
            cpu = g.cpu_seconds()
            for i in range(200):
                c.put("f%03d" % i, b"%s %d" % (what.encode(), i))
            time.sleep(8)
            n, cpu = sum(g.ops().values()), g.cpu_seconds() - cpu
            print("  %s: %d requests, %.2f s of processor" % (what, n, cpu), flush=True)
            assert n < 1200, "%d requests in 8 s: %s" % (n, g.ops())
            g.store.faults()
            g.drain(90)
            for i in range(0, 200, 20):
                assert g.body("hammer", "f%03d" % i) == b"%s %d" % (what.encode(), i)
        g.stop_and_check()


def flaky(name, seconds, *rules):
    """The same work under rules of faults, and converged."""
    with faultgw.Gateway(capacity="24M", max_age_ms=500) as g:
        g.share(name)
        g.store.faults(*rules, seed=9)
        workers, threads, failed = work(g, name, seconds)
        while any(t.is_alive() for t in threads):
            time.sleep(0.7)
            g.drop_clean()  # so that reads go to the store
        finish(threads, failed)
        fired = [r["fired"] for r in g.store.admin("GET", "/-/faults")["rules"]]
        print("  faults: %s of %d requests" % (fired, sum(g.ops().values())), flush=True)
        assert all(fired), "a fault never happened: %s" % fired
        total, ops = sum(g.ops().values()), sum(w.ops for w in workers)
        assert total < 60 * ops + 1000, "%d requests for %d operations" % (total, ops)
        converge(g, name, workers)


def third_of_503():
    """30 % of all requests are answered with 503."""
    flaky("slowdown", 10, {"op": "*", "probability": 0.3, "action": "status", "status": 503})


def torn_bodies():
    """GET and LIST bodies end too early."""
    flaky("torn", 8, {"op": "GetObject", "probability": 0.3, "action": "torn", "at": 0.4},
          {"op": "list", "probability": 0.3, "action": "torn"})


def lost_replies():
    """PUTs, copies and deletions happen and nobody is told."""
    flaky("lostrep", 8, {"op": "PutObject", "probability": 0.3, "action": "lost-reply"},
          {"op": "CopyObject,DeleteObject,DeleteObjects", "probability": 0.3, "action": "lost-reply"})


def dropped():
    """Connections break before anything is done."""
    flaky("dropped", 6, {"op": "*", "probability": 0.2, "action": "drop"})


def lost_multipart():
    """Replies to each step of a multipart upload are lost, CompleteMultipartUpload's three times."""
    with faultgw.Gateway() as g:
        g.share("multi")
        c = g.nfs("multi")
        data = bytearray(faultgw.pattern("multi", 40 * MIB + 5))
        g.store.faults({"op": "CompleteMultipartUpload", "count": 3, "action": "lost-reply"},
                       {"op": "UploadPart", "probability": 0.3, "action": "lost-reply"},
                       {"op": "CreateMultipartUpload", "count": 1, "action": "lost-reply"})
        c.put("big", bytes(data))
        g.drain()
        assert g.body("multi", "big") == data
        g.store.faults({"op": "CompleteMultipartUpload", "count": 2, "action": "lost-reply"},
                       {"op": "UploadPartCopy", "probability": 0.5, "action": "lost-reply"},
                       {"op": "UploadPart", "probability": 0.3, "action": "drop"})
        for off in (0, 17 * MIB + 3, 40 * MIB):
            data[off:off + 5] = b"other"
            c.write("big", off, b"other")
        g.drain()
        assert g.body("multi", "big") == data
        g.store.faults({"op": "CompleteMultipartUpload", "count": 1, "action": "lost-reply"})
        c.write("big", 5 * MIB, b"third")
        data[5 * MIB:5 * MIB + 5] = b"third"
        g.v1("POST", "/v1/drain")
        faultgw.wait_for("the upload", lambda: g.store.admin("GET", "/-/faults")["rules"][0]["fired"])
        g.kill()
        g.run()
        c.forget()
        g.store.faults()
        g.drain()
        g.drop_clean()
        assert g.body("multi", "big") == data and c.get("big") == data
        assert not g.events("conflict"), g.events("conflict")
        # the upload whose creation nobody heard of is the bucket's lifecycle rule's
        left = g.s3.list_multipart_uploads(Bucket="multi").get("Uploads", [])
        assert len(left) <= 1, left
        g.stop_and_check()


def expired_token():
    """A session's token expires under load; the new one is picked up from the file."""
    with faultgw.Gateway(max_age_ms=500) as g:
        g.keys(s3d.ACCESS2, s3d.SECRET2, s3d.TOKEN2)
        g.stop()
        g.run()
        g.share("token")
        workers, threads, failed = work(g, "token", 10, rest=0.01)
        time.sleep(2)
        g.store.faults({"op": "*", "action": "expired-token"})
        g.keys(s3d.ACCESS2, s3d.SECRET2, "stale token")
        time.sleep(3)
        s = g.status()["shares"][0]
        assert not s["available"], s
        print("  meanwhile: %s" % s["reason"])
        g.store.faults()
        g.keys(s3d.ACCESS2, s3d.SECRET2, s3d.TOKEN2)
        finish(threads, failed)
        converge(g, "token", workers)


def full_of_dirty():
    """The outage lasts until no more may be dirty: writers wait, and no write is refused or lost."""
    with faultgw.Gateway(capacity="32M", dirty_max="8M", max_age_ms=500) as g:
        g.share("dirty")
        c = g.nfs("dirty")
        c.put("before", b"before" * 1000)
        g.drain()
        g.store.faults({"op": "write", "action": "status", "status": 503})
        done, peak = [], 0

        def writer():
            w = g.nfs("dirty")
            for i in range(12):
                w.put("f%d" % i, faultgw.pattern(i, 2 * MIB))
                done.append(i)

        t = threading.Thread(target=writer)
        t.start()
        until = time.monotonic() + 6
        while time.monotonic() < until:
            peak = max(peak, g.status()["cache"]["dirty_bytes"])
            assert c.get("before") == b"before" * 1000  # reads are not held up
            time.sleep(0.1)
        assert len(done) < 12, "nothing held the writer back"
        print("  %d files of 2 MiB taken, %.1f MiB dirty of 8" % (len(done), peak / MIB))
        assert peak <= 10 * MIB, peak
        g.kill()
        g.run()
        time.sleep(1)
        g.store.faults()
        t.join(120)
        assert len(done) == 12
        g.drain()
        for i in range(12):
            assert g.body("dirty", "f%d" % i) == faultgw.pattern(i, 2 * MIB)
            assert c.get("f%d" % i) == faultgw.pattern(i, 2 * MIB)
        g.stop_and_check()


faultgw.main(refused, no_hammering, third_of_503, torn_bodies, lost_replies, dropped, lost_multipart,
             expired_token, full_of_dirty)
