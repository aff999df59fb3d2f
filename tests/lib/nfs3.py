# SPDX-License-Identifier: Apache-2.0
"""nfs3.py - a small NFSv3 client for tests: every procedure, results as dictionaries, nothing hidden.

    c = nfs3.Client("127.0.0.1", port, uid=1000, gid=1000, groups=(5,))
    root = c.mount("/demo")
    r = c.create(root, "f", mode=0o644)      # r.status, r.fh, r.attr, r.wcc
"""
import itertools
import random
import socket
import struct

OK, PERM, NOENT, IO, ACCES, EXIST, XDEV, NOTDIR, ISDIR, INVAL = 0, 1, 2, 5, 13, 17, 18, 20, 21, 22
FBIG, NOSPC, ROFS, NAMETOOLONG, NOTEMPTY, STALE = 27, 28, 30, 63, 66, 70
BADHANDLE, NOT_SYNC, BAD_COOKIE, NOTSUPP, TOOSMALL = 10001, 10002, 10003, 10004, 10005
SERVERFAULT, BADTYPE, JUKEBOX = 10006, 10007, 10008
UNSTABLE, DATA_SYNC, FILE_SYNC = 0, 1, 2
UNCHECKED, GUARDED, EXCLUSIVE = 0, 1, 2
REG, DIR, LNK = 1, 2, 5


class Obj(dict):
    __getattr__ = dict.get


def u32(*v):
    return struct.pack(">%dI" % len(v), *v)


def u64(v):
    return struct.pack(">Q", v)


def opaque(b):
    if isinstance(b, str):
        b = b.encode()
    return u32(len(b)) + b + b"\0" * (-len(b) % 4)


def sattr(mode=None, uid=None, gid=None, size=None, atime=None, mtime=None):
    """times: None, "now" or (seconds, nanoseconds)"""
    out = b""
    for v in (mode, uid, gid):
        out += u32(0) if v is None else u32(1, v)
    out += u32(0) if size is None else u32(1) + u64(size)
    for t in (atime, mtime):
        out += u32(0) if t is None else u32(1) if t == "now" else u32(2, *t)
    return out


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def u32(self):
        self.at += 4
        return struct.unpack_from(">I", self.data, self.at - 4)[0]

    def u64(self):
        return self.u32() << 32 | self.u32()

    def bytes(self, n):
        self.at += (n + 3) & ~3
        assert self.at <= len(self.data), "reply cut short"
        start = self.at - ((n + 3) & ~3)
        return self.data[start:start + n]

    def opaque(self):
        return self.bytes(self.u32())

    def time(self):
        return self.u32(), self.u32()

    def attr(self):
        a = Obj(zip(("type", "mode", "nlink", "uid", "gid"), (self.u32() for _ in range(5))))
        a.update(size=self.u64(), used=self.u64(), rdev=self.u64(), fsid=self.u64(), fileid=self.u64())
        a.update(atime=self.time(), mtime=self.time(), ctime=self.time())
        return a

    def post_op_attr(self):
        return self.attr() if self.u32() else None

    def post_op_fh(self):
        return self.opaque() if self.u32() else None

    def wcc(self):
        before = Obj(size=self.u64(), mtime=self.time(), ctime=self.time()) if self.u32() else None
        return Obj(before=before, after=self.post_op_attr())

    def end(self):
        assert self.at == len(self.data), "%d bytes behind the reply" % (len(self.data) - self.at)


class Client:
    xids = itertools.count(random.randrange(1 << 30))  # servers remember calls

    def __init__(self, host, port, uid=0, gid=0, groups=()):
        self.host, self.port = host, port
        self.cred = opaque(u32(0) + opaque("test") + u32(uid, gid, len(groups), *groups))
        self.sock = None
        self.connect()

    def connect(self):
        self.close()
        self.sock = socket.create_connection((self.host, self.port), 60)

    def close(self):
        if self.sock:
            self.sock.close()

    def send(self, prog, proc, args, xid=None, vers=3):
        xid = xid if xid is not None else next(self.xids)
        msg = u32(xid, 0, 2, prog, vers, proc, 1) + self.cred + u32(0, 0) + args
        self.sock.sendall(u32(0x80000000 | len(msg)) + msg)
        return xid

    def take(self, n):
        out = bytearray()
        while len(out) < n:
            got = self.sock.recv(n - len(out))
            if not got:
                raise ConnectionError("closed by the server")
            out += got
        return bytes(out)

    def recv(self, xid):
        mark = Reader(self.take(4)).u32()
        r = Reader(self.take(mark & 0x7fffffff))
        assert mark & 0x80000000 and r.u32() == xid and r.u32() == 1, "not the reply"
        assert [r.u32() for _ in range(4)] == [0, 0, 0, 0], "call refused"
        return r

    def call(self, proc, args, xid=None, prog=100003):
        return self.recv(self.send(prog, proc, args, xid))

    def mount(self, path):
        """-> handle, or the mountstat3 as a number"""
        r = self.call(1, opaque(path), prog=100005)
        status = r.u32()
        if status:
            return status
        fh = r.opaque()
        assert 1 in [r.u32() for _ in range(r.u32())], "AUTH_SYS not offered"
        return fh

    def exports(self):
        r, out = self.call(5, b"", prog=100005), {}
        while r.u32():
            name = r.opaque().decode()
            out[name] = []
            while r.u32():
                out[name].append(r.opaque().decode())
        r.end()
        return out

    def _status(self, proc, args, xid=None):
        r = self.call(proc, args, xid)
        return r, Obj(status=r.u32())

    def _fail(self, r, o):
        r.end()
        return o

    def getattr(self, fh):
        r, o = self._status(1, opaque(fh))
        if o.status == OK:
            o["attr"] = r.attr()
        return self._fail(r, o)

    def setattr(self, fh, guard=None, **kw):
        r, o = self._status(2, opaque(fh) + sattr(**kw) + (u32(1, *guard) if guard else u32(0)))
        o["wcc"] = r.wcc()
        return self._fail(r, o)

    def lookup(self, fh, name):
        r, o = self._status(3, opaque(fh) + opaque(name))
        if o.status == OK:
            o.update(fh=r.opaque(), attr=r.post_op_attr())
        o["dir"] = r.post_op_attr()
        return self._fail(r, o)

    def access(self, fh, mask=0x3f):
        r, o = self._status(4, opaque(fh) + u32(mask))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            o["access"] = r.u32()
        return self._fail(r, o)

    def readlink(self, fh):
        r, o = self._status(5, opaque(fh))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            o["target"] = r.opaque()
        return self._fail(r, o)

    def read(self, fh, off, count):
        r, o = self._status(6, opaque(fh) + u64(off) + u32(count))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            o.update(count=r.u32(), eof=bool(r.u32()), data=r.opaque())
            assert o["count"] == len(o["data"])
        return self._fail(r, o)

    def write(self, fh, off, data, stable=UNSTABLE, xid=None):
        r, o = self._status(7, opaque(fh) + u64(off) + u32(len(data), stable) + opaque(data), xid)
        o["wcc"] = r.wcc()
        if o.status == OK:
            o.update(count=r.u32(), committed=r.u32(), verf=r.u64())
        return self._fail(r, o)

    def _made(self, r, o):
        if o.status == OK:
            o.update(fh=r.post_op_fh(), attr=r.post_op_attr())
        o["wcc"] = r.wcc()
        return self._fail(r, o)

    def create(self, fh, name, how=UNCHECKED, verf=0, xid=None, **kw):
        args = opaque(fh) + opaque(name) + u32(how) + (u64(verf) if how == EXCLUSIVE else sattr(**kw))
        return self._made(*self._status(8, args, xid))

    def mkdir(self, fh, name, xid=None, **kw):
        return self._made(*self._status(9, opaque(fh) + opaque(name) + sattr(**kw), xid))

    def symlink(self, fh, name, target, **kw):
        return self._made(*self._status(10, opaque(fh) + opaque(name) + sattr(**kw) + opaque(target)))

    def mknod(self, fh, name, kind):
        body = sattr() + (u32(0, 0) if kind in (3, 4) else b"") if kind in (3, 4, 6, 7) else b""
        return self._made(*self._status(11, opaque(fh) + opaque(name) + u32(kind) + body))

    def remove(self, fh, name, xid=None):
        r, o = self._status(12, opaque(fh) + opaque(name), xid)
        o["wcc"] = r.wcc()
        return self._fail(r, o)

    def rmdir(self, fh, name):
        r, o = self._status(13, opaque(fh) + opaque(name))
        o["wcc"] = r.wcc()
        return self._fail(r, o)

    def rename(self, fh, name, fh2, name2, xid=None):
        r, o = self._status(14, opaque(fh) + opaque(name) + opaque(fh2) + opaque(name2), xid)
        o.update(wcc=r.wcc(), wcc2=r.wcc())
        return self._fail(r, o)

    def link(self, fh, fh2, name2):
        r, o = self._status(15, opaque(fh) + opaque(fh2) + opaque(name2))
        o.update(attr=r.post_op_attr(), wcc=r.wcc())
        return self._fail(r, o)

    def readdir(self, fh, cookie=0, verf=0, count=65536, plus=False, dircount=65536):
        args = opaque(fh) + u64(cookie) + u64(verf) + (u32(dircount) if plus else b"") + u32(count)
        r, o = self._status(17 if plus else 16, args)
        size = len(r.data) - r.at
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            assert size <= count, "reply of %d bytes, %d allowed" % (size, count)
            o.update(verf=r.u64(), entries=[])
            while r.u32():
                e = Obj(fileid=r.u64(), name=r.opaque().decode(), cookie=r.u64())
                if plus:
                    e.update(attr=r.post_op_attr(), fh=r.post_op_fh())
                o["entries"].append(e)
            o["eof"] = bool(r.u32())
        return self._fail(r, o)

    def list(self, fh, count=65536, plus=False):
        """The whole directory."""
        out, cookie, verf = [], 0, 0
        while True:
            o = self.readdir(fh, cookie, verf, count, plus)
            assert o.status == OK, o
            out += o["entries"]
            if o["eof"]:
                return out
            assert o["entries"], "no entry and not the end"
            cookie, verf = o["entries"][-1].cookie, o["verf"]

    def fsstat(self, fh):
        r, o = self._status(18, opaque(fh))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            for k in ("tbytes", "fbytes", "abytes", "tfiles", "ffiles", "afiles"):
                o[k] = r.u64()
            o["invarsec"] = r.u32()
        return self._fail(r, o)

    def fsinfo(self, fh):
        r, o = self._status(19, opaque(fh))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            for k in ("rtmax", "rtpref", "rtmult", "wtmax", "wtpref", "wtmult", "dtpref"):
                o[k] = r.u32()
            o.update(maxfilesize=r.u64(), time_delta=r.time(), properties=r.u32())
        return self._fail(r, o)

    def pathconf(self, fh):
        r, o = self._status(20, opaque(fh))
        o["attr"] = r.post_op_attr()
        if o.status == OK:
            for k in ("linkmax", "name_max", "no_trunc", "chown_restricted", "insensitive", "preserving"):
                o[k] = r.u32()
        return self._fail(r, o)

    def commit(self, fh, off=0, count=0):
        r, o = self._status(21, opaque(fh) + u64(off) + u32(count))
        o["wcc"] = r.wcc()
        if o.status == OK:
            o["verf"] = r.u64()
        return self._fail(r, o)
