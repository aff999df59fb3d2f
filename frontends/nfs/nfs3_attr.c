/* SPDX-License-Identifier: Apache-2.0 */
/* nfs3_attr.c - GETATTR, SETATTR, ACCESS, FSSTAT, FSINFO, PATHCONF. */
#include <sys/stat.h>

#include "frontends/nfs/nfs3.h"

#define FSF3_SYMLINK 0x0002u
#define FSF3_HOMOGENEOUS 0x0008u
#define FSF3_CANSETTIME 0x0010u
#define DIR_PREFERRED (128u * 1024)
#define FILE_SIZE_MAX (5ull << 40) /* an S3 object's */
#define BLOCK_MULTIPLE 4096u

/* GETATTR. RFC 1813 3.3.1: IO STALE BADHANDLE SERVERFAULT; ACCES (client not in the list), JUKEBOX */
enum nfs3_stat
nfs3_prepare_getattr(struct nfs_call *call)
{
	call->op.code = CW_GETATTR;
	return NFS3_OK;
}

void
nfs3_encode_getattr(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	if (stat == NFS3_OK)
		nfs3_put_attr(w, &call->op.attr);
}

/* SETATTR. RFC 1813 3.3.2: PERM IO ACCES INVAL NOSPC ROFS DQUOT NOT_SYNC STALE BADHANDLE NOTSUPP
 * SERVERFAULT; ISDIR, FBIG (size), JUKEBOX */
enum nfs3_stat
nfs3_prepare_setattr(struct nfs_call *call)
{
	struct cw_op *op = &call->op;

	op->code = CW_SETATTR;
	op->sattr = call->args.sattr;
	op->has_guard = call->args.has_guard;
	op->guard_ctime_ns = call->args.guard_ctime_ns;
	op->is_owner_ok = true;
	return call->args.is_bad_time ? NFS3ERR_INVAL : NFS3_OK;
}

void
nfs3_encode_setattr(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	(void)stat;
	nfs3_put_wcc(w, &call->op.wcc[0]);
}

/* ACCESS. RFC 1813 3.3.4: IO STALE BADHANDLE SERVERFAULT; ACCES (client not in the list), JUKEBOX */
enum nfs3_stat
nfs3_prepare_access(struct nfs_call *call)
{
	uint32_t asked = call->args.access;

	call->op.code = CW_ACCESS;
	if (asked & NFS3_ACCESS_READ)
		call->op.access |= CW_MAY_READ;
	if (asked & (NFS3_ACCESS_LOOKUP | NFS3_ACCESS_EXECUTE))
		call->op.access |= CW_MAY_EXEC;
	if (asked & (NFS3_ACCESS_MODIFY | NFS3_ACCESS_EXTEND))
		call->op.access |= CW_MAY_WRITE;
	if (asked & NFS3_ACCESS_DELETE)
		call->op.access |= CW_MAY_DELETE;
	return NFS3_OK;
}

void
nfs3_encode_access(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	uint32_t may = call->op.access, granted = 0;
	bool is_dir = S_ISDIR(call->op.attr.mode);

	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	if (may & CW_MAY_READ)
		granted |= NFS3_ACCESS_READ;
	if (may & CW_MAY_EXEC)
		granted |= is_dir ? NFS3_ACCESS_LOOKUP : NFS3_ACCESS_EXECUTE;
	if (may & CW_MAY_WRITE)
		granted |= NFS3_ACCESS_MODIFY | NFS3_ACCESS_EXTEND;
	if ((may & CW_MAY_DELETE) && is_dir)
		granted |= NFS3_ACCESS_DELETE;
	be_put_u32(w, granted & call->args.access);
}

/* FSSTAT. RFC 1813 3.3.18: IO STALE BADHANDLE SERVERFAULT; ACCES, JUKEBOX */
enum nfs3_stat
nfs3_prepare_fsstat(struct nfs_call *call)
{
	call->op.code = CW_STATFS;
	return NFS3_OK;
}

void
nfs3_encode_fsstat(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	const struct cw_statfs *s = &call->op.statfs;

	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u64(w, s->total_bytes);
	be_put_u64(w, s->free_bytes);
	be_put_u64(w, s->free_bytes);
	be_put_u64(w, s->total_files);
	be_put_u64(w, s->free_files);
	be_put_u64(w, s->free_files);
	be_put_u32(w, 0); /* invarsec: may change at any time */
}

/* FSINFO. RFC 1813 3.3.19: STALE BADHANDLE SERVERFAULT; ACCES, JUKEBOX */
enum nfs3_stat
nfs3_prepare_fsinfo(struct nfs_call *call)
{
	return nfs3_prepare_getattr(call);
}

void
nfs3_encode_fsinfo(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u32(w, NFS3_IO_MAX); /* rtmax, rtpref, rtmult */
	be_put_u32(w, NFS3_IO_MAX);
	be_put_u32(w, BLOCK_MULTIPLE);
	be_put_u32(w, NFS3_IO_MAX); /* wtmax, wtpref, wtmult */
	be_put_u32(w, NFS3_IO_MAX);
	be_put_u32(w, BLOCK_MULTIPLE);
	be_put_u32(w, DIR_PREFERRED);
	be_put_u64(w, FILE_SIZE_MAX);
	be_put_u32(w, 0); /* time_delta: one nanosecond */
	be_put_u32(w, 1);
	be_put_u32(w, FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME);
}

/* PATHCONF. RFC 1813 3.3.20: STALE BADHANDLE SERVERFAULT; ACCES, JUKEBOX */
enum nfs3_stat
nfs3_prepare_pathconf(struct nfs_call *call)
{
	return nfs3_prepare_getattr(call);
}

void
nfs3_encode_pathconf(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u32(w, 1); /* linkmax: there are no hard links */
	be_put_u32(w, CW_NAME_MAX);
	be_put_u32(w, 1); /* no_trunc */
	be_put_u32(w, 1); /* chown_restricted */
	be_put_u32(w, 0); /* case_insensitive */
	be_put_u32(w, 1); /* case_preserving */
}
