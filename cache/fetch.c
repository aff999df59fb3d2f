/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.c - bring blocks of the base object into CLEAN slots.
 *
 * One fetch is one GET of adjacent blocks of one file.  While it is under way its blocks have their
 * `fetching` bit: nobody fetches them twice, and whoever needs them is parked on the file.  When the
 * bytes are there reads take them from the buffer (buffer.c), and a worker writes them into CLEAN slots
 * ("landing"): then they are lazy, readable from the data file, named in the index only after some later
 * sync.  A disk that fails or is full costs the copy, not the read.
 *
 * The chunks of a large fetch, which only a sequential reader makes, are landed past the page cache:
 * a third of the CPU of a cold read went into copying them there and writing them out again.
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

#define DIRECT_RUN                                                                                 \
	8u /* chunks in one write past the page cache: no client's write waits for more */

struct cache_fetch {
	struct cache_space *space;
	struct cache_file *file;
	uint64_t off; /* block aligned */
	uint32_t len; /* whole blocks */
	uint32_t gen;
	uint32_t
	    sync_errors; /* of the space, before bytes were taken from the data file or put there */
	struct cache_buf *buf;
	bool has_turn; /* large: nobody else lands such in the space now */
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
	ft->sync_errors = f->space->sync_errors;
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

/* in_hole - does the base hold nothing at this block? The owner is asked once a stretch. */
struct hole_memo {
	uint64_t known;
	bool is_hole;
};

static bool
in_hole(const struct cache_file *f, uint64_t block, uint64_t last, struct hole_memo *m)
{
	uint64_t end = last << CACHE_BLOCK_SHIFT;

	if (f->space->ops->hole == NULL)
		return false;
	if (block >= m->known) {
		m->is_hole = cachei_hole(f, block << CACHE_BLOCK_SHIFT, &end);
		m->known = (end + CACHE_BLOCK_SIZE - 1) >> CACHE_BLOCK_SHIFT;
	}
	return m->is_hole;
}

void
cachei_fetch_want(
    struct cache_file *f, uint64_t off, uint64_t len, bool is_readahead, struct list *out)
{
	uint64_t limit = max64(f->base_limit, f->has_sealed ? f->seal_base_limit : 0);
	uint64_t first = off, end = min64(off + len, limit);
	struct hole_memo memo = {0};
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
			if (!is_wanted(f, run) || in_hole(f, run, last, &memo))
				break;
			if ((is_readahead || run != off >> CACHE_BLOCK_SHIFT) && is_covered(f, run))
				break;
			if (is_readahead && run != b && run % (FETCH_MAX / CACHE_BLOCK_SIZE) == 0)
				break; /* whole chunks, and what stores keep together */
		}
		if (run == b) {
			run = memo.is_hole && memo.known > b ? memo.known : b + 1;
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
		CACHE_FAILPOINT("fetch-planned");
		ft->buf = cachei_buf_new(ft->space->cache, ft->off, ft->len, ft->is_readahead);
		ft->space->ops->fetch(
		    ft->space->owner, ft->file->owner, ft->off, ft->len, ft->buf->mem, ft);
	}
}

/* land_submit - large landings of a space one after the other: each holds the data file against
 * clients' writes for a moment, and a disk is busy with one already. locked */
static void
land_submit(struct cache_fetch *ft)
{
	struct cache_space *s = ft->space;

	ft->work.fn = fetch_land;
	if (ft->buf->is_big && s->is_landing) {
		list_add_tail(&s->landings, &ft->link);
		return;
	}
	ft->has_turn = ft->buf->is_big;
	s->is_landing = s->is_landing || ft->has_turn;
	workq_submit(s->cache->wq, &ft->work);
}

/* land_next - a large landing is over. locked */
static void
land_next(struct cache_space *s)
{
	struct cache_fetch *ft;

	s->is_landing = false;
	if (list_empty(&s->landings))
		return;
	ft = container_of(s->landings.next, struct cache_fetch, link);
	list_del(&ft->link);
	land_submit(ft);
}

void
cache_fetch_done(struct cache_fetch *ft, int result)
{
	struct cache_space *s = ft->space;
	struct cache_file *f = ft->file;

	cache_space_lock(s);
	ft->result = result;
	if (result >= 0 && result != CACHE_FETCH_AGAIN && ft->gen == f->base_gen) {
		cachei_buf_show(f, ft->buf);
		cachei_wake(f, IO_WAIT_FETCH, ft->off, ft->len, 0);
	}
	land_submit(ft);
	cache_space_unlock(s);
}

static void
refill_read(struct work *w)
{
	struct cache_fetch *ft = container_of(w, struct cache_fetch, work);
	uint64_t at = slot_off(ft->src_slot) + (ft->off & (CACHE_CHUNK_SIZE - 1));

	ft->buf = cachei_buf_new(ft->space->cache, ft->off, ft->len, false);
	ft->result = ft->space->cache->os->pread(ft->space->file, ft->buf->mem, ft->len, at, false);
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

/* fetch_end - unpin everything, wake who waited. What did not get into the data file stays for the
 * readers that waited for it. locked; ft is freed */
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
	if (ft->has_turn)
		land_next(s);
	cachei_wake(f, IO_WAIT_FETCH, ft->off, ft->len, ft->buf->file != NULL ? 0 : err);
	if (ft->buf->file != NULL)
		cachei_buf_landed(s->cache, ft->buf, ft->buf->is_big || err != 0);
	cachei_buf_unref(s->cache, ft->buf);
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

/* meets_seal - in a pinned space: was a block sealed since it was asked for? Its place belongs to settle.c
 * then, and nobody needs the old bytes. locked */
static bool
meets_seal(const struct cache_fetch *ft)
{
	uint64_t off;
	uint32_t len;

	for (uint32_t i = 0; ft->space->is_pinned && i < ft->nchunks; i++) {
		if ((ft->chunks[i]->sealed & part_mask(ft, i, &off, &len)) != 0)
			return true;
	}
	return false;
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

/* direct_run - how many whole chunks from the i-th on lie together in the data file? Only those go past
 * the page cache: no page of theirs is anybody else's. result: 0 if not even the i-th */
static uint32_t
direct_run(const struct cache_fetch *ft, uint32_t i)
{
	uint32_t n, len;
	uint64_t off;

	if (!ft->buf->is_big || ft->space->cache->os->pwrite_direct == NULL)
		return 0;
	for (n = 0; n < DIRECT_RUN && i + n < ft->nchunks; n++) {
		part_mask(ft, i + n, &off, &len);
		if (len != CACHE_CHUNK_SIZE || ft->slots[i + n] != ft->slots[i] + (int32_t)n)
			break;
	}
	return n;
}

static int
land_write(struct cache_fetch *ft)
{
	const struct osfile_ops *os = ft->space->cache->os;
	struct osfile *file = ft->space->file;
	uint32_t len, n;
	uint64_t off, at;
	int err = index_is_short(ft->space->cache->index) ? -ENOSPC : 0;

	for (uint32_t i = 0; i < ft->nchunks && err == 0; i += n) {
		const char *mem;

		part_mask(ft, i, &off, &len);
		at = slot_off(ft->slots[i]) + (off & (CACHE_CHUNK_SIZE - 1));
		mem = ft->buf->mem + (off - ft->off);
		n = direct_run(ft, i);
		if (n > 0) {
			err = os->pwrite_direct(file, mem, (size_t)n * CACHE_CHUNK_SIZE, at);
			continue;
		}
		n = 1;
		err = os->pwrite(file, mem, len, at);
		if (err == 0 && len >= WRITE_INLINE_MAX)
			os->start_writeback(file, at, len);
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
		if (s->is_pinned) /* sealed while it landed (C8) */
			mask &= ~ch->sealed;
		fresh = mask & ~ch->clean;
		cachei_chunk_set_clean(ch, ch->clean | mask);
		if (ch->clean == BLOCKS_ALL)
			cachei_slot_whole(s, ch->clean_slot);
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

/* is_full - would the cache hold more than it may? Reads are faster than the evictor, and do without. */
static bool
is_full(struct cache *c, uint32_t len)
{
	return c->clean_bytes + c->dirty_bytes + (int64_t)len > (int64_t)c->capacity;
}

/* error_for - what those hear who wait for a fetch that failed with err. Something of it that is damaged need not
 * be what a reader wants of what was read ahead of him: he asks for that alone. */
static int
error_for(const struct cache_fetch *ft, int err)
{
	return ft->is_readahead && (err == -ERR_CHECKSUM || err == -EIO) ? 0 : err;
}

static void
fetch_land(struct work *w)
{
	struct cache_fetch *ft = container_of(w, struct cache_fetch, work);
	struct cache_space *s = ft->space;
	struct cache *c = s->cache;
	int err = ft->result;

	cache_space_lock(s);
	if (ft->src_slot == NO_SLOT)
		ft->sync_errors = s->sync_errors;
	if (err < 0 || ft->gen != ft->file->base_gen) {
		/* a refill that failed, or the base changed: let the waiters look again */
		fetch_end(ft, ft->gen != ft->file->base_gen || ft->src_slot != NO_SLOT
				  ? 0
				  : error_for(ft, err));
		cache_space_unlock(s);
		return;
	}
	if (err == CACHE_FETCH_ONCE || err == CACHE_FETCH_AGAIN || meets_seal(ft)) {
		/* an error keeps the buffer, for those who were told that the bytes are there */
		fetch_end(ft, err == CACHE_FETCH_ONCE ? -ERR_BACKPRESSURE : 0);
		cache_space_unlock(s);
		return;
	}
	if (ft->src_slot == NO_SLOT && !s->is_pinned && is_full(c, ft->len)) {
		fetch_end(ft, -ENOSPC);
		cache_space_unlock(s);
		cachei_evict_kick(c);
		return;
	}
	if (!land_begin(ft)) {
		cache_space_unlock(s);
		ft->waiter.done = land_after_commit;
		cache_commit(s, &ft->waiter);
		return;
	}
	cache_space_unlock(s);
	CACHE_FAILPOINT("fetch-before-write");
	err = land_write(ft);
	if (err == -ENOSPC &&
	    cachei_evict_bite(c) > 0) /* make room once; the second answer counts */
		err = land_write(ft);
	cache_space_lock(s);
	if (err == 0 && ft->gen == ft->file->base_gen && ft->sync_errors == s->sync_errors) {
		land_finish(ft);
		if (ft->src_slot == NO_SLOT)
			c->fetched_bytes += ft->len;
	}
	if (ft->gen != ft->file->base_gen)
		err = 0;
	if (err != 0)
		log_err("cache.fetch", "landing-failed", "space=%u file=%llu err=\"%s\"", s->id,
		    (unsigned long long)ft->file->id, err_str(err));
	fetch_end(ft, err);
	cache_space_unlock(s);
	if (c->clean_bytes + c->dirty_bytes > (int64_t)(c->capacity / 100 * 95))
		cachei_evict_kick(c);
}
