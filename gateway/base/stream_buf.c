/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/stream_buf.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/strbuf.h"

static const uint32_t sizes[STREAM_BUF_SIZES] = {
    STREAM_BUF_SMALL, STREAM_BUF_MEDIUM, STREAM_BUF_BIG};
static const unsigned int keep[STREAM_BUF_SIZES] = {64, 32, 16}; /* 4, 9 and 17 MiB */

/* Payload begins at a multiple of this, whatever the allocator puts in front. */
#define DATA_ALIGN 64u

/* A system call that receives less than this is not worth it. */
#define ROOM_MIN 4096u

struct stream_buf *
stream_buf_get(struct stream_buf_pool *p, size_t at_least)
{
	unsigned int i = 0;
	struct stream_buf *b;
	size_t cap;

	while (i < STREAM_BUF_SIZES && at_least > sizes[i])
		i++;
	if (i < STREAM_BUF_SIZES && p->free[i] != NULL) {
		b = p->free[i];
		p->free[i] = b->next;
		p->nfree[i]--;
	} else {
		cap = i < STREAM_BUF_SIZES ? sizes[i] : at_least;
		b = xmalloc(sizeof(*b) + DATA_ALIGN + cap);
		b->cap = (uint32_t)cap;
		b->data = (uint8_t *)(((uintptr_t)(b + 1) + DATA_ALIGN - 1) &
				      ~(uintptr_t)(DATA_ALIGN - 1));
	}
	b->refs = 1;
	b->len = 0;
	atomic_fetch_add_explicit(p->in_use_bytes, b->cap, memory_order_relaxed);
	return b;
}

void
stream_buf_put(struct stream_buf_pool *p, struct stream_buf *b)
{
	unsigned int i = 0;

	if (b == NULL || --b->refs > 0)
		return;
	atomic_fetch_sub_explicit(p->in_use_bytes, b->cap, memory_order_relaxed);
	while (i < STREAM_BUF_SIZES && b->cap != sizes[i])
		i++;
	if (i == STREAM_BUF_SIZES || p->nfree[i] >= keep[i]) {
		free(b);
		return;
	}
	b->next = p->free[i];
	p->free[i] = b;
	p->nfree[i]++;
}

void
stream_buf_room(struct stream_buf_pool *pool, struct stream_buf **buf, uint32_t *start, size_t need,
    size_t at_least)
{
	struct stream_buf *old = *buf;
	uint32_t have = old == NULL ? 0 : old->len - *start;
	size_t want = need + ROOM_MIN;

	if (old != NULL && old->cap - *start >= need && old->cap - old->len >= ROOM_MIN)
		return;
	if (want < have + ROOM_MIN)
		want = have + ROOM_MIN;
	if (old != NULL && old->refs == 1 && old->cap >= want) {
		memmove(old->data, old->data + *start, have);
		old->len = have;
	} else {
		*buf = stream_buf_get(pool, want > at_least ? want : at_least);
		if (have > 0)
			memcpy((*buf)->data, old->data + *start, have);
		(*buf)->len = have;
		stream_buf_put(pool, old);
	}
	*start = 0;
}

void
stream_buf_pool_free(struct stream_buf_pool *p)
{
	for (unsigned int i = 0; i < STREAM_BUF_SIZES; i++) {
		while (p->free[i] != NULL) {
			struct stream_buf *next = p->free[i]->next;

			free(p->free[i]);
			p->free[i] = next;
		}
		p->nfree[i] = 0;
	}
}
