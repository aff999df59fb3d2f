# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: starting the gateway, pinning, medians and spread."""
import os
import shutil
import statistics
import subprocess
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pinned(cpu, cmd):
    return cmd if cpu is None or os.environ.get("PIN") == "0" else ["taskset", "-c", str(cpu)] + cmd


def median_spread(v):
    return "%.4g [%.4g .. %.4g]" % (statistics.median(v), min(v), max(v))


def verdict(ratio, gate, goal):
    return "goal" if ratio >= goal else "gate" if ratio >= gate else "BELOW GATE"


def ratio_row(name, unit, ours, peer, gate, goal, errors=None, peer_name="peer"):
    ratio = statistics.median(ours) / statistics.median(peer)
    note = ""
    if errors and (errors.get("ours") or errors.get("peer")):
        note = "  errors: ours %d, %s %d" % (errors.get("ours", 0), peer_name, errors.get("peer", 0))
    return "%-42s ours %-32s %s %-32s %s  ratio %.2f (gate %.2f, goal %.2f): %s%s" % (
        name, median_spread(ours), peer_name, median_spread(peer), unit, ratio, gate, goal, verdict(ratio, gate, goal), note)


class Causeway:
    """causewayd and, unless an endpoint is given, causeway-s3d, with state under work/."""

    def __init__(self, work, name="causeway", pin=None, endpoint=None, access=None, secret=None, capacity="8G", settle_ms=60000,
                 ports=(23049, 23080, 23090), iscsi_port=None, volumes=None):
        """volumes: what [volumes] says; None: nothing is sealed unless a drain asks"""
        self.iscsi_port = iscsi_port
        self.volumes = "seal_interval_ms = %d\nseal_bytes = 8G" % max(60000, settle_ms) if volumes is None else volumes
        self.dir = os.path.join(work, name)
        self.pin, self.endpoint, self.capacity, self.settle_ms = pin, endpoint, capacity, settle_ms
        self.nfs_port, self.api_port, self.s3_port = ports
        self.access, self.secret = access or "AKIDBENCH", secret or "bench-secret"
        self.api = "http://127.0.0.1:%d" % self.api_port
        self.credentials = os.path.join(self.dir, "credentials")
        self.conf = os.path.join(self.dir, "causeway.conf")
        self.daemon = self.store = None

    def write_conf(self):
        os.makedirs(self.dir + "/cache", exist_ok=True)
        os.makedirs(self.dir + "/store", exist_ok=True)
        os.makedirs(self.dir + "/run", exist_ok=True)
        with open(self.credentials, "w") as f:
            f.write("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % (self.access, self.secret))
        os.chmod(self.credentials, 0o600)
        with open(self.conf, "w") as f:
            f.write("""[gateway]
home = {d}
[nfs]
listen = 127.0.0.1:{n}
rpcbind = no
[api]
listen = 127.0.0.1:{a}
credentials = {c}
[cache]
index = {d}/cache/index.db
disk.cache0 = {d}/cache
capacity = {cap}
[s3]
endpoint = {e}
region = us-east-1
path_style = yes
[credentials "default"]
source = profile
file = {c}
[sync]
settle_ms = {s}
max_age_ms = {m}
[fuse]
socket = {d}/run/fuse.sock
""".format(d=self.dir, n=self.nfs_port, a=self.api_port, c=self.credentials, cap=self.capacity,
                e=self.endpoint or "http://127.0.0.1:%d" % self.s3_port, s=self.settle_ms, m=max(60000, self.settle_ms)))
            if self.iscsi_port is not None:
                f.write("""[iscsi]
listen = 127.0.0.1:{p}
[volumes]
bucket = volumes
{v}
[cache]
disk.buffer = {d}/disks/buffer
disk.working = {d}/disks/working
disk.stored = {d}/disks/stored
disk_size.stored = 1G
""".format(d=self.dir, p=self.iscsi_port, v=self.volumes))
                for name in ("buffer", "working", "stored"):
                    os.makedirs("%s/disks/%s" % (self.dir, name), exist_ok=True)

    def start(self):
        self.write_conf()
        o = os.environ["O"]
        if self.endpoint is None:
            self.store = subprocess.Popen([o + "/causeway-s3d", "--dir", self.dir + "/store", "--listen",
                                           "127.0.0.1:%d" % self.s3_port, "--credentials", self.credentials, "--no-fsync"],
                                          stdout=open(self.dir + "/s3d.log", "ab"), stderr=subprocess.STDOUT)
        self.start_daemon()

    def start_daemon(self):
        begin = time.monotonic()
        self.daemon = subprocess.Popen(pinned(self.pin, [os.environ["O"] + "/causewayd", "--config", self.conf]),
                                       stdout=open(self.dir + "/causewayd.log", "ab"), stderr=subprocess.STDOUT)
        for _ in range(1200):
            try:
                urllib.request.urlopen(self.api + "/healthz", timeout=2)
                return time.monotonic() - begin
            except OSError:
                if self.daemon.poll() is not None:
                    raise RuntimeError("causewayd ended: " + open(self.dir + "/causewayd.log").read()[-2000:])
                time.sleep(0.02)
        raise RuntimeError("causewayd did not come up")

    def stop_daemon(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
            self.daemon = None

    def restart(self):
        self.stop_daemon()
        return self.start_daemon()

    def lose_cache(self):
        """the appliance is lost: cache and index are gone"""
        shutil.rmtree(self.dir + "/cache")
        os.makedirs(self.dir + "/cache")

    def cli(self, *args, timeout=600):
        return subprocess.run([os.environ["O"] + "/causeway", "--api", self.api, "--credentials", self.credentials] + list(args),
                              capture_output=True, text=True, timeout=timeout)

    def make_bucket(self, name):
        import boto3
        s3 = boto3.client("s3", endpoint_url=self.endpoint or "http://127.0.0.1:%d" % self.s3_port, region_name="us-east-1",
                          aws_access_key_id=self.access, aws_secret_access_key=self.secret)
        try:
            s3.create_bucket(Bucket=name)
        except s3.exceptions.BucketAlreadyOwnedByYou:
            pass

    def must(self, *args):
        r = self.cli(*args)
        if r.returncode != 0:
            raise RuntimeError(" ".join(args) + ": " + r.stderr + r.stdout)

    def make_share(self, name, bucket=None):
        self.make_bucket(bucket or name)
        self.must("share", "create", name, "--bucket", bucket or name, "--squash", "NoSquash")

    def make_volume(self, name, mode):
        """1 GiB, cached or stored; its target's name"""
        self.make_bucket("volumes")
        if mode == "cached":
            self.must("gateway", "activate", "--type", "CACHED", "--name", "bench-cached", "--buffer", "buffer")
            how = ["--size", "1G"]
        else:
            self.must("gateway", "activate", "--type", "STORED", "--name", "bench-stored", "--buffer", "working")
            how = ["--stored", "--disk", "stored"]
        self.must("volume", "create", name, "--interface", "127.0.0.1", *how)
        return "iqn.1997-05.com.amazon:" + name

    def drain_volume(self, name, timeout=120):
        """wait until the bucket has it all, so that no upload shares the CPU with what is measured next"""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.must("volume", "drain", name)
            if '"dirty_bytes": 0,' in self.cli("volume", "show", name, "--json").stdout:
                return
            time.sleep(0.02)

    def stop(self):
        self.stop_daemon()
        if self.store:
            self.store.terminate()
            self.store.wait(30)
            self.store = None
