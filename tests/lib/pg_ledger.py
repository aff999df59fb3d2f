#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does a database hold every commit that its clients saw, and nothing that they did not ask for?

usage: pg_ledger.py DIR HOST

DIR holds the ledger, kept outside the database's disk: ack-GENERATION.PID are pgbench's logs, one line for
each transaction that was acknowledged (client, number); probes has one acknowledged number a line. Every client
numbers its transactions from 1 and waits for each, so a generation has rows 1 to N of a client without a gap,
where N is the last acknowledged one or, when the connection ended under a COMMIT, one more.
"""
import glob
import os
import re
import subprocess
import sys

ROWS = """SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
SELECT gen, client, count(*), min(seq), max(seq), bool_and(pad = repeat(md5(gen || '/' || client || '/' || seq), len))
FROM ledger GROUP BY gen, client"""
SUMS = """SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
(SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM ledger)"""
WRONG = """SELECT count(*) FROM pgbench_accounts a JOIN (SELECT aid, sum(delta) AS d FROM ledger GROUP BY aid) l
USING (aid) WHERE a.abalance <> l.d"""


def query(host, sql):
    out = subprocess.run(["psql", "-h", host, "-U", "postgres", "-qAtXF,", "-v", "ON_ERROR_STOP=1", "-c", sql],
                         stdout=subprocess.PIPE, check=True, timeout=120)
    return [line.split(",") for line in out.stdout.decode().splitlines()]


def acknowledged(dir_):
    """-> {(generation, client): last acknowledged number}"""
    acks = {}
    for path in glob.glob(os.path.join(dir_, "ack-*")):
        gen = int(re.search(r"ack-(\d+)\.", path).group(1))
        with open(path) as f:
            for line in f:
                client, number = map(int, line.split()[:2])
                assert number == acks.get((gen, client), 0) + 1, "%s: %s" % (path, line)
                acks[gen, client] = number
    return acks


def compare(acks, rows):
    """-> what is wrong, a list of lines"""
    wrong = []
    for key in sorted(acks.keys() | rows.keys()):
        ack, (count, low, high, is_whole) = acks.get(key, 0), rows.get(key, (0, 1, 0, True))
        if low != 1 or high != count or not ack <= count <= ack + 1 or not is_whole:
            wrong.append("generation %d client %d: acknowledged 1-%d, there %d-%d (%d rows), content %s" % (
                key + (ack, low, high, count, "right" if is_whole else "WRONG")))
    return wrong


def main(dir_, host):
    acks = acknowledged(dir_)
    rows = {(int(r[0]), int(r[1])): (int(r[2]), int(r[3]), int(r[4]), r[5] == "t") for r in query(host, ROWS)}
    wrong = compare(acks, rows)
    sums = query(host, SUMS)[0]
    if len(set(sums)) != 1:
        wrong.append("balances differ: " + " ".join(sums))
    n = int(query(host, WRONG)[0][0])
    if n:
        wrong.append("%d accounts differ from the sum of their transactions" % n)
    with open(os.path.join(dir_, "probes")) as f:
        probes = {int(line) for line in f}
    there = {int(r[0]) for r in query(host, "SELECT n FROM probe")}
    if not probes <= there:
        wrong.append("probes lost: %s" % sorted(probes - there))
    for line in wrong:
        print("LOST OR WRONG: " + line)
    print("ledger: %d commits acknowledged, %d in the database, %d probes: %s" % (
        sum(acks.values()), sum(r[0] for r in rows.values()), len(probes), "WRONG" if wrong else "all there"))
    return 1 if wrong else 0


sys.exit(main(*sys.argv[1:]))
