/* SPDX-License-Identifier: Apache-2.0 */
/* nfs3_status.h - the one place where an errno becomes an nfsstat3 (or a mountstat3). */
#ifndef NFS_NFS3_STATUS_H
#define NFS_NFS3_STATUS_H

enum nfs3_stat {
	NFS3_OK = 0,
	NFS3ERR_PERM = 1,
	NFS3ERR_NOENT = 2,
	NFS3ERR_IO = 5,
	NFS3ERR_NXIO = 6,
	NFS3ERR_ACCES = 13,
	NFS3ERR_EXIST = 17,
	NFS3ERR_XDEV = 18,
	NFS3ERR_NODEV = 19,
	NFS3ERR_NOTDIR = 20,
	NFS3ERR_ISDIR = 21,
	NFS3ERR_INVAL = 22,
	NFS3ERR_FBIG = 27,
	NFS3ERR_NOSPC = 28,
	NFS3ERR_ROFS = 30,
	NFS3ERR_MLINK = 31,
	NFS3ERR_NAMETOOLONG = 63,
	NFS3ERR_NOTEMPTY = 66,
	NFS3ERR_DQUOT = 69,
	NFS3ERR_STALE = 70,
	NFS3ERR_REMOTE = 71,
	NFS3ERR_BADHANDLE = 10001,
	NFS3ERR_NOT_SYNC = 10002,
	NFS3ERR_BAD_COOKIE = 10003,
	NFS3ERR_NOTSUPP = 10004,
	NFS3ERR_TOOSMALL = 10005,
	NFS3ERR_SERVERFAULT = 10006,
	NFS3ERR_BADTYPE = 10007,
	NFS3ERR_JUKEBOX = 10008,
};

enum mount3_stat {
	MNT3_OK = 0,
	MNT3ERR_PERM = 1,
	MNT3ERR_NOENT = 2,
	MNT3ERR_IO = 5,
	MNT3ERR_ACCES = 13,
	MNT3ERR_NOTDIR = 20,
	MNT3ERR_INVAL = 22,
	MNT3ERR_NAMETOOLONG = 63,
	MNT3ERR_NOTSUPP = 10004,
	MNT3ERR_SERVERFAULT = 10006,
};

/* nfs3_status - status for an op's result.
 * args:   err 0, negative errno or negative project code
 * result: what cannot be waited away is named; what can (store offline or throttling, cache full,
 *         credentials expired, memory short) is JUKEBOX, so that the client asks again; a code that
 *         no op should return is SERVERFAULT
 * ctx:    pure
 * source: RFC 1813 section 2.6 */
enum nfs3_stat nfs3_status(int err);
/* mount3_status - the same for MNT. source: RFC 1813 appendix I 5.1 */
enum mount3_stat mount3_status(int err);

#endif
