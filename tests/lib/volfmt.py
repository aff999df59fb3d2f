# SPDX-License-Identifier: Apache-2.0
"""volfmt.py - which objects of a bucket an image needs, read by gateway/volume/FORMAT.md alone and sharing no code
with the gateway."""
import json
import struct

OBJECT, HEAD = 2, 128


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value


def needed(checkpoint):
    """-> {(source, term, seq)} of the log objects that the image of a checkpoint lies in"""
    head = checkpoint[:HEAD]
    assert head[:8] == b"CWVOLMAP" and struct.unpack(">I", head[8:12])[0] == 1, head
    nobjects, size = struct.unpack(">Q", head[88:96])[0], struct.unpack(">Q", head[112:120])[0]
    assert size == len(checkpoint), (size, len(checkpoint))
    out, seen, at = set(), 0, HEAD
    while at < size:
        kind, length, records, _ = struct.unpack(">IIII", checkpoint[at:at + 16])
        r = Reader(checkpoint[at + 16:at + 16 + length])
        at += 16 + length
        for _ in range(records if kind == OBJECT else 0):
            source, term, seq, _bytes, _blocks, _birth, death, _flags = (r.varint() for _ in range(8))
            seen += 1
            if death == 0:
                out.add((source, term, seq))
    assert seen == nobjects, (seen, nobjects)
    return out


def referenced(keys, read):
    """What a volume's keys say is needed when nothing was written since its newest checkpoint.

    args: keys of the volume, read(key) -> bytes.  result: the keys below log/ and map/ that are needed"""
    maps = {max(k for k in keys if k.startswith("map/"))}
    maps |= {json.loads(read(k))["map"] for k in keys
             if k.startswith("snap/") and not k.endswith(".clone.json")}
    logs = {"log/%08x-%016x" % (term, seq) for m in maps for source, term, seq in needed(read(m)) if source == 0}
    return maps | logs
