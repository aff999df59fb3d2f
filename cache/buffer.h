/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.h - folder-private: what fetches brought, in memory; see buffer.c. All functions want the space's
 * lock held, but for those that say "unlocked" or "any". */
#ifndef CACHE_BUFFER_H
#define CACHE_BUFFER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/cache.h"

struct cache_bufs {		    /* of the whole cache */
	_Atomic unsigned int nkept; /* buffers that stayed after their landing */
	pthread_mutex_t lock;	    /* guards what follows; the last one to be taken */
	struct big *pool;	    /* memory for large fetches that none has now */
	unsigned int npool, nbig;
	bool is_pool_wanted; /* since the evictor looked last */
};

struct cache_buf {
	struct cache_buf *next;	 /* of the same file, while shown */
	struct cache_file *file; /* NULL = not shown */
	uint64_t off;
	uint32_t len;
	uint32_t refs;	 /* the fetch, being shown, reads that are at it */
	uint64_t ntaken; /* bytes that reads took */
	uint64_t used_ns;
	bool is_big, is_counted, is_landed, is_kept;
	char *mem;
	struct list link; /* space->bufs */
};

extern uint32_t cachei_big_fetch; /* so long and longer: large, see buffer.c. Tests make it small */

/* cachei_buf_new - memory for a fetch, with one reference. is_counted: in readahead_bytes, until freed */
struct cache_buf *cachei_buf_new(struct cache *c, uint64_t off, uint32_t len, bool is_counted);
void cachei_buf_unref(struct cache *c, struct cache_buf *b);
/* cachei_buf_show - reads may take from it: all of it is there, of the base object that f has now. */
void cachei_buf_show(struct cache_file *f, struct cache_buf *b);
void cachei_buf_hide(struct cache_buf *b);
/* cachei_buf_landed - the landing is over; is_kept: reads should go on taking from it. */
void cachei_buf_landed(struct cache *c, struct cache_buf *b, bool is_kept);
void cachei_buf_taken(struct cache_buf *b, uint32_t n); /* a read took n bytes */
/* cachei_buf_find - the one that holds byte pos, or NULL; *until: that far the answer is the same. */
struct cache_buf *cachei_buf_find(const struct cache_file *f, uint64_t pos, uint64_t *until);
void cachei_bufs_drop(struct cache_file *f); /* the base object changes, or the file goes */
/* cachei_bufs_drop_landed - about so many bytes, oldest first, not used since before_ns. */
void cachei_bufs_drop_landed(struct cache_space *s, int64_t bytes, uint64_t before_ns);
void cachei_bufs_age(struct cache *c); /* give back what is not used. unlocked; evictor */
bool cachei_bufs_any(struct cache *c); /* must it be called at all? any */
void cachei_bufs_end(struct cache *c); /* all spaces are closed. unlocked */

#endif
