/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_buf.h - reference-counted buffers of one event loop, kept warm in free lists: what was
 * received and is still needed, answers that the socket has not taken yet.
 *
 * Three sizes, and what is greater comes from the allocator. Last in, first out: a busy connection
 * gets the memory that is still in the CPU's cache, an idle one owns none.
 */
#ifndef CW_BASE_STREAM_BUF_H
#define CW_BASE_STREAM_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_BUF_SMALL (68u * 1024)
#define STREAM_BUF_MEDIUM (276u * 1024)
#define STREAM_BUF_BIG (1024u * 1024 + 64 * 1024)
#define STREAM_BUF_SIZES 3

struct stream_buf {
	struct stream_buf *next;
	uint32_t refs;
	uint32_t cap, len; /* bytes in data, bytes in use */
	uint8_t *data;
};

struct stream_buf_pool {
	struct stream_buf *free[STREAM_BUF_SIZES];
	unsigned int nfree[STREAM_BUF_SIZES];
	_Atomic size_t *in_use_bytes; /* of all loops */
};

/* stream_buf_get - a buffer with one reference and len 0. result: never NULL. ctx: the pool's loop, as
 * for put and free */
struct stream_buf *stream_buf_get(struct stream_buf_pool *p, size_t at_least);
void stream_buf_put(struct stream_buf_pool *p, struct stream_buf *b);
/* stream_buf_room - make a receive buffer able to hold what is needed, and worth a system call.
 * args:   *buf, what is in use from *start on; NULL = none yet; need bytes from there on; at_least bytes
 *         of a new one. Bytes before *start may be gone, unless somebody else refers to the buffer */
void stream_buf_room(struct stream_buf_pool *p, struct stream_buf **buf, uint32_t *start,
    size_t need, size_t at_least);
void stream_buf_pool_free(struct stream_buf_pool *p);

#endif
