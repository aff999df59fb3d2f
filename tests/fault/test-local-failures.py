#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""What goes wrong at home: full disks, a damaged index, wrong credentials, no bucket, ports taken,
configurations that cannot be, malformed input. Each a clear message, nothing lost, no crash."""
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
from faultgw import MIB, nfs3, s3d  # noqa: E402


def disk_full():
    """The disk has less room than the cache may use: writers wait or hear NOSPC, nothing kept is lost."""
    with faultgw.tmpfs("24m") as disk:
        if disk is None:
            print("  left out: no tmpfs can be mounted")
            return
        with faultgw.Gateway(capacity="256M", cache=os.path.join(disk, "cache"), max_age_ms=300) as g:
            g.share("full")
            c = g.nfs("full", patience=20)
            kept = {}
            for i in range(3):
                kept["kept%d" % i] = faultgw.pattern(i, MIB)
                c.put("kept%d" % i, kept["kept%d" % i])
            g.drain()
            g.store.faults({"op": "write", "action": "status", "status": 503})
            refused = None
            for i in range(60):  # with nothing uploaded the disk must fill up
                name, data = "f%d" % i, faultgw.pattern((i, "full"), MIB)
                try:
                    c.put(name, data)
                    kept[name] = data
                except AssertionError as e:
                    refused = str(e)
                    break
            assert refused, "60 MiB on 24 MiB?"
            print("  after %d MiB: %s" % (len(kept), refused), flush=True)
            assert "status %d" % nfs3.NOSPC in refused or "no answer" in refused, refused
            assert len(kept) > 10, "full after %d MiB of 24" % len(kept)
            assert g.proc.poll() is None, "it died"
            faultgw.find(r"(?i)no space|disk.full|full", g.log())
            for name in ("kept0", "f0"):
                assert c.get(name) == kept[name], name
            g.kill()  # a full disk is no reason to lose what was promised
            g.run()
            c.patience = 120
            for name, data in kept.items():
                assert c.get(name) == data, name + " after a restart"
            g.store.faults()
            g.drain()
            for name, data in kept.items():
                assert g.body("full", name) == data, name
            c.put("after", b"it goes on" * 100000)  # there is room again
            g.drain()
            assert g.body("full", "after") == b"it goes on" * 100000
            g.stop_and_check()


def disk_full_of_others():
    """Others fill the disk to its last block: what is evicted cannot be written down but by the reserve."""
    with faultgw.tmpfs("40m") as disk:
        if disk is None:
            print("  left out: no tmpfs can be mounted")
            return
        with faultgw.Gateway(capacity="256M", cache=os.path.join(disk, "cache"), max_age_ms=300) as g:
            g.share("others")
            c = g.nfs("others", patience=60)
            for i in range(8):
                c.put("clean%d" % i, faultgw.pattern(i, MIB))
            g.drain()
            g.kill()  # the log of the index is written anew after a restart, so it has to grow
            g.run()
            with open(os.path.join(disk, "others"), "wb", buffering=0) as f:
                size = MIB
                while size >= 512:
                    try:
                        while f.write(b"x" * size) == size:
                            pass
                    except OSError:
                        pass
                    size //= 2
            assert os.statvfs(disk).f_bavail == 0, os.statvfs(disk)
            for i in range(4):
                c.put("new%d" % i, faultgw.pattern((i, "new"), MIB))
            g.drain()
            for i in range(4):
                assert c.get("new%d" % i) == faultgw.pattern((i, "new"), MIB)
            assert c.get("clean1") == faultgw.pattern(1, MIB)
            os.unlink(os.path.join(disk, "others"))
            c.put("after", b"room again")
            g.drain()
            g.stop_and_check()


def cache_limit():
    """The limit of the cache is reached while the store is slow: JUKEBOX or waiting, never an error."""
    with faultgw.Gateway(capacity="8M", dirty_max="4M", max_age_ms=300) as g:
        g.share("limit")
        c = g.nfs("limit")
        g.store.faults({"op": "write", "bytes_per_s": 4 * MIB})
        for i in range(12):
            c.put("f%d" % i, faultgw.pattern(i, 2 * MIB))
        g.store.faults()
        g.drain()
        for i in range(12):
            assert c.get("f%d" % i) == faultgw.pattern(i, 2 * MIB)
        used = g.status()["cache"]["used_bytes"]
        assert used <= 9 * MIB, used
        print("  slowest call %.1f s, JUKEBOX %d times" % (c.slowest, c.jukebox))
        g.stop_and_check()


def damaged_index():
    """Truncated, garbage, empty, no database: the start says so and keeps the file; or it recovers."""
    with faultgw.Gateway() as g:
        g.share("index")
        c = g.nfs("index")
        for i in range(300):
            c.put("f%d" % i, b"%d" % i * 100)
        g.drain()
        g.stop()
        index = os.path.join(g.cache, "index.db")
        with open(index, "rb") as f:
            good = f.read()
        saved = os.path.join(g.dir, "saved")
        shutil.copytree(g.cache, saved)
        rng = random.Random(11)
        garbage = bytearray(good)
        for _ in range(len(good) // 100):
            garbage[rng.randrange(100, len(good))] = rng.randrange(256)
        cases = {"truncated to half": good[:len(good) // 2], "truncated to 100 bytes": good[:100],
                 "no database": b"this is no database\n" * 1000, "garbage in the pages": bytes(garbage),
                 "header of zeros": b"\0" * 100 + good[100:]}
        for what, data in cases.items():
            for suffix in ("-wal", "-shm"):
                if os.path.exists(index + suffix):
                    os.unlink(index + suffix)
            with open(index, "wb") as f:
                f.write(data)
            code, said = g.run_and_fail()
            last = said.strip().splitlines()[-1] if said.strip() else ""
            print("  %s: exit %d, %s" % (what, code, last[-200:]), flush=True)
            assert code > 0, "%s: ended with %d" % (what, code)
            faultgw.find(r"index", said)
            with open(index, "rb") as f:
                assert f.read()[:len(data)] == data or os.path.getsize(index) >= len(data), "it was overwritten"
            r = subprocess.run([os.path.join(faultgw.O, "causeway"), "--config", g.conf_path, "check"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
            assert r.returncode > 0 and r.stdout.strip(), "%s: check says %d" % (what, r.returncode)
        # as the message says: without the index, everything clean comes back from the bucket
        shutil.rmtree(g.cache)
        os.mkdir(g.cache)
        g.gateway_arn = None
        g.run()
        g.share("index")
        c = g.nfs("index")
        assert len(c.list()) == 300 and c.get("f7") == b"7" * 100
        g.stop_and_check()
        # and the old one, put back, is as good as it was
        shutil.rmtree(g.cache)
        shutil.copytree(saved, g.cache)
        g.run()
        c = g.nfs("index")
        assert len(c.list()) == 300 and c.get("f9") == b"9" * 100
        g.stop_and_check()


def damaged_data():
    """The data file is shorter than the index says: said clearly, and no zeros are served for data."""
    with faultgw.Gateway() as g:
        g.share("data")
        c = g.nfs("data")
        for i in range(20):
            c.put("f%d" % i, faultgw.pattern(i, 300000))
        g.drain()
        g.stop()
        files = [os.path.join(d, f) for d, _, fs in os.walk(g.cache) for f in fs if not f.startswith("index")]
        for f in files:
            if os.path.getsize(f) > MIB:
                os.truncate(f, MIB)
        r = subprocess.run([os.path.join(faultgw.O, "causeway"), "--config", g.conf_path, "check"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        print("  check: exit %d, %s" % (r.returncode, r.stdout.strip().splitlines()[0][:200]))
        assert r.returncode > 0, "check saw nothing"
        g.run()
        faultgw.find(r"error cache.space data-file-short .*space-", g.log())
        faultgw.wait_for("UNAVAILABLE", lambda: g.share_status("data") != "AVAILABLE", 10)
        for name, fh in list(c.handles.items())[1:]:
            r = nfs3.Client("127.0.0.1", g.nfs_port).read(fh, 0, 300000)
            assert r.status != nfs3.OK, "%s was served from a file that was cut" % name
        g.stop()


def credentials():
    """Wrong keys: the share says UNAVAILABLE and why; cached work goes on; right keys heal it."""
    with faultgw.Gateway(max_age_ms=300) as g:
        g.share("creds")
        c = g.nfs("creds")
        c.put("before", b"before")
        g.drain()
        with open(g.store.credentials) as f:
            right = f.read()
        with open(g.store.credentials, "w") as f:  # the store's administrator changed the key
            f.write(right.replace(s3d.SECRET, "another/secret"))
        c.put("meanwhile", b"meanwhile")
        s = faultgw.wait_for("the share to say so", lambda: next(
            (x for x in g.status()["shares"] if not x["available"]), None), 30)
        print("  " + s["reason"])
        assert "redential" in s["reason"], s
        assert g.share_status("creds") == "UNAVAILABLE", g.share_status("creds")
        faultgw.find(r"store-unavailable .*redential", g.log())
        assert c.get("before") == b"before" and c.get("meanwhile") == b"meanwhile"
        g.kill()
        g.run()  # also starts so
        assert c.get("meanwhile") == b"meanwhile"
        g.keys(s3d.ACCESS, "another/secret")
        g.drain(60)
        with open(os.path.join(g.store.dir, "creds", "meanwhile"), "rb") as f:
            assert f.read() == b"meanwhile"
        faultgw.wait_for("AVAILABLE", lambda: g.share_status("creds") == "AVAILABLE", 40)
        g.stop_and_check()


def no_bucket():
    """A share on a bucket that is not there says so and heals when the bucket is made."""
    with faultgw.Gateway(max_age_ms=300) as g:
        g.share("absent", bucket=False, wait=False)
        faultgw.wait_for("UNAVAILABLE", lambda: g.share_status("absent") == "UNAVAILABLE", 30)
        s = g.status()["shares"][0]
        print("  " + s["reason"])
        assert not s["available"] and "ucket" in s["reason"], s
        g.s3.create_bucket(Bucket="absent")
        faultgw.wait_for("AVAILABLE", lambda: g.share_status("absent") == "AVAILABLE", 60)
        c = g.nfs("absent")
        c.put("f", b"f")
        g.drain()
        # and one that goes away under a share
        gone = os.path.join(g.dir, "gone")
        os.rename(os.path.join(g.store.dir, "absent"), gone)
        g.store.stop()
        g.store.start()
        c.put("g", b"g")
        faultgw.wait_for("UNAVAILABLE", lambda: g.share_status("absent") == "UNAVAILABLE", 40)
        assert c.get("g") == b"g"
        g.s3.create_bucket(Bucket="absent")
        g.drain(90)
        assert g.body("absent", "g") == b"g"
        g.stop_and_check()


def cannot_start():
    """Ports taken, configurations that cannot be: one clear line and a status, no half start."""
    with faultgw.Gateway() as g:
        g.share("start")
        g.nfs("start").put("f", b"f")
        g.drain()
        code, said = second_on(g)
        print("  a second one: exit %d, %s" % (code, said.strip().splitlines()[-1][-160:]))
        assert code > 0
        g.stop()
        for port, name in ((g.nfs_port, "nfs"), (g.api_port, "api")):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            s.listen()
            code, said = g.run_and_fail()
            s.close()
            print("  %s port taken: exit %d, %s" % (name, code, said.strip().splitlines()[-1][-160:]))
            assert code > 0 and str(port) in said and "another process listens there" in said, said
        with open(g.conf_path) as f:
            good = f.read()
        for change in (("capacity = 256M", "capacity = lots"), ("[nfs]", "[nfs3]"), ("rpcbind = no", "rpcbnd = no"),
                       ("capacity = 256M", "capacity = 256M\nno equals sign"), ("[sync]", "[sync"),
                       ("endpoint = http", "endpoint = ftp"),
                       ("settle_ms = 50", "settle_ms = -1"), ("listen = 127.0.0.1:", "listen = 127.0.0.1:x"),
                       ("%s/index.db" % g.cache, "/proc/no/such/index.db"), ("[gateway]", "\0\1\2[gateway]")):
            assert change[0] in good, change
            with open(g.conf_path, "w") as f:
                f.write(good.replace(*change, 1))
            code, said = g.run_and_fail(10)
            assert code > 0 and said.strip(), (change, code, said)
            print("  %r: %s" % (change[1][-30:], said.strip().splitlines()[-1][-120:]))
        os.unlink(g.conf_path)
        code, said = g.run_and_fail()
        assert code > 0 and "causeway.conf" in said, said
        with open(g.conf_path, "w") as f:
            f.write(good)
        g.run()
        assert g.nfs("start").get("f") == b"f"
        g.stop_and_check()


def second_on(g):
    """A second daemon with the same configuration while the first runs."""
    first = g.proc
    try:
        return g.run_and_fail()
    finally:
        g.proc = first


def read_only_cache():
    """The cache directory is not there or is a file: a clear message."""
    with faultgw.Gateway() as g:
        g.stop()
        shutil.rmtree(g.cache)
        with open(g.cache, "w") as f:
            f.write("a file\n")
        code, said = g.run_and_fail()
        print("  " + said.strip().splitlines()[-1][-160:])
        assert code > 0 and "cache" in said
        os.unlink(g.cache)
        os.mkdir(g.cache)
        g.run()


def rpc(rng, fh):
    """A call of NFS or MOUNT with something wrong in it."""
    head = [rng.randrange(1 << 32), 0, 2, rng.choice((100003, 100005, 100000, 7)), rng.choice((3, 3, 3, 4, 0)),
            rng.randrange(24), 1]
    cred = nfs3.opaque(struct.pack(">I", 1) + nfs3.opaque("m") + struct.pack(">IIII", 0, 0, 1, 0)) + struct.pack(">II", 0, 0)
    body = nfs3.opaque(fh) + bytes(rng.choice((0, 0, 0, 1, 255, rng.randrange(256))) for _ in range(rng.randrange(120)))
    msg = bytearray(struct.pack(">7I", *head) + cred + body)
    for _ in range(rng.choice((0, 0, 1, 3, 20))):
        msg[rng.randrange(len(msg))] = rng.randrange(256)
    msg = bytes(msg[:rng.choice((len(msg), len(msg), rng.randrange(len(msg) + 1)))])
    mark = rng.choice((len(msg) | 1 << 31,) * 6 + (len(msg), 0, 0xffffffff, 0x7fffffff, rng.randrange(1 << 32)))
    return struct.pack(">I", mark) + msg


def throw(port, data, wait=0.0):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(2)
        try:
            s.sendall(data)
            if wait:
                s.settimeout(wait)
            return s.recv(65536)
        except OSError:
            return b""


def malformed():
    """Malformed RPC, XDR, HTTP and API input from several sides, while a client works undisturbed."""
    with faultgw.Gateway() as g:
        g.share("hostile")
        c = g.nfs("hostile")
        c.put("f", b"data" * 1000)
        rng, stop, failed = random.Random(13), threading.Event(), []

        def honest():
            try:
                w, n = g.nfs("hostile"), 0
                while not stop.is_set():
                    w.put("honest", b"%d" % n)
                    assert w.get("honest") == b"%d" % n and w.get("f") == b"data" * 1000
                    n += 1
            except BaseException as e:
                failed.append(e)

        t = threading.Thread(target=honest)
        t.start()
        try:
            for n in range(400):
                throw(g.nfs_port, b"".join(rpc(rng, c.root) for _ in range(rng.randrange(1, 20))), 0.02)
                assert g.proc.poll() is None, "it died of case %d" % n
            for data in (b"", b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n",
                         b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                         b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                         b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                         b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: %s\r\nContent-Length: 2\r\n\r\n{}" % (b"A" * 9000),
                         b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: StorageGateway_20130630.ListGateways\r\n"
                         b"Authorization: AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature=\r\n"
                         b"Content-Length: 2\r\n\r\n{}", b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
                         b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", os.urandom(5000),
                         b"\x16\x03\x01\x02\x00\x01\x00" + os.urandom(512)):
                answer = throw(g.api_port, data, 0.3)
                assert b"root:" not in answer and b" 500 " not in answer[:40], (data[:60], answer[:200])
                assert g.proc.poll() is None, data[:80]
            for _ in range(100):
                throw(g.api_port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n" + os.urandom(40), 0.05)
                throw(g.nfs_port, os.urandom(rng.randrange(200)), 0.01)
            assert g.proc.poll() is None
        finally:
            stop.set()
            t.join()
        if failed:
            raise failed[0]
        g.drain()
        g.stop_and_check()


faultgw.main(disk_full, disk_full_of_others, cache_limit, damaged_index, damaged_data, credentials, no_bucket, cannot_start,
             read_only_cache, malformed)
