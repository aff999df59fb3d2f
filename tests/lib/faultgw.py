# SPDX-License-Identifier: Apache-2.0
"""faultgw.py - causewayd over causeway-s3d for tests that make either of them fail.

    with faultgw.Gateway(capacity="64M") as g:
        g.share("flt")                        # bucket and share
        c = g.nfs("flt")                      # an NFS client that waits out JUKEBOX and reconnects
        c.put("dir/f", b"data")
        g.store.faults({"op": "write", "action": "status", "status": 503})
        g.kill(); g.run(); g.drain(); g.stop_and_check()
"""
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nfs3  # noqa: E402
import s3d  # noqa: E402

try:
    import boto3
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError  # noqa: F401
except ImportError:
    print("skipped: python3-boto3 is not installed")
    sys.exit(77)

O = os.path.abspath(os.environ.get("O", os.path.join(s3d.TOP, "build", "debug")))
SLOW = 4 if os.path.basename(O) in ("asan", "tsan") else 1
ROLE = "arn:aws:iam::123456789012:role/test"
KEY = Credentials("GWAPIKEY", "gwapisecret")
MIB = 1 << 20
for _k, _v in (("AWS_CONFIG_FILE", "/dev/null"), ("AWS_EC2_METADATA_DISABLED", "true"),
               ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")):
    os.environ[_k] = _v


def wait_for(what, fn, seconds=60):
    """-> the first true value of fn()"""
    until = time.monotonic() + seconds * SLOW
    while True:
        got = fn()
        if got:
            return got
        assert time.monotonic() < until, "waited in vain for " + what
        time.sleep(0.05)


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def pattern(seed, size):
    """Bytes that anyone can make again: the same seed, the same bytes."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


class tmpfs:
    """A disk that is soon full. Only root makes one."""

    def __init__(self, size):
        self.dir, self.size = tempfile.mkdtemp(prefix="cw-full-"), size

    def __enter__(self):
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + self.size, "tmpfs",
                                                self.dir], stderr=subprocess.DEVNULL).returncode != 0:
            os.rmdir(self.dir)
            return None
        return self.dir

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.dir], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


class OtherStore:
    """The store of the environment: Ceph RGW where a test needs it. Without faults and statistics."""

    def __init__(self):
        if "CW_RGW_ENDPOINT" not in os.environ:
            print("skipped: no Ceph RGW")
            sys.exit(77)
        self.endpoint = os.environ["CW_RGW_ENDPOINT"]
        self.access, self.secret = os.environ["CW_RGW_ACCESS"], os.environ["CW_RGW_SECRET"]

    def close(self):
        pass


class Gateway:
    """One causewayd and its store. Everything goes away with the context."""

    def __init__(self, capacity="256M", dirty_max=None, settle_ms=50, max_age_ms=2000, conf="", s3="",
                 cache=None, store_options=(), store=None):
        self.dir = tempfile.mkdtemp(prefix="cw-fault-")
        self.cache = cache or os.path.join(self.dir, "cache")
        self.capacity, self.dirty_max, self.settle_ms = capacity, dirty_max, settle_ms
        self.max_age_ms, self.extra, self.s3_extra = max_age_ms, conf, s3
        self.store = store or s3d.Server(*store_options)
        self.nfs_port, self.api_port = free_ports(2)
        self.api = "http://127.0.0.1:%d" % self.api_port
        self.proc, self.gateway_arn, self.shares = None, None, {}
        self.conf_path = os.path.join(self.dir, "causeway.conf")
        self.log_path = os.path.join(self.dir, "causewayd.log")
        keys = (store.access, store.secret) if store else (s3d.ACCESS, s3d.SECRET)
        self.s3 = s3d.client(self.store.endpoint, *keys, retries=3)
        self.clients = []
        os.makedirs(self.cache, exist_ok=True)
        os.makedirs(os.path.join(self.dir, "run"))
        self.keys(*keys)
        with open(os.path.join(self.dir, "credentials"), "w") as f:
            f.write("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                    % (KEY.access_key, KEY.secret_key))
        self.write_conf()

    def __enter__(self):
        try:
            self.run()
        except BaseException:
            self.close(True)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close(kind is not None)

    def close(self, show):
        for c in self.clients:
            c.close()
        if self.proc is not None:
            self.proc.kill()
            self.proc.wait()
        if show:
            print("--- causewayd.log\n" + self.log()[-8000:])
        self.store.close()
        if not (show and os.environ.get("CW_KEEP")):
            shutil.rmtree(self.dir, ignore_errors=True)

    # --- its life -----------------------------------------------------------------------------------

    def keys(self, access, secret, token=None):
        """What the gateway signs with."""
        path = os.path.join(self.dir, "s3-credentials")
        with open(path + ".new", "w") as f:
            f.write("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % (access, secret))
            if token:
                f.write("aws_session_token = %s\n" % token)
        os.replace(path + ".new", path)

    def write_conf(self):
        with open(self.conf_path, "w") as f:
            f.write("""[gateway]
home = %s
[nfs]
listen = 127.0.0.1:%d
rpcbind = no
[api]
listen = 127.0.0.1:%d
credentials = credentials
[cache]
index = %s/index.db
disk.cache = %s
capacity = %s
%s[s3]
endpoint = %s
region = us-east-1
path_style = yes
%s
[credentials "default"]
source = profile
file = s3-credentials
profile = default
[sync]
settle_ms = %d
max_age_ms = %d
[fuse]
socket = run/fuse.sock
%s
""" % (self.dir, self.nfs_port, self.api_port, self.cache, self.cache, self.capacity,
                "dirty_max = %s\n" % self.dirty_max if self.dirty_max else "", self.store.endpoint,
                self.s3_extra, self.settle_ms, self.max_age_ms, self.extra))

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def spawn(self):
        with open(self.log_path, "ab") as out:
            self.proc = subprocess.Popen([os.path.join(O, "causewayd"), "--config", self.conf_path],
                                         stdout=out, stderr=subprocess.STDOUT)

    def run(self):
        self.spawn()
        wait_for("causewayd to serve", self.is_up)

    def is_up(self):
        assert self.proc.poll() is None, "causewayd ended with %s" % self.proc.returncode
        return self.http("GET", "/healthz")[0] == 200

    def run_and_fail(self, seconds=30):
        """A start that must not succeed. -> (exit status, what it said)"""
        before = len(self.log())
        self.spawn()
        try:
            code = self.proc.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("it started: " + self.log()[before:]) from None
        self.proc = None
        return code, self.log()[before:]

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc = None

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        code = self.proc.wait(60 * SLOW)
        self.proc = None
        assert code == 0, "causewayd ended with %d" % code

    def stop_quickly(self, seconds=9):
        """3 s of grace for the calls of clients, 3 s for uploads, and a bit: nobody waits for a store that hangs"""
        start = time.monotonic()
        self.stop()
        took = time.monotonic() - start
        print("  stopped in %.1f s" % took, flush=True)
        assert took < seconds * SLOW, "%.1f s to stop" % took

    def hang_store(self):
        """It takes requests and does not answer."""
        self.store.faults({"op": "*", "action": "latency", "latency_ms": 600000})

    def free_store(self):
        self.store.stop(9)  # with whatever it sleeps over
        self.store.start()

    def check(self):
        """`causeway check`, offline. -> its report"""
        r = subprocess.run([os.path.join(O, "causeway"), "--config", self.conf_path, "check", "--json"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        assert r.returncode == 0, "causeway check: %d\n%s" % (r.returncode, r.stdout)
        report = json.loads(r.stdout)
        assert report["problems"] == 0, report
        return report

    def stop_and_check(self):
        self.stop()
        return self.check()

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.proc.pid) as f:
            w = f.read().rsplit(")", 1)[1].split()
        return (int(w[11]) + int(w[12])) / os.sysconf("SC_CLK_TCK")

    # --- API ----------------------------------------------------------------------------------------

    def http(self, method, path, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=60)
        try:
            c.request(method, path, headers=headers or {})
            r = c.getresponse()
            return r.status, r.read()
        except OSError:
            return 0, b""
        finally:
            c.close()

    def v1(self, method, path):
        r = AWSRequest(method=method, url=self.api + path)
        botocore.auth.SigV4Auth(KEY, "storagegateway", "us-east-1").add_auth(r)
        status, body = self.http(method, path, dict(r.headers))
        assert status == 200, (status, body)
        return json.loads(body)

    def sgw(self):
        return boto3.client("storagegateway", endpoint_url=self.api, region_name="us-east-1",
                            aws_access_key_id=KEY.access_key, aws_secret_access_key=KEY.secret_key,
                            config=Config(retries={"max_attempts": 1}, read_timeout=60))

    def metrics(self):
        out = {}
        for line in self.http("GET", "/metrics")[1].decode().splitlines():
            if line and line[0] != "#":
                k, v = line.rsplit(" ", 1)
                out[k] = float(v)
        return out

    def activate(self):
        if self.gateway_arn is None:
            key = self.http("GET", "/?activationRegion=us-east-1&gatewayType=FILE_S3&no_redirect")[1]
            self.gateway_arn = self.sgw().activate_gateway(
                ActivationKey=key.decode().strip(), GatewayName="test", GatewayTimezone="GMT",
                GatewayRegion="us-east-1", GatewayType="FILE_S3")["GatewayARN"]
        return self.gateway_arn

    def share(self, name, bucket=True, wait=True, **kw):
        if bucket:
            with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
                self.s3.create_bucket(Bucket=name)
        arn = self.sgw().create_nfs_file_share(
            ClientToken="token-" + name, GatewayARN=self.activate(), Role=ROLE, Squash="NoSquash",
            LocationARN="arn:aws:s3:::" + name, **kw)["FileShareARN"]
        self.shares[name] = arn
        if wait:
            wait_for("share " + name, lambda: self.share_status(name) == "AVAILABLE")
        return arn

    def share_status(self, name):
        return self.sgw().describe_nfs_file_shares(FileShareARNList=[self.shares[name]])[
            "NFSFileShareInfoList"][0]["FileShareStatus"]

    def status(self):
        return self.v1("GET", "/v1/status")

    def is_drained(self):
        return not any(s["pending_files"] for s in self.status()["shares"])

    def drain(self, seconds=60):
        self.v1("POST", "/v1/drain")
        wait_for("uploads to end", self.is_drained, seconds)

    def drop_clean(self):
        self.v1("POST", "/v1/cache/drop")

    def events(self, kind=None):
        got = self.v1("GET", "/v1/events?max=1000")["events"]
        return [e for e in got if kind in (None, e["type"])]

    # --- clients ------------------------------------------------------------------------------------

    def nfs(self, share, **kw):
        c = Client(self, share, **kw)
        self.clients.append(c)
        return c

    def objects(self, bucket):
        """-> {key: ListObjectsV2 entry}"""
        out = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            out.update((o["Key"], o) for o in page.get("Contents", []))
        return out

    def body(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def ops(self):
        """-> {S3 operation: requests} since the last clear"""
        return {k: v["requests"] for k, v in self.store.admin("GET", "/-/stats")["ops"].items()
                if v["requests"]}

    def bytes_in(self):
        st = self.store.admin("GET", "/-/stats")
        return sum(v["bytes_in"] for v in st["ops"].values())

    def clear_stats(self):
        self.store.admin("DELETE", "/-/stats")


class Client:
    """An NFS client as patient as a hard mount: waits out JUKEBOX, comes back after a restart with
    the same handles and sends the same call again. Knows paths."""

    def __init__(self, g, share, uid=0, gid=0, patience=120):
        self.g, self.path, self.patience = g, "/" + share, patience * SLOW
        self.kw = dict(uid=uid, gid=gid)
        self.raw, self.jukebox, self.slowest = None, 0, 0.0
        self.root = self.do(lambda: self.mount())
        self.handles = {"": self.root}

    def close(self):
        if self.raw is not None:
            self.raw.close()
            self.raw = None

    def mount(self):
        fh = self.raw.mount(self.path)
        assert isinstance(fh, bytes), "MNT %s: %s" % (self.path, fh)
        return fh

    def do(self, fn):
        """Repeat fn over broken connections and JUKEBOX until it is answered."""
        start = time.monotonic()
        wait = 0.01
        while True:
            try:
                if self.raw is None:
                    self.raw = nfs3.Client("127.0.0.1", self.g.nfs_port, **self.kw)
                r = fn()
                if isinstance(r, bytes) or r.status != nfs3.JUKEBOX:
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    return r
                self.jukebox += 1
            except OSError:
                self.close()
            assert time.monotonic() - start < self.patience, "no answer for %d s" % self.patience
            time.sleep(wait)
            wait = min(wait * 2, 0.5)

    def ok(self, fn, *also):
        r = self.do(fn)
        assert r.status == nfs3.OK or r.status in also, "status %d" % r.status
        return r

    def fh(self, path):
        """Handle of a path; remembered, as a client's dentry cache does."""
        path = path.strip("/")
        if path not in self.handles:
            up, _, name = path.rpartition("/")
            d = self.fh(up)
            self.handles[path] = self.ok(lambda: self.raw.lookup(d, name)).fh
        return self.handles[path]

    def forget(self):
        self.handles = {"": self.root}

    def split(self, path):
        up, _, name = path.strip("/").rpartition("/")
        return self.fh(up), name

    def mkdir(self, path, **kw):
        d, name = self.split(path)
        r = self.ok(lambda: self.raw.mkdir(d, name, **kw), nfs3.EXIST)
        if r.status == nfs3.OK:
            self.handles[path.strip("/")] = r.fh

    def create(self, path, **kw):
        d, name = self.split(path)
        fh = self.ok(lambda: self.raw.create(d, name, **kw)).fh
        self.handles[path.strip("/")] = fh
        return fh

    def symlink(self, path, target):
        d, name = self.split(path)
        self.ok(lambda: self.raw.symlink(d, name, target), nfs3.EXIST)

    def setattr(self, path, **kw):
        fh = self.fh(path)
        self.ok(lambda: self.raw.setattr(fh, **kw))

    def getattr(self, path):
        fh = self.fh(path)
        return self.ok(lambda: self.raw.getattr(fh)).attr

    def readlink(self, path):
        fh = self.fh(path)
        return self.ok(lambda: self.raw.readlink(fh)).target

    def remove(self, path):
        d, name = self.split(path)
        self.ok(lambda: self.raw.remove(d, name), nfs3.NOENT)
        self.handles.pop(path.strip("/"), None)

    def rename(self, a, b):
        d1, n1 = self.split(a)
        d2, n2 = self.split(b)
        r = self.do(lambda: self.raw.rename(d1, n1, d2, n2))
        self.forget()
        return r.status

    def write(self, path, off, data, stable=nfs3.FILE_SYNC):
        fh = self.fh(path)
        n = self.ok(lambda: self.raw.write(fh, off, data, stable)).count
        assert n == len(data), (n, len(data))

    def commit(self, path):
        fh = self.fh(path)
        return self.ok(lambda: self.raw.commit(fh)).verf

    def put(self, path, data, **kw):
        """Create or overwrite, durable when it returns."""
        self.create(path, size=0, **kw)
        for off in range(0, len(data), MIB):
            self.write(path, off, data[off:off + MIB],
                       nfs3.FILE_SYNC if len(data) <= MIB else nfs3.UNSTABLE)
        if len(data) > MIB:
            self.commit(path)

    def read(self, path, off, count):
        fh, out = self.fh(path), b""
        while len(out) < count:
            r = self.ok(lambda: self.raw.read(fh, off + len(out), min(MIB, count - len(out))))
            out += r.data
            if r.eof or not r.data:
                break
        return out

    def get(self, path):
        return self.read(path, 0, 1 << 40)

    def list(self, path=""):
        """READDIRPLUS of a directory -> {name: entry}"""
        fh, out, cookie, verf = self.fh(path), {}, 0, 0
        while True:
            r = self.ok(lambda: self.raw.readdir(fh, cookie, verf, 65536, True))
            for e in r.entries:
                if e.name not in (".", ".."):
                    out[e.name] = e
            if r.eof:
                return out
            cookie, verf = r.entries[-1].cookie, r.verf

    def tree(self, path=""):
        """-> {path: (type, mode, uid, gid, size, mtime, target)} of everything below"""
        out = {}
        for name, e in self.list(path).items():
            p = (path + "/" + name).strip("/")
            a = self.getattr(p)
            target = self.readlink(p) if a.type == nfs3.LNK else None
            out[p] = (a.type, a.mode, a.uid, a.gid, a.size if a.type == nfs3.REG else 0, a.mtime, target)
            if a.type == nfs3.DIR:
                out.update(self.tree(p))
        return out


def main(*tests):
    """Run every function; its first line of documentation is its name."""
    only = sys.argv[1:]
    for t in tests:
        if only and t.__name__ not in only:
            continue
        start = time.monotonic()
        print("%s: %s" % (t.__name__, (t.__doc__ or "").split("\n")[0]), flush=True)
        t()
        print("%s: ok, %.1f s" % (t.__name__, time.monotonic() - start), flush=True)


def find(pattern_text, text):
    assert re.search(pattern_text, text), "no %r in:\n%s" % (pattern_text, text)
