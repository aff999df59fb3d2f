# SPDX-License-Identifier: Apache-2.0
"""NFS on loopback: Causeway against NFS-Ganesha VFS, the same client, disk and promises, in turns."""
import json
import os
import subprocess
import time

from bench_lib import TOP, Causeway, pinned, ratio_row

# op, depth, extra arguments, what is read from the JSON line, unit, gate, goal
CASES = [
    ("GETATTR depth 32", "getattr", 32, [], "ops_per_s", "op/s", 2.0, 4.0),
    ("LOOKUP depth 32", "lookup", 32, ["--files", "100000", "--dir", "many"], "ops_per_s", "op/s", 2.0, 4.0),
    ("4 KiB random read depth 32", "read4k", 32, ["--size", "256"], "ops_per_s", "op/s", 2.0, 4.0),
    ("4 KiB random read depth 1", "read4k", 1, ["--size", "256"], "ops_per_s", "op/s", 1.05, 2.0),
    ("1 MiB sequential read depth 1", "read1m", 1, ["--size", "256"], "mb_per_s", "MB/s", 1.0, 1.1),
    ("1 MiB sequential read depth 8", "read1m", 8, ["--size", "256"], "mb_per_s", "MB/s", 1.3, 1.6),
    ("1 MiB sequential write + COMMIT depth 8", "write1m", 8, ["--size", "256", "--dir", "w"], "mb_per_s", "MB/s", 1.2, 1.6),
    ("CREATE + 4 KiB FILE_SYNC depth 32", "small", 32, ["--dir", "s"], "ops_per_s", "files/s", 1.5, 4.0),
    ("READDIRPLUS 100,000 entries, first pass", "readdirplus", 1, ["--files", "100000", "--dir", "many", "--count", "1"],
     "entries_per_s", "entries/s", 2.0, 5.0),
]


class Ganesha:
    def __init__(self, work):
        self.dir = os.path.join(work, "ganesha")
        self.export = os.path.join(self.dir, "export")

    def start(self):
        env = dict(os.environ, GANESHA_PREFIX="taskset -c 0")
        subprocess.run([TOP + "/tests/bench/ganesha.sh", "start", self.dir, self.export, "22049", "22050"], check=True, env=env)
        return ["--port", "22049", "--mount-port", "22050", "--export", self.export]

    def stop(self):
        subprocess.run([TOP + "/tests/bench/ganesha.sh", "stop", self.dir])


def measure(target, op, depth, extra, seconds):
    cmd = [os.environ["O"] + "/tools/nfsbench", "--op", op, "--depth", str(depth)] + target + extra
    if "--count" not in extra:
        cmd += ["--seconds", str(seconds)]
    out = subprocess.run(pinned(1, cmd), capture_output=True, text=True, timeout=300)
    if out.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(cmd), out.stderr.strip() or out.stdout.strip()))
    return json.loads(out.stdout.strip().splitlines()[-1]) if op != "fill" else None


def run(work, reps, seconds, only):
    peer, ours = Ganesha(work), Causeway(work, pin=0)
    rows = []
    targets = {}
    targets["peer"] = peer.start()
    ours.start()
    ours.make_share("bench")
    targets["ours"] = ["--port", str(ours.nfs_port), "--mount-port", str(ours.nfs_port), "--export", "/bench"]
    try:
        for name, op, depth, extra, field, unit, gate, goal in CASES:
            if only and only not in name and only != op:
                continue
            got = {"peer": [], "ours": []}
            errors = {"peer": 0, "ours": 0}
            for who in ("peer", "ours"):
                if op in ("lookup", "readdirplus"):
                    measure(targets[who], "fill", 32, [a for a in extra if a not in ("--count", "1")], 1)
                elif op != "small" and op != "readdirplus":
                    measure(targets[who], op, depth, extra, 0.3)  # makes the file, warms it
            for rep in range(reps):
                for who in ("peer", "ours") if rep % 2 == 0 else ("ours", "peer"):
                    if op == "readdirplus" and who == "peer":
                        peer.stop(); time.sleep(0.5); peer.start()  # a first pass needs an empty cache
                    if op == "readdirplus" and who == "ours":
                        ours.restart()
                    args = extra if op != "small" else ["--dir", "s%d-%d" % (rep, depth)]
                    r = measure(targets[who], op, depth, args, seconds)
                    got[who].append(r[field])
                    errors[who] += r.get("errors", 0)
                    if op in ("write1m", "small"):
                        time.sleep(0.5)
            rows.append(ratio_row(name, unit, got["ours"], got["peer"], gate, goal, errors))
            print(rows[-1], flush=True)
    finally:
        ours.stop()
        peer.stop()
    return rows
