#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks with their peers: run.py [nfs|iscsi|sealing|volume|s3|scale]... [--reps N] [--seconds S] [--only TEXT] [--work DIR]

Everything runs in a network namespace of its own on loopback; DIR (default under /var/tmp) should lie on a disk.
Figures are medians with [least .. most]; only ratios within one run mean anything.  PIN=0 leaves processes unpinned.
"""
import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if os.environ.get("CW_BENCH_NS") != "1":
    os.environ["CW_BENCH_NS"] = "1"
    os.execvp("unshare", ["unshare", "-n", "--", sys.executable] + sys.argv)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

ap = argparse.ArgumentParser()
ap.add_argument("what", nargs="*", default=["nfs", "iscsi", "sealing", "volume", "s3", "scale"])
ap.add_argument("--reps", type=int, default=5)
ap.add_argument("--seconds", type=float, default=0.6)
ap.add_argument("--only", default="")
ap.add_argument("--work")
args = ap.parse_args()
os.environ.setdefault("O", "build/release")
os.environ["O"] = os.path.abspath(os.environ["O"])

print("%s, %d cores, Linux %s, load %.2f; command: %s" % (
    platform.machine(), os.cpu_count(), platform.release(), os.getloadavg()[0], " ".join(sys.argv)), flush=True)
work = args.work or tempfile.mkdtemp(prefix="cw-bench-", dir="/var/tmp")
failed = False
try:
    for what in args.what:
        module = __import__("bench_" + what)
        print("--- " + what, flush=True)
        rows = module.run(work, args.reps, args.seconds, args.only)
        failed = failed or any("BELOW GATE" in r for r in rows)
finally:
    if args.work is None:
        shutil.rmtree(work, ignore_errors=True)
sys.exit(1 if failed else 0)
