#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""What the gateway relies on in a store, asked through our own client, over every kind of wire:
path and virtual-host style, IPv6, TLS with a CA of its own, session tokens, and a store that fails.
"""
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import s3d  # noqa: E402

O = os.environ.get("O", os.path.join(s3d.TOP, "build/debug"))
TOOL, CHECK = O + "/tools/tool_s3", O + "/tools/tool_s3check"
if not (os.path.exists(TOOL) and os.path.exists(CHECK)):
    print("skip: make tools was not run")
    sys.exit(77)
tmp = tempfile.mkdtemp(prefix="cw-s3c-")
failed = 0


def tool(*args, endpoint, key=s3d.ACCESS, secret=s3d.SECRET, path=True, rc=0, timeout=60):
    cmd = [TOOL, "--endpoint", endpoint, "--bucket", "demo"]
    cmd += ["--key", key, "--secret", secret] if key else []
    cmd += ["--path"] if path else []
    r = subprocess.run(cmd + list(args), capture_output=True, timeout=timeout)
    text = r.stdout.decode() + r.stderr.decode()
    assert r.returncode == rc, (args, r.returncode, text)
    return text


def check(name, endpoint, *style):
    global failed
    r = subprocess.run([CHECK, endpoint, "demo", s3d.ACCESS, s3d.SECRET, "us-east-1", "pre/", *style],
                       capture_output=True, timeout=120)
    text = r.stdout.decode() + r.stderr.decode()
    print("== %s: %s" % (name, text.strip().splitlines()[-1] if text else "nothing"))
    for line in text.splitlines():
        if line.startswith(("FAIL", "no ")):
            print(line)
    failed += r.returncode != 0 or "\nno " in text


def step(name, fn):
    global failed
    try:
        fn()
        print("== %s: ok" % name)
    except (AssertionError, subprocess.TimeoutExpired) as e:
        failed += 1
        print("== %s: FAILED %s" % (name, e))


server = s3d.Server("--domain", "s3.localhost")
EP = server.endpoint
tool("make-bucket", endpoint=EP)
check("path style", EP)
check("virtual-host style", "http://s3.localhost:%d" % server.port, "virtual")


def session_token():
    tool("--token", s3d.TOKEN2, "put", "t", __file__, endpoint=EP, key=s3d.ACCESS2,
         secret=s3d.SECRET2)
    out = tool("put", "t", __file__, endpoint=EP, key=s3d.ACCESS2, secret=s3d.SECRET2, rc=1)
    assert "credentials" in out or "permission" in out.lower(), out
    out = tool("--profile", "session", "--file", server.credentials, "head", "t", endpoint=EP,
               key=None)
    assert "size=%d" % os.path.getsize(__file__) in out, out


def wrong_secret():
    out = tool("head", "t", endpoint=EP, secret="wrong", rc=1)
    assert "denied" in out.lower() or "credentials" in out, out
    out = tool("list", endpoint=EP, secret="wrong", rc=1)
    assert "SignatureDoesNotMatch" in out, out


def large_listing():
    out = tool("bench", "put", "2345", "10", "32", "many/", endpoint=EP)
    assert "failed=0" in out, out
    keys = [l.split()[1] for l in tool("list", "many/", endpoint=EP).splitlines()]
    assert keys == ["many/%06d" % i for i in range(2345)], len(keys)


def failing_store():
    """30 % of everything goes wrong in one of the ways; nothing gets lost and nothing is doubled."""
    server.faults({"probability": 0.1, "action": "status", "status": 503},
                  {"probability": 0.1, "action": "lost-reply"}, {"probability": 0.1, "action": "drop"},
                  {"probability": 0.1, "action": "torn"})
    out = tool("--tries", "30", "bench", "put", "100", "100000", "16", "hard/", endpoint=EP,
               timeout=120)
    assert "failed=0" in out, out
    out = tool("--tries", "30", "bench", "get", "100", "100000", "16", "hard/", endpoint=EP,
               timeout=120)
    assert "failed=0" in out, out
    server.faults()
    assert len(tool("list", "hard/", endpoint=EP).splitlines()) == 100


def counted():
    out = tool("--metrics", "bench", "put", "10", "1000", "2", "m/", endpoint=EP)
    assert 's3_requests_total{class="put"} 10' in out, out
    assert 's3_bytes_total{dir="up"} 10000' in out, out
    assert 's3_request_seconds_count{class="put"} 10' in out, out


def pump(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def tls():
    """A TLS front with a certificate of its own: taken with its CA, refused without."""
    cert, key = tmp + "/cert.pem", tmp + "/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
                    cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    front = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                a = context.wrap_socket(front.accept()[0], server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            b = socket.create_connection(("127.0.0.1", server.port))
            threading.Thread(target=pump, args=(a, b), daemon=True).start()
            threading.Thread(target=pump, args=(b, a), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    ep = "https://127.0.0.1:%d" % front.getsockname()[1]
    tool("--ca", cert, "put", "tls", __file__, endpoint=ep)
    assert tool("--ca", cert, "get", "tls", endpoint=ep) == open(__file__).read()
    out = tool("get", "tls", endpoint=ep, rc=1)
    assert "certificate" in out, out
    front.close()


step("session tokens and credential files", session_token)
step("wrong secret", wrong_secret)
step("a listing of several pages", large_listing)
step("a store that fails", failing_store)
step("metrics", counted)
step("TLS", tls)
sys.exit(1 if failed else 0)
