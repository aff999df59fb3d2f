# SPDX-License-Identifier: Apache-2.0
"""Starts causeway-s3d for a test, and speaks raw, hand-signed HTTP to it."""
import atexit
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ACCESS, SECRET = "AKIDTEST", "test+secret/key"
ACCESS2, SECRET2, TOKEN2 = "AKIDSESSION", "other/secret", "session+token=="


def program():
    o = os.environ.get("O", os.path.join(TOP, "build/debug"))
    path = os.path.join(o, "causeway-s3d")
    if not os.path.exists(path):
        print("skip: %s is not built" % path)
        sys.exit(77)
    return path


class Server:
    """One causeway-s3d; ended, and its directory removed, when the test ends."""

    def __init__(self, *options, dir=None):
        self.tmp = tempfile.mkdtemp(prefix="cw-s3d-")
        self.dir = dir or os.path.join(self.tmp, "store")
        self.credentials = os.path.join(self.tmp, "credentials")
        self.options = list(options)
        self.proc = None
        self.port = 0
        with open(self.credentials, "w") as f:
            f.write("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                    "[session]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
                    "aws_session_token = %s\n" % (ACCESS, SECRET, ACCESS2, SECRET2, TOKEN2))
        atexit.register(self.close)
        self.start()

    def start(self):
        self.proc = subprocess.Popen(
            [program(), "--dir", self.dir, "--listen", "127.0.0.1:%d" % self.port,
             "--credentials", self.credentials, "--admin", "--no-fsync", *self.options],
            stdout=subprocess.PIPE)
        line = self.proc.stdout.readline().decode()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])
        self.endpoint = "http://127.0.0.1:%d" % self.port

    def stop(self, sig=signal.SIGTERM):
        if self.proc is None:
            return 0
        self.proc.send_signal(sig)
        code = self.proc.wait(timeout=20)
        self.proc.stdout.close()
        self.proc = None
        return code

    def close(self):
        if self.proc is not None:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def admin(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request(method, path, body=json.dumps(body) if body is not None else None)
        r = c.getresponse()
        data = r.read()
        c.close()
        assert r.status == 200, (r.status, data)
        return json.loads(data)

    def faults(self, *rules, seed=1):
        return self.admin("POST", "/-/faults", {"seed": seed, "rules": list(rules)})

    def count(self, op):
        return self.admin("GET", "/-/stats")["ops"].get(op, {}).get("requests", 0)


def client(endpoint, access=ACCESS, secret=SECRET, token=None, retries=0, **config):
    import boto3
    import botocore.config
    config.setdefault("s3", {"addressing_style": "path"})
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=access, aws_secret_access_key=secret,
        aws_session_token=token, region_name="us-east-1",
        config=botocore.config.Config(retries={"total_max_attempts": retries + 1}, read_timeout=30,
                                      connect_timeout=5, max_pool_connections=32, **config))


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, date, region="us-east-1"):
    return hmac256(hmac256(hmac256(hmac256(b"AWS4" + secret.encode(), date), region), "s3"),
                   "aws4_request")


class Raw:
    """A request signed here, by the book, so that it can be made wrong in any way."""

    def __init__(self, endpoint, access=ACCESS, secret=SECRET):
        self.host = endpoint.split("//")[1].rstrip("/")
        self.access, self.secret = access, secret

    def sign(self, method, path, headers, payload_hash, query="", when=None, sent_path=None):
        now = when or datetime.datetime.utcnow()
        self.amz_date = now.strftime("%Y%m%dT%H%M%SZ")
        date = self.amz_date[:8]
        self.scope = "%s/us-east-1/s3/aws4_request" % date
        h = {"host": self.host, "x-amz-date": self.amz_date, "x-amz-content-sha256": payload_hash}
        h.update({k.lower(): v for k, v in headers.items()})
        names = ";".join(sorted(h))
        canonical = "\n".join([method, path, query] + ["%s:%s" % (k, h[k].strip()) for k in sorted(h)]
                              + ["", names, payload_hash])
        text = "\n".join(["AWS4-HMAC-SHA256", self.amz_date, self.scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        self.key = signing_key(self.secret, date)
        self.signature = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        h["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            self.access, self.scope, names, self.signature)
        return h

    def send(self, method, path, headers=None, body=b"", payload_hash=None, query="", when=None,
             spoil=None):
        if payload_hash is None:
            payload_hash = hashlib.sha256(body).hexdigest()
        h = self.sign(method, path, headers or {}, payload_hash, query, when)
        if spoil:
            spoil(h)
        return self.exchange(method, path + ("?" + query if query else ""), h, body)

    def exchange(self, method, target, h, body):
        c = http.client.HTTPConnection(self.host, timeout=30)
        c.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for k, v in h.items():
            c.putheader(k, v)
        if "content-length" not in {k.lower() for k in h}:
            c.putheader("Content-Length", str(len(body)))
        c.endheaders()
        try:
            c.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, dict((k.lower(), v) for k, v in r.getheaders()), data

    def chunk_signature(self, prev, data):
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.amz_date, self.scope, prev,
                          hashlib.sha256(b"").hexdigest(), hashlib.sha256(data).hexdigest()])
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def chunked(self, path, data, size=65536, trailer=None, unsigned=False, spoil=None):
        """PUT data as aws-chunked; trailer = (name, value); spoil(body) returns what is sent."""
        form = "STREAMING-UNSIGNED-PAYLOAD-TRAILER" if unsigned else \
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
        headers = {"content-encoding": "aws-chunked",
                   "x-amz-decoded-content-length": str(len(data))}
        if trailer:
            headers["x-amz-trailer"] = trailer[0]
        h = self.sign("PUT", path, headers, form)
        prev, body = self.signature, b""
        for at in list(range(0, len(data), size)) + [len(data)]:
            piece = data[at:at + size]
            if unsigned:
                body += b"%x\r\n" % len(piece)
            else:
                prev = self.chunk_signature(prev, piece)
                body += b"%x;chunk-signature=%s\r\n" % (len(piece), prev.encode())
            body += piece + (b"\r\n" if piece else b"")
        if trailer:
            body += ("%s:%s\r\n" % trailer).encode()
            if not unsigned:
                text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.amz_date, self.scope, prev,
                                  hashlib.sha256(("%s:%s\n" % trailer).encode()).hexdigest()])
                sig = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
                body += b"x-amz-trailer-signature:%s\r\n" % sig.encode()
        body += b"\r\n"
        if spoil:
            body = spoil(body)
        return self.exchange("PUT", path, h, body)


def quote(key):
    return urllib.parse.quote(key, safe="/-_.~")


def run_tests(tests, known_differences=()):
    """Run (name, function) pairs; print one line each; exit code 1 if any failed."""
    import traceback
    failed = 0
    for name, function in tests:
        try:
            function()
            word = "ok" if name not in known_differences else "ok (but listed as a difference!)"
        except Exception as e:
            if name in known_differences:
                word = "differs, as listed: %s (%s)" % (known_differences[name], str(e)[:100])
            else:
                traceback.print_exc()
                word = "FAIL"
                failed += 1
        print("%-44s %s" % (name, word), flush=True)
    return 1 if failed else 0
