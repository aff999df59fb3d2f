# SPDX-License-Identifier: Apache-2.0
"""A million files: memory when all are listed, time of a start with that index, and what an idle gateway costs.

The bucket is made by links in the embedded store's directory (its objects are plain files), so that the
million comes in by LIST, as after the loss of an appliance.  There is no peer: the gates are absolute.
"""
import os
import sys
import time
import urllib.request

from bench_lib import TOP, Causeway, median_spread

sys.path.insert(0, TOP + "/tests/lib")
from nfs3 import Client  # noqa: E402

DIRS, EACH = 1000, 1000
LINKS_MAX = 50000  # ext4 takes 65,000 links of one file
IDLE_S = 20
JUKEBOX = 10008


def verdict(value, gate, goal):
    return "goal" if value <= goal else "gate" if value <= gate else "BELOW GATE"


def row(name, text, value, gate, goal):
    return "%-42s %s (gate %g, goal %g): %s" % (name, text, gate, goal, verdict(value, gate, goal))


def make_objects(bucket, ndirs, each):
    n, first = 0, None
    for d in range(ndirs):
        path = "%s/dir-%04d" % (bucket, d)
        os.mkdir(path)
        for f in range(each):
            name = "%s/document-%06d.dat" % (path, f)
            if n % LINKS_MAX == 0:
                with open(name, "w") as out:
                    out.write("x" * 100)
                first = name
            else:
                os.link(first, name)
            n += 1
    return n


def status_mib(pid, key):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":")) / 1024


def cpu_s(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


def s3_requests(gw):
    text = urllib.request.urlopen(gw.api + "/metrics", timeout=10).read().decode()
    values = [float(line.split()[-1]) for line in text.splitlines() if "s3_requests_total{" in line]
    if not values:
        raise RuntimeError("no counter of S3 requests in /metrics")
    return sum(values)


def list_dir(client, fh):
    """READDIRPLUS to the end; asks again while the answer is on its way from the bucket"""
    out, cookie, verf = [], 0, 0
    until = time.monotonic() + 120
    while True:
        r = client.readdir(fh, cookie, verf, plus=True)
        if r.status == JUKEBOX and time.monotonic() < until:
            time.sleep(0.05)
            continue
        if r.status != 0:
            raise RuntimeError("READDIRPLUS: status %d" % r.status)
        out += r["entries"]
        if r["eof"]:
            return [e for e in out if e.name not in (".", "..")]
        cookie, verf = out[-1].cookie, r["verf"]


def list_all(client, root):
    """the whole tree. result: files seen"""
    return sum(len(list_dir(client, d.fh or client.lookup(root, d.name).fh)) for d in list_dir(client, root))


def run(work, reps, seconds, only):
    gw, rows = Causeway(work, name="scale"), []

    def add(*args):
        rows.append(row(*args))
        print(rows[-1], flush=True)

    bucket = gw.dir + "/store/scale"
    os.makedirs(bucket)
    total = make_objects(bucket, DIRS, EACH)  # before the store starts: it knows its keys by heart
    gw.start()
    try:
        gw.make_share("scale")
        client = Client("127.0.0.1", gw.nfs_port)
        begin = time.monotonic()
        seen = list_all(client, client.mount("/scale"))
        took = time.monotonic() - begin
        if seen != total:
            raise RuntimeError("%d of %d files seen" % (seen, total))
        rss = status_mib(gw.daemon.pid, "VmRSS")
        add("%d files listed: resident set" % total, "%.0f MiB, at most %.0f; listed in %.0f s" % (
            rss, status_mib(gw.daemon.pid, "VmHWM"), took), rss, 1024, 512)
        client.close()
        starts = [gw.restart() for _ in range(min(reps, 3))]
        add("start with that index", median_spread(starts) + " s", max(starts), 5, 2)
        rss = status_mib(gw.daemon.pid, "VmRSS")
        add("resident set after that start", "%.0f MiB" % rss, rss, 1024, 512)
        client = Client("127.0.0.1", gw.nfs_port)  # connected and idle
        client.mount("/scale")
        time.sleep(3)
        cpu, requests = cpu_s(gw.daemon.pid), s3_requests(gw)
        time.sleep(IDLE_S)
        cpu, requests = (cpu_s(gw.daemon.pid) - cpu) / IDLE_S * 100, s3_requests(gw) - requests
        add("idle, a client connected: CPU", "%.2f %% of a core" % cpu, cpu, 1, 0.2)
        add("idle: S3 requests", "%d in %d s" % (requests, IDLE_S), requests, 0, 0)
        client.close()
    finally:
        gw.stop()
    return rows
