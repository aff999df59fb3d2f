/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs3_xdr.h - NFS version 3 arguments and the shared pieces of results.  Pure functions of bytes:
 * strings and data stay slices of the record they came in.
 */
#ifndef NFS_NFS3_XDR_H
#define NFS_NFS3_XDR_H

#include <stdbool.h>
#include <stdint.h>

#include "frontends/nfs/nfs3_status.h"
#include "frontends/nfs/rpc_msg.h"
#include "gateway/op.h"

#define NFS3_PROGRAM 100003u
#define NFS3_VERSION 3u
#define NFS3_FHSIZE 64u
#define NFS3_COOKIEVERFSIZE 8u
#define NFS3_IO_MAX (1024u * 1024)
#define NFS3_ATTR_LEN 84u
/* name and path lengths that are still decoded (longer is GARBAGE_ARGS, not NAMETOOLONG) */
#define NFS3_STRING_MAX 8192u

enum nfs3_procnum {
	NFS3PROC_NULL,
	NFS3PROC_GETATTR,
	NFS3PROC_SETATTR,
	NFS3PROC_LOOKUP,
	NFS3PROC_ACCESS,
	NFS3PROC_READLINK,
	NFS3PROC_READ,
	NFS3PROC_WRITE,
	NFS3PROC_CREATE,
	NFS3PROC_MKDIR,
	NFS3PROC_SYMLINK,
	NFS3PROC_MKNOD,
	NFS3PROC_REMOVE,
	NFS3PROC_RMDIR,
	NFS3PROC_RENAME,
	NFS3PROC_LINK,
	NFS3PROC_READDIR,
	NFS3PROC_READDIRPLUS,
	NFS3PROC_FSSTAT,
	NFS3PROC_FSINFO,
	NFS3PROC_PATHCONF,
	NFS3PROC_COMMIT,
	NFS3PROC_MAX
};

enum nfs3_type { NF3REG = 1, NF3DIR, NF3BLK, NF3CHR, NF3LNK, NF3SOCK, NF3FIFO };
enum nfs3_stable { NFS3_UNSTABLE, NFS3_DATA_SYNC, NFS3_FILE_SYNC };
enum nfs3_createmode { NFS3_UNCHECKED, NFS3_GUARDED, NFS3_EXCLUSIVE };

#define NFS3_ACCESS_READ 0x01u
#define NFS3_ACCESS_LOOKUP 0x02u
#define NFS3_ACCESS_MODIFY 0x04u
#define NFS3_ACCESS_EXTEND 0x08u
#define NFS3_ACCESS_DELETE 0x10u
#define NFS3_ACCESS_EXECUTE 0x20u

/* Arguments of every procedure in one flat struct; each decoder fills the fields it names. */
struct nfs3_args {
	struct rpc_opaque fh;	 /* object or directory */
	struct rpc_opaque name;	 /* in that directory */
	struct rpc_opaque fh2;	 /* RENAME, LINK: the other directory */
	struct rpc_opaque name2; /* RENAME, LINK: name there */
	struct rpc_opaque data;	 /* WRITE payload, SYMLINK target */
	struct cw_sattr sattr;
	bool is_bad_time; /* a nanosecond field of 10^9 or more: NFS3ERR_INVAL */
	bool has_guard;
	int64_t guard_ctime_ns;
	uint32_t access;
	uint64_t offset;
	uint32_t count;	   /* READ, WRITE, COMMIT, READDIR; READDIRPLUS: maxcount */
	uint32_t dircount; /* READDIRPLUS */
	enum nfs3_stable stable;
	enum nfs3_createmode create_mode;
	uint64_t verf; /* CREATE EXCLUSIVE; READDIR cookieverf */
	uint64_t cookie;
	enum nfs3_type type; /* MKNOD */
};

/* nfs3_decode - arguments of procedure proc.
 * args:   r stands behind the call header; out is cleared first and points into r's bytes
 * result: true; false: GARBAGE_ARGS (cut short, an enum or bool out of range, a handle over 64 bytes)
 * ctx:    pure
 * source: RFC 1813 section 3.3 */
bool nfs3_decode(enum nfs3_procnum proc, struct be_reader *r, struct nfs3_args *out);

/* nfs3_put_attr, _post_op_attr, _wcc - fattr3, post_op_attr (NULL = none) and wcc_data (NULL = empty).
 * source: RFC 1813 section 2.6 */
void nfs3_put_attr(struct be_writer *w, const struct cw_attr *a);
void nfs3_put_post_op_attr(struct be_writer *w, const struct cw_attr *a);
void nfs3_put_wcc(struct be_writer *w, const struct cw_wcc *wcc);

#endif
