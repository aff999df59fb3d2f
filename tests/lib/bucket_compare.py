#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Is the bucket exactly the tree?  bucket_compare.py --endpoint URL --bucket B [--prefix P] DIR

Compares names, bytes and POSIX attributes (user metadata) of every object with the files, symlinks
and directories under DIR. Prints at most 20 differences; exit 0 only if there is none.
--no-owner, --no-mtime leave those attributes out; --sizes-only compares no bytes.
"""
import argparse
import concurrent.futures
import os
import stat
import sys

import boto3
from botocore.config import Config

ap = argparse.ArgumentParser()
ap.add_argument("--endpoint", required=True)
ap.add_argument("--bucket", required=True)
ap.add_argument("--prefix", default="")
ap.add_argument("--no-owner", action="store_true")
ap.add_argument("--no-mtime", action="store_true")
ap.add_argument("--sizes-only", action="store_true")
ap.add_argument("--ignore", action="append", default=[], help="key prefix to leave out")
ap.add_argument("dir")
args = ap.parse_args()

s3 = boto3.client("s3", endpoint_url=args.endpoint, region_name=os.environ.get("AWS_REGION", "us-east-1"),
                  config=Config(max_pool_connections=32, s3={"addressing_style": "path"},
                                retries={"max_attempts": 5}))


def local_tree(top):
    want = {}
    for path, dirs, files in os.walk(top):
        rel = os.path.relpath(path, top)
        rel = "" if rel == "." else rel + "/"
        for d in list(dirs):
            full = os.path.join(path, d)
            if os.path.islink(full):
                files.append(d)
            else:
                want[rel + d + "/"] = full
        for f in files:
            want[rel + f] = os.path.join(path, f)
    return want


def bucket_tree():
    have = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=args.bucket, Prefix=args.prefix):
        for o in page.get("Contents", []):
            key = o["Key"][len(args.prefix):]
            if key and not any(key.startswith(i) for i in args.ignore):
                have[key] = o
    return have


def compare(key, path):
    out = []
    st = os.lstat(path)
    get = s3.head_object if args.sizes_only else s3.get_object
    o = get(Bucket=args.bucket, Key=args.prefix + key)
    meta = o["Metadata"]
    if stat.S_ISDIR(st.st_mode):
        body = b""
    elif stat.S_ISLNK(st.st_mode):
        body = os.readlink(path).encode()
    else:
        body = None
    if args.sizes_only:
        size = len(body) if body is not None else st.st_size
        if o["ContentLength"] != size:
            out.append("size %d, should be %d" % (o["ContentLength"], size))
    else:
        data = o["Body"].read()
        if body is None:
            with open(path, "rb") as f:
                body = f.read()
        if data != body:
            out.append("content differs (%d bytes, should be %d)" % (len(data), len(body)))
    if meta.get("file-permissions") != "%07o" % st.st_mode:
        out.append("file-permissions %s, should be %07o" % (meta.get("file-permissions"), st.st_mode))
    if not args.no_owner and (meta.get("file-owner"), meta.get("file-group")) != (str(st.st_uid), str(st.st_gid)):
        out.append("owner %s:%s, should be %d:%d" % (meta.get("file-owner"), meta.get("file-group"), st.st_uid, st.st_gid))
    if not args.no_mtime and meta.get("file-mtime") != "%dns" % st.st_mtime_ns:
        out.append("file-mtime %s, should be %dns" % (meta.get("file-mtime"), st.st_mtime_ns))
    return ["%s: %s" % (key, x) for x in out]


want, have = local_tree(args.dir), bucket_tree()
# a directory with children needs no marker of its own when nobody set its attributes
missing = [k for k in want if k not in have]
extra = [k for k in have if k not in want]
problems = ["missing in the bucket: " + k for k in missing] + ["not in the tree: " + k for k in extra]
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for found in pool.map(lambda k: compare(k, want[k]), [k for k in want if k in have]):
        problems += found
for p in problems[:20]:
    print(p)
print("%d in the tree, %d in the bucket, %d differences" % (len(want), len(have), len(problems)))
sys.exit(1 if problems else 0)
