/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_conn_int.h - what rpc_conn.c (life, receiving) and rpc_req.c (calls, sending) share. */
#ifndef NFS_RPC_CONN_INT_H
#define NFS_RPC_CONN_INT_H

#include "frontends/nfs/rpc_conn.h"

struct rpc_conn {
	struct stream_conn stream; /* first; referred to by each call */
	struct rpc_worker *worker;
	unsigned int tag;
	uint64_t id;
	bool wants_big; /* the last records did not fit in a small buffer */
	struct rpc_record record;
	/* calls */
	unsigned int nreqs;
	size_t pinned_bytes, reserved_bytes;
};

/* rpc_req_new - a call of c, its rpc part cleared. */
struct rpc_req *rpc_req_new(struct rpc_conn *c);

#endif
