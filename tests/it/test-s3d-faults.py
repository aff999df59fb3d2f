#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=120
"""Every fault of causeway-s3d does what its manual says, and no more; the counters count."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import s3d  # noqa: E402

import botocore.exceptions  # noqa: E402

B = "flt"
server = s3d.Server()
s3 = s3d.client(server.endpoint)
s3.create_bucket(Bucket=B)


def outcome(f, **kw):
    """"ok", an error code, or "lost" when the connection broke."""
    try:
        r = f(Bucket=B, **kw)
        if "Body" in r:
            r["Body"].read()
        return "ok"
    except botocore.exceptions.ClientError as e:
        return e.response["Error"]["Code"]
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.IncompleteReadError):
        return "lost"
    except Exception as e:  # urllib3's own while the body is read
        known = ("IncompleteRead", "Protocol", "broken", "ResponseParserError")
        assert any(k in repr(e) for k in known), repr(e)
        return "lost"


def put(key="k", body=b"body"):
    return outcome(s3.put_object, Key=key, Body=body)


def exists(key):
    return outcome(s3.head_object, Key=key) == "ok"


def eq(a, b):
    assert a == b, "%r != %r" % (a, b)


def status_with_count_and_after():
    server.faults({"op": "PutObject", "action": "status", "status": 503, "count": 2, "after": 1})
    eq([put("s%d" % i) for i in range(5)], ["ok", "SlowDown", "SlowDown", "ok", "ok"])
    eq((exists("s1"), exists("s3")), (False, True))
    server.faults({"op": "PutObject", "action": "status", "status": 500, "count": 1})
    eq(put("s9"), "InternalError")
    eq(server.admin("GET", "/-/faults")["rules"][0]["fired"], 1)


def class_and_key_select():
    server.faults({"op": "write", "key": "no/*", "action": "status", "status": 503})
    eq((put("no/a"), put("yes/a")), ("SlowDown", "ok"))
    eq(outcome(s3.delete_object, Key="no/x"), "SlowDown")
    eq(outcome(s3.get_object, Key="no/a"), "NoSuchKey")
    server.faults({"op": "list,HeadObject", "action": "status", "status": 503})
    eq(outcome(s3.list_objects_v2), "SlowDown")
    eq(outcome(s3.head_object, Key="yes/a"), "503")
    eq(outcome(s3.get_object, Key="yes/a"), "ok")


def probability_is_deterministic():
    runs = []
    for _ in range(2):
        server.faults({"op": "PutObject", "action": "status", "probability": 0.3}, seed=42)
        runs.append([put() for _ in range(100)])
    eq(runs[0], runs[1])
    assert 15 <= runs[0].count("SlowDown") <= 45, runs[0].count("SlowDown")
    server.faults({"op": "PutObject", "action": "status", "probability": 0.3}, seed=43)
    assert [put() for _ in range(100)] != runs[0]


def drop_does_nothing_and_lost_reply_does_it():
    server.faults({"op": "PutObject", "action": "drop", "count": 1})
    eq((put("dropped"), exists("dropped")), ("lost", False))
    server.faults({"op": "PutObject", "action": "lost-reply", "count": 1})
    eq((put("lost"), exists("lost")), ("lost", True))
    uid = s3.create_multipart_upload(Bucket=B, Key="mpl")["UploadId"]
    tag = s3.upload_part(Bucket=B, Key="mpl", UploadId=uid, PartNumber=1, Body=b"1")["ETag"]
    server.faults({"op": "CompleteMultipartUpload", "action": "lost-reply", "count": 1})
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    kw = {"Key": "mpl", "UploadId": uid, "MultipartUpload": parts}
    eq((outcome(s3.complete_multipart_upload, **kw), exists("mpl")), ("lost", True))
    eq(outcome(s3.complete_multipart_upload, **kw), "NoSuchUpload")


def torn_body():
    body = os.urandom(1000000)
    eq(put("torn", body), "ok")
    server.faults({"op": "GetObject", "action": "torn", "at": 0.25, "count": 1})
    raw = s3d.Raw(server.endpoint)
    h = raw.sign("GET", "/%s/torn" % B, {}, "UNSIGNED-PAYLOAD")
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(("GET /%s/torn HTTP/1.1\r\n" % B
               + "".join("%s: %s\r\n" % kv for kv in h.items()) + "\r\n").encode())
    got = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    head, data = got.split(b"\r\n\r\n", 1)
    assert b"200 OK" in head and b"Content-Length: 1000000" in head
    eq(data, body[:250000])
    server.faults({"op": "GetObject", "action": "torn", "count": 1})
    eq(outcome(s3.get_object, Key="torn"), "lost")
    eq(outcome(s3.get_object, Key="torn"), "ok")
    server.faults({"op": "list", "action": "torn", "count": 1})
    eq(outcome(s3.list_objects_v2) != "ok", True)


def refuse_and_come_back():
    server.faults({"op": "PutObject", "action": "refuse", "seconds": 1.0, "count": 1})
    t = time.time()
    eq(put("ref"), "lost")
    refused = 0
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            break
        except ConnectionRefusedError:
            refused += 1
            time.sleep(0.05)
    took = time.time() - t
    assert refused > 5 and 0.8 < took < 5, (refused, took)
    eq(put("ref"), "ok")
    server.admin("POST", "/-/refuse?ms=500")
    eq(put("ref"), "lost")  # kept connections break as well
    time.sleep(0.8)
    eq(put("ref"), "ok")


def latency_and_bandwidth():
    server.faults({"op": "GetObject", "latency_ms": 300, "count": 1})
    put("lat", b"x")
    t = time.time()
    eq(outcome(s3.get_object, Key="lat"), "ok")
    assert 0.3 <= time.time() - t < 2
    put("bw", b"x" * 200000)
    server.faults({"op": "GetObject", "action": "bandwidth", "bytes_per_s": 200000})
    t = time.time()
    eq(outcome(s3.get_object, Key="bw"), "ok")
    assert 0.7 < time.time() - t < 4, time.time() - t
    server.faults({"op": "PutObject", "bytes_per_s": 200000})
    t = time.time()
    eq(put("bw", b"y" * 200000), "ok")
    assert 0.7 < time.time() - t < 4, time.time() - t


def expired_token():
    server.faults({"op": "*", "action": "expired-token", "count": 3})
    eq([put(), outcome(s3.list_objects_v2), outcome(s3.get_object, Key="k")], ["ExpiredToken"] * 3)
    eq(put(), "ok")


def counters():
    server.faults()
    server.admin("DELETE", "/-/stats")
    put("c1", b"x" * 1000)
    put("c1", b"x" * 1000)
    outcome(s3.get_object, Key="c1")
    outcome(s3.get_object, Key="none")
    s = server.admin("GET", "/-/stats")
    eq(s["ops"]["PutObject"]["requests"], 2)
    eq(s["ops"]["PutObject"]["bytes_in"], 2000)
    eq((s["ops"]["GetObject"]["requests"], s["ops"]["GetObject"]["errors_4xx"]), (2, 1))
    eq(s["all"]["requests"], 4)


def rules_from_a_file():
    path = os.path.join(server.tmp, "faults.json")
    with open(path, "w") as f:
        json.dump({"rules": [{"op": "PutObject", "action": "status", "status": 503}]}, f)
    server.stop()
    server.options.append("--faults=" + path)
    server.start()
    eq(put(), "SlowDown")
    with open(path + ".new", "w") as f:
        f.write("{}")
    os.rename(path + ".new", path)
    eq(put(), "ok")


def bad_rules_are_refused():
    for bad in ({"action": "explode"}, {"opp": "x"}, {"probability": 2}, {"status": 99, "action": "status"}):
        try:
            server.faults(bad)
        except AssertionError as e:
            eq(e.args[0][0], 400)
        else:
            raise AssertionError("taken: %r" % bad)


def no_admin_without_the_option():
    import subprocess
    p = subprocess.Popen([s3d.program(), "--dir", os.path.join(server.tmp, "plain"), "--listen",
                          "127.0.0.1:0", "--credentials", server.credentials], stdout=subprocess.PIPE)
    try:
        port = int(p.stdout.readline().decode().rsplit(":", 1)[1])
        import http.client
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        c.request("POST", "/-/faults", body=b"{}")
        eq(c.getresponse().status, 403)
    finally:
        p.terminate()
        p.wait()


sys.exit(s3d.run_tests([(f.__name__, f) for f in (
    status_with_count_and_after, class_and_key_select, probability_is_deterministic,
    drop_does_nothing_and_lost_reply_does_it, torn_body, refuse_and_come_back,
    latency_and_bandwidth, expired_token, counters, rules_from_a_file, bad_rules_are_refused,
    no_admin_without_the_option)]))
