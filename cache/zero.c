/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zero.c - zeros without bytes, and what a sparse file holds where.
 *
 * A block that is to read as zeros needs a zero block only when something below would show: SEALED
 * bytes, CLEAN bytes, or a base that is not a hole.  Where there is nothing below, giving up what is
 * DIRTY is enough.  So the walk looks at the chunks that exist and at the stretches that the base maps,
 * and costs nothing for the rest: an empty volume of a tebibyte is zeroed at once.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

#define STEP_CHUNKS 2048u /* chunks looked at in one locked section */
#define SPARSE_FACTOR 4u /* a range of so many times more numbers than chunks is walked by a list */
#define BLOCK_FULL (CACHE_BLOCK_SIZE - 1)

static uint32_t
chunk_no(uint64_t off)
{
	return (uint32_t)(off >> CACHE_CHUNK_SHIFT);
}

static uint64_t
chunk_start(uint32_t no)
{
	return (uint64_t)no << CACHE_CHUNK_SHIFT;
}

/* mask_of - blocks of chunk `no` that lie in [off, end). */
static uint64_t
mask_of(uint32_t no, uint64_t off, uint64_t end)
{
	uint64_t start = chunk_start(no), from = max64(off, start);
	uint64_t to = min64(end, start + CACHE_CHUNK_SIZE);

	if (from >= to)
		return 0;
	return cachei_mask((uint32_t)((from - start) >> CACHE_BLOCK_SHIFT),
	    (uint32_t)((to - from + BLOCK_FULL) >> CACHE_BLOCK_SHIFT));
}

/* mapped_mask - blocks of [off, end), which lies in chunk `no`, that the base maps. */
static uint64_t
mapped_mask(const struct cache_file *f, uint32_t no, uint64_t off, uint64_t end)
{
	uint64_t mapped = 0, stop;

	for (; off < end; off = stop) {
		stop = end;
		if (!cachei_hole(f, off, &stop))
			mapped |= mask_of(no, off, stop);
		stop = (stop + BLOCK_FULL) & ~(uint64_t)BLOCK_FULL;
	}
	return mapped;
}

/* --- cache_zero ----------------------------------------------------------------------------------- */

static int
by_no(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* begin - list the chunks of the range when their numbers are too many to try. Whatever appears later is
 * where the base maps something, and that is looked at anyway. */
static void
begin(struct cache_zero *z)
{
	const struct cache_file *f = z->file;
	uint64_t span = (z->end - z->off) >> CACHE_CHUNK_SHIFT;
	struct chunk *ch;
	uint32_t pos = 0;

	z->is_begun = true;
	if (f->nchunks == 0 || span / SPARSE_FACTOR < f->nchunks)
		return;
	z->nos = xmalloc(f->nchunks * sizeof(*z->nos));
	while ((ch = cachei_chunk_next(f, &pos)) != NULL) {
		if (ch->no >= chunk_no(z->off) && chunk_start(ch->no) < z->end)
			z->nos[z->nnos++] = ch->no;
	}
	if (z->nnos > 1)
		qsort(z->nos, z->nnos, sizeof(*z->nos), by_no);
}

/* next_chunk - where the next chunk that exists begins, at or after off; `end` when there is none. */
static uint64_t
next_chunk(struct cache_zero *z, uint64_t off)
{
	if (z->nos == NULL)
		return z->file->nchunks == 0 ? z->end : off;
	while (z->pos < z->nnos && z->nos[z->pos] < chunk_no(off))
		z->pos++;
	return z->pos == z->nnos ? z->end : max64(off, chunk_start(z->nos[z->pos]));
}

/* zero_chunk - the blocks of m. base: those of them that the base maps. locked */
static void
zero_chunk(struct cache_file *f, struct chunk *ch, uint64_t m, uint64_t base)
{
	uint64_t below = m & (sealed_data(ch) | (~ch->sealed & (base | ch->clean)));

	if ((ch->dirty & m) == below && (ch->dirty_zero & m) == below)
		return; /* as it should be already */
	CW_ASSERT((ch->busy & m) == 0);
	CACHE_FAILPOINT("zero");
	ch->dirty_unsynced &= ~m;
	cachei_chunk_set_dirty(ch, (ch->dirty & ~m) | below, (ch->dirty_zero & ~m) | below);
	if (!f->has_sealed && (ch->clean & m) != 0) { /* a seal may still be read through it */
		cachei_chunk_set_clean(ch, ch->clean & ~m);
		ch->clean_lazy &= ch->clean;
	}
	cachei_chunk_changed(ch, true);
	cachei_chunk_tidy(ch);
}

/* zero_step - one chunk, or one stretch without any. locked */
static void
zero_step(struct cache_zero *z)
{
	struct cache_file *f = z->file;
	uint32_t no = chunk_no(z->off);
	uint64_t stop = min64(z->end, chunk_start(no) + CACHE_CHUNK_SIZE), next, base;
	struct chunk *ch = cachei_chunk_find(f, no);

	if (ch == NULL) {
		next = z->end;
		if (cachei_hole(f, z->off, &next)) { /* nothing here, perhaps for long */
			stop = min64(next, max64(next_chunk(z, stop), stop));
			z->off = min64((stop + BLOCK_FULL) & ~(uint64_t)BLOCK_FULL, z->end);
			return;
		}
	}
	base = mapped_mask(f, no, z->off, stop);
	if (ch == NULL && base != 0)
		ch = cachei_chunk_get(f, no);
	if (ch != NULL)
		zero_chunk(f, ch, mask_of(no, z->off, stop), base);
	z->off = stop;
}

int
cache_zero(struct cache_zero *z)
{
	struct cache_space *s = z->file->space;

	CW_ASSERT(((z->off | z->end) & BLOCK_FULL) == 0);
	if (z->file->seal_pending)
		return -EAGAIN;
	if (!z->is_begun)
		begin(z);
	for (uint32_t n = 0; n < STEP_CHUNKS && z->off < z->end; n++)
		zero_step(z);
	cache_mark(s);
	cachei_space_freed(s->cache);
	return z->off < z->end;
}

void
cache_zero_end(struct cache_zero *z)
{
	free(z->nos);
	z->nos = NULL;
}

/* --- what is where ----------------------------------------------------------------------------------- */

/* data_mask - blocks of [off, end), which lies in chunk `no`, that hold data as a reader sees it. */
static uint64_t
data_mask(const struct cache_file *f, uint32_t no, uint64_t off, uint64_t end)
{
	const struct chunk *ch = cachei_chunk_find(f, no);
	uint64_t m = mask_of(no, off, end), mapped;

	if (ch == NULL)
		return mapped_mask(f, no, off, end);
	mapped = m & ch->clean;
	if ((m & ~(ch->dirty | ch->sealed | ch->clean)) != 0)
		mapped |= mapped_mask(f, no, off, end);
	return m & (dirty_data(ch) | (~ch->dirty & (sealed_data(ch) | (~ch->sealed & mapped))));
}

/* stretch - is there data at pos, and up to where, at most to stop, is it so? */
static bool
stretch(const struct cache_file *f, uint64_t pos, uint64_t stop, uint64_t *end)
{
	uint32_t no = chunk_no(pos), in = (uint32_t)(pos - chunk_start(no)) >> CACHE_BLOCK_SHIFT;
	uint64_t chunk_end = min64(stop, chunk_start(no) + CACHE_CHUNK_SIZE), data, other;
	bool is_hole;

	if (cachei_chunk_find(f, no) == NULL) {
		*end = f->nchunks == 0 ? stop : chunk_end;
		is_hole = cachei_hole(f, pos, end);
		*end = min64((*end + BLOCK_FULL) & ~(uint64_t)BLOCK_FULL, stop);
		return !is_hole;
	}
	data = data_mask(f, no, pos, chunk_end) >> in;
	other = (data & 1) != 0 ? ~data : data;
	*end = chunk_end;
	if (other != 0)
		*end =
		    min64(chunk_end, pos + ((uint64_t)__builtin_ctzll(other) << CACHE_BLOCK_SHIFT));
	return (data & 1) != 0;
}

bool
cache_provisioned(const struct cache_file *f, uint64_t off, uint64_t limit, uint64_t *end)
{
	bool first = stretch(f, off, limit, end);
	uint64_t next;

	for (uint32_t n = 0; n < STEP_CHUNKS && *end < limit; n++) {
		if (stretch(f, *end, limit, &next) != first)
			break;
		*end = next;
	}
	return first;
}

bool
cache_missing(const struct cache_file *f, uint64_t *off, uint64_t end, uint64_t *len)
{
	*len = 0;
	end = min64(end, (f->base_limit + BLOCK_FULL) & ~(uint64_t)BLOCK_FULL);
	for (uint32_t n = 0; n < STEP_CHUNKS && *off < end; n++) {
		uint32_t no = chunk_no(*off);
		uint64_t start = chunk_start(no), stop = min64(end, start + CACHE_CHUNK_SIZE);
		const struct chunk *ch = cachei_chunk_find(f, no);
		uint64_t missing, hole = end;

		if (ch == NULL && cachei_hole(f, *off, &hole)) {
			*off = min64((hole + BLOCK_FULL) & ~(uint64_t)BLOCK_FULL, end);
			continue;
		}
		missing = mapped_mask(f, no, *off, stop);
		if (ch != NULL)
			missing &= ~(ch->dirty | ch->sealed | ch->clean);
		if (missing == 0) {
			*off = stop;
			continue;
		}
		*off = start + ((uint64_t)__builtin_ctzll(missing) << CACHE_BLOCK_SHIFT);
		missing >>= __builtin_ctzll(missing);
		*len = (~missing == 0 ? CACHE_CHUNK_BLOCKS : (uint64_t)__builtin_ctzll(~missing))
		       << CACHE_BLOCK_SHIFT;
		return true;
	}
	return false;
}
