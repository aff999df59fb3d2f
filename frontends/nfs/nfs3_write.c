/* SPDX-License-Identifier: Apache-2.0 */
/* nfs3_write.c - WRITE and COMMIT.  The payload stays in the receive buffer, which the call pins. */
#include "frontends/nfs/nfs3.h"

/* WRITE. RFC 1813 3.3.7: IO ACCES FBIG DQUOT NOSPC ROFS INVAL STALE BADHANDLE SERVERFAULT; JUKEBOX */
enum nfs3_stat
nfs3_prepare_write(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args;
	struct cw_op *op = &call->op;

	if (a->count != a->data.len)
		return NFS3ERR_INVAL;
	op->code = CW_WRITE;
	op->offset = a->offset;
	op->count = a->count > NFS3_IO_MAX ? NFS3_IO_MAX : a->count; /* a server may write less */
	op->buf = (void *)(uintptr_t)a->data.data;		     /* only read from */
	op->stable = a->stable != NFS3_UNSTABLE;
	op->is_owner_ok = true;
	rpc_req_pin(&call->rpc);
	return NFS3_OK;
}

void
nfs3_encode_write(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_wcc(w, &call->op.wcc[0]);
	if (stat != NFS3_OK)
		return;
	be_put_u32(w, call->op.count_done);
	be_put_u32(w, call->op.stable ? NFS3_FILE_SYNC : NFS3_UNSTABLE);
	be_put_u64(w, call->op.write_verf);
}

/* COMMIT. RFC 1813 3.3.21: IO STALE BADHANDLE SERVERFAULT; ACCES NOSPC JUKEBOX */
enum nfs3_stat
nfs3_prepare_commit(struct nfs_call *call)
{
	call->op.code = CW_COMMIT;
	call->op.offset = call->args.offset;
	call->op.count = call->args.count;
	return NFS3_OK;
}

void
nfs3_encode_commit(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_wcc(w, &call->op.wcc[0]);
	if (stat == NFS3_OK)
		be_put_u64(w, call->op.write_verf);
}
