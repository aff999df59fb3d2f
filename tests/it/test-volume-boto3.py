#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""Volumes as boto3 sees them: every operation of the service model on volumes once with a valid request, the
users' own snippet, the life of a volume, bad input, snapshots by the EC2 client."""
import datetime
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
if "GW_API" not in os.environ:  # start a gateway around ourselves
    script = ('GW_VOLUMES=1; GW_VOLUMES_CONF="[iscsi]\nany_interface = yes\n[keys]\nmine = '
              'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" ; '
              '. "%s/../lib/gateway.sh"; gw_start; /usr/bin/python3 "%s" || gw_fail "see above"; gw_stop')
    os.execvp("bash", ["bash", "-c", script % (HERE, os.path.abspath(__file__))])

try:
    import boto3
    import botocore.auth
    import botocore.session
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError
except ImportError:
    print("skipped: python3-boto3 is not installed")
    sys.exit(77)

if shutil.which("qemu-io") is None:
    print("skipped: qemu-utils is not installed")
    sys.exit(77)
API = os.environ["GW_API"]
HOST = API[len("http://"):]
ADDRESS, PORT = HOST.split(":")
REGION = "us-east-1"
KEY = Credentials("GWAPIKEY", "gwapisecret")
GIB = 1 << 30

config = Config(retries={"max_attempts": 1}, read_timeout=60)
keys = dict(endpoint_url=API, region_name=REGION, config=config, aws_access_key_id=KEY.access_key,
            aws_secret_access_key=KEY.secret_key)
client = boto3.client("storagegateway", **keys)
ec2 = boto3.client("ec2", **keys)
tests = []
cached = stored = files = None  # ARNs of gateways
serial = 0


def test(fn):
    tests.append(fn)
    return fn


def wait_for(what, fn, seconds=60):
    until = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        assert time.monotonic() < until, "waited in vain for " + what
        time.sleep(0.05)


def request(method, path, body=b"", headers=None):
    c = http.client.HTTPConnection(ADDRESS, int(PORT), timeout=30)
    c.request(method, path, body, headers or {})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, dict(r.getheaders()), data


def signed(method, path, body=b"", headers=None, service="storagegateway", key=KEY):
    r = AWSRequest(method=method, url=API + path, data=body, headers=dict(headers or {}))
    botocore.auth.SigV4Auth(key, service, REGION).add_auth(r)
    return request(method, path, body, dict(r.headers, Host=HOST))


def v1(path, method="GET"):
    status, _, data = signed(method, "/v1/" + path)
    assert status == 200, data
    return json.loads(data)


def raw(op, body):
    status, _, data = signed("POST", "/", json.dumps(body).encode(), {
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "StorageGateway_20130630." + op})
    return status, json.loads(data)


def error(fn, **kwargs):
    """The error that a call ends with: errorCode (or the exception's name), message."""
    try:
        fn(**kwargs)
    except ClientError as e:
        return e.response.get("error", {}).get("errorCode") or e.response["Error"]["Code"], e.response["Error"]["Message"]
    raise AssertionError("%s(%s) went through" % (fn, kwargs))


def activate(name, kind):
    status, _, key = request("GET", "/?activationRegion=%s&gatewayType=%s&no_redirect" % (REGION, kind))
    assert status == 200
    return client.activate_gateway(ActivationKey=key.decode(), GatewayName=name, GatewayTimezone="GMT+1:00",
                                   GatewayRegion=REGION, GatewayType=kind)["GatewayARN"]


def disk(gateway, node):
    return [d for d in client.list_local_disks(GatewayARN=gateway)["Disks"] if d["DiskNode"] == node][0]


def new_args(**more):
    global serial
    serial += 1
    return dict(dict(GatewayARN=cached, VolumeSizeInBytes=GIB, TargetName="target-%d" % serial,
                     NetworkInterfaceId="127.0.0.1", ClientToken="token-%d" % serial), **more)


def describe(arn):
    return client.describe_cached_iscsi_volumes(VolumeARNs=[arn])["CachediSCSIVolumes"][0]


def make(**more):
    arn = client.create_cached_iscsi_volume(**new_args(**more))["VolumeARN"]
    wait_for("AVAILABLE", lambda: describe(arn)["VolumeStatus"] == "AVAILABLE")
    return arn


def write(arn, pattern):
    """64 KiB of a byte at the start of the volume, made durable."""
    v = describe(arn)
    url = "iscsi://127.0.0.1:%s/iqn.1997-05.com.amazon:%s/0" % (os.environ["GW_ISCSI_PORT"], v["TargetName"])
    subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P %d 0 64k" % pattern, "-c", "flush", url], check=True,
                   stdout=subprocess.DEVNULL, timeout=60)


def has_point(arn):
    points = client.list_volume_recovery_points(GatewayARN=cached)["VolumeRecoveryPointInfos"]
    return [p for p in points if p["VolumeARN"] == arn]


def complete(snapshot):
    return wait_for(snapshot, lambda: [s for s in ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
                                       if s["State"] == "completed"])[0]


@test
def buffers_and_their_disks():
    global cached, stored, files
    files, cached, stored = activate("files", "FILE_S3"), activate("cached", "CACHED"), activate("stored", "STORED")
    client.add_cache(GatewayARN=cached, DiskIds=[disk(cached, "cache")["DiskId"]])
    early = client.create_cached_iscsi_volume(**new_args())["VolumeARN"]
    wait_for("UPLOAD BUFFER NOT CONFIGURED",
             lambda: describe(early)["VolumeStatus"] == "UPLOAD BUFFER NOT CONFIGURED")
    buffer = disk(cached, "buffer")
    assert buffer["DiskAllocationType"] == "AVAILABLE", buffer
    assert client.describe_upload_buffer(GatewayARN=cached)["DiskIds"] == []
    client.add_upload_buffer(GatewayARN=cached, DiskIds=[buffer["DiskId"]])
    got = client.describe_upload_buffer(GatewayARN=cached)
    assert got["DiskIds"] == [buffer["DiskId"]] and got["UploadBufferAllocatedInBytes"] > 0, got
    assert disk(cached, "buffer")["DiskAllocationType"] == "UPLOAD_BUFFER"
    assert describe(early)["VolumeStatus"] in ("AVAILABLE", "CREATING")
    assert error(client.add_upload_buffer, GatewayARN=cached, DiskIds=[buffer["DiskId"]])[0] == "DiskAlreadyAllocated"
    assert error(client.add_upload_buffer, GatewayARN=files, DiskIds=["x"]) == (
        "UnsupportedOperationForGatewayType", "This operation is not valid for the specified gateway.")
    working = disk(stored, "working")["DiskId"]
    assert error(client.add_cache, GatewayARN=stored, DiskIds=[working])[0] == "UnsupportedOperationForGatewayType"
    client.add_working_storage(GatewayARN=stored, DiskIds=[working])
    assert client.describe_working_storage(GatewayARN=stored)["DiskIds"] == [working]
    client.delete_volume(VolumeARN=early)


@test
def the_users_snippet_works_unchanged():
    gateway_arn = cached
    response = client.create_cached_iscsi_volume(
        GatewayARN=gateway_arn,
        VolumeSizeInBytes=1099511627776,
        TargetName='prod-database-vol',
        NetworkInterfaceId='10.0.1.100',
        ClientToken='unique-token-67890',
        Tags=[{'Key': 'Environment', 'Value': 'Production'}])
    arn = response["VolumeARN"]
    assert re.fullmatch(re.escape(gateway_arn) + r"/volume/vol-[0-9A-F]{17}", arn), arn
    assert response["TargetARN"] == gateway_arn + "/target/iqn.1997-05.com.amazon:prod-database-vol"
    wait_for("AVAILABLE", lambda: describe(arn)["VolumeStatus"] == "AVAILABLE")
    v = describe(arn)
    assert v["VolumeSizeInBytes"] == 1 << 40 and v["VolumeType"] == "CACHED iSCSI", v
    assert v["VolumeiSCSIAttributes"] == {
        "TargetARN": response["TargetARN"], "NetworkInterfaceId": "10.0.1.100", "LunNumber": 0,
        "NetworkInterfacePort": int(os.environ["GW_ISCSI_PORT"]), "ChapEnabled": False}, v
    assert abs(v["CreatedDate"].timestamp() - time.time()) < 120 and "VolumeProgress" not in v
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "Environment", "Value": "Production"}]
    again = client.create_cached_iscsi_volume(
        GatewayARN=gateway_arn, VolumeSizeInBytes=1099511627776, TargetName='prod-database-vol',
        NetworkInterfaceId='10.0.1.100', ClientToken='unique-token-67890',
        Tags=[{'Key': 'Environment', 'Value': 'Production'}])
    assert again["VolumeARN"] == arn
    client.delete_volume(VolumeARN=arn)
    assert error(client.describe_cached_iscsi_volumes, VolumeARNs=[arn]) == (
        "VolumeNotFound", "The specified volume was not found.")


@test
def bad_input():
    other = make()
    for more, code, text in (
            (dict(GatewayARN=cached[:-8] + "00000000"), "GatewayNotFound", "The specified gateway was not found."),
            (dict(GatewayARN=files), "UnsupportedOperationForGatewayType", "not valid"),
            (dict(GatewayARN=stored), "UnsupportedOperationForGatewayType", "not valid"),
            (dict(VolumeSizeInBytes=GIB - 4096), "InvalidParameters", "between 1 GiB and 32 TiB"),
            (dict(VolumeSizeInBytes=(32 << 40) + GIB), "InvalidParameters", "between 1 GiB and 32 TiB"),
            (dict(VolumeSizeInBytes=GIB + 1), "InvalidParameters", "multiple of 4096"),
            (dict(TargetName="UPPER"), "ValidationException", "targetName"),
            (dict(TargetName=describe(other)["TargetName"]), "TargetAlreadyExists", "already exists"),
            (dict(NetworkInterfaceId="eth0"), "ValidationException", "networkInterfaceId"),
            (dict(SnapshotId="snap-12345678"), "SnapshotNotFound", "was not found"),
            (dict(SnapshotId="snap-1"), "ValidationException", "snapshotId"),
            (dict(SourceVolumeARN=other[:-17] + "0" * 17), "VolumeNotFound", "was not found"),
            (dict(SourceVolumeARN=other, SnapshotId="snap-12345678"), "InvalidParameters", "one of"),
            (dict(KMSEncrypted=True), "InvalidParameters", "KMSKey"),
            (dict(KMSEncrypted=True, KMSKey="alias/none"), "InvalidParameters", "[keys]"),
            (dict(Tags=[{"Key": "aws:x", "Value": ""}]), "InvalidParameters", "reserved"),
            (dict(Tags=[{"Key": "causeway:colour", "Value": ""}]), "InvalidParameters", "unknown")):
        got = error(client.create_cached_iscsi_volume, **new_args(**more))
        assert got[0] == code and text in got[1], (more, got)
    status, doc = raw("CreateCachediSCSIVolume", {"GatewayARN": cached, "VolumeSizeInBytes": "1"})
    assert status == 400 and doc["__type"] == "SerializationException", doc
    status, doc = raw("CreateCachediSCSIVolume", {})
    assert status == 400 and "networkInterfaceId" in doc["message"], doc
    for op, args in (("delete_volume", {}), ("detach_volume", {}), ("list_volume_initiators", {}),
                     ("describe_snapshot_schedule", {}), ("delete_snapshot_schedule", {}),
                     ("create_snapshot", {"SnapshotDescription": "x"}),
                     ("update_snapshot_schedule", {"StartAt": 0, "RecurrenceInHours": 1})):
        got = error(getattr(client, op), VolumeARN=other[:-17] + "0" * 17, **args)
        assert got == ("VolumeNotFound", "The specified volume was not found."), (op, got)
    assert error(client.describe_chap_credentials, TargetARN=cached + "/target/iqn.1997-05.com.amazon:none") == (
        "TargetNotFound", "The specified target was not found.")
    client.delete_volume(VolumeARN=other)


@test
def volumes_are_listed_in_pages():
    arns = sorted(make() for _ in range(3))
    pages = [p["VolumeInfos"] for p in client.get_paginator("list_volumes").paginate(
        GatewayARN=cached, PaginationConfig={"PageSize": 2})]
    infos = [i for p in pages for i in p]
    assert [len(p) for p in pages] == [2, 1] and [i["VolumeARN"] for i in infos] == arns, pages
    assert all(i["GatewayARN"] == cached and i["GatewayId"] == cached.split("/")[1] and
               i["VolumeSizeInBytes"] == GIB and i["VolumeAttachmentStatus"] == "ATTACHED" for i in infos), infos
    assert client.list_volumes(GatewayARN=stored)["VolumeInfos"] == []
    assert error(client.list_volumes, GatewayARN=files)[0] == "UnsupportedOperationForGatewayType"
    assert error(client.delete_gateway, GatewayARN=cached)[0] == "VolumeInUse"
    assert client.list_volume_initiators(VolumeARN=arns[0])["Initiators"] == []
    for arn in arns:
        client.delete_volume(VolumeARN=arn)


@test
def chap_credentials():
    arn = make()
    target = describe(arn)["VolumeiSCSIAttributes"]["TargetARN"]
    assert client.describe_chap_credentials(TargetARN=target)["ChapCredentials"] == []
    args = dict(TargetARN=target, InitiatorName="iqn.1993-08.org.debian:01:abc",
                SecretToAuthenticateInitiator="111111111111", SecretToAuthenticateTarget="222222222222")
    for more, text in ((dict(SecretToAuthenticateInitiator="short"), "between 12 and 16"),
                       (dict(SecretToAuthenticateInitiator="x" * 17), "between 12 and 16"),
                       (dict(SecretToAuthenticateTarget="111111111111"), "must be different")):
        got = error(client.update_chap_credentials, **dict(args, **more))
        assert got[0] == "InvalidParameters" and text in got[1], got
    got = client.update_chap_credentials(**args)
    assert (got["TargetARN"], got["InitiatorName"]) == (target, args["InitiatorName"])
    assert client.describe_chap_credentials(TargetARN=target)["ChapCredentials"] == [args]
    assert describe(arn)["VolumeiSCSIAttributes"]["ChapEnabled"] is True
    client.delete_chap_credentials(TargetARN=target, InitiatorName=args["InitiatorName"])
    assert error(client.delete_chap_credentials, TargetARN=target, InitiatorName=args["InitiatorName"])[0] == \
        "ChapCredentialNotFound"
    client.delete_volume(VolumeARN=arn)


@test
def snapshots_and_what_is_made_of_them():
    arn = make(KMSEncrypted=True, KMSKey="alias/mine")
    write(arn, 1)
    got = client.create_snapshot(VolumeARN=arn, SnapshotDescription="before the <move>",
                                 Tags=[{"Key": "Name", "Value": "one & only"}])
    assert re.fullmatch("snap-[0-9a-f]{17}", got["SnapshotId"]) and got["VolumeARN"] == arn, got
    s = complete(got["SnapshotId"])
    assert s["VolumeId"] == arn.split("/")[-1] and s["VolumeSize"] == 1 and s["Progress"] == "100%", s
    assert s["Description"] == "before the <move>" and s["Encrypted"] is True, s
    assert s["Tags"] == [{"Key": "Name", "Value": "one & only"}] and isinstance(s["StartTime"], datetime.datetime)
    copy = make(SnapshotId=s["SnapshotId"], VolumeSizeInBytes=2 * GIB)
    assert describe(copy)["SourceSnapshotId"] == s["SnapshotId"] and describe(copy)["KMSKey"] == "alias/mine"
    assert error(client.create_cached_iscsi_volume, **new_args(
        SnapshotId=s["SnapshotId"], KMSEncrypted=False, VolumeSizeInBytes=GIB - 4096))[0] == "InvalidParameters"
    mine = wait_for("a recovery point", lambda: has_point(arn))
    assert len(mine) == 1 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                                           mine[0]["VolumeRecoveryPointTime"]), mine
    got = client.create_snapshot_from_volume_recovery_point(VolumeARN=arn, SnapshotDescription="point")
    assert got["VolumeARN"] == arn and got["VolumeRecoveryPointTime"], got
    complete(got["SnapshotId"])
    clone = make(SourceVolumeARN=arn)
    listed = {x["SnapshotId"] for x in ec2.describe_snapshots(
        Filters=[{"Name": "volume-id", "Values": [arn.split("/")[-1]]}], OwnerIds=["self"])["Snapshots"]}
    assert listed == {s["SnapshotId"], got["SnapshotId"]}, listed
    assert [x["SnapshotId"] for x in ec2.describe_snapshots(
        Filters=[{"Name": "tag:Name", "Values": ["one*"]}])["Snapshots"]] == [s["SnapshotId"]]
    pages = list(ec2.get_paginator("describe_snapshots").paginate(PaginationConfig={"PageSize": 5}))
    assert sum(len(p["Snapshots"]) for p in pages) >= 2
    ec2.delete_snapshot(SnapshotId=got["SnapshotId"])
    for fn, args in ((ec2.describe_snapshots, dict(SnapshotIds=[got["SnapshotId"]])),
                     (ec2.delete_snapshot, dict(SnapshotId=got["SnapshotId"]))):
        assert error(fn, **args)[0] == "InvalidSnapshot.NotFound"
    for x in (clone, copy, arn):
        client.delete_volume(VolumeARN=x)
    assert complete(s["SnapshotId"])  # it outlives its volume
    ec2.delete_snapshot(SnapshotId=s["SnapshotId"])
    assert s["SnapshotId"] not in json.dumps(ec2.describe_snapshots()["Snapshots"], default=str)


@test
def schedules():
    arn = make()
    assert error(client.describe_snapshot_schedule, VolumeARN=arn)[0] == "SnapshotScheduleNotFound"
    client.update_snapshot_schedule(VolumeARN=arn, StartAt=3, RecurrenceInHours=12, Description="twice a day",
                                    Tags=[{"Key": "by", "Value": "schedule"}])
    got = client.describe_snapshot_schedule(VolumeARN=arn)
    got.pop("ResponseMetadata")
    assert got == dict(VolumeARN=arn, StartAt=3, RecurrenceInHours=12, Description="twice a day",
                       Timezone="GMT+1:00", Tags=[{"Key": "by", "Value": "schedule"}]), got
    assert error(client.update_snapshot_schedule, VolumeARN=arn, StartAt=24, RecurrenceInHours=1)[0] == \
        "ValidationException"
    client.delete_snapshot_schedule(VolumeARN=arn)
    assert error(client.delete_snapshot_schedule, VolumeARN=arn)[0] == "SnapshotScheduleNotFound"
    client.delete_volume(VolumeARN=arn)


@test
def a_stored_volume():
    d = disk(stored, "stored")
    args = dict(GatewayARN=stored, DiskId=d["DiskId"], PreserveExistingData=False, TargetName="on-disk",
                NetworkInterfaceId="127.0.0.1")
    assert error(client.create_stored_iscsi_volume, **dict(args, GatewayARN=cached))[0] == \
        "UnsupportedOperationForGatewayType"
    assert error(client.create_stored_iscsi_volume, **dict(args, DiskId="none"))[0] == "DiskDoesNotExist"
    assert "disk.img" in error(client.create_stored_iscsi_volume, **dict(args, PreserveExistingData=True))[1]
    got = client.create_stored_iscsi_volume(**args)
    assert got["VolumeSizeInBytes"] == 2 * GIB, got

    def info():
        return client.describe_stored_iscsi_volumes(VolumeARNs=[got["VolumeARN"]])["StorediSCSIVolumes"][0]
    wait_for("AVAILABLE", lambda: info()["VolumeStatus"] == "AVAILABLE")
    v = info()
    assert (v["VolumeType"], v["VolumeDiskId"], v["PreservedExistingData"]) == ("STORED", d["DiskId"], False), v
    assert disk(stored, "stored")["DiskAllocationType"] == "STORED iSCSI VOLUME"
    assert client.describe_snapshot_schedule(VolumeARN=got["VolumeARN"])["RecurrenceInHours"] == 24
    assert error(client.create_snapshot_from_volume_recovery_point, VolumeARN=got["VolumeARN"],
                 SnapshotDescription="x")[0] == "UnsupportedOperationForGatewayType"
    assert error(client.describe_cached_iscsi_volumes, VolumeARNs=[got["VolumeARN"]])[0] == \
        "UnsupportedOperationForGatewayType"
    client.delete_volume(VolumeARN=got["VolumeARN"])
    wait_for("the disk to be free", lambda: disk(stored, "stored")["DiskAllocationType"] == "AVAILABLE")


@test
def detached_and_attached():
    arn = make(TargetName="wanderer")
    client.add_tags_to_resource(ResourceARN=arn, Tags=[{"Key": "kept", "Value": "yes"}])
    assert client.detach_volume(VolumeARN=arn)["VolumeARN"] == arn
    wait_for("DETACHED", lambda: describe(arn)["VolumeAttachmentStatus"] == "DETACHED")
    assert error(client.detach_volume, VolumeARN=arn)[0] == "InvalidParameters"
    assert error(client.attach_volume, GatewayARN=stored, VolumeARN=arn, NetworkInterfaceId="127.0.0.1")[0] == \
        "UnsupportedOperationForGatewayType"
    got = client.attach_volume(GatewayARN=cached, VolumeARN=arn, NetworkInterfaceId="127.0.0.1", TargetName="settled")
    assert got["TargetARN"].endswith(":settled"), got
    wait_for("AVAILABLE", lambda: describe(arn)["VolumeStatus"] == "AVAILABLE")
    assert error(client.attach_volume, GatewayARN=cached, VolumeARN=arn, NetworkInterfaceId="127.0.0.1")[0] == "VolumeInUse"
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "kept", "Value": "yes"}]
    client.delete_volume(VolumeARN=arn)


@test
def pages_under_v1_and_metrics():
    arn = make(TargetName="measured")
    v = v1("volumes/measured")
    assert v["arn"] == arn and v["iqn"] == "iqn.1997-05.com.amazon:measured" and v["status"] == "AVAILABLE", v
    assert "recovery_points" in v1("volumes/measured/recovery-points")
    assert v1("volumes/measured/initiators") == {"initiators": []}
    v1("volumes/measured/resize?size=%d" % (2 * GIB), "POST")
    assert describe(arn)["VolumeSizeInBytes"] == 2 * GIB
    assert any(x["arn"] == arn for x in v1("status")["volumes"])
    assert signed("GET", "/v1/volumes/none")[0] == 404 and signed("POST", "/v1/volumes/measured/paint")[0] == 404
    _, _, text = request("GET", "/metrics")
    for name in ("read_bytes", "write_bytes", "dirty_bytes", "recovery_point_age_seconds", "uploaded_bytes",
                 "remote_bytes", "owner"):
        assert re.search(r'causeway_volume_%s\{volume="%s"\} \d' % (name, arn.split("/")[-1]), text.decode()), name
    events = {e["type"] for e in v1("events?max=1000")["events"]}
    assert {"volume-created", "volume-deleted", "volume-resized", "snapshot-created"} <= events, events
    client.delete_volume(VolumeARN=arn)


@test
def the_ec2_side_wants_signatures_of_its_own():
    form = b"Action=DescribeSnapshots&Version=2016-11-15"
    head = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    status, _, data = signed("POST", "/", form, head, service="ec2")
    assert status == 200 and b"<snapshotSet>" in data, data
    for service, key in (("storagegateway", KEY), ("ec2", Credentials("GWAPIKEY", "wrong")),
                         ("ec2", Credentials("NOBODY", "wrong"))):
        status, _, data = signed("POST", "/", form, head, service=service, key=key)
        assert status == 401 and b"<Code>AuthFailure</Code>" in data, data
    assert request("POST", "/", form, head)[0] == 401
    assert signed("POST", "/", b"{}", {"X-Amz-Target": "StorageGateway_20130630.ListVolumes"}, service="ec2")[0] == 400
    assert error(ec2.describe_volumes)[0] == "InvalidAction"


@test
def every_operation_of_the_model_is_answered():
    """One request per operation on volumes, made from the model: nobody answers that he does not know it."""
    model = botocore.session.get_session().get_service_model("storagegateway")
    words = re.compile("iSCSI|Volume|Chap|Snapshot|UploadBuffer|WorkingStorage")
    names = [n for n in model.operation_names if words.search(n)]
    assert len(names) == 22, names
    for name in names:
        status, doc = raw(name, {})
        assert doc.get("__type") == "ValidationException" or name == "ListVolumes", (name, doc)
        assert status in (200, 400)


for t in tests:
    began = time.monotonic()
    t()
    print("%-55s %6.2f s" % (t.__name__, time.monotonic() - began), flush=True)
print("%d tests passed" % len(tests))
