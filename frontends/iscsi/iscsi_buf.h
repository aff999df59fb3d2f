/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iscsi_buf.h - reference-counted buffers of one event loop, kept warm in free lists: what was
 * received, data of WRITEs, answers that the socket has not taken yet.
 *
 * Three sizes, and what is greater comes from the allocator. Last in, first out: a busy connection
 * gets the memory that is still in the CPU's cache, an idle one owns none.
 */
#ifndef ISCSI_ISCSI_BUF_H
#define ISCSI_ISCSI_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define ISCSI_BUF_SMALL (68u * 1024)
#define ISCSI_BUF_MEDIUM (276u * 1024)
#define ISCSI_BUF_BIG (1024u * 1024 + 64 * 1024)
#define ISCSI_BUF_SIZES 3

struct iscsi_buf {
	struct iscsi_buf *next;
	uint32_t refs;
	uint32_t cap, len; /* bytes in data, bytes in use */
	uint8_t *data;
};

struct iscsi_buf_pool {
	struct iscsi_buf *free[ISCSI_BUF_SIZES];
	unsigned int nfree[ISCSI_BUF_SIZES];
	_Atomic size_t *in_use_bytes; /* of all loops */
};

/* iscsi_buf_get - a buffer with one reference and len 0. result: never NULL. ctx: the pool's loop, as
 * for put and free */
struct iscsi_buf *iscsi_buf_get(struct iscsi_buf_pool *p, size_t at_least);
void iscsi_buf_put(struct iscsi_buf_pool *p, struct iscsi_buf *b);
void iscsi_buf_pool_free(struct iscsi_buf_pool *p);

#endif
