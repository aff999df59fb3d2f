/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/rpc_msg.h"

#define RPC_MSG_ACCEPTED 0u
#define RPC_MSG_DENIED 1u
#define RPC_MISMATCH 0u
#define RPC_AUTH_ERROR 1u

struct rpc_opaque
rpc_get_opaque(struct be_reader *r, uint32_t max)
{
	struct rpc_opaque o = {NULL, 0};
	uint32_t len = be_u32(r);

	if (len > max)
		r->bad = true;
	o.data = be_bytes(r, ((size_t)len + 3) & ~(size_t)3);
	o.len = r->bad ? 0 : len;
	return o;
}

void
rpc_put_opaque(struct be_writer *w, const void *data, uint32_t len)
{
	static const uint8_t zeros[3];

	be_put_u32(w, len);
	be_put_bytes(w, data, len);
	be_put_bytes(w, zeros, (0u - len) & 3);
}

int
rpc_decode_call(struct be_reader *r, struct rpc_header *h)
{
	memset(h, 0, sizeof(*h));
	h->xid = be_u32(r);
	if (be_u32(r) != RPC_CALL)
		return -EBADMSG;
	h->rpcvers = be_u32(r);
	if (r->bad)
		return -EBADMSG;
	if (h->rpcvers != RPC_VERSION)
		return 0;
	h->prog = be_u32(r);
	h->vers = be_u32(r);
	h->proc = be_u32(r);
	h->cred_flavor = be_u32(r);
	h->cred = rpc_get_opaque(r, RPC_AUTH_BODY_MAX);
	h->verf_flavor = be_u32(r);
	h->verf = rpc_get_opaque(r, RPC_AUTH_BODY_MAX);
	return r->bad ? -EBADMSG : 0;
}

void
rpc_encode_accepted(
    struct be_writer *w, uint32_t xid, enum rpc_accept_stat stat, uint32_t low, uint32_t high)
{
	be_put_u32(w, xid);
	be_put_u32(w, RPC_REPLY);
	be_put_u32(w, RPC_MSG_ACCEPTED);
	be_put_u32(w, RPC_AUTH_NONE);
	be_put_u32(w, 0);
	be_put_u32(w, stat);
	if (stat == RPC_PROG_MISMATCH) {
		be_put_u32(w, low);
		be_put_u32(w, high);
	}
}

void
rpc_encode_mismatch(struct be_writer *w, uint32_t xid)
{
	be_put_u32(w, xid);
	be_put_u32(w, RPC_REPLY);
	be_put_u32(w, RPC_MSG_DENIED);
	be_put_u32(w, RPC_MISMATCH);
	be_put_u32(w, RPC_VERSION);
	be_put_u32(w, RPC_VERSION);
}

void
rpc_encode_auth_error(struct be_writer *w, uint32_t xid, enum rpc_auth_stat stat)
{
	be_put_u32(w, xid);
	be_put_u32(w, RPC_REPLY);
	be_put_u32(w, RPC_MSG_DENIED);
	be_put_u32(w, RPC_AUTH_ERROR);
	be_put_u32(w, stat);
}
