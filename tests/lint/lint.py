#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that a machine can see: who may include whom, sizes, banned calls, formatting."""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(TOP)

# layer of a file, by the longest prefix; each may include itself and what it lists
LAYERS = {
    "gateway/base/": [],
    "s3/": ["gateway/base/"],
    "s3/server/": ["s3/", "gateway/base/"],
    "cache/": ["gateway/base/"],
    "gateway/": ["gateway/volume/", "cache/", "s3/", "gateway/base/"],
    "gateway/api/": ["gateway/", "gateway/volume/", "cache/", "s3/", "gateway/base/"],
    "gateway/volume/": ["gateway/", "cache/", "s3/", "gateway/base/"],
    "gateway/export/": ["gateway/volume/", "s3/", "gateway/base/"],
    "gateway/cli/": ["gateway/", "cache/", "s3/", "gateway/base/"],
    "frontends/nfs/": ["gateway/", "gateway/base/"],
    "frontends/fuse/": ["gateway/", "gateway/base/"],
    "frontends/scsi/": ["gateway/", "gateway/base/"],
    "frontends/iscsi/": ["frontends/scsi/", "gateway/", "gateway/base/"],
}
# the composition root wires everything; single headers a layer may see besides
EXTRA = {
    "gateway/engine.c": ["frontends/nfs/nfs.h", "frontends/fuse/cwfuse.h", "frontends/iscsi/iscsi.h",
                         "gateway/api/api.h"],
    "gateway/main.c": ["frontends/nfs/nfs.h", "frontends/fuse/cwfuse.h", "gateway/api/api.h"],
}
ONLY_IN = {
    "zstd.h": r"gateway/volume/vol_frame\.c$",
    "sqlite3.h": r"cache/index\w*\.[ch]$",
    "curl/curl.h": r"(s3/s3_\w+|gateway/cli/\w+)\.[ch]$",
    "fuse_lowlevel.h": r"frontends/fuse/.*",
}
BANNED = r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|alloca|mktemp|tmpnam|system|popen)\s*\("
FILE_MAX, HEADER_MAX, FUNC_MAX = 1000, 420, 120
SKIP_FORMAT = set()

problems = []


def say(path, line, text):
    problems.append("%s:%d: %s" % (path, line, text))


def layer_of(path):
    best = ""
    for prefix in LAYERS:
        if path.startswith(prefix) and len(prefix) > len(best):
            best = prefix
    return best


def check_includes(path, lines):
    mine = layer_of(path)
    for no, line in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if not m:
            continue
        inc = m.group(1)
        for header, where in ONLY_IN.items():
            if inc.endswith(header) and not re.match(where, path) and not path.startswith("tests/"):
                say(path, no, "%s may only be included in %s" % (header, where))
        if mine == "" or not os.path.exists(inc):
            continue
        target = layer_of(inc)
        if target != mine and target not in LAYERS[mine] and inc not in EXTRA.get(path, []):
            say(path, no, "layer %s may not include %s" % (mine, inc))


def check_sizes(path, lines):
    limit = HEADER_MAX if path.endswith(".h") and not path.startswith("tests/") else FILE_MAX
    if len(lines) > limit:
        say(path, len(lines), "%d lines, at most %d" % (len(lines), limit))
    start = None
    for no, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = no
        elif line.startswith("}") and start is not None:
            if no - start - 1 > FUNC_MAX and "lint: table" not in lines[start - 2]:
                say(path, start, "function of %d lines, at most %d" % (no - start - 1, FUNC_MAX))
            start = None


def check_text(path, lines):
    in_comment = False
    for no, line in enumerate(lines, 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        code = re.sub(r"/\*.*?\*/|//.*", "", code)
        if in_comment:
            if "*/" not in code:
                continue
            code = code.split("*/", 1)[1]
            in_comment = False
        if "/*" in code:
            code = code.split("/*", 1)[0]
            in_comment = True
        m = re.search(BANNED, code)
        if m and not (m.group(1) == "system" and path.startswith("tests/")):
            say(path, no, "banned call %s" % m.group(1))
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            say(path, no, "unfinished marker")
    if "SPDX-License-Identifier" not in "".join(lines[:3]):
        say(path, 1, "no SPDX line")


def main():
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, text=True, check=True).stdout.split()
    c_files = [f for f in files if f.endswith((".c", ".h")) and os.path.exists(f)]
    for path in c_files:
        with open(path, encoding="utf-8") as f:
            lines = f.readlines()
        check_includes(path, lines)
        check_sizes(path, lines)
        check_text(path, lines)
    out = subprocess.run(["clang-format", "--dry-run", "-Werror"] +
                         [f for f in c_files if f not in SKIP_FORMAT],
                         capture_output=True, text=True)
    for line in out.stderr.splitlines():
        if "error:" in line:
            problems.append(line)
    for path in files:
        if path.endswith(".sh") and os.path.exists(path):
            r = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if r.returncode != 0:
                problems.append(r.stderr.strip())
        if re.match(r"gateway/man/.*\.[158]$", path):
            r = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
            if r.stdout.strip():
                problems.append(r.stdout.strip())
        if path.endswith((".c", ".h", ".sh", ".py", ".md", "Makefile")) and os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as f:
                for no, line in enumerate(f, 1):
                    if re.search(r"(^|[^A-Za-z0-9_.])/(work|farm)/", line) and "lint" not in path:
                        say(path, no, "names a place on one machine")
    for p in problems:
        print(p)
    print("%d files, %d problems" % (len(files), len(problems)))
    return 1 if problems else 0


sys.exit(main())
