#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""causeway-export gives back what was uploaded, from the bucket alone; damage is named and not served."""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
import s3d  # noqa: E402

O = os.environ.get("O", os.path.join(TOP, "build/debug"))
EXPORT, TOOL = os.path.join(O, "causeway-export"), os.path.join(O, "tools/tool_volume")
for need in EXPORT, TOOL:
    if not os.path.exists(need):
        print("skip: %s is not built" % need)
        sys.exit(77)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def export(server, *args, bucket="vols", rc=0):
    r = subprocess.run([EXPORT, "--endpoint", server.endpoint, "--bucket", bucket, "--path-style",
                        "--credentials", server.credentials, "--prefix", "p/", *args],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert r.returncode == rc, (args, r.returncode, r.stderr.decode())
    return r.stdout, r.stderr.decode()


def objects(server, bucket, part):
    found = []
    for base, _, names in os.walk(os.path.join(server.dir)):
        for n in names:
            path = os.path.join(base, n)
            if part in path and "/" + bucket + "/" in path:
                found.append(path)
    return sorted(found)


def whole(server, tmp, bucket, *key):
    out, _ = export(server, "--list", bucket=bucket)
    assert b"vol-1 size=67108864" in out and b"vol-2" in out and b"clone-of=vol-1" in out, out
    out, _ = export(server, "--list", "--volume", "vol-1", bucket=bucket)
    assert b"snapshot snap-1 epoch=3" in out and b"point epoch=6" in out, out
    now = read(tmp + "/epoch-6.img")
    target = tmp + "/out.img"
    export(server, "--volume", "vol-1", "--output", target, "--force", *key, bucket=bucket)
    assert read(target) == now
    assert os.stat(target).st_blocks * 512 < len(now), "the file is not sparse"
    assert "already" in export(server, "--volume", "vol-1", "--output", target, *key, bucket=bucket, rc=1)[1]
    assert export(server, "--volume", "vol-1", *key, bucket=bucket)[0] == now
    for epoch in range(1, 7):
        got, _ = export(server, "--volume", "vol-1", "--epoch", str(epoch), *key, bucket=bucket)
        assert got == read(tmp + "/epoch-%d.img" % epoch), epoch
    got, _ = export(server, "--volume", "vol-1", "--snapshot", "snap-1", *key, bucket=bucket)
    assert got == read(tmp + "/snap-1.img")
    assert export(server, "--volume", "vol-2", *key, bucket=bucket)[0] == read(tmp + "/clone.img")
    for off, n in (0, 512), (513, 70000), (len(now) - 5, 100), (len(now) + 7, 3):
        got, _ = export(server, "--volume", "vol-1", "--offset", str(off), "--length", str(n), *key,
                        bucket=bucket)
        assert got == now[off:off + n], (off, n)
    got, _ = export(server, "--volume", "vol-1", "--time", "2100-01-01T00:00:00Z", *key, bucket=bucket)
    assert got == now
    assert "no such" in export(server, "--volume", "vol-1", "--time", "1990-01-01T00:00:00Z", *key,
                               bucket=bucket, rc=1)[1]
    export(server, "--volume", "vol-9", *key, bucket=bucket, rc=1)


def damage(server, tmp):
    now, hits = read(tmp + "/epoch-6.img"), 0
    for path in objects(server, "vols", "/vol-1/log/") + objects(server, "vols", "/vol-1/map/"):
        good = read(path)
        for at in 20, 126, len(good) // 2, len(good) - 3:
            bad = bytearray(good)
            bad[at] ^= 0x10
            with open(path, "r+b") as f:
                f.write(bad)
            r = subprocess.run([EXPORT, "--endpoint", server.endpoint, "--bucket", "vols", "--path-style",
                                "--credentials", server.credentials, "--prefix", "p/", "--volume", "vol-1"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if r.returncode == 0:
                assert r.stdout == now
            else:
                assert r.returncode == 4, (r.returncode, r.stderr)
                assert os.path.basename(path) in r.stderr.decode(), r.stderr
                assert now.startswith(r.stdout)
                hits += 1
        with open(path, "r+b") as f:
            f.write(good)
    assert hits > 4, hits
    export(server, "--volume", "vol-1", "--output", tmp + "/fine.img")


def main():
    server = s3d.Server()
    tmp = os.path.join(server.tmp, "images")
    os.mkdir(tmp)
    for bucket in "vols", "sealed":
        status = s3d.Raw(server.endpoint).send("PUT", "/" + bucket)[0]
        assert status == 200, status
    subprocess.run([TOOL, "make", server.endpoint, "vols", server.credentials, tmp], check=True)
    whole(server, tmp, "vols")
    damage(server, tmp)
    key, other = tmp + "/key", tmp + "/other"
    with open(key, "wb") as f:
        f.write(bytes(range(32)))
    with open(other, "w") as f:
        f.write("ab" * 32 + "\n")
    sealed = os.path.join(tmp, "sealed")
    os.mkdir(sealed)
    subprocess.run([TOOL, "make", server.endpoint, "sealed", server.credentials, sealed, key], check=True)
    whole(server, sealed, "sealed", "--key-file", key)
    assert "another key" in export(server, "--volume", "vol-1", "--key-file", other, bucket="sealed", rc=1)[1]
    assert "--key-file" in export(server, "--volume", "vol-1", bucket="sealed", rc=1)[1]
    server.stop()
    export(server, "--volume", "vol-1", bucket="vols", rc=3)
    print("ok")


main()
