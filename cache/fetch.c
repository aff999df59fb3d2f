/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.c - bring blocks of the base object into CLEAN slots.
 *
 * One fetch is one GET of adjacent blocks of one file.  While it is under way its blocks have their
 * `fetching` bit: nobody fetches them twice, and whoever needs them is parked on the file.  When the
 * bytes are there a worker writes them into CLEAN slots ("landing"); they are lazy: readable now,
 * named in the index only after some later sync.
 *
 * A landing must not overwrite a block that the durable row may still call CLEAN with other content
 * (invariant C3): then it waits for a commit first.  A base object that changed meanwhile
 * (base_gen) makes the bytes worthless: they are dropped and the waiters look again.
 *
 * The same landing serves a "refill": after an upload, when a chunk keeps its old CLEAN slot, the few
 * uploaded blocks come from the slot that was SEALED and not from the bucket.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

#define BUFS_KEPT 16u

struct cache_fetch {
	struct cache_space *space;
	struct cache_file *file;
	uint64_t off; /* block aligned */
	uint32_t len; /* whole blocks */
	uint32_t gen;
	void *buf;
	int result;
	bool is_readahead;
	int32_t src_slot; /* refill: read from here, pinned; else NO_SLOT */
	uint32_t first_no, nchunks;
	struct chunk *chunks[FETCH_CHUNKS]; /* pinned */
	int32_t slots[FETCH_CHUNKS];	    /* where each lands, pinned */
	struct cache_waiter waiter;
	struct work work;
	struct list link;
};

static void fetch_land(struct work *w);

/* --- memory ------------------------------------------------------------------------------------- */

/* Fresh pages cost more than the copy into them, so that of a sequential reader's fetches goes round. */
struct fetch_buf {
	struct fetch_buf *next;
};

static bool
is_pooled(uint32_t len)
{
	return len > FETCH_MAX / 2;
}

static void *
buf_get(struct cache *c, uint32_t len)
{
	struct fetch_buf *b;

	if (!is_pooled(len))
		return xmalloc(len);
	pthread_mutex_lock(&c->bufs_lock);
	c->nbufs_used++;
	b = c->bufs;
	if (b != NULL) {
		c->bufs = b->next;
		c->nbufs--;
	}
	pthread_mutex_unlock(&c->bufs_lock);
	return b != NULL ? (void *)b : xmalloc(FETCH_MAX);
}

static void
buf_put(struct cache *c, void *buf, uint32_t len)
{
	struct fetch_buf *b = buf, *rest = NULL;

	if (!is_pooled(len) || buf == NULL) {
		free(buf);
		return;
	}
	pthread_mutex_lock(&c->bufs_lock);
	b->next = NULL;
	if (--c->nbufs_used == 0) {
		b->next = c->bufs;
		rest = b;
		c->bufs = NULL;
		c->nbufs = 0;
	} else if (c->nbufs < BUFS_KEPT) {
		b->next = c->bufs;
		c->bufs = b;
		c->nbufs++;
	} else {
		rest = b;
	}
	pthread_mutex_unlock(&c->bufs_lock);
	while (rest != NULL) {
		b = rest->next;
		free(rest);
		rest = b;
	}
}

/* --- one fetch ---------------------------------------------------------------------------------- */

/* part_mask - blocks of its i-th chunk that the fetch covers. */
static uint64_t
part_mask(const struct cache_fetch *ft, uint32_t i, uint64_t *off, uint32_t *len)
{
	uint64_t start = (uint64_t)(ft->first_no + i) << CACHE_CHUNK_SHIFT;
	uint64_t from = max64(ft->off, start);
	uint64_t to = min64(ft->off + ft->len, start + CACHE_CHUNK_SIZE);

	*off = from;
	*len = (uint32_t)(to - from);
	return cachei_mask(
	    (uint32_t)(from - start) >> CACHE_BLOCK_SHIFT, *len >> CACHE_BLOCK_SHIFT);
}

static struct cache_fetch *
fetch_new(struct cache_file *f, uint64_t off, uint32_t len)
{
	struct cache_fetch *ft = xcalloc(1, sizeof(*ft));
	uint64_t part_off;
	uint32_t part_len;

	ft->space = f->space;
	ft->file = f;
	ft->off = off;
	ft->len = len;
	ft->gen = f->base_gen;
	ft->src_slot = NO_SLOT;
	ft->first_no = (uint32_t)(off >> CACHE_CHUNK_SHIFT);
	ft->nchunks = (uint32_t)((off + len - 1) >> CACHE_CHUNK_SHIFT) - ft->first_no + 1;
	for (uint32_t i = 0; i < ft->nchunks; i++) {
		struct chunk *ch = cachei_chunk_get(f, ft->first_no + i);

		ch->pins++;
		ch->fetching |= part_mask(ft, i, &part_off, &part_len);
		ft->chunks[i] = ch;
		ft->slots[i] = NO_SLOT;
	}
	f->nio++;
	f->space->nio++;
	return ft;
}

/* is_wanted - must this block come from the bucket, and is nobody fetching it? */
static bool
is_wanted(const struct cache_file *f, uint64_t block)
{
	const struct chunk *ch = cachei_chunk_find(f, (uint32_t)(block / CACHE_CHUNK_BLOCKS));
	uint64_t bit = 1ull << (block % CACHE_CHUNK_BLOCKS);

	return ch == NULL || ((ch->clean | ch->fetching) & bit) == 0;
}

/* is_covered - has an upper layer the whole block, so that reading ahead need not fetch it? */
static bool
is_covered(const struct cache_file *f, uint64_t block)
{
	const struct chunk *ch = cachei_chunk_find(f, (uint32_t)(block / CACHE_CHUNK_BLOCKS));

	return ch != NULL && ((ch->dirty | ch->sealed) >> (block % CACHE_CHUNK_BLOCKS) & 1) != 0;
}

void
cachei_fetch_want(
    struct cache_file *f, uint64_t off, uint64_t len, bool is_readahead, struct list *out)
{
	uint64_t limit = max64(f->base_limit, f->has_sealed ? f->seal_base_limit : 0);
	uint64_t first = off, end = min64(off + len, limit);
	uint64_t b, last, run;
	struct cache_fetch *ft;

	if (!is_readahead) {
		first = off & ~(uint64_t)(FETCH_UNIT - 1);
		end = min64((end + FETCH_UNIT - 1) & ~(uint64_t)(FETCH_UNIT - 1), limit);
	}
	b = first >> CACHE_BLOCK_SHIFT;
	last = (end + CACHE_BLOCK_SIZE - 1) >> CACHE_BLOCK_SHIFT;
	for (; b < last; b = run) {
		/* what is asked for is asked for; around it only what reads could use */
		for (run = b; run < last && run - b < FETCH_MAX / CACHE_BLOCK_SIZE; run++) {
			if (!is_wanted(f, run))
				break;
			if (run != off >> CACHE_BLOCK_SHIFT && is_covered(f, run))
				break;
		}
		if (run == b) {
			run++;
			continue;
		}
		ft = fetch_new(f, b << CACHE_BLOCK_SHIFT, (uint32_t)(run - b) << CACHE_BLOCK_SHIFT);
		ft->is_readahead = is_readahead;
		if (is_readahead)
			f->space->cache->readahead_bytes += ft->len;
		list_add_tail(out, &ft->link);
	}
}

void
cachei_fetch_start(struct list *fetches)
{
	while (!list_empty(fetches)) {
		struct cache_fetch *ft = container_of(fetches->next, struct cache_fetch, link);

		list_del(&ft->link);
		ft->buf = buf_get(ft->space->cache, ft->len);
		ft->space->ops->fetch(
		    ft->space->owner, ft->file->owner, ft->off, ft->len, ft->buf, ft);
	}
}

void
cache_fetch_done(struct cache_fetch *ft, int result)
{
	ft->result = result;
	ft->work.fn = fetch_land;
	workq_submit(ft->space->cache->wq, &ft->work);
}

static void
refill_read(struct work *w)
{
	struct cache_fetch *ft = container_of(w, struct cache_fetch, work);
	uint64_t at = slot_off(ft->src_slot) + (ft->off & (CACHE_CHUNK_SIZE - 1));

	ft->buf = buf_get(ft->space->cache, ft->len);
	ft->result = ft->space->cache->os->pread(ft->space->file, ft->buf, ft->len, at, false);
	fetch_land(w);
}

void
cachei_refill(struct chunk *ch, int32_t src_slot, uint64_t mask)
{
	uint64_t base = (uint64_t)ch->no << CACHE_CHUNK_SHIFT;

	while (mask != 0) {
		uint32_t first = (uint32_t)__builtin_ctzll(mask), n = 0;
		struct cache_fetch *ft;

		while (first + n < CACHE_CHUNK_BLOCKS && (mask >> (first + n) & 1) != 0)
			n++;
		mask &= ~cachei_mask(first, n);
		ft = fetch_new(
		    ch->file, base + (uint64_t)first * CACHE_BLOCK_SIZE, n * CACHE_BLOCK_SIZE);
		ft->src_slot = src_slot;
		cachei_slot_ref(ch->file->space, src_slot);
		ft->work.fn = refill_read;
		workq_submit(ch->file->space->cache->wq, &ft->work);
	}
}

/* fetch_end - unpin everything, wake who waited. locked; ft is freed */
static void
fetch_end(struct cache_fetch *ft, int err)
{
	struct cache_space *s = ft->space;
	struct cache_file *f = ft->file;
	uint64_t off, mask;
	uint32_t len;

	for (uint32_t i = 0; i < ft->nchunks; i++) {
		mask = part_mask(ft, i, &off, &len);
		ft->chunks[i]->fetching &= ~mask;
		if (ft->slots[i] != NO_SLOT)
			cachei_slot_unref(s, ft->slots[i]);
		cachei_chunk_unpin(s, ft->chunks[i]);
	}
	if (ft->src_slot != NO_SLOT)
		cachei_slot_unref(s, ft->src_slot);
	if (ft->is_readahead)
		s->cache->readahead_bytes -= ft->len;
	cachei_wake(f, IO_WAIT_FETCH, ft->off, ft->len, err);
	buf_put(s->cache, ft->buf, ft->len);
	free(ft);
	cachei_io_leave(f);
}

static void
land_after_commit(struct cache_waiter *w, int err)
{
	struct cache_fetch *ft = container_of(w, struct cache_fetch, waiter);

	if (err != 0)
		ft->result = err;
	ft->work.fn = fetch_land;
	workq_submit(ft->space->cache->wq, &ft->work);
}

/* land_begin - choose and pin the slots. result: false: a commit must un-name blocks first. locked */
static bool
land_begin(struct cache_fetch *ft)
{
	struct cache_space *s = ft->space;
	struct chunk *ch, *before;
	uint64_t off, mask;
	uint32_t len;

	for (uint32_t i = 0; i < ft->nchunks; i++) {
		mask = part_mask(ft, i, &off, &len);
		if ((ft->chunks[i]->clean_row & ~ft->chunks[i]->clean & mask) != 0)
			return false;
	}
	for (uint32_t i = 0; i < ft->nchunks; i++) {
		ch = ft->chunks[i];
		if (ch->clean_slot == NO_SLOT) {
			before = ch->no == 0 ? NULL : cachei_chunk_find(ft->file, ch->no - 1);
			ch->clean_slot =
			    cachei_slot_alloc(s, before == NULL || before->clean_slot == NO_SLOT
						     ? NO_SLOT
						     : before->clean_slot + 1);
			list_add_tail(&s->lru, &ch->lru);
		}
		ft->slots[i] = ch->clean_slot;
		cachei_slot_ref(s, ft->slots[i]);
	}
	return true;
}

static int
land_write(struct cache_fetch *ft)
{
	struct cache *c = ft->space->cache;
	uint64_t off, at;
	uint32_t len;
	int err = index_is_short(c->index) ? -ENOSPC : 0;

	for (uint32_t i = 0; i < ft->nchunks && err == 0; i++) {
		part_mask(ft, i, &off, &len);
		at = slot_off(ft->slots[i]) + (off & (CACHE_CHUNK_SIZE - 1));
		err = c->os->pwrite(ft->space->file, (char *)ft->buf + (off - ft->off), len, at);
		if (err == 0 && len >= WRITE_INLINE_MAX)
			c->os->start_writeback(ft->space->file, at, len);
	}
	return err;
}

/* land_finish - the blocks are readable. locked */
static void
land_finish(struct cache_fetch *ft)
{
	struct cache_space *s = ft->space;
	uint64_t off, mask, fresh;
	uint32_t len;

	for (uint32_t i = 0; i < ft->nchunks; i++) {
		struct chunk *ch = ft->chunks[i];

		mask = part_mask(ft, i, &off, &len);
		CW_ASSERT(ch->clean_slot == ft->slots[i]);
		fresh = mask & ~ch->clean;
		cachei_chunk_set_clean(ch, ch->clean | mask);
		ch->clean_lazy |= fresh;
		ch->flags |= CHUNK_REF;
		s->lazy_bytes += (uint64_t)blocks_of(fresh) << CACHE_BLOCK_SHIFT;
		cachei_chunk_lazy(ch);
		cachei_chunk_check(ch);
	}
	if (s->lazy_bytes >= LAZY_MAX) {
		s->flush_lazy = true;
		s->lazy_bytes = 0;
		cache_mark(s);
	}
}

/* feed - bytes straight into the buffer of a read that waits for them, up to the first that is local
 * or not ours. locked */
static void
feed(const struct cache_fetch *ft, struct cw_io *io)
{
	const struct cache_file *f = ft->file;
	bool is_sealed = (io->flags & CW_IO_SEALED) != 0;
	uint64_t size = is_sealed ? f->sealed_size : io->size, pos, end;
	uint64_t limit = min64(size, is_sealed ? f->seal_base_limit : f->base_limit);
	struct segment segs[READ_SEGS];
	unsigned int nsegs;
	bool miss;

	while (io->npending < io->len) {
		pos = io->off + io->npending;
		if (pos < ft->off || pos >= ft->off + ft->len ||
		    cachei_plan(f, pos, 1, size, is_sealed ? VIEW_SEALED : VIEW_NOW, segs, &nsegs,
			&miss) != 0)
			break;
		end = min64(min64((pos | (CACHE_BLOCK_SIZE - 1)) + 1, limit), io->off + io->len);
		memcpy(
		    (char *)io->buf + io->npending, (char *)ft->buf + (pos - ft->off), end - pos);
		io->npending += (uint32_t)(end - pos);
	}
}

/* feed_readers - the disk is full of what must stay: reads get their bytes without it. locked */
static void
feed_readers(struct cache_fetch *ft)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &ft->file->parked)
	{
		struct cw_io *io = container_of(l, struct cw_io, link);
		uint32_t before = io->npending;

		if (io->state != IO_WAIT_FETCH || io->op != CW_IO_READ)
			continue;
		feed(ft, io);
		if (io->npending == before)
			continue;
		list_del(&io->link);
		io->state = IO_NEW;
		io->result = 0;
		workq_submit(ft->space->cache->wq, &io->work);
	}
}

static void
fetch_land(struct work *w)
{
	struct cache_fetch *ft = container_of(w, struct cache_fetch, work);
	struct cache_space *s = ft->space;
	struct cache *c = s->cache;
	uint32_t sync_errors;
	int err = ft->result;

	cache_space_lock(s);
	if (err < 0 || ft->gen != ft->file->base_gen) {
		/* a refill that failed, or the base changed: let the waiters look again */
		fetch_end(ft, ft->gen != ft->file->base_gen || ft->src_slot != NO_SLOT ? 0 : err);
		cache_space_unlock(s);
		return;
	}
	if (!land_begin(ft)) {
		cache_space_unlock(s);
		ft->waiter.done = land_after_commit;
		cache_commit(s, &ft->waiter);
		return;
	}
	sync_errors = s->sync_errors;
	cache_space_unlock(s);
	CACHE_FAILPOINT("fetch-before-write");
	err = land_write(ft);
	if (err == -ENOSPC &&
	    cachei_evict_bite(c) > 0) /* make room once; the second answer counts */
		err = land_write(ft);
	cache_space_lock(s);
	if (err == 0 && ft->gen == ft->file->base_gen && sync_errors == s->sync_errors) {
		land_finish(ft);
		if (ft->src_slot == NO_SLOT)
			c->fetched_bytes += ft->len;
	}
	if (ft->gen != ft->file->base_gen)
		err = 0;
	if (err == -ENOSPC)
		feed_readers(ft);
	if (err != 0)
		log_err("cache.fetch", "landing-failed", "space=%u file=%llu err=\"%s\"", s->id,
		    (unsigned long long)ft->file->id, err_str(err));
	fetch_end(ft, err);
	cache_space_unlock(s);
	if (c->clean_bytes + c->dirty_bytes > (int64_t)(c->capacity / 100 * 95))
		cachei_evict_kick(c);
}
