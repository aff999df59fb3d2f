#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests and counts them honestly.

usage: run.py [--jobs N] [--timeout S] [--logs DIR] [--filter TEXT] TEST...

A test is an executable: exit 0 passed, 77 skipped (its last line says why), anything else failed.
A line `# test: serial`, `# test: timeout=600` or `# test: needs=rgw` near its head is obeyed: serial
tests run alone, those that need Ceph RGW get one that is started once and stopped at the end.
cmocka programs count each of their cases. A test's output goes to a log and is shown when it fails.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CMOCKA = re.compile(rb"^\[  (PASSED|FAILED|SKIPPED)  \] (\d+) test", re.M)


class Test:
    def __init__(self, path, default_timeout):
        self.path = path
        self.name = os.path.relpath(path, TOP) if path.startswith(TOP) else path
        self.serial = False
        self.needs = set()
        self.timeout = default_timeout
        with open(path, "rb") as f:
            head = f.read(2000)
        if head[:2] != b"#!":
            return
        for line in re.findall(rb"^# test: *(.*)$", head, re.M):
            for word in line.decode().replace(",", " ").split():
                if word == "serial":
                    self.serial = True
                elif word.startswith("needs="):
                    self.needs.add(word[6:])
                elif word.startswith("timeout="):
                    self.timeout = int(word[8:])


def run_one(test, env, logs):
    """-> (test, verdict, seconds, log path, {passed, failed, skipped})"""
    log = os.path.join(logs, test.name.replace("/", "_") + ".log")
    start = time.monotonic()
    with open(log, "wb") as out:
        p = subprocess.Popen([test.path], stdout=out, stderr=subprocess.STDOUT, cwd=TOP,
                             stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        try:
            code = p.wait(test.timeout)
        except subprocess.TimeoutExpired:
            code = "timeout after %d s" % test.timeout
            try:
                os.killpg(p.pid, signal.SIGTERM)
                p.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        try:
            os.killpg(p.pid, signal.SIGKILL)  # whatever it left behind
        except ProcessLookupError:
            pass
        p.wait()
    seconds = time.monotonic() - start
    with open(log, "rb") as f:
        text = f.read()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    cases = {k.decode().lower(): int(n) for k, n in CMOCKA.findall(text)}
    if cases:
        counts.update(cases)
        if code != 0 and counts["failed"] == 0:
            counts["failed"] = 1
    else:
        counts["passed" if code == 0 else "skipped" if code == 77 else "failed"] = 1
    verdict = "FAIL (%s)" % code if counts["failed"] else "skip" if not counts["passed"] else "ok"
    return test, verdict, seconds, log, counts


def start_rgw(tmp):
    """Ceph RGW for the tests that want a real store; returns its environment or None."""
    script = os.path.join(TOP, "tests/lib/rgw.sh")
    out = subprocess.run([script, "start", os.path.join(tmp, "rgw")], stdout=subprocess.PIPE,
                         stderr=sys.stderr, timeout=180)
    if out.returncode != 0:
        return None
    env = dict(re.findall(r"^(?:export )?(CW_RGW_\w+)='?([^'\n]*)'?$", out.stdout.decode(), re.M))
    return env if "CW_RGW_ENDPOINT" in env else None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--timeout", type=int, default=180)
    ap.add_argument("--logs")
    ap.add_argument("--filter", default=os.environ.get("T", ""))
    ap.add_argument("tests", nargs="*")
    args = ap.parse_args()
    tests = [Test(os.path.abspath(t), args.timeout) for t in args.tests if args.filter in t]
    tests.sort(key=lambda t: -t.timeout)  # the long ones first, so that no core idles at the end
    logs = args.logs or tempfile.mkdtemp(prefix="cw-test-logs-")
    os.makedirs(logs, exist_ok=True)
    total = {"passed": 0, "failed": 0, "skipped": 0}
    failed = []
    env = dict(os.environ)
    # Debian's own tools, whatever else a machine has in front of them
    env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + env.get("PATH", "")
    tmp = tempfile.mkdtemp(prefix="cw-test-")

    def report(result):
        test, verdict, seconds, log, counts = result
        for k in total:
            total[k] += counts[k]
        note = ""
        if counts["skipped"]:
            with open(log, "rb") as f:
                note = "  " + (f.read().decode(errors="replace").strip().splitlines() or ["?"])[-1]
        print("%-10s %6.1f s  %s%s" % (verdict, seconds, test.name, note), flush=True)
        if counts["failed"]:
            failed.append(test.name)
            with open(log, "rb") as f:
                tail = f.read()[-12000:].decode(errors="replace")
            print("----- log of %s\n%s\n-----" % (test.name, tail), flush=True)

    try:
        if any("rgw" in t.needs for t in tests):
            rgw = start_rgw(tmp)
            if rgw is None:
                print("Ceph RGW did not start: the tests that need it fail")
            else:
                env.update(rgw)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            waiting = [pool.submit(run_one, t, env, logs) for t in tests if not t.serial]
            for done in concurrent.futures.as_completed(waiting):
                report(done.result())
        for t in tests:
            if t.serial:
                report(run_one(t, env, logs))
    finally:
        if any("rgw" in t.needs for t in tests):
            subprocess.run([os.path.join(TOP, "tests/lib/rgw.sh"), "stop", os.path.join(tmp, "rgw")],
                           stdout=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", tmp])
    if failed:
        print("failed: " + " ".join(failed))
    if args.logs is None and not failed:
        subprocess.run(["rm", "-rf", logs])
    path = os.environ.get("CW_TEST_TALLY")
    if path:
        with open(path, "a") as f:
            f.write("%(passed)d %(failed)d %(skipped)d\n" % total)
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % total, flush=True)
    return 1 if failed or total["failed"] else 0


sys.exit(main())
