# SPDX-License-Identifier: Apache-2.0
"""A volume and its bucket on Ceph RGW: how fast what is dirty goes up and what is cold comes down, against the raw rate of the
store (as bench_s3, before and after), and how soon a blank appliance serves a large volume."""
import json
import os
import re
import subprocess
import time

from bench_iscsi import PORT
from bench_lib import Causeway, pinned, ratio_row
from bench_s3 import Rgw, drop_pages

PART = 8 << 20
MIB = 1024
IQN = "iqn.1997-05.com.amazon:"
LIVE_EXTENTS = (20 << 30) >> 12


def raw(rgw, what):
    """-> MB/s"""
    return rgw.raw(what, MIB * (1 << 20) // PART, PART, 8) * PART / 1e6


def client(iqn, args):
    cmd = [os.environ["O"] + "/tools/iscsibench", "--port", str(PORT), "--target", iqn] + args
    out = subprocess.run(pinned(1, cmd), capture_output=True, text=True, timeout=300)
    if out.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(cmd), out.stderr.strip() or out.stdout.strip()))
    return json.loads(out.stdout.strip().splitlines()[-1])


def lose(gw):
    """the appliance, as by fire: a blank one is there, and has no volume yet"""
    gw.daemon.kill()
    gw.daemon.wait()
    gw.lose_cache()
    gw.start_daemon()
    gw.must("gateway", "activate", "--type", "CACHED", "--name", "bench-cached", "--buffer", "buffer")


def attach(gw, volume, name):
    """-> seconds from the request to a block that an initiator has read"""
    begin = time.monotonic()
    gw.must("volume", "attach", volume, "--name", name)
    while True:
        try:
            client(IQN + name, ["--op", "read", "--size", "4096", "--depth", "1", "--count", "1", "--span", "256"])
            return time.monotonic() - begin
        except RuntimeError:
            if time.monotonic() - begin > 120:
                raise
            time.sleep(0.05)


def volume_of(gw, rgw, name):
    """-> its prefix and id"""
    shown = gw.cli("volume", "show", name, "--json").stdout
    volume = re.search(r"vol-[0-9A-Za-z]+", shown).group(0)
    for _ in range(200):
        keys = [o["Key"] for o in rgw.listed("volumes", "")]
        at = [k[:k.rindex(volume)] for k in keys if k.endswith(volume + "/settings.json")]
        if at and any(k.startswith(at[0] + volume + "/map/") for k in keys):
            return at[0], volume
        time.sleep(0.05)
    raise RuntimeError("%s is not in the bucket" % volume)


def drain_and_read(gw, rgw, reps, row):
    iqn = gw.make_volume("bench-cached", "cached")
    up, up_raw, down, down_raw = [], [], [], []
    for _ in range(reps):
        before = raw(rgw, "put")
        client(iqn, ["--op", "fill", "--span", str(MIB)])
        client(iqn, ["--op", "write", "--size", "4096", "--count", "1", "--span", "1", "--sync-end"])
        begin = time.monotonic()
        gw.drain_volume("bench-cached")
        up.append(MIB * 1.048576 / (time.monotonic() - begin))
        up_raw.append(max(before, raw(rgw, "put")))
    row("drain of 1 MiB writes", "MB/s", up, up_raw, 0.8, 0.95, None, "raw")
    volume = volume_of(gw, rgw, "bench-cached")[1]
    for _ in range(reps):
        lose(gw)
        attach(gw, volume, "bench-cached")
        drop_pages()
        before = raw(rgw, "get")
        drop_pages()
        r = client(iqn, ["--op", "read", "--sequential", "--size", "1048576", "--depth", "8", "--count", str(MIB), "--span", str(MIB)])
        down.append(r["mb_per_s"])
        drop_pages()
        down_raw.append(max(before, raw(rgw, "get")))
    row("cold read of 1 MiB, depth 8", "MB/s", down, down_raw, 0.7, 0.9, None, "raw")


def recover(gw, rgw):
    """20 GiB of single blocks all over 1 TiB, the largest map that they can have; the log is as it was left"""
    gw.must("volume", "create", "bench-large", "--interface", "127.0.0.1", "--size", "1T")
    prefix, volume = volume_of(gw, rgw, "bench-large")
    lose(gw)
    subprocess.run([os.environ["O"] + "/tools/tool_volume", "grow", gw.endpoint, "volumes", gw.credentials, prefix,
                    volume, str(LIVE_EXTENTS)], check=True, timeout=600)
    lose(gw)
    drop_pages()
    took = attach(gw, volume, "bench-large")  # once: who attaches it leaves a checkpoint behind, and the next one has it easy
    return "%-42s %.1f s from AttachVolume to the first block read (gate 10): %s" % (
        "recovery of 1 TiB with 20 GiB live", took, "gate" if took <= 10 else "BELOW GATE")


def run(work, reps, seconds, only):
    rows = []

    def row(*args):
        rows.append(ratio_row(*args))
        print(rows[-1], flush=True)

    reps = min(reps, 3)
    rgw = Rgw(work)
    rgw.start()
    rgw.bucket("raw")
    gw = Causeway(work, name="volume", iscsi_port=PORT, endpoint=rgw.endpoint, access=rgw.access, secret=rgw.secret,
                  volumes="seal_interval_ms = 3600000\nseal_bytes = 8G\ncompression = no\nrecovery_keep_s = 60")
    try:
        gw.start()
        if not only or only in "drain, cold read":
            drain_and_read(gw, rgw, reps, row)
        if not only or only in "recovery":
            rows.append(recover(gw, rgw))
            print(rows[-1], flush=True)
    finally:
        gw.stop()
        rgw.stop()
    return rows
