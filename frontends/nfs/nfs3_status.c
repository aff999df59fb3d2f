/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/nfs3_status.h"

#include <stddef.h>

#include "gateway/base/err.h"
#include "gateway/op.h"

static const struct {
	int err;
	enum nfs3_stat stat;
} table[] = {
    {0, NFS3_OK},
    {EPERM, NFS3ERR_PERM},
    {ENOENT, NFS3ERR_NOENT},
    {EIO, NFS3ERR_IO},
    {ENXIO, NFS3ERR_NXIO},
    {EACCES, NFS3ERR_ACCES},
    {EEXIST, NFS3ERR_EXIST},
    {EXDEV, NFS3ERR_XDEV},
    {ENODEV, NFS3ERR_NODEV},
    {ENOTDIR, NFS3ERR_NOTDIR},
    {EISDIR, NFS3ERR_ISDIR},
    {EINVAL, NFS3ERR_INVAL},
    {EFBIG, NFS3ERR_FBIG},
    {EOVERFLOW, NFS3ERR_FBIG},
    {ENOSPC, NFS3ERR_NOSPC},
    {EROFS, NFS3ERR_ROFS},
    {EMLINK, NFS3ERR_MLINK},
    {ENAMETOOLONG, NFS3ERR_NAMETOOLONG},
    {ENOTEMPTY, NFS3ERR_NOTEMPTY},
    {EDQUOT, NFS3ERR_DQUOT},
    {ESTALE, NFS3ERR_STALE},
    {EBADF, NFS3ERR_BADHANDLE},
    {ETIME, NFS3ERR_NOT_SYNC}, /* SETATTR's guard */
    {EBADCOOKIE, NFS3ERR_BAD_COOKIE},
    {EOPNOTSUPP, NFS3ERR_NOTSUPP},
    /* ask again later */
    {EAGAIN, NFS3ERR_JUKEBOX},
    {EBUSY, NFS3ERR_JUKEBOX},
    {EINTR, NFS3ERR_JUKEBOX},
    {ENOMEM, NFS3ERR_JUKEBOX},
    {ECANCELED, NFS3ERR_JUKEBOX},
    {ETIMEDOUT, NFS3ERR_JUKEBOX},
    {EHOSTDOWN, NFS3ERR_JUKEBOX},
    {ESHUTDOWN, NFS3ERR_JUKEBOX},
    {ERR_BACKPRESSURE, NFS3ERR_JUKEBOX},
    {ERR_OFFLINE, NFS3ERR_JUKEBOX},
    {ERR_THROTTLED, NFS3ERR_JUKEBOX},
    {ERR_STORE, NFS3ERR_JUKEBOX},
    {ERR_PRECONDITION, NFS3ERR_JUKEBOX}, /* the object changed under a read: looked at again */
    {ERR_CREDENTIALS, NFS3ERR_JUKEBOX},	 /* the gateway's, not the client's */
    {ERR_CLOCK_SKEW, NFS3ERR_JUKEBOX},
    {ERR_NO_BUCKET, NFS3ERR_JUKEBOX},
    /* the store's data is the trouble */
    {ERR_CHECKSUM, NFS3ERR_IO},
    {ERR_ARCHIVED, NFS3ERR_IO},
    {ERR_PROTOCOL, NFS3ERR_IO},
    {ERR_INVALID_RANGE, NFS3ERR_IO},
    {ERR_NO_UPLOAD, NFS3ERR_IO},
};

enum nfs3_stat
nfs3_status(int err)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].err == -err)
			return table[i].stat;
	}
	return NFS3ERR_SERVERFAULT;
}

enum mount3_stat
mount3_status(int err)
{
	switch (nfs3_status(err)) {
	case NFS3_OK:
		return MNT3_OK;
	case NFS3ERR_PERM:
		return MNT3ERR_PERM;
	case NFS3ERR_NOENT:
	case NFS3ERR_STALE: /* removed while it was looked up */
		return MNT3ERR_NOENT;
	case NFS3ERR_IO:
	case NFS3ERR_JUKEBOX: /* MOUNT has no "later": mount(8) tries again on IO */
		return MNT3ERR_IO;
	case NFS3ERR_ACCES:
		return MNT3ERR_ACCES;
	case NFS3ERR_NOTDIR:
		return MNT3ERR_NOTDIR;
	case NFS3ERR_INVAL:
		return MNT3ERR_INVAL;
	case NFS3ERR_NAMETOOLONG:
		return MNT3ERR_NAMETOOLONG;
	case NFS3ERR_NOTSUPP:
		return MNT3ERR_NOTSUPP;
	default:
		return MNT3ERR_SERVERFAULT;
	}
}
