/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truncate.c - shorten or lengthen a file, exact to the byte, without touching data below.
 *
 * CLEAN and SEALED blocks are cut by the limits.  DIRTY blocks past the end are dropped and the one
 * at the end gets zeros behind it in place (C6), so that lengthening never has anything to do.
 * If the gateway dies before the truncation is durable, those few bytes may already read as zeros:
 * a change that nobody was told of.  The other way round, an append in place that was not durable may
 * have left bytes behind the size that is: loading a space zeroes those before anybody can reach them.
 */
#include "cache/cache_int.h"

int
cachei_zero_tail(struct cache_file *f, uint64_t size)
{
	static const char zeros[CACHE_BLOCK_SIZE];
	struct cache_space *s = f->space;
	struct chunk *ch = cachei_chunk_find(f, (uint32_t)(size >> CACHE_CHUNK_SHIFT));
	uint64_t bit = 1ull << (size >> CACHE_BLOCK_SHIFT & (CACHE_CHUNK_BLOCKS - 1));
	uint32_t in = (uint32_t)(size & (CACHE_BLOCK_SIZE - 1));
	int err;

	if (in == 0 || ch == NULL || (dirty_data(ch) & bit) == 0)
		return 0;
	err = s->cache->os->pwrite(s->file, zeros, CACHE_BLOCK_SIZE - in,
	    slot_off(ch->dirty_slot) + (size & (CACHE_CHUNK_SIZE - 1)));
	if (err != 0) {
		log_err(
		    "cache.truncate", "write-failed", "space=%u err=\"%s\"", s->id, err_str(err));
		return -EIO;
	}
	ch->dirty_unsynced |= bit;
	cachei_chunk_changed(ch, false);
	return 0;
}

/* cut_chunk - forget what no view can reach any more. */
static void
cut_chunk(struct chunk *ch, uint64_t size)
{
	struct cache_file *f = ch->file;
	uint64_t start = (uint64_t)ch->no << CACHE_CHUNK_SHIFT, keep = BLOCKS_ALL;
	uint64_t base_end = max64(f->base_limit, f->has_sealed ? f->seal_base_limit : 0);

	if (start >= size)
		keep = 0;
	else if (size - start < CACHE_CHUNK_SIZE)
		keep = cachei_mask(
		    0, (uint32_t)((size - start + CACHE_BLOCK_SIZE - 1) >> CACHE_BLOCK_SHIFT));
	if ((ch->dirty & ~keep) != 0) {
		cachei_chunk_set_dirty(ch, ch->dirty & keep, ch->dirty_zero & keep);
		ch->dirty_unsynced &= keep;
		cachei_chunk_changed(ch, true);
	}
	if (start >= base_end && ch->fetching == 0)
		cachei_chunk_drop_clean(ch);
}

int
cache_truncate(struct cache_file *f, uint64_t old_size, uint64_t new_size)
{
	struct chunk *ch;
	uint32_t pos = 0;
	int err;

	if (f->nwriters > 0 || f->seal_pending)
		return -EAGAIN;
	if (new_size >= old_size)
		return 0;
	for (pos = 0; (ch = cachei_chunk_next(f, &pos)) != NULL;) {
		if ((ch->flags & CHUNK_HOLD) != 0)
			return -EAGAIN;
	}
	err = cachei_zero_tail(f, new_size);
	if (err != 0)
		return err;
	f->has_cut_base |= f->base_limit > new_size || f->has_sealed;
	f->base_limit = min64(f->base_limit, new_size);
	f->sealed_limit = min64(f->sealed_limit, new_size);
	for (pos = 0; (ch = cachei_chunk_next(f, &pos)) != NULL;) {
		cut_chunk(ch, new_size);
		if (cachei_chunk_tidy(ch))
			pos--;
	}
	cache_mark(f->space);
	cachei_space_freed(f->space->cache);
	return 0;
}
