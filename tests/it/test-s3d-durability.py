#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=240
"""What causeway-s3d answered survives restart and SIGKILL; what it did not answer leaves no half."""
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import s3d  # noqa: E402

B = "dur"
server = s3d.Server(*sys.argv[1:])
s3 = s3d.client(server.endpoint)
s3.create_bucket(Bucket=B)


def listing(c):
    out, more = {}, {}
    while True:
        r = c.list_objects_v2(Bucket=B, **more)
        out.update((o["Key"], (o["ETag"], o["Size"], o["LastModified"])) for o in r.get("Contents", []))
        if not r["IsTruncated"]:
            return out
        more = {"ContinuationToken": r["NextContinuationToken"]}


def md5(data):
    return hashlib.md5(data).hexdigest()


def restart_keeps_everything():
    meta = {"file-mtime": "17ns", "x": "ü".encode().hex()}
    big = {"k%02d" % i: "v" * 60 for i in range(30)}
    for k in ("a", "a/b", "a/", "dir/", "d//e", "100%", "../..", "ü" * 400, "x\ny"):
        s3.put_object(Bucket=B, Key=k, Body=k.encode(), Metadata=meta, StorageClass="STANDARD_IA")
    s3.put_object(Bucket=B, Key="side", Body=b"s", Metadata=big, CacheControl="c" * 1000,
                  ContentDisposition="d" * 1000)
    uid = s3.create_multipart_upload(Bucket=B, Key="mp", Metadata=meta)["UploadId"]
    first = s3.upload_part(Bucket=B, Key="mp", UploadId=uid, PartNumber=1, Body=b"1" * (5 << 20))
    before = listing(s3)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        code = server.stop(sig)
        assert sig == signal.SIGKILL or code == 0, code
        server.start()
        assert listing(s3) == before
        h = s3.head_object(Bucket=B, Key="a/b")
        assert (h["Metadata"], h["StorageClass"]) == (meta, "STANDARD_IA"), h
        h = s3.head_object(Bucket=B, Key="side")
        assert (h["Metadata"], h["CacheControl"]) == (big, "c" * 1000), h
        assert s3.get_object(Bucket=B, Key="a")["Body"].read() == b"a"
    second = s3.upload_part(Bucket=B, Key="mp", UploadId=uid, PartNumber=2, Body=b"2")
    s3.complete_multipart_upload(Bucket=B, Key="mp", UploadId=uid, MultipartUpload={"Parts": [
        {"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]})
    h = s3.head_object(Bucket=B, Key="mp")
    assert h["ContentLength"] == (5 << 20) + 1 and h["Metadata"] == meta


def files_put_there_by_hand_are_adopted():
    server.stop()
    os.makedirs(os.path.join(server.dir, B, "hand"))
    with open(os.path.join(server.dir, B, "hand/made.txt"), "wb") as f:
        f.write(b"by hand")
    with open(os.path.join(server.dir, B, "d", "%_", "e"), "ab") as f:
        f.write(b" edited")
    os.symlink("/etc/passwd", os.path.join(server.dir, B, "hand/link"))
    server.start()
    r = s3.get_object(Bucket=B, Key="hand/made.txt")
    assert (r["Body"].read(), r["ETag"]) == (b"by hand", '"%s"' % md5(b"by hand"))
    r = s3.get_object(Bucket=B, Key="d//e")
    assert (r["Body"].read(), r["ETag"]) == (b"d//e edited", '"%s"' % md5(b"d//e edited"))
    assert "hand/link" not in listing(s3)


def kill_during_puts_leaves_whole_objects():
    rng = random.Random(7)
    told, answered = {}, set()  # bodies that may be there; keys that must
    for round_ in range(6):
        stop = threading.Event()

        def writer(n, seed):
            c, r = s3d.client(server.endpoint), random.Random(seed)
            while not stop.is_set():
                k = "kill/%d/%d" % (n, r.randrange(5))
                body = bytes([65 + n]) * r.choice((10, 5000, 3000000)) + str(r.random()).encode()
                try:
                    told[k] = told.get(k, [])[:1]  # the last answered one, then one unanswered
                    told[k].append(body)
                    c.put_object(Bucket=B, Key=k, Body=body)
                    told[k] = [body]
                    answered.add(k)
                except Exception:
                    return
        threads = [threading.Thread(target=writer, args=(n, round_ * 100 + n)) for n in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.3 + rng.random() * 0.5)
        server.stop(signal.SIGKILL)
        stop.set()
        for t in threads:
            t.join()
        server.start()
        assert not os.listdir(os.path.join(server.dir, ".causeway/tmp"))
        have = listing(s3)
        for k, allowed in told.items():
            if k not in have:
                assert k not in answered, "answered %s is gone" % k
                continue
            body = s3.get_object(Bucket=B, Key=k)["Body"].read()
            assert body in allowed, "%s is neither what was answered nor what was under way" % k
            assert have[k][0] == '"%s"' % md5(body)
            told[k] = [body]
        for k in [k for k in told if k not in have]:
            del told[k]


def half_a_put_leaves_nothing():
    raw = s3d.Raw(server.endpoint)
    h = raw.sign("PUT", "/%s/half" % B, {}, "UNSIGNED-PAYLOAD")
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(("PUT /%s/half HTTP/1.1\r\n" % B + "".join("%s: %s\r\n" % kv for kv in h.items())
               + "Content-Length: 1000000\r\n\r\n").encode() + b"x" * 500000)
    time.sleep(0.2)
    s.close()
    for _ in range(100):
        if not os.listdir(os.path.join(server.dir, ".causeway/tmp")):
            break
        time.sleep(0.05)
    assert not os.listdir(os.path.join(server.dir, ".causeway/tmp"))
    assert "half" not in listing(s3)


def start_errors_are_one_clear_line():
    def fails(*args):
        p = subprocess.run([s3d.program(), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=20)
        text = p.stderr.decode().strip()
        assert p.returncode == 1 and text.count("\n") == 0, (p.returncode, text)
        return text
    cred = ["--credentials", server.credentials]
    here = ["--listen", "127.0.0.1:0"]
    fresh = ["--dir", os.path.join(server.tmp, "other")]
    assert "in use" in fails("--dir", server.dir, *here, *cred)
    assert "cannot listen on" in fails(*fresh, "--listen", "127.0.0.1:%d" % server.port, *cred)
    assert "ADDR:PORT" in fails(*fresh, "--listen", "nonsense", *cred)
    assert "cannot use directory" in fails("--dir", "/proc/none", *here, *cred)
    assert "credentials" in fails(*fresh, *here, "--credentials", "/none")
    empty = os.path.join(server.tmp, "empty")
    open(empty, "w").close()
    assert "no usable profile" in fails(*fresh, *here, "--credentials", empty)
    bad = os.path.join(server.tmp, "bad")
    with open(bad, "w") as f:
        f.write("{]")
    assert "faults file" in fails(*fresh, *here, *cred, "--faults", bad)


def credentials_are_read_again():
    with open(server.credentials, "a") as f:
        f.write("[late]\naws_access_key_id = AKIDLATE\naws_secret_access_key = late\n")
    s3d.client(server.endpoint, "AKIDLATE", "late").head_bucket(Bucket=B)


def many_objects_list_fast():
    d = os.path.join(server.dir, "many")
    server.stop()
    for i in range(120):
        os.makedirs(os.path.join(d, "p/%03d" % i))
        for j in range(100):
            open(os.path.join(d, "p/%03d/%02d" % (i, j)), "w").close()
    server.start()
    t, n, more = time.time(), 0, {}
    while True:
        r = s3.list_objects_v2(Bucket="many", Prefix="p/", **more)
        n += r["KeyCount"]
        if not r["IsTruncated"]:
            break
        more = {"ContinuationToken": r["NextContinuationToken"]}
    assert n == 12000, n
    took = time.time() - t
    assert took < 6, took  # boto3's parsing is most of it
    t = time.time()
    r = s3.list_objects_v2(Bucket="many", Prefix="p/", Delimiter="/")
    assert len(r["CommonPrefixes"]) == 120 and time.time() - t < 0.5


sys.exit(s3d.run_tests([(f.__name__, f) for f in (
    restart_keeps_everything, files_put_there_by_hand_are_adopted,
    kill_during_puts_leaves_whole_objects, half_a_put_leaves_nothing,
    start_errors_are_one_clear_line, credentials_are_read_again, many_objects_list_fast)]))
