/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer.c - the memory of fetches, and reads straight from it.
 *
 * What a GET brought is shown on its file as soon as all of it is there, checked, and of the base
 * object that the file has now: from then on reads take their bytes from the buffer, while a worker
 * lands them in the data file.  A small buffer goes when it has landed, for its bytes are in the page
 * cache then.  A large one, whose chunks land past the page cache, stays until reads took as many
 * bytes as it holds, which a sequential reader does in no time; at most KEEP_NS otherwise.
 *
 * A buffer is never the only place of anything, so that it may go at any time: what it holds can be
 * read from the data file or fetched again.  It goes at once when the base object changes (base_gen).
 * States: filling (the fetch has it) -> shown -> hidden; memory goes with the last reference, of the
 * fetch, of being shown, and of the reads that are at it.
 *
 * Fresh pages cost more than the copy into them.  So large buffers are mappings of huge pages that go
 * round, and the evictor gives them back when no fetch wanted one for a while.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/cache_int.h"

#define POOL_MAX 48u
#define KEEP_NS 2000000000ull
#define HUGE_PAGE (2u << 20)

uint32_t cachei_big_fetch = FETCH_MAX / 2 + 1;

struct big { /* in the first bytes of a pooled one */
	struct big *next;
};

static void *
big_map(void)
{
	size_t len = FETCH_MAX + HUGE_PAGE, head;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CW_ASSERT(p != MAP_FAILED); /* as xmalloc() does */
	head = (size_t)(-(uintptr_t)p & (HUGE_PAGE - 1));
	if (head > 0)
		munmap(p, head);
	if (head < HUGE_PAGE)
		munmap(p + head + FETCH_MAX, HUGE_PAGE - head);
	(void)madvise(p + head, FETCH_MAX, MADV_HUGEPAGE);
	return p + head;
}

static void *
big_get(struct cache *c)
{
	struct big *b;

	pthread_mutex_lock(&c->bufs.lock);
	b = c->bufs.pool;
	if (b != NULL) {
		c->bufs.pool = b->next;
		c->bufs.npool--;
	}
	c->bufs.nbig++;
	c->bufs.is_pool_wanted = true;
	pthread_mutex_unlock(&c->bufs.lock);
	if (b != NULL)
		return b;
	cachei_evict_kick(c); /* it looks at us from now on */
	return big_map();
}

static void
big_put(struct cache *c, void *mem)
{
	struct big *b = mem;

	pthread_mutex_lock(&c->bufs.lock);
	c->bufs.nbig--;
	if (c->bufs.npool < POOL_MAX) {
		b->next = c->bufs.pool;
		c->bufs.pool = b;
		c->bufs.npool++;
		b = NULL;
	}
	pthread_mutex_unlock(&c->bufs.lock);
	if (b != NULL)
		munmap(b, FETCH_MAX);
}

static void
pool_free(struct cache *c)
{
	struct big *b, *next;

	pthread_mutex_lock(&c->bufs.lock);
	b = c->bufs.pool;
	c->bufs.pool = NULL;
	c->bufs.npool = 0;
	pthread_mutex_unlock(&c->bufs.lock);
	for (; b != NULL; b = next) {
		next = b->next;
		munmap(b, FETCH_MAX);
	}
}

struct cache_buf *
cachei_buf_new(struct cache *c, uint64_t off, uint32_t len, bool is_counted)
{
	struct cache_buf *b = xcalloc(1, sizeof(*b));

	b->off = off;
	b->len = len;
	b->refs = 1;
	b->is_big = len >= cachei_big_fetch;
	b->is_counted = is_counted;
	b->mem = b->is_big ? big_get(c) : xmalloc(len);
	list_init(&b->link);
	return b;
}

void
cachei_buf_unref(struct cache *c, struct cache_buf *b)
{
	CW_ASSERT(b->refs > 0);
	if (--b->refs > 0)
		return;
	if (b->is_counted)
		c->readahead_bytes -= b->len;
	c->bufs.nkept -= b->is_kept;
	if (b->is_big)
		big_put(c, b->mem);
	else
		free(b->mem);
	free(b);
}

void
cachei_buf_show(struct cache_file *f, struct cache_buf *b)
{
	b->file = f;
	b->next = f->bufs;
	f->bufs = b;
	b->refs++;
	b->used_ns = clock_mono_ns();
	list_add_tail(&f->space->bufs, &b->link);
}

void
cachei_buf_hide(struct cache_buf *b)
{
	struct cache_file *f = b->file;
	struct cache_buf **at;

	if (f == NULL)
		return;
	for (at = &f->bufs; *at != b; at = &(*at)->next)
		;
	*at = b->next;
	list_del(&b->link);
	b->file = NULL;
	cachei_buf_unref(f->space->cache, b);
}

void
cachei_buf_landed(struct cache *c, struct cache_buf *b, bool is_kept)
{
	b->is_landed = true;
	b->used_ns = clock_mono_ns();
	if (!is_kept || b->ntaken >= b->len) {
		cachei_buf_hide(b);
		return;
	}
	b->is_kept = true;
	if (c->bufs.nkept++ == 0 && !b->is_big)
		cachei_evict_kick(c); /* it looks at us from now on */
}

void
cachei_buf_taken(struct cache_buf *b, uint32_t n)
{
	b->ntaken += n;
	b->used_ns = clock_mono_ns();
	if (b->is_landed && b->ntaken >= b->len)
		cachei_buf_hide(b);
}

struct cache_buf *
cachei_buf_find(const struct cache_file *f, uint64_t pos, uint64_t *until)
{
	*until = CACHE_LIMIT_NONE;
	for (struct cache_buf *b = f->bufs; b != NULL; b = b->next) {
		if (pos >= b->off && pos - b->off < b->len) {
			*until = b->off + b->len;
			return b;
		}
		if (b->off > pos)
			*until = min64(*until, b->off);
	}
	return NULL;
}

void
cachei_bufs_drop(struct cache_file *f)
{
	while (f->bufs != NULL)
		cachei_buf_hide(f->bufs);
}

void
cachei_bufs_drop_landed(struct cache_space *s, int64_t bytes, uint64_t before_ns)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &s->bufs)
	{
		struct cache_buf *b = container_of(l, struct cache_buf, link);

		if (bytes <= 0)
			break;
		if (!b->is_landed || b->used_ns > before_ns)
			continue;
		bytes -= b->len;
		cachei_buf_hide(b);
	}
}

void
cachei_bufs_age(struct cache *c)
{
	uint64_t now = clock_mono_ns();
	struct cache_space *s;
	int64_t id = -1;
	bool is_idle;

	if (now < KEEP_NS)
		return;
	while ((s = cachei_space_next(c, &id)) != NULL) {
		cache_space_lock(s);
		cachei_bufs_drop_landed(s, INT64_MAX, now - KEEP_NS);
		cache_space_unlock(s);
		cachei_space_put(s);
	}
	pthread_mutex_lock(&c->bufs.lock);
	is_idle = c->bufs.nbig == 0 && !c->bufs.is_pool_wanted;
	c->bufs.is_pool_wanted = false;
	pthread_mutex_unlock(&c->bufs.lock);
	if (is_idle)
		pool_free(c);
}

bool
cachei_bufs_any(struct cache *c)
{
	bool any;

	pthread_mutex_lock(&c->bufs.lock);
	any = c->bufs.nkept > 0 || c->bufs.nbig > 0 || c->bufs.npool > 0;
	pthread_mutex_unlock(&c->bufs.lock);
	return any;
}

void
cachei_bufs_end(struct cache *c)
{
	CW_ASSERT(c->bufs.nbig == 0);
	pool_free(c);
}
