# SPDX-License-Identifier: Apache-2.0
"""iscsi.py - a LUN through libiscsi (libiscsi7, by ctypes), for tests that count what was acknowledged.

    lun = iscsi.Lun(port, "iqn.1997-05.com.amazon:alpha")
    lun.write(0, b"x" * 4096); lun.sync(); lun.unmap(0, 4096)

BUSY and unit attentions are waited out and counted, as initiators do; everything else is an IoError. One thread
at a time per Lun; other threads go on while one waits.
"""
import ctypes
import sys
import time

try:
    lib = ctypes.CDLL("libiscsi.so.7")
except OSError:
    print("skipped: libiscsi7 is not installed")
    sys.exit(77)

GOOD, CHECK_CONDITION, BUSY = 0, 2, 8
UNIT_ATTENTION = 6
SECTOR = 512
u8, u32, u64, ptr, num = ctypes.c_ubyte, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int


class Sense(ctypes.Structure):
    _fields_ = [("error_type", u8), ("key", num), ("ascq", num), ("bits", u8 * 4)]


class Task(ctypes.Structure):
    """The beginning of struct scsi_task, scsi-lowlevel.h."""
    _fields_ = [("status", num), ("cdb_size", num), ("xfer_dir", num), ("expxferlen", num), ("cdb", u8 * 16),
                ("residual_status", num), ("residual", ctypes.c_size_t), ("sense", Sense), ("size", num),
                ("data", ptr)]


class Range(ctypes.Structure):
    _fields_ = [("lba", u64), ("num", u32)]


def function(name, result, *args):
    f = getattr(lib, name)
    f.restype, f.argtypes = result, args
    return f


create = function("iscsi_create_context", ptr, ctypes.c_char_p)
destroy = function("iscsi_destroy_context", num, ptr)
set_target = function("iscsi_set_targetname", num, ptr, ctypes.c_char_p)
set_type = function("iscsi_set_session_type", num, ptr, num)
set_retries = function("iscsi_set_reconnect_max_retries", None, ptr, num)
set_no_reconnect = function("iscsi_set_noautoreconnect", None, ptr, num)
set_timeout = function("iscsi_set_timeout", num, ptr, num)
connect = function("iscsi_full_connect_sync", num, ptr, ctypes.c_char_p, num)
logout = function("iscsi_logout_sync", num, ptr)
get_error = function("iscsi_get_error", ctypes.c_char_p, ptr)
free_task = function("scsi_free_scsi_task", None, ptr)
TaskP = ctypes.POINTER(Task)
read16 = function("iscsi_read16_sync", TaskP, ptr, num, u64, u32, num, num, num, num, num, num)
write16 = function("iscsi_write16_sync", TaskP, ptr, num, u64, ctypes.c_char_p, u32, num, num, num, num, num, num)
sync16 = function("iscsi_synchronizecache16_sync", TaskP, ptr, num, u64, u32, num, num)
unmap = function("iscsi_unmap_sync", TaskP, ptr, num, num, num, ptr, num)


class IoError(Exception):
    def __init__(self, what, status, key, ascq, text):
        super().__init__("%s: status %#x, sense %d/%04x, %s" % (what, status, key, ascq, text))
        self.status, self.key, self.ascq = status, key, ascq


class Lun:
    def __init__(self, port, iqn, reconnect=True, patience=120, initiator="iqn.2026-11.test:causeway"):
        self.patience, self.busy, self.slowest = patience, 0, 0.0
        self.ctx = create(initiator.encode())
        set_target(self.ctx, iqn.encode())
        set_type(self.ctx, 2)
        if reconnect:
            set_retries(self.ctx, 600)
        else:
            set_no_reconnect(self.ctx, 1)
        if connect(self.ctx, b"127.0.0.1:%d" % port, 0) != 0:
            text = get_error(self.ctx).decode(errors="replace")
            destroy(self.ctx)
            self.ctx = None
            raise ConnectionError(text)

    def close(self):
        if self.ctx is not None:
            destroy(self.ctx)
            self.ctx = None

    def call(self, what, fn, *args):
        """-> what the target sent"""
        start = time.monotonic()
        wait = 0.005
        while True:
            task = fn(self.ctx, 0, *args)
            if not task:
                raise IoError(what, -1, 0, 0, get_error(self.ctx).decode(errors="replace"))
            t = task.contents
            status, key, ascq = t.status, t.sense.key, t.sense.ascq
            data = ctypes.string_at(t.data, t.size) if t.data and t.size > 0 else b""
            free_task(task)
            took = time.monotonic() - start
            if status == GOOD:
                self.slowest = max(self.slowest, took)
                return data
            again = status == BUSY or (status == CHECK_CONDITION and key == UNIT_ATTENTION)
            if not again or took > self.patience:
                raise IoError(what, status, key, ascq, get_error(self.ctx).decode(errors="replace"))
            self.busy += status == BUSY
            time.sleep(wait)
            wait = min(wait * 2, 0.2)

    def read(self, off, length):
        data = self.call("read %d+%d" % (off, length), read16, off // SECTOR, length, SECTOR, 0, 0, 0, 0, 0)
        assert len(data) == length, (off, length, len(data))
        return data

    def write(self, off, data, fua=False):
        self.call("write %d+%d" % (off, len(data)), write16, off // SECTOR, data, len(data), SECTOR, 0, 0,
                  int(fua), 0, 0)

    def sync(self):
        self.call("sync", sync16, 0, 0, 0, 0)

    def unmap(self, off, length):
        r = Range(off // SECTOR, length // SECTOR)
        self.call("unmap %d+%d" % (off, length), unmap, 0, 0, ctypes.byref(r), 1)
