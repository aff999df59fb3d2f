/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nfs3_read.c - READ and READLINK.  The gateway puts the data where it will be sent from: behind the
 * place that the longest header takes in a reserved piece of the reply stream.
 */
#include "frontends/nfs/nfs3.h"

/* record mark, RPC header, status, attributes */
#define HEADERS_LEN (4 + RPC_ACCEPTED_LEN + 4 + 4 + NFS3_ATTR_LEN)

/* smaller ones gain nothing from being sent from where they lie */
#define SEND_MIN (128u * 1024)

static uint32_t
padded(uint32_t n)
{
	return (n + 3) & ~3u;
}

static void
reserve_body(struct nfs_call *call, uint32_t headers, uint32_t count)
{
	uint8_t *region = rpc_req_reserve(&call->rpc, headers + padded(count));

	call->body_off = headers;
	call->op.buf = region + headers;
	call->op.count = count;
}

static void
pad_body(struct nfs_call *call, uint32_t len)
{
	call->body_len = padded(len);
	memset((uint8_t *)call->op.buf + len, 0, call->body_len - len);
}

/* The results are known and the data is there as memory: send them at once. */
static uint32_t
send_results(struct cw_op *op, struct iovec *iov, unsigned int n)
{
	struct nfs_call *call = op->ctx;
	uint32_t len = nfs3_put_headers(call);

	return rpc_req_send(&call->rpc, call->body_off - len, len, iov, n, call->body_len);
}

/* READ. RFC 1813 3.3.6: IO NXIO ACCES INVAL STALE BADHANDLE SERVERFAULT; ISDIR, JUKEBOX */
enum nfs3_stat
nfs3_prepare_read(struct nfs_call *call)
{
	uint32_t count = call->args.count;

	if (count > NFS3_IO_MAX)
		count = NFS3_IO_MAX; /* a server may return less */
	call->op.code = CW_READ;
	call->op.offset = call->args.offset;
	call->op.is_owner_ok = true;
	if (count >= SEND_MIN)
		call->op.send = send_results;
	reserve_body(call, HEADERS_LEN + 12, count);
	return NFS3_OK;
}

void
nfs3_encode_read(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u32(w, call->op.count_done);
	be_put_u32(w, call->op.eof);
	be_put_u32(w, call->op.count_done);
	pad_body(call, call->op.count_done);
}

/* READLINK. RFC 1813 3.3.5: IO INVAL ACCES STALE BADHANDLE NOTSUPP SERVERFAULT; JUKEBOX */
enum nfs3_stat
nfs3_prepare_readlink(struct nfs_call *call)
{
	call->op.code = CW_READLINK;
	reserve_body(call, HEADERS_LEN + 4, CW_SYMLINK_MAX + 1);
	return NFS3_OK;
}

void
nfs3_encode_readlink(struct nfs_call *call, enum nfs3_stat stat, struct be_writer *w)
{
	nfs3_put_post_op_attr(w, nfs3_op_attr(call));
	if (stat != NFS3_OK)
		return;
	be_put_u32(w, call->op.count_done);
	pad_body(call, call->op.count_done);
}
