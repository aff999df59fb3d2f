/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_buf.h - reference-counted buffers of one event loop, kept warm in a free list: receive buffers
 * that calls in flight pin, and reply buffers that the socket has not taken yet.
 *
 * Two sizes only.  A buffer goes back to the list as soon as nothing is in it, last in first out, so
 * that an idle connection owns none and a busy one gets the memory that is still in the CPU's cache.
 */
#ifndef NFS_RPC_BUF_H
#define NFS_RPC_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_BUF_SMALL (64u * 1024)
#define RPC_BUF_BIG (1024u * 1024 + 64 * 1024)

struct rpc_buf {
	struct rpc_buf *next;
	uint32_t refs;
	uint32_t cap, len; /* bytes in data, bytes in use */
	uint8_t data[];
};

struct rpc_buf_pool {
	struct rpc_buf *small, *big;
	unsigned int nsmall, nbig;
	_Atomic size_t *in_use_bytes; /* of all loops */
};

/* rpc_buf_get - a buffer with one reference and len 0.
 * args:   at_least bytes, at most RPC_BUF_BIG
 * result: never NULL
 * ctx:    the pool's loop; so are put and free */
struct rpc_buf *rpc_buf_get(struct rpc_buf_pool *p, size_t at_least);
void rpc_buf_put(struct rpc_buf_pool *p, struct rpc_buf *b);
void rpc_buf_pool_free(struct rpc_buf_pool *p);

#endif
