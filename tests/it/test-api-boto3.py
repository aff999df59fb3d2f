#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# test: timeout=300
"""The AWS Storage Gateway API as boto3 and raw HTTP see it: every operation once with a valid request,
the users' own snippet, every constraint of the service model violated once, error shapes, paging,
idempotency, the life of a share."""
import datetime
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
if "GW_API" not in os.environ:  # start a gateway around ourselves
    script = '. "%s/../lib/gateway.sh"; gw_start; /usr/bin/python3 "%s" || gw_fail "see above"; gw_stop'
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

API = os.environ["GW_API"]
HOST = API[len("http://"):]
ADDRESS, PORT = HOST.split(":")
REGION = "us-east-1"
KEY = Credentials("GWAPIKEY", "gwapisecret")
ROLE = "arn:aws:iam::123456789012:role/StorageGatewayS3Role"
PREFIX = "StorageGateway_20130630."

config = Config(retries={"max_attempts": 1}, read_timeout=60)
client = boto3.client("storagegateway", endpoint_url=API, region_name=REGION, config=config,
                      aws_access_key_id=KEY.access_key, aws_secret_access_key=KEY.secret_key)
s3 = boto3.client("s3", endpoint_url=os.environ["GW_S3"], region_name=REGION,
                  config=Config(s3={"addressing_style": "path"}),
                  aws_access_key_id="GWTESTKEY", aws_secret_access_key="gwtestsecret")
tests = []


def test(fn):
    tests.append(fn)
    return fn


def wait_for(what, fn, seconds=30):
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


def signed(op, body=b"{}", key=KEY, method="POST", path="/", change=None, extra=None):
    """A raw signed request; change(headers) spoils it after it was signed. -> status, document"""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": PREFIX + op}
    headers.update(extra or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    r = AWSRequest(method=method, url=API + path, data=body, headers=headers)
    botocore.auth.SigV4Auth(key, "storagegateway", REGION).add_auth(r)
    h = dict(r.headers)
    h["Host"] = HOST
    if change:
        change(h)
    status, _, data = request(method, path, body, h)
    return status, json.loads(data)


def error(fn, **kwargs):
    """The error that a call ends with: code, message, errorCode."""
    try:
        fn(**kwargs)
    except ClientError as e:
        return (e.response["Error"]["Code"], e.response["Error"]["Message"],
                e.response.get("error", {}).get("errorCode"))
    raise AssertionError("%s(%s) went through" % (fn, kwargs))


def activation_key(kind="FILE_S3", region=REGION):
    status, headers, _ = request("GET", "/?activationRegion=%s&gatewayType=%s" % (region, kind))
    assert status == 302, status
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)
    assert re.fullmatch("([0-9A-Z]{5}-){4}[0-9A-Z]{5}", query["activationKey"][0]), query
    return query["activationKey"][0]


def activate(name, kind="FILE_S3", **more):
    return client.activate_gateway(ActivationKey=activation_key(kind), GatewayName=name,
                                   GatewayTimezone="GMT-4:00", GatewayRegion=REGION,
                                   GatewayType=kind, **more)["GatewayARN"]


def describe(arn):
    return client.describe_nfs_file_shares(FileShareARNList=[arn])["NFSFileShareInfoList"][0]


def status_is(arn, want):
    return lambda: describe(arn)["FileShareStatus"] == want


def make_share(bucket, token=None, **more):
    s3.create_bucket(Bucket=bucket)
    args = dict(ClientToken=token or "token-" + bucket, GatewayARN=gateway, Role=ROLE,
                LocationARN="arn:aws:s3:::" + bucket)
    args.update(more)
    arn = client.create_nfs_file_share(**args)["FileShareARN"]
    wait_for(bucket + " AVAILABLE", status_is(arn, "AVAILABLE"))
    return arn


def gone(arn):
    def check():
        try:
            describe(arn)
        except ClientError as e:
            assert e.response["error"]["errorCode"] == "FileShareNotFound", e.response
            assert e.response["Error"]["Message"] == "The specified file share was not found."
            return True
        return False
    return check


def v1(path, method="GET"):
    status, doc = signed("", b"", method=method, path="/v1/" + path)
    assert status == 200, doc
    return doc


gateway = None


@test
def activation_is_a_redirect_or_a_body():
    status, _, body = request("GET", "/?activationRegion=us-east-1&gatewayType=FILE_S3&no_redirect")
    assert status == 200 and re.fullmatch(b"([0-9A-Z]{5}-){4}[0-9A-Z]{5}", body), body
    for bad in ("?activationRegion=", "?activationRegion=a%20b", "?activationRegion=x&gatewayType=Y",
                "?activationRegion=" + "x" * 40):
        assert request("GET", "/" + bad)[0] == 400, bad
    assert request("GET", "/")[0] == 200


@test
def gateways_of_several_types_are_activated():
    global gateway
    key = activation_key()
    args = dict(ActivationKey=key, GatewayName="first", GatewayTimezone="GMT-4:00",
                GatewayRegion=REGION, GatewayType="FILE_S3", Tags=[{"Key": "a", "Value": "1"}])
    assert error(client.activate_gateway, **dict(args, GatewayRegion="eu-west-1"))[2] == "RegionInvalid"
    assert "GatewayTimezone" in error(client.activate_gateway, **dict(args, GatewayTimezone="CET"))[1]
    assert error(client.activate_gateway, **dict(args, GatewayType="VTL"))[2] == "ActivationKeyInvalid"
    gateway = client.activate_gateway(**args)["GatewayARN"]
    assert re.fullmatch(r"arn:aws:storagegateway:us-east-1:\d{12}:gateway/sgw-[0-9A-F]{8}", gateway)
    assert error(client.activate_gateway, **args)[2] == "ActivationKeyNotFound"
    assert error(client.activate_gateway, **dict(args, ActivationKey=activation_key()))[1].endswith(
        "already exists.")
    volume = activate("second", "CACHED")
    info = client.describe_gateway_information(GatewayARN=volume)
    assert info["GatewayType"] == "CACHED" and info["GatewayState"] == "RUNNING"
    code, text, sub = error(client.create_nfs_file_share, ClientToken="tokentoken", GatewayARN=volume,
                            Role=ROLE, LocationARN="arn:aws:s3:::some-bucket")
    assert text == "This operation is not valid for the specified gateway.", text
    client.delete_gateway(GatewayARN=volume)
    assert error(client.describe_gateway_information, GatewayARN=volume) == (
        "InvalidGatewayRequestException", "The specified gateway was not found.", "GatewayNotFound")


@test
def gateways_are_described_listed_updated():
    info = client.describe_gateway_information(GatewayARN=gateway)
    assert info["GatewayId"] == gateway.split("/")[1] and info["GatewayName"] == "first"
    assert info["Tags"] == [{"Key": "a", "Value": "1"}] and info["GatewayNetworkInterfaces"]
    client.update_gateway_information(GatewayARN=gateway, GatewayName="renamed", GatewayTimezone="GMT",
                                      CloudWatchLogGroupARN="arn:x", GatewayCapacity="Medium")
    info = client.describe_gateway_information(GatewayARN=gateway)
    assert (info["GatewayName"], info["GatewayTimezone"], info["GatewayCapacity"]) == (
        "renamed", "GMT", "Medium")
    extra = [activate("page%d" % i) for i in range(4)]
    pages = [p["Gateways"] for p in client.get_paginator("list_gateways").paginate(
        PaginationConfig={"PageSize": 2})]
    arns = [g["GatewayARN"] for p in pages for g in p]
    assert [len(p) for p in pages] == [2, 2, 1] and sorted(arns) == sorted(extra + [gateway])
    assert all(g["GatewayOperationalState"] == "ACTIVE" for p in pages for g in p)
    for arn in extra:
        client.delete_gateway(GatewayARN=arn)


@test
def maintenance_window():
    assert client.describe_maintenance_start_time(GatewayARN=gateway)["Timezone"] == "GMT"
    client.update_maintenance_start_time(GatewayARN=gateway, HourOfDay=5, MinuteOfHour=30, DayOfWeek=2)
    got = client.describe_maintenance_start_time(GatewayARN=gateway)
    assert (got["HourOfDay"], got["MinuteOfHour"], got["DayOfWeek"]) == (5, 30, 2)


@test
def disks_become_cache():
    disks = client.list_local_disks(GatewayARN=gateway)["Disks"]
    assert len(disks) == 1 and disks[0]["DiskStatus"] == "present", disks
    assert disks[0]["DiskAllocationType"] == "AVAILABLE" and disks[0]["DiskSizeInBytes"] > 0
    disk = disks[0]["DiskId"]
    assert client.describe_cache(GatewayARN=gateway)["DiskIds"] == []
    assert error(client.add_cache, GatewayARN=gateway, DiskIds=["nonsense"])[2] == "DiskDoesNotExist"
    assert error(client.add_cache, GatewayARN=gateway, DiskIds=[])[0] == "InvalidGatewayRequestException"
    assert client.add_cache(GatewayARN=gateway, DiskIds=[disk])["GatewayARN"] == gateway
    after = client.list_local_disks(GatewayARN=gateway)["Disks"][0]
    assert after["DiskId"] == disk and after["DiskAllocationType"] == "CACHE_STORAGE", after
    cache = client.describe_cache(GatewayARN=gateway)
    assert cache["DiskIds"] == [disk] and cache["CacheAllocatedInBytes"] == 1 << 30, cache
    assert error(client.add_cache, GatewayARN=gateway, DiskIds=[disk])[2] == "DiskAlreadyAllocated"


@test
def the_users_snippet_works_unchanged():
    gateway_arn = gateway
    s3.create_bucket(Bucket="my-file-gateway-bucket")
    response = client.create_nfs_file_share(
        ClientToken='unique-token-12345',
        GatewayARN=gateway_arn,
        Role='arn:aws:iam::123456789012:role/StorageGatewayS3Role',
        LocationARN='arn:aws:s3:::my-file-gateway-bucket',
        DefaultStorageClass='S3_STANDARD_IA',
        ObjectACL='bucket-owner-full-control',
        ClientList=['10.0.0.0/16'],
        Squash='RootSquash',
        ReadOnly=False,
        GuessMIMETypeEnabled=True,
        RequesterPays=False,
        Tags=[{'Key': 'Environment', 'Value': 'Production'}])
    arn = response["FileShareARN"]
    assert re.fullmatch(r"arn:aws:storagegateway:us-east-1:\d{12}:share/share-[0-9A-F]{8}", arn), arn
    wait_for("AVAILABLE", status_is(arn, "AVAILABLE"))
    info = describe(arn)
    assert info["Path"] == "/my-file-gateway-bucket" and info["FileShareId"] == arn.split("/")[1]
    assert info["ClientList"] == ["10.0.0.0/16"] and info["DefaultStorageClass"] == "S3_STANDARD_IA"
    assert info["NFSFileShareDefaults"] == {"FileMode": "0666", "DirectoryMode": "0777",
                                            "GroupId": 65534, "OwnerId": 65534}
    assert not list_nfs("my-file-gateway-bucket"), "127.0.0.1 is not in 10.0.0.0/16"
    client.update_nfs_file_share(FileShareARN=arn, ClientList=["127.0.0.1"])
    assert list_nfs("my-file-gateway-bucket")
    client.delete_file_share(FileShareARN=arn)
    wait_for("the end of the share", gone(arn))
    assert not list_nfs("my-file-gateway-bucket")


def list_nfs(share):
    url = "nfs://127.0.0.1/%s?nfsport=%s&mountport=%s" % ((share,) + (os.environ["GW_NFS_PORT"],) * 2)
    return subprocess.run(["nfs-ls", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          timeout=60).returncode == 0


@test
def client_token_makes_creation_idempotent():
    arn = make_share("idem")
    again = dict(ClientToken="token-idem", GatewayARN=gateway, Role=ROLE,
                 LocationARN="arn:aws:s3:::idem")
    assert client.create_nfs_file_share(**again)["FileShareARN"] == arn
    assert "ClientToken" in error(client.create_nfs_file_share, **dict(again, ReadOnly=True))[1]
    assert "overlaps" in error(client.create_nfs_file_share, **dict(
        again, ClientToken="other-token", FileShareName="x"))[1]
    assert "already exists" in error(client.create_nfs_file_share, **dict(
        again, ClientToken="other-token", LocationARN="arn:aws:s3:::idem/p/", FileShareName="idem"))[1]
    client.delete_file_share(FileShareARN=arn, ForceDelete=True)
    wait_for("the end of the share", gone(arn))


@test
def locations_and_names_are_checked():
    base = dict(ClientToken="tokentoken", GatewayARN=gateway, Role=ROLE)
    for location, why in (("arn:aws:s3:::my.bucket.name", "period"),
                          ("arn:aws:s3:::bucket/prefix", "end in a slash"),
                          ("arn:aws:s3:::bucket/prefix/", "FileShareName is required"),
                          ("arn:aws:s3:us-east-1:123456789012:accesspoint/x", "alias"),
                          ("arn:aws:ec2:::something", "not the ARN of an S3 bucket")):
        got = error(client.create_nfs_file_share, LocationARN=location, **base)
        assert got[0] == "InvalidGatewayRequestException" and why in got[1], (location, got)
    for more, why in ((dict(FileShareName="a b"), "FileShareName"), (dict(Squash="Everything"), "Squash"),
                      (dict(DefaultStorageClass="GLACIER"), "DefaultStorageClass"),
                      (dict(KMSEncrypted=True), "KMSKey"),
                      (dict(CacheAttributes={"CacheStaleTimeoutInSeconds": 5}), "300"),
                      (dict(NotificationPolicy='{"Upload": {"Settle": 1}}'), "NotificationPolicy"),
                      (dict(Tags=[{"Key": "aws:x", "Value": ""}]), "reserved"),
                      (dict(Tags=[{"Key": "causeway:conflict-policy", "Value": "maybe"}]), "remote-wins"),
                      (dict(Tags=[{"Key": "k%d" % i, "Value": ""} for i in range(51)]), "50 tags")):
        got = error(client.create_nfs_file_share, LocationARN="arn:aws:s3:::checked", **base, **more)
        assert got[0] == "InvalidGatewayRequestException" and why in got[1], (more, got)
    assert client.list_file_shares(GatewayARN=gateway)["FileShareInfoList"] == []


@test
def updates_change_what_they_name_and_nothing_else():
    arn = make_share("updates", NFSFileShareDefaults={"FileMode": "0640", "OwnerId": 1000},
                     NotificationPolicy="{}", AuditDestinationARN="arn:aws:logs:x", BucketRegion="us-east-1")
    before = describe(arn)
    client.update_nfs_file_share(FileShareARN=arn, ReadOnly=True, Squash="AllSquash",
                                 NFSFileShareDefaults={"DirectoryMode": "0750"},
                                 CacheAttributes={"CacheStaleTimeoutInSeconds": 300},
                                 NotificationPolicy='{"Upload": {"SettlingTimeInSeconds": 60}}')
    status, _ = signed("UpdateNFSFileShare", {"FileShareARN": arn, "ClientList": None, "ReadOnly": None})
    assert status == 200
    after = describe(arn)
    want = dict(before, ReadOnly=True, Squash="AllSquash",
                NFSFileShareDefaults=dict(before["NFSFileShareDefaults"], DirectoryMode="0750"),
                CacheAttributes={"CacheStaleTimeoutInSeconds": 300},
                NotificationPolicy='{"Upload": {"SettlingTimeInSeconds": 60}}')
    for d in (want, after):
        d.pop("ResponseMetadata", None)
    assert after == want, (after, want)
    assert after["NFSFileShareDefaults"]["FileMode"] == "0640" and after["BucketRegion"] == "us-east-1"
    client.update_nfs_file_share(FileShareARN=arn, FileShareName="renamed.share")
    assert describe(arn)["Path"] == "/renamed.share"
    client.update_nfs_file_share(FileShareARN=arn, KMSEncrypted=True, KMSKey="alias/mine")
    assert describe(arn)["KMSEncrypted"] is True
    status, doc = signed("UpdateNFSFileShare", {"FileShareARN": arn, "EncryptionType": "SseS3"})
    assert status == 200 and describe(arn)["KMSEncrypted"] is False, doc
    assert "KMSKey" not in describe(arn)
    assert error(client.update_nfs_file_share, FileShareARN=arn, Squash="Nobody")[0] == (
        "InvalidGatewayRequestException")
    client.delete_file_share(FileShareARN=arn)
    wait_for("the end of the share", gone(arn))


@test
def a_missing_bucket_shows_and_heals():
    arn = client.create_nfs_file_share(ClientToken="tokentoken", GatewayARN=gateway, Role=ROLE,
                                       LocationARN="arn:aws:s3:::not-there-yet")["FileShareARN"]
    wait_for("UNAVAILABLE", status_is(arn, "UNAVAILABLE"))
    share = v1("status")["shares"][0]
    assert not share["available"] and "bucket" in share["reason"], share
    s3.create_bucket(Bucket="not-there-yet")
    wait_for("AVAILABLE", status_is(arn, "AVAILABLE"))
    assert any(e["type"] == "share-unavailable" for e in wait_for(
        "the event", lambda: v1("events?type=share-unavailable")["events"]))
    client.delete_file_share(FileShareARN=arn, ForceDelete=True)
    wait_for("the end of the share", gone(arn))


@test
def shares_are_listed_in_pages():
    arns = [make_share("list%d" % i) for i in range(3)]
    first = client.list_file_shares(GatewayARN=gateway, Limit=2)
    rest = client.list_file_shares(GatewayARN=gateway, Limit=2, Marker=first["NextMarker"])
    assert rest["Marker"] == first["NextMarker"] and "NextMarker" not in rest
    got = first["FileShareInfoList"] + rest["FileShareInfoList"]
    assert sorted(s["FileShareARN"] for s in got) == sorted(arns)
    assert {s["FileShareType"] for s in got} == {"NFS"} and {s["GatewayARN"] for s in got} == {gateway}
    assert len(client.describe_nfs_file_shares(FileShareARNList=arns)["NFSFileShareInfoList"]) == 3
    absent = arns[0][:-8] + "00000000"
    assert error(client.describe_nfs_file_shares, FileShareARNList=[arns[0], absent])[2] == (
        "FileShareNotFound")
    for arn in arns:
        client.delete_file_share(FileShareARN=arn)
    for arn in arns:
        wait_for("the end of the share", gone(arn))


@test
def tags_of_gateways_and_shares():
    share = make_share("tags", Tags=[{"Key": "one", "Value": "1"}])
    for arn in (gateway, share):
        client.add_tags_to_resource(ResourceARN=arn, Tags=[
            {"Key": "k%02d" % i, "Value": "v%d" % i} for i in range(20)])
        client.add_tags_to_resource(ResourceARN=arn, Tags=[{"Key": "k00", "Value": "new"}])
        pages = client.get_paginator("list_tags_for_resource").paginate(
            ResourceARN=arn, PaginationConfig={"PageSize": 8})
        tags = {t["Key"]: t["Value"] for p in pages for t in p["Tags"]}
        assert len(tags) == 21 and tags["k00"] == "new" and tags["k19"] == "v19", tags
        client.remove_tags_from_resource(ResourceARN=arn, TagKeys=["k%02d" % i for i in range(20)] + ["no"])
        assert len(client.list_tags_for_resource(ResourceARN=arn)["Tags"]) == 1
    client.add_tags_to_resource(ResourceARN=share, Tags=[
        {"Key": "causeway:conflict-policy", "Value": "local-wins"}])
    assert "unknown" in error(client.add_tags_to_resource, ResourceARN=share, Tags=[
        {"Key": "causeway:colour", "Value": "blue"}])[1]
    assert error(client.list_tags_for_resource, ResourceARN=share[:-8] + "00000000")[2] == "FileShareNotFound"
    client.delete_file_share(FileShareARN=share)
    wait_for("the end of the share", gone(share))


@test
def refresh_and_notify_end_in_events():
    arn = make_share("events")
    refresh = client.refresh_cache(FileShareARN=arn, FolderList=["/"], Recursive=True)["NotificationId"]
    notify = client.notify_when_uploaded(FileShareARN=arn)["NotificationId"]
    for kind, uuid in (("refresh-complete", refresh), ("upload-complete", notify)):
        assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid), uuid
        event = wait_for(kind, lambda: [e for e in v1("events?type=" + kind)["events"]
                                        if e["detail"]["notification-id"] == uuid])[0]
        assert event["detail"]["event-type"] == kind and event["detail"]["share-arn"] == arn, event
        assert abs(event["time"] - time.time()) < 120
    assert "slash" in error(client.refresh_cache, FileShareARN=arn, FolderList=["x"])[1]
    assert "shares" in v1("status") and v1("uploads?share=events")["uploads"] == []
    assert v1("drain?share=events", "POST") == {} and v1("cache/drop", "POST") == {}
    assert signed("", b"", method="GET", path="/v1/nonsense")[0] == 404
    assert signed("", b"", method="POST", path="/v1/drain?share=nobody")[0] == 404
    client.delete_file_share(FileShareARN=arn)
    wait_for("the end of the share", gone(arn))


@test
def a_gateway_goes_with_its_clean_shares():
    other = activate("goes")
    s3.create_bucket(Bucket="goes-too")
    arn = client.create_nfs_file_share(ClientToken="tokengoes", GatewayARN=other, Role=ROLE,
                                       LocationARN="arn:aws:s3:::goes-too")["FileShareARN"]
    wait_for("AVAILABLE", status_is(arn, "AVAILABLE"))
    client.delete_gateway(GatewayARN=other)
    wait_for("the end of the share", gone(arn))
    assert error(client.delete_gateway, GatewayARN=other)[2] == "GatewayNotFound"


@test
def terraforms_reads_get_the_texts_they_tolerate():
    for fn in (client.describe_smb_settings, client.describe_bandwidth_rate_limit):
        code, text, _ = error(fn, GatewayARN=gateway)
        assert code == "InvalidGatewayRequestException", code
        assert "This operation is not valid for the specified gateway" in text, text


# --- the model ------------------------------------------------------------------------------------------

SAMPLES = {
    "ActivationKey": "ABCDE-ABCDE-ABCDE-ABCDE-ABCDE", "GatewayTimezone": "GMT", "RegionId": "us-east-1",
    "GatewayType": "FILE_S3", "DiskId": "disk-1", "Role": ROLE, "LocationARN": "arn:aws:s3:::model-bucket",
    "KMSKey": "alias/mine", "PermissionMode": "0640", "StorageClass": "S3_STANDARD",
    "IPV4AddressCIDR": "10.0.0.0/8", "Squash": "RootSquash", "NotificationPolicy": "{}",
    "DNSHostName": "a.example.com", "Folder": "/", "ClientToken": "modeltoken", "Marker": "m",
    "GatewayName": "model", "FileShareName": "model", "TagKey": "k",
    "SnapshotId": "snap-12345678", "TargetName": "model", "IqnName": "iqn.1993-08.org.debian:01:x",
    "ChapSecret": "123456789012", "NetworkInterfaceId": "127.0.0.1",
}


def sample(shape):
    if shape.name in SAMPLES:
        return SAMPLES[shape.name]
    if shape.name == "VolumeARN":
        return gateway + "/volume/vol-0123456789ABCDEF0"
    if shape.name == "TargetARN":
        return gateway + "/target/iqn.1997-05.com.amazon:none"
    if shape.name == "FileShareARN":
        return gateway.rsplit(":", 1)[0] + ":share/share-00000000"
    if shape.name.endswith("ARN"):
        return gateway
    if shape.type_name == "structure":
        return {k: sample(m) for k, m in shape.members.items()}
    if shape.type_name == "list":
        return [sample(shape.member)]
    if getattr(shape, "enum", None):
        return shape.enum[0]
    if shape.type_name in ("integer", "long"):
        return max(1, shape.metadata.get("min", 0))
    return {"boolean": False, "string": "some-text"}[shape.type_name]


OURS = ("ActivateGateway AddCache AddTagsToResource CreateNFSFileShare DeleteFileShare DeleteGateway "
        "DescribeCache DescribeGatewayInformation DescribeMaintenanceStartTime DescribeNFSFileShares "
        "ListFileShares ListGateways ListLocalDisks ListTagsForResource NotifyWhenUploaded RefreshCache "
        "RemoveTagsFromResource UpdateGatewayInformation UpdateMaintenanceStartTime "
        "UpdateNFSFileShare AddUploadBuffer AddWorkingStorage AttachVolume CreateCachediSCSIVolume CreateSnapshot "
        "CreateSnapshotFromVolumeRecoveryPoint CreateStorediSCSIVolume DeleteChapCredentials "
        "DeleteSnapshotSchedule DeleteVolume DescribeCachediSCSIVolumes DescribeChapCredentials "
        "DescribeSnapshotSchedule DescribeStorediSCSIVolumes DescribeUploadBuffer DescribeWorkingStorage "
        "DetachVolume ListVolumeInitiators ListVolumeRecoveryPoints ListVolumes UpdateChapCredentials "
        "UpdateSnapshotSchedule").split()
model = botocore.session.get_session().get_service_model("storagegateway")


@test
def every_operation_of_the_model_is_known():
    for op in model.operation_names:
        status, doc = signed(op)
        assert doc.get("__type") != "UnknownOperationException", op
        if op in OURS:
            assert status == 200 or doc["__type"] == "ValidationException", (op, doc)
        else:
            assert status == 400 and "not valid for the specified gateway" in doc["message"], (op, doc)


@test
def one_valid_request_of_each_shape_passes_the_checks():
    for op in OURS:
        if op in ("DeleteGateway", "CreateNFSFileShare", "UpdateGatewayInformation"):
            continue  # done above; this one would really happen
        status, doc = signed(op, sample(model.operation_model(op).input_shape))
        assert doc.get("__type") not in ("ValidationException", "SerializationException"), (op, doc)


def spoiled(shape):
    """Values that the model refuses, each with what the message must say."""
    lo, hi = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name == "string":
        yield 5, "SerializationException", "NUMBER_VALUE can not be converted to a String"
        if lo:
            yield "", "ValidationException", "Member must have length greater than or equal to %d" % lo
        if hi and shape.name != "Marker":
            yield "0" * (hi + 1), "ValidationException", "Member must have length less than or equal to %d" % hi
        if getattr(shape, "enum", None):
            yield "Nonsense", "ValidationException", "Member must satisfy enum value set: ["
        if "pattern" in shape.metadata:
            yield "\x01\t", "ValidationException", "Member must satisfy regular expression pattern"
    elif shape.type_name in ("integer", "long"):
        yield "5", "SerializationException", "STRING_VALUE can not be converted to a Long"
        if lo is not None:
            yield lo - 1, "ValidationException", "Member must have value greater than or equal to %d" % lo
        if hi is not None:
            yield hi + 1, "ValidationException", "Member must have value less than or equal to %d" % hi
    elif shape.type_name == "boolean":
        yield "true", "SerializationException", "STRING_VALUE can not be converted to a Boolean"
    elif shape.type_name == "list":
        yield {}, "SerializationException", "STRUCTURE_VALUE can not be converted to a List"
        if lo:
            yield [], "ValidationException", "Member must have length greater than or equal to %d" % lo
        if hi:
            yield [sample(shape.member)] * (hi + 1), "ValidationException", (
                "Member must have length less than or equal to %d" % hi)
        for value, kind, text in spoiled(shape.member):
            yield [value], kind, text
    else:
        yield [], "SerializationException", "LIST_VALUE can not be converted to a Structure"
        for name, member in shape.members.items():
            for value, kind, text in spoiled(member):
                yield dict(sample(shape), **{name: value}), kind, text
        for name in shape.required_members:
            yield {k: v for k, v in sample(shape).items() if k != name}, "ValidationException", (
                "Member must not be null")


@test
def every_constraint_of_the_model_is_kept():
    n = 0
    for op in OURS:
        shape = model.operation_model(op).input_shape
        good = sample(shape)
        for name, member in shape.members.items():
            for value, kind, text in spoiled(member):
                status, doc = signed(op, dict(good, **{name: value}))
                assert status == 400 and doc["__type"] == kind and text in doc["message"], (
                    op, name, value, kind, text, doc)
                n += 1
        for name in shape.required_members:
            if (op, name) in (("UpdateMaintenanceStartTime", "HourOfDay"),
                              ("UpdateMaintenanceStartTime", "MinuteOfHour")):
                continue  # optional in the newer model
            status, doc = signed(op, {k: v for k, v in good.items() if k != name})
            assert doc["__type"] == "ValidationException" and "Member must not be null" in doc["message"]
            n += 1
    print("  %d requests refused" % n)
    assert n > 150


# --- authentication and the wire ---------------------------------------------------------------------------

@test
def requests_must_be_signed_rightly():
    def refused(kind, **kwargs):
        status, doc = signed("ListGateways", **kwargs)
        assert (status, doc["__type"]) == (400, kind), (kind, status, doc)
        return doc["message"]
    assert "does not match" in refused("InvalidSignatureException", key=Credentials("GWAPIKEY", "wrong"))
    assert "security token" in refused("UnrecognizedClientException", key=Credentials("WHO", "gwapisecret"))
    refused("UnrecognizedClientException", key=Credentials("GWAPIKEY", "gwapisecret", "token"))
    refused("MissingAuthenticationTokenException", change=lambda h: h.pop("Authorization"))
    refused("IncompleteSignatureException", change=lambda h: h.update(Authorization="AWS4-HMAC-SHA256 x"))
    refused("IncompleteSignatureException", change=lambda h: h.pop("X-Amz-Date"))
    refused("InvalidSignatureException",
            change=lambda h: h.update({"X-Amz-Target": PREFIX + "DeleteGateway"}))
    status, doc = signed("ListGateways", extra={"x-custom-Header": "  a   b "})
    assert status == 200, doc  # more headers under the signature
    for path in ("/v1/status", "/v1/events"):
        status, _, body = request("GET", path)
        assert status == 400 and b"MissingAuthenticationToken" in body


@test
def old_signatures_are_refused():
    real = datetime.datetime

    class Past(real):
        @classmethod
        def utcnow(cls):
            return real.utcnow() - datetime.timedelta(minutes=16)

        @classmethod
        def now(cls, tz=None):
            return real.now(tz) - datetime.timedelta(minutes=16)
    if not hasattr(botocore.auth, "datetime"):
        return
    saved = botocore.auth.datetime
    module = type(sys)("past")
    module.datetime = Past
    botocore.auth.datetime = module if hasattr(saved, "datetime") else Past
    try:
        status, doc = signed("ListGateways")
    finally:
        botocore.auth.datetime = saved
    assert doc["__type"] == "InvalidSignatureException" and "Signature expired" in doc["message"], doc


@test
def malformed_requests_get_answers():
    assert signed("Nonsense")[1]["__type"] == "UnknownOperationException"
    for body in (b"{", b"[1]", b"\xff\xfe", b"null", b'{"a":' * 3000, b'{"Marker": "\\u0000"}'):
        status, doc = signed("ListGateways", body)
        assert (status, doc["__type"]) == (400, "SerializationException"), (body[:20], doc)
    assert signed("ListGateways", b"")[0] == 200
    status, _, _ = request("POST", "/", b"x" * ((1 << 20) + 1))
    assert status == 413, status
    assert request("DELETE", "/")[0] == 405 and request("GET", "/nowhere")[0] == 404
    assert request("POST", "/healthz")[0] == 405
    for raw in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"GET /?activationRegion=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST / HTTP/1.1\r\n" + b"".join(b"h%d: v\r\n" % i for i in range(500)) + b"\r\n"):
        with socket.create_connection((ADDRESS, int(PORT)), 10) as c:
            c.settimeout(1)  # an answer, an end, or silence until the idle timeout: all are fine
            try:
                c.sendall(raw)
                c.shutdown(socket.SHUT_WR)
                while c.recv(65536):
                    pass
            except OSError:
                pass
    assert request("GET", "/healthz")[0] == 200


@test
def metrics_are_prometheus_text():
    status, headers, body = request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in body.decode().splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) .*|[a-z0-9_]+(\{.*\})? (-?[0-9.e+-]+|\+Inf)', line), line
    assert b"causeway_cache_capacity_bytes 1073741824" in body
    assert b'causeway_api_requests_total{op="ListGateways",result="ok"}' in body


failed = 0
for t in tests:
    try:
        t()
        print("ok      " + t.__name__, flush=True)
    except Exception as e:
        import traceback
        traceback.print_exc()
        print("FAILED  %s: %s" % (t.__name__, e), flush=True)
        failed += 1
print("%d tests, %d failed" % (len(tests), failed))
sys.exit(1 if failed else 0)
