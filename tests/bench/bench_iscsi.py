# SPDX-License-Identifier: Apache-2.0
"""iSCSI on loopback: Causeway's volumes, cached and stored, against tgt with a file store: the same client,
disk and promises, in turns."""
import json
import os
import subprocess
import time

from bench_lib import TOP, Causeway, pinned, ratio_row

NO_CACHE = " before the answer"
K4, M1 = ["--size", "4096"], ["--size", "1048576", "--sequential"]
# name, arguments, what is read from the JSON line, unit, gate, goal. Writes are measured with both promises, the same
# on both sides: with a write cache, which is volatile until the next SYNCHRONIZE CACHE, and without one, as our
# volumes come: on disk before the answer (tgt: LUN 2, its file opened O_SYNC).
CASES = [
    ("4 KiB random read depth 32", ["--op", "read", "--depth", "32"] + K4, "ops_per_s", "op/s", 2.0, 3.5),
    ("4 KiB random read depth 1", ["--op", "read", "--depth", "1"] + K4, "ops_per_s", "op/s", 1.05, 2.0),
    ("4 KiB random write depth 32", ["--op", "write", "--depth", "32"] + K4, "ops_per_s", "op/s", 1.8, 3.0),
    ("4 KiB random write depth 32, on disk" + NO_CACHE, ["--op", "write", "--depth", "32"] + K4, "ops_per_s", "op/s", 1.8, 3.0),
    ("4 KiB random write depth 1, on disk" + NO_CACHE, ["--op", "write", "--depth", "1"] + K4, "ops_per_s", "op/s", 1.05, 2.0),
    ("4 KiB random write depth 32, sync every 64", ["--op", "write", "--depth", "32", "--sync", "64"] + K4, "ops_per_s",
     "op/s", 1.5, 3.0),
    ("1 MiB sequential read depth 8", ["--op", "read", "--depth", "8"] + M1, "mb_per_s", "MB/s", 1.5, 2.2),
    ("1 MiB sequential write + sync depth 8", ["--op", "write", "--depth", "8", "--sync-end"] + M1, "mb_per_s", "MB/s", 1.5, 2.5),
]
SIZE_MIB = 1024
SPAN = ["--span", "256"]
PORT, TGT_PORT = 23260, 23261


def cpu_seconds(pid):
    """of all threads, so far"""
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


class Tgt:
    def __init__(self, work):
        self.dir = os.path.join(work, "tgt")

    def start(self):
        env = dict(os.environ, TGT_PREFIX=" ".join(pinned(0, [])))
        subprocess.run([TOP + "/tests/bench/tgt.sh", "start", self.dir, str(TGT_PORT), "%dM" % SIZE_MIB], check=True, env=env)
        self.pid = int(open(self.dir + "/pid").read())
        return ["--port", str(TGT_PORT), "--target", "iqn.2016-04.test:tgt"]

    def stop(self):
        subprocess.run([TOP + "/tests/bench/tgt.sh", "stop", self.dir])


def with_promise(who, target, name):
    """The target's arguments for a case of that name."""
    has_cache = not name.endswith(NO_CACHE)
    if who == "tgt":
        return target + ["--lun", "1" if has_cache else "2"]
    return target + ["--write-cache", "on" if has_cache else "off"]


def measure(target, args, seconds, pid):
    cmd = [os.environ["O"] + "/tools/iscsibench"] + target + SPAN + args + ["--seconds", str(seconds)]
    before = cpu_seconds(pid)
    out = subprocess.run(pinned(1, cmd), capture_output=True, text=True, timeout=300)
    if out.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(cmd), out.stderr.strip() or out.stdout.strip()))
    r = json.loads(out.stdout.strip().splitlines()[-1])
    r["cpu_us_per_op"] = (cpu_seconds(pid) - before) * 1e6 / max(r["count"], 1)
    return r


def run_case(case, sides, reps, seconds):
    name, args, field, unit, gate, goal = case
    got, cpu, errors = {w: [] for w in sides}, {w: [] for w in sides}, {w: 0 for w in sides}
    sides = {who: (with_promise(who, target, name), pid) for who, (target, pid) in sides.items()}
    for who, (target, pid) in sides.items():
        measure(target, args, 0.2, pid)
    for rep in range(reps):
        for who in sorted(sides, reverse=rep % 2 == 1):
            target, pid = sides[who]
            r = measure(target, args, seconds, pid)
            got[who].append(r[field])
            cpu[who].append(r["cpu_us_per_op"])
            errors[who] += r["errors"]
            if "write" in args:
                time.sleep(0.5)
    return [ratio_row("%s, %s" % (name, mode), unit, got[mode], got["tgt"], gate, goal,
                      {"ours": errors[mode], "peer": errors["tgt"]}, "tgt") +
            "  CPU us/op %.1f, tgt %.1f" % (sorted(cpu[mode])[reps // 2], sorted(cpu["tgt"])[reps // 2])
            for mode in sides if mode != "tgt"]


def run(work, reps, seconds, only, volumes=None, name="iscsi"):
    """volumes: as Causeway's; "" has sealing and uploads go on meanwhile, with default settings. name: of our state's directory"""
    peer, ours = Tgt(work), Causeway(work, name=name, pin=0, iscsi_port=PORT, volumes=volumes)
    rows = []
    sides = {}
    try:
        sides["tgt"] = (peer.start(), peer.pid)
        ours.start()
        for mode in ("cached", "stored"):
            iqn = ours.make_volume("bench-" + mode, mode)
            sides[mode] = (["--port", str(PORT), "--target", iqn], ours.daemon.pid)
        for who, (target, pid) in sides.items():
            measure(with_promise(who, target, ""), ["--op", "fill"], 1, pid)
        measure(with_promise("tgt", sides["tgt"][0], NO_CACHE), ["--op", "fill"], 1, peer.pid)
        for mode in ("cached", "stored"):
            ours.drain_volume("bench-" + mode)
        for case in CASES:
            if only and only not in case[0]:
                continue
            for row in run_case(case, sides, reps, seconds):
                rows.append(row)
                print(row, flush=True)
    finally:
        ours.stop()
        peer.stop()
    return rows
