# SPDX-License-Identifier: Apache-2.0
"""cwrun.py - a gateway in a directory of its own, started by gateway/run.sh, for tests in Python.

    with cwrun.Gateway() as g:
        g.put("a.txt", b"data")              # by NFS (libnfs-utils)
        g.cli("status", "--json")            # the causeway command
        with g.mounted() as mnt: ...         # by FUSE
"""
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
O = os.path.abspath(os.environ.get("O", os.path.join(TOP, "build", "debug")))
SLOW = 3 if os.path.basename(O) in ("asan", "tsan") else 1


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def need(*programs):
    for p in programs:
        if shutil.which(p) is None:
            skip(p + " is not installed")


def need_fuse():
    if os.geteuid() != 0:
        skip("only root mounts here")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as e:
        skip("/dev/fuse: " + e.strerror)


def free_ports(n):
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def wait_for(what, fn, timeout=30):
    """-> the first true value of fn(); fails the test when there is none in time"""
    until = time.monotonic() + timeout * SLOW
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.05)


class Gateway:
    """run.sh and what it started; home is kept over stop() and start()."""

    def __init__(self, programs=O):
        self.programs = programs
        self.dir = tempfile.mkdtemp(prefix="cwrun-")
        self.home = os.path.join(self.dir, "home")
        self.nfs_port, self.api_port, self.s3_port, self.iscsi_port = free_ports(4)
        self.proc = None
        self.log = os.path.join(self.dir, "log")

    def env(self, **more):
        e = dict(os.environ, O=self.programs, CAUSEWAY_HOME=self.home)
        e["CAUSEWAY_NFS"] = "127.0.0.1:%d" % self.nfs_port
        e["CAUSEWAY_API"] = "127.0.0.1:%d" % self.api_port
        e["CAUSEWAY_S3"] = "127.0.0.1:%d" % self.s3_port
        e["CAUSEWAY_ISCSI"] = "127.0.0.1:%d" % self.iscsi_port
        e.update(more)
        return e

    def spawn(self, env=None):
        out = open(self.log, "ab")
        p = subprocess.Popen([os.path.join(TOP, "gateway", "run.sh")], cwd=self.dir, stdout=out,
                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                             env=env or self.env(), start_new_session=True)
        out.close()
        return p

    def start(self):
        mark = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.proc = self.spawn()

        def ready():
            if self.proc.poll() is not None:
                raise AssertionError("run.sh ended with %d" % self.proc.returncode)
            return "Ctrl-C stops it" in self.output()[mark:]

        wait_for("run.sh to be ready", ready, 60)

    def output(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGINT):
        """Ctrl-C: the signal goes to the whole foreground group. -> exit status"""
        if self.proc is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.proc.pid, sig)
        code = self.proc.wait(120 * SLOW)
        self.proc = None
        return code

    def pid(self, name="causewayd"):
        with open(os.path.join(self.home, "run", name + ".pid")) as f:
            return int(f.read())

    def kill_daemon(self):
        """SIGKILL to causewayd alone, and wait until run.sh has it serving again."""
        said = self.output().count("serves again")
        os.kill(self.pid(), signal.SIGKILL)
        wait_for("the daemon's restart", lambda: self.output().count("serves again") > said, 60)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.close(show=kind is not None and kind is not SystemExit)

    def close(self, show=True):
        if self.proc is not None:
            try:
                self.stop()
            except Exception as e:
                print("stopping:", e)
                os.killpg(self.proc.pid, signal.SIGKILL)
                show = True
        if show and os.path.exists(self.log):
            print("--- what the gateway said ---")
            print(self.output()[-6000:])
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- the causeway command -----------------------------------------------------------------------

    def cli_run(self, *args, env=None):
        return subprocess.run([os.path.join(self.programs, "causeway"), "--home", self.home, *args],
                              capture_output=True, text=True, env=env, timeout=120)

    def cli(self, *args, code=0):
        r = self.cli_run(*args)
        assert r.returncode == code, "causeway %s: %d\n%s%s" % (args, r.returncode, r.stdout, r.stderr)
        return json.loads(r.stdout) if "--json" in args else r.stdout

    def drain(self):
        self.cli("drain", "--timeout", str(60 * SLOW))

    # --- NFS ----------------------------------------------------------------------------------------

    def url(self, path=""):
        return "nfs://127.0.0.1/demo/%s?nfsport=%d&mountport=%d" % (path, self.nfs_port, self.nfs_port)

    def put(self, path, data):
        src = os.path.join(self.dir, "put.tmp")
        with open(src, "wb") as f:
            f.write(data)
        subprocess.run(["nfs-cp", src, self.url(path)], check=True, stdout=subprocess.DEVNULL, timeout=120)

    def get(self, path):
        dst = os.path.join(self.dir, "get.tmp")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(dst)
        subprocess.run(["nfs-cp", self.url(path), dst], check=True, stdout=subprocess.DEVNULL, timeout=120)
        with open(dst, "rb") as f:
            return f.read()

    def ls(self, path=""):
        out = subprocess.run(["nfs-ls", self.url(path)], check=True, capture_output=True, text=True,
                             timeout=60).stdout
        return {line.split(None, 5)[5]: line.split(None, 5) for line in out.splitlines() if line}

    def handle(self, name=None):
        """The NFS file handle of the share's root, or of a name in it."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.nfs_port), 10)) as s:
            root = Rpc(s).call(100005, 3, 1, xdr_bytes(b"/demo"))
            status, n = struct.unpack_from(">II", root)
            assert status == 0, "MNT: %d" % status
            fh = root[8:8 + n]
            if name is None:
                return fh
            got = Rpc(s).call(100003, 3, 3, xdr_bytes(fh) + xdr_bytes(name.encode()))
            status, n = struct.unpack_from(">II", got)
            assert status == 0, "LOOKUP: %d" % status
            return got[8:8 + n]

    def overwrite(self, name, data):
        """CREATE (unchecked, size 0) of a name in the root, then WRITE FILE_SYNC: nfs-cp only creates."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.nfs_port), 10)) as s:
            rpc = Rpc(s)
            got = rpc.call(100003, 3, 8, xdr_bytes(self.handle()) + xdr_bytes(name.encode()) +
                           struct.pack(">IIIIIQII", 0, 0, 0, 0, 1, 0, 0, 0))
            status, has, n = struct.unpack_from(">III", got)
            assert (status, has) == (0, 1), "CREATE: %d" % status
            fh = xdr_bytes(got[12:12 + n])
            for off in range(0, len(data), 65536):
                part = data[off:off + 65536]
                got = rpc.call(100003, 3, 7, fh + struct.pack(">QII", off, len(part), 2) + xdr_bytes(part))
                assert struct.unpack_from(">I", got)[0] == 0, "WRITE"

    # --- FUSE ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def mounted(self, *opts):
        mnt = os.path.join(self.dir, "mnt")
        os.makedirs(mnt, exist_ok=True)
        log = open(os.path.join(self.dir, "mount.log"), "ab")
        helper = subprocess.Popen([os.path.join(self.programs, "causeway"), "--home", self.home,
                                   "mount", "demo", mnt, *opts], stdout=log, stderr=log)
        log.close()
        self.helper = helper
        try:
            wait_for("the mount", lambda: helper.poll() is not None or self.is_mounted(mnt))
            assert helper.poll() is None, open(os.path.join(self.dir, "mount.log")).read()
            yield mnt
        finally:
            if helper.poll() is None:
                helper.send_signal(signal.SIGTERM)
                try:
                    helper.wait(30)
                except subprocess.TimeoutExpired:
                    helper.kill()
                    subprocess.run(["umount", "-l", mnt])

    @staticmethod
    def is_mounted(mnt):
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == mnt and " fuse.causeway " in line for line in f)


def xdr_bytes(b):
    return struct.pack(">I", len(b)) + b + b"\0" * (-len(b) % 4)


class Rpc:
    """One ONC RPC call over TCP with AUTH_SYS for uid 0 (RFC 5531)."""

    def __init__(self, sock):
        self.sock = sock

    def call(self, prog, vers, proc, args):
        cred = struct.pack(">I", 0) + xdr_bytes(b"test") + struct.pack(">III", 0, 0, 0)
        want = int.from_bytes(os.urandom(4), "big")  # a reused one would be a retransmission
        msg = struct.pack(">IIIIII", want, 0, 2, prog, vers, proc)
        msg += struct.pack(">I", 1) + xdr_bytes(cred) + struct.pack(">II", 0, 0) + args
        self.sock.sendall(struct.pack(">I", 0x80000000 | len(msg)) + msg)
        reply = self.take(struct.unpack(">I", self.take(4))[0] & 0x7fffffff)
        xid, kind, stat, _, verf_len = struct.unpack_from(">IIIII", reply)
        assert (xid, kind, stat) == (want, 1, 0), "RPC refused"
        at = 20 + verf_len + (-verf_len % 4)
        assert struct.unpack_from(">I", reply, at)[0] == 0, "RPC not accepted"
        return reply[at + 4:]

    def take(self, n):
        out = b""
        while len(out) < n:
            got = self.sock.recv(n - len(out))
            assert got, "connection closed"
            out += got
        return out
