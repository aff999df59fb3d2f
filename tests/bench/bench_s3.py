# SPDX-License-Identifier: Apache-2.0
"""A bucket on Ceph RGW as a file system: Causeway, s3fs and rclone against the raw rate of the store.

Each product is mounted by FUSE and measured to the same end: everything is complete in the bucket, or every
byte was read.  Ours is mounted without options.  s3fs and rclone let the kernel keep attributes for 1 s whatever
others do; ours calls them back.  The raw rate of a repetition is the better one of two
clients, one with blocking threads (s3raw), one on libcurl (tool_s3), measured before and after the
products: a ceiling that moved shows.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time

from bench_lib import TOP, Causeway, median_spread, ratio_row

BIG = 1 << 30
SMALL_N, SMALL = 2000, 4096
LS_DIRS, LS_EACH = 200, 50
PART = 8 << 20
CASES = ["write", "read", "small", "ls"]


def drop_pages():
    os.sync()
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("1\n")


def is_mounted(mnt):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == mnt for line in f)


def wait_until(what, fn, timeout, pause=0.01):
    until = time.monotonic() + timeout
    while not fn():
        if time.monotonic() > until:
            raise RuntimeError("waited in vain for " + what)
        time.sleep(pause)


class Rgw:
    def __init__(self, work):
        self.dir = os.path.join(work, "rgw")

    def start(self):
        r = subprocess.run([TOP + "/tests/lib/rgw.sh", "start", self.dir], stdout=subprocess.PIPE, text=True,
                           env=dict(os.environ, CW_RGW_BYTES=str(10 << 30)), timeout=300)
        if r.returncode != 0:
            raise RuntimeError("no Ceph RGW: %d" % r.returncode)
        env = dict(line.split("=", 1) for line in r.stdout.splitlines() if line.startswith("CW_RGW_"))
        self.endpoint, self.access, self.secret = (env["CW_RGW_" + k] for k in ("ENDPOINT", "ACCESS", "SECRET"))
        self.host, self.port = self.endpoint.split("//")[1].split(":")
        import boto3
        from botocore.config import Config
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.access,
                               aws_secret_access_key=self.secret,
                               config=Config(max_pool_connections=16, s3={"addressing_style": "path"}))

    def stop(self):
        subprocess.run([TOP + "/tests/lib/rgw.sh", "stop", self.dir], timeout=120)

    def bucket(self, name):
        self.s3.create_bucket(Bucket=name)
        return name

    def size_of(self, bucket, key):
        try:
            return self.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except self.s3.exceptions.ClientError:
            return -1

    def wait_for(self, bucket, key, size, pause=0.01):
        wait_until("%s in bucket %s" % (key, bucket), lambda: self.size_of(bucket, key) == size, 300, pause)

    def listed(self, bucket, prefix):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [o for p in pages for o in p.get("Contents", [])]

    def empty(self, bucket, prefix=""):
        keys = [{"Key": o["Key"]} for o in self.listed(bucket, prefix)]
        for i in range(0, len(keys), 1000):
            self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[i:i + 1000], "Quiet": True})
        subprocess.run([TOP + "/tests/lib/rgw.sh", "admin", self.dir, "gc", "process", "--include-all"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def warm_multipart(self):
        """The first upload of a cluster makes a pool, which takes seconds: not a product's."""
        up = self.s3.create_multipart_upload(Bucket="raw", Key="first")
        self.s3.abort_multipart_upload(Bucket="raw", Key="first", UploadId=up["UploadId"])

    def raw_one(self, tool, what, n, size, depth, prefix):
        o = os.environ["O"] + "/tools/"
        if tool == "s3raw":
            cmd = [o + "s3raw", self.host, self.port, "raw", self.access, self.secret, what, str(n), str(size), str(depth), prefix]
        else:
            cmd = [o + "tool_s3", "--endpoint", self.endpoint, "--bucket", "raw", "--key", self.access, "--secret", self.secret,
                   "--path", "bench", what, str(n), str(size), str(depth), prefix]
        out = subprocess.run(cmd, capture_output=True, text=True, timeout=300)
        got = dict(re.findall(r"(\w+)=([0-9.]+)", out.stdout))
        if out.returncode != 0 or float(got.get("failed", 0)) > 0:
            raise RuntimeError("%s: %s%s" % (" ".join(cmd[:2]), out.stdout, out.stderr))
        return n / float(got["seconds"])

    def raw(self, what, n, size, depth, prefix="bench/"):
        """-> requests a second, of the faster client"""
        return max(self.raw_one(t, what, n, size, depth, prefix) for t in ("s3raw", "tool_s3"))


class Mount:
    """What one product needs to show bucket `name` at self.mnt."""
    proc = None

    def __init__(self, work, rgw, name):
        self.dir, self.rgw, self.name = os.path.join(work, name), rgw, name
        self.mnt = os.path.join(self.dir, "mnt")
        os.makedirs(self.mnt)

    def prepare(self):
        self.rgw.bucket(self.name)

    def spawn(self, cmd, env=None):
        # an AWS_CA_BUNDLE or AWS_PROFILE of the caller's would be taken for ours
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.proc = subprocess.Popen(cmd, stdout=open(self.dir + "/log", "ab"), stderr=subprocess.STDOUT,
                                     env=dict(clean, **(env or {})))
        wait_until("%s to mount" % self.name, lambda: is_mounted(self.mnt) or self.proc.poll() is not None, 60)
        if not is_mounted(self.mnt):
            raise RuntimeError(open(self.dir + "/log").read()[-2000:])

    def unmount(self):
        if self.proc is None:
            return
        for _ in range(200):
            if subprocess.run(["umount", self.mnt], stderr=subprocess.DEVNULL).returncode == 0 or not is_mounted(self.mnt):
                break
            time.sleep(0.05)
        try:
            self.proc.wait(60)
        except subprocess.TimeoutExpired:
            self.proc.kill()
        self.proc = None

    def remount(self):
        self.unmount()
        self.mount()

    def forget(self):
        """unmounted, and nothing local is left"""

    def finish(self):
        self.unmount()


class S3fs(Mount):
    def mount(self):
        pw = self.dir + "/passwd"
        with open(pw, "w") as f:
            f.write("%s:%s\n" % (self.rgw.access, self.rgw.secret))
        os.chmod(pw, 0o600)
        os.makedirs(self.dir + "/cache", exist_ok=True)
        self.spawn(["s3fs", self.name, self.mnt, "-f", "-o", "url=%s,use_path_request_style,passwd_file=%s,use_cache=%s/cache,"
                    "multipart_size=8,parallel_count=8,max_stat_cache_size=200000,allow_other" % (self.rgw.endpoint, pw, self.dir)])

    def forget(self):
        self.unmount()
        shutil.rmtree(self.dir + "/cache", ignore_errors=True)


class Rclone(Mount):
    def mount(self):
        env = {"RCLONE_CONFIG_B_TYPE": "s3", "RCLONE_CONFIG_B_PROVIDER": "Ceph", "RCLONE_CONFIG_B_ENDPOINT": self.rgw.endpoint,
               "RCLONE_CONFIG_B_ACCESS_KEY_ID": self.rgw.access, "RCLONE_CONFIG_B_SECRET_ACCESS_KEY": self.rgw.secret,
               "RCLONE_CONFIG": "/dev/null"}
        self.spawn(["rclone", "mount", "b:" + self.name, self.mnt, "--vfs-cache-mode", "full", "--vfs-write-back", "0s",
                    "--cache-dir", self.dir + "/cache", "--transfers", "32", "--s3-upload-concurrency", "8",
                    "--s3-chunk-size", "8M"], env)

    def forget(self):
        self.unmount()
        shutil.rmtree(self.dir + "/cache", ignore_errors=True)


class Ours(Mount):
    def __init__(self, work, rgw, name):
        super().__init__(work, rgw, name)
        # settle_ms as shipped: what is measured is what users get
        self.gw = Causeway(work, "causeway-home", endpoint=rgw.endpoint, access=rgw.access, secret=rgw.secret, settle_ms=1000,
                           capacity="8G")

    def prepare(self):
        super().prepare()
        self.gw.start()
        self.gw.make_share(self.name)

    def mount(self):
        if self.gw.daemon is None:
            self.gw.start_daemon()
            self.gw.make_share(self.name)
        self.spawn([os.environ["O"] + "/causeway", "--home", self.gw.dir, "mount", self.name, self.mnt])

    def forget(self):
        self.unmount()
        self.gw.stop_daemon()
        self.gw.lose_cache()

    def finish(self):
        self.unmount()
        self.gw.stop()


def write_small(mnt, sub, threads):
    os.mkdir(os.path.join(mnt, sub))
    block = os.urandom(SMALL)

    def run(t):
        for i in range(t, SMALL_N, threads):
            with open("%s/%s/f%05d" % (mnt, sub, i), "wb", buffering=0) as f:
                f.write(block)

    ts = [threading.Thread(target=run, args=(t,)) for t in range(threads)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()


def measure_write(p, rgw, src, rep):
    key = "big%d" % rep
    begin = time.monotonic()
    subprocess.run(["dd", "if=" + src, "of=%s/%s" % (p.mnt, key), "bs=1M", "conv=fsync"], check=True, stderr=subprocess.DEVNULL)
    acked = time.monotonic() - begin
    rgw.wait_for(p.name, key, BIG)
    took = time.monotonic() - begin
    print("      %-9s 1 GiB: fsync returned after %.2f s, in the bucket after %.2f s" % (p.name, acked, took), flush=True)
    return BIG / took / 1e6


def measure_read(p, key):
    p.forget()
    drop_pages()
    p.mount()
    begin = time.monotonic()
    subprocess.run(["dd", "if=%s/%s" % (p.mnt, key), "of=/dev/null", "bs=1M"], check=True, stderr=subprocess.DEVNULL)
    return BIG / (time.monotonic() - begin) / 1e6


def measure_small(p, rgw, rep):
    sub = "s%d" % rep
    begin = time.monotonic()
    write_small(p.mnt, sub, 8)
    acked = time.monotonic() - begin

    def all_there():
        got = [o for o in rgw.listed(p.name, sub + "/") if o["Size"] == SMALL]
        return len(got) == SMALL_N

    # to list and parse them again and again took most of a core, of two: one in a hundred tells when it is time for that
    for i in list(range(0, SMALL_N, 100)) + [SMALL_N - 1]:
        rgw.wait_for(p.name, "%s/f%05d" % (sub, i), SMALL, 0.02)
    wait_until("small files of " + p.name, all_there, 300, 0.05)
    took = time.monotonic() - begin
    print("      %-9s %d files: closed after %.2f s, in the bucket after %.2f s" % (p.name, SMALL_N, acked, took), flush=True)
    return SMALL_N / took


def measure_ls(p):
    p.forget()
    drop_pages()
    p.mount()
    begin = time.monotonic()
    out = subprocess.run(["ls", "-lR", p.mnt + "/tree"], check=True, capture_output=True, text=True)
    took = time.monotonic() - begin
    n = sum(line.startswith("-") for line in out.stdout.splitlines())
    if n != LS_DIRS * LS_EACH:
        raise RuntimeError("%s shows %d files" % (p.name, n))
    begin = time.monotonic()
    subprocess.run(["ls", "-lR", p.mnt + "/tree"], check=True, stdout=subprocess.DEVNULL)
    print("      %-9s ls -lR: %.2f s, again %.2f s" % (p.name, took, time.monotonic() - begin), flush=True)
    return took


def fill_tree(rgw, bucket):
    """10,000 objects of others: no metadata"""
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: rgw.s3.put_object(Bucket=bucket, Key="tree/d%03d/f%05d.txt" % (i % LS_DIRS, i), Body=b"x" * 100),
                      range(LS_DIRS * LS_EACH)))


def peer_rows(name, unit, got, higher):
    rows = []
    for peer in ("s3fs", "rclone"):
        if not got.get(peer):
            continue
        ours, theirs = got["causeway"], got[peer]
        if not higher:  # seconds: show rates, so that more is better everywhere
            ours, theirs, unit = [1 / x for x in ours], [1 / x for x in theirs], "1/s"
        rows.append(ratio_row(name + ", against " + peer, unit, ours, theirs, 1.0, 1.0, peer_name=peer))
    return rows


def raw_case(rgw, case):
    if case == "write":
        rgw.empty("raw", "w/")
        return rgw.raw("put", 96, PART, 8, "w/") * PART / 1e6
    if case == "read":
        return rgw.raw("get", 96, PART, 8, "w/") * PART / 1e6
    return rgw.raw("put", SMALL_N, SMALL, 32, "small/")


def run_case(case, products, rgw, src, reps):
    got = {p.name: [] for p in products}
    got["raw"] = []
    for rep in range(reps):
        order = products[rep % len(products):] + products[:rep % len(products)]
        if case != "ls":
            got["raw"].append(raw_case(rgw, case))
        for p in order:
            if case == "write":
                p.remount()
                if rep > 0:  # as before a raw PUT: room that was used before costs the store nothing, fresh pages a tenth of a CPU
                    rgw.empty(p.name, "big%d" % (rep - 1))
                got[p.name].append(measure_write(p, rgw, src, rep))
            elif case == "read":
                key = [o["Key"] for o in rgw.listed(p.name, "big")][-1]
                got[p.name].append(measure_read(p, key))
            elif case == "small":
                got[p.name].append(measure_small(p, rgw, rep))
            else:
                got[p.name].append(measure_ls(p))
        if case != "ls":
            got["raw"].append(raw_case(rgw, case))
    return got


def run(work, reps, seconds, only):
    """only: names of cases, of products ("write read ours"), joined by blanks; ours is always there"""
    words = only.split()
    cases = [c for c in CASES if c in words] or CASES
    if "read" in cases and "write" not in cases:
        cases = ["write"] + cases
    rgw = Rgw(work)
    rgw.start()
    products = []
    rows = []
    src = os.path.join("/dev/shm" if os.path.isdir("/dev/shm") else work, "cw-bench-src.%d" % os.getpid())
    try:
        rgw.bucket("raw")
        rgw.warm_multipart()
        kinds = [("s3fs", S3fs), ("rclone", Rclone), ("causeway", Ours)]
        for name, kind in kinds:
            if name != "causeway" and ("ours" in words or shutil.which(name) is None):
                continue
            p = kind(work, rgw, name)
            products.append(p)
            p.prepare()
            p.mount()
        with open(src, "wb") as f:
            for _ in range(BIG >> 20):
                f.write(os.urandom(1 << 20))
        for case in cases:
            if case == "ls":
                for p in products:
                    fill_tree(rgw, p.name)
            got = run_case(case, products, rgw, src, reps)
            print("      " + json.dumps({k: [round(x, 3) for x in v] for k, v in got.items()}), flush=True)
            ours = got["causeway"]
            if case == "write":
                new = [ratio_row("1 GiB until durable in S3", "MB/s", ours, got["raw"], 0.7, 0.9, peer_name="raw PUT")]
                new += peer_rows("1 GiB until durable in S3", "MB/s", got, True)
            elif case == "read":
                new = [ratio_row("cold sequential read of 1 GiB", "MB/s", ours, got["raw"], 0.8, 0.95, peer_name="raw GET")]
                new += peer_rows("cold sequential read of 1 GiB", "MB/s", got, True)
            elif case == "small":
                new = [ratio_row("2,000 x 4 KiB until in S3", "files/s", ours, got["raw"], 0.6, 0.9, peer_name="raw PUT")]
                new += peer_rows("2,000 x 4 KiB until in S3", "files/s", got, True)
            else:
                best = sorted(ours)[len(ours) // 2]
                new = ["%-42s ours %s s  (gate 2 s, goal 0.5 s): %s" % (
                    "cold ls -lR of 10,000 objects", median_spread(ours),
                    "goal" if best <= 0.5 else "gate" if best <= 2 else "BELOW GATE")]
                new += peer_rows("cold ls -lR of 10,000 objects", "s", got, False)
            for row in new:
                print(row, flush=True)
            rows += new
    finally:
        for p in products:
            with contextlib.suppress(Exception):
                p.finish()
        rgw.stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(src)
    return rows
