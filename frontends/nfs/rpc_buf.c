/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/rpc_buf.h"

#include <stdlib.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

/* what the free lists keep: 4 MiB and 9 MiB */
#define KEEP_SMALL 64
#define KEEP_BIG 8

struct rpc_buf *
rpc_buf_get(struct rpc_buf_pool *p, size_t at_least)
{
	bool is_big = at_least > RPC_BUF_SMALL;
	struct rpc_buf **list = is_big ? &p->big : &p->small;
	struct rpc_buf *b = *list;

	CW_ASSERT(at_least <= RPC_BUF_BIG);
	if (b != NULL) {
		*list = b->next;
		(*(is_big ? &p->nbig : &p->nsmall))--;
	} else {
		uint32_t cap = is_big ? RPC_BUF_BIG : RPC_BUF_SMALL;

		b = xmalloc(sizeof(*b) + cap);
		b->cap = cap;
	}
	b->refs = 1;
	b->len = 0;
	atomic_fetch_add_explicit(p->in_use_bytes, b->cap, memory_order_relaxed);
	return b;
}

void
rpc_buf_put(struct rpc_buf_pool *p, struct rpc_buf *b)
{
	bool is_big;

	if (b == NULL || --b->refs > 0)
		return;
	atomic_fetch_sub_explicit(p->in_use_bytes, b->cap, memory_order_relaxed);
	is_big = b->cap == RPC_BUF_BIG;
	if (is_big ? p->nbig >= KEEP_BIG : p->nsmall >= KEEP_SMALL) {
		free(b);
		return;
	}
	b->next = is_big ? p->big : p->small;
	*(is_big ? &p->big : &p->small) = b;
	(*(is_big ? &p->nbig : &p->nsmall))++;
}

static void
free_list(struct rpc_buf *b)
{
	while (b != NULL) {
		struct rpc_buf *next = b->next;

		free(b);
		b = next;
	}
}

void
rpc_buf_pool_free(struct rpc_buf_pool *p)
{
	free_list(p->small);
	free_list(p->big);
	p->small = p->big = NULL;
	p->nsmall = p->nbig = 0;
}
