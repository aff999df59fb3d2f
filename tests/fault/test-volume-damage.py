#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""What lies in the bucket of a volume is damaged, gone, or encrypted with another key: it is detected and named, and no
initiator ever gets a byte of it for data."""
import base64
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import faultgw  # noqa: E402
import iscsi  # noqa: E402
import volgw  # noqa: E402

MEDIUM_ERROR, UNRECOVERED_READ_ERROR = 3, 0x1100


def filled(g, name, nblocks=512, **kw):
    """A volume whose blocks were written once, 16 at a time, and are in the bucket alone."""
    d = volgw.Disk(g, g.volume(name, **kw), nblocks=nblocks)
    for block in range(0, nblocks, 16):
        d.write(block, 16)
    g.drain(d.v)
    g.drop_clean()
    return d


def read_all(d):
    """Each block by itself. -> those that cannot be read; all others are right"""
    bad = []
    for block in range(d.nblocks):
        try:
            got = d.lun.read(block * volgw.BLOCK, volgw.BLOCK)
        except iscsi.IoError as e:
            assert (e.status, e.key, e.ascq) == (iscsi.CHECK_CONDITION, MEDIUM_ERROR, UNRECOVERED_READ_ERROR), e
            bad.append(block)
            continue
        assert got == volgw.block_bytes(block, d.now[block]), "block %d: wrong bytes" % block
    return bad


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:]


def damaged_log():
    """A bit of a log object is not what was written; then the object is gone; then it is back."""
    with volgw.Gateway(volumes="compression = no") as g:
        d = filled(g, "log")
        key = sorted(g.keys_of(d.v, "log/"))[0]
        good = g.object(d.v, key)
        g.replace(d.v, key, flipped(good, len(good) // 2))
        bad = read_all(d)
        print("  a bit: blocks %d to %d of %d cannot be read" % (bad[0], bad[-1], d.nblocks))
        assert bad == list(range(bad[0], bad[0] + 16)) and bad[0] % 16 == 0, bad
        faultgw.find("damaged key=.*" + key, g.log())
        assert key in g.state(d.v)["reason"], g.state(d.v)
        assert len(g.events("volume-damaged")) == 1, g.events()
        d.write(bad[0], 16)  # what is written over it is good
        d.write(bad[0], 16)
        assert read_all(d) == []
        g.drain(d.v)
        d.check_export()

        g.s3.delete_object(Bucket=volgw.BUCKET, Key=volgw.PREFIX + d.v.id + "/" + key)
        g.drop_clean()
        gone = read_all(d)
        print("  gone: %d blocks cannot be read" % len(gone))
        assert gone and bad[0] not in gone, gone
        faultgw.find("missing key=.*" + key, g.log())
        faultgw.find("gone", g.state(d.v)["reason"])
        g.replace(d.v, key, good)
        assert read_all(d) == []
        assert g.state(d.v)["status"] == "AVAILABLE"
        d.close()
        g.stop_and_check()


def damaged_checkpoint():
    """The newest checkpoint cannot be read when another appliance attaches: an older one stands in, or it says which.
    IRRECOVERABLE is what the bucket said for half a minute, and no longer than it says so."""
    with volgw.Gateway(keep_s=3600) as g:
        d = filled(g, "map")
        for _ in range(3):
            d.steps(20)
            snap = g.snapshot(d.v)  # leaves a checkpoint
            g.wait_snapshot(d.v, snap)
        d.close()
        maps = sorted(g.keys_of(d.v, "map/"))
        assert len(maps) >= 3, maps
        good = g.object(d.v, maps[-1])
        g.replace(d.v, maps[-1], flipped(good, len(good) // 2))
        g.lose()
        g.attach(d.v)
        d.connect()
        d.check("LUN from an older checkpoint")
        d.check_export()
        faultgw.find("damaged.*" + maps[-1], g.log())
        d.close()
        maps = {key: g.object(d.v, key) for key in g.keys_of(d.v, "map/")}
        for key in maps:
            g.replace(d.v, key, b"not a checkpoint")
        g.lose()
        began = time.monotonic()
        g.attach(d.v, "IRRECOVERABLE")
        print("  none left: %s" % g.state(d.v)["reason"])
        assert time.monotonic() - began > 30, "believed at once"
        faultgw.find("map/", g.state(d.v)["reason"])
        for key, good in maps.items():
            g.replace(d.v, key, good)
        g.stop()  # each start looks at it
        g.run()
        volgw.wait_for("the volume to come back", lambda: g.state(d.v)["status"] == "AVAILABLE")
        assert len(g.events("volume-recovered")) == 1, g.events()
        d.connect()
        d.check("LUN of a bucket that was mended")
        d.check_export()
        d.close()


def damaged_description():
    """volume.json cannot be read."""
    with volgw.Gateway() as g:
        d = filled(g, "json", nblocks=64)
        d.close()
        good = g.object(d.v, "volume.json")
        g.replace(d.v, "volume.json", b"{]")
        g.lose()
        g.attach(d.v, "IRRECOVERABLE")
        print("  %s" % g.state(d.v)["reason"])
        faultgw.find("volume.json", g.state(d.v)["reason"])
        g.replace(d.v, "volume.json", good)
        g.v1("POST", "/v1/volumes/%s/drain" % d.v.id)  # looks at it
        volgw.wait_for("the volume to come back", lambda: g.state(d.v)["status"] == "AVAILABLE")
        d.connect()
        assert read_all(d) == []
        d.close()


def wrong_key():
    """Another key under the same name: nothing is served, nothing is changed, the status says why."""
    keys = ["one = " + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    with volgw.Gateway(keys=keys[0]) as g:
        d = filled(g, "key", nblocks=128, KMSEncrypted=True, KMSKey="alias/one")
        assert read_all(d) == []
        d.close()
        before = g.keys_of(d.v)
        assert not any(volgw.block_bytes(5, d.now[5])[16:48] in g.object(d.v, k) for k in before), "not encrypted"
        g.change_conf(keys[0], keys[1])
        g.lose()
        g.sgw().attach_volume(GatewayARN=g.activate_cached(), VolumeARN=d.v.arn, NetworkInterfaceId="127.0.0.1",
                              TargetName=d.v.name)
        volgw.wait_for("the reason", lambda: "key" in (g.state(d.v)["reason"] or ""))
        print("  %s: %s" % (g.state(d.v)["status"], g.state(d.v)["reason"]))
        assert g.state(d.v)["status"] != "AVAILABLE"
        assert g.keys_of(d.v) == before, "something was changed"
        g.change_conf(keys[1], keys[0])
        g.stop()
        g.run()
        volgw.wait_for("the volume with its key", lambda: g.state(d.v)["status"] == "AVAILABLE")
        d.connect()
        assert read_all(d) == []
        d.close()
        g.stop_and_check()


faultgw.main(damaged_log, damaged_checkpoint, damaged_description, wrong_key)
