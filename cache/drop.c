/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop.c - pages of the data file that nobody is expected to read soon leave the page cache.
 *
 * Only of slots whose bytes are all durable.  When a sync fails, the copy that mends it (redo.c) is made
 * from the pages: those of un-synced bytes are the only ones there are, and the kernel, told to drop
 * them, would write them first and then forget whether that went well.  A commit under way has taken the
 * marks of un-synced blocks, a writer has not made them yet, and bytes of redo rows are durable elsewhere:
 * none of these counts.  The lock keeps it so until the pages are gone.
 */
#include "cache/cache_int.h"

static bool
is_durable(const struct cache_space *s, int32_t slot, uint64_t unsynced)
{
	return slot == NO_SLOT || (unsynced == 0 && !s->slots.v[slot].has_redo);
}

static void
drop_slot(struct cache_space *s, int32_t slot)
{
	if (slot != NO_SLOT)
		s->cache->os->drop(s->file, slot_off(slot), CACHE_CHUNK_SIZE);
}

/* drop_chunk - result: false: not all of it is durable yet, and nothing was dropped. locked */
static bool
drop_chunk(struct cache_space *s, const struct chunk *ch)
{
	if ((ch->flags & CHUNK_TAKEN) != 0 || ch->nwriters > 0 ||
	    !is_durable(s, ch->dirty_slot, ch->dirty_unsynced) ||
	    !is_durable(s, ch->sealed_slot, ch->sealed_unsynced))
		return false;
	drop_slot(s, ch->dirty_slot);
	drop_slot(s, ch->sealed_slot);
	return true;
}

uint64_t
cache_drop_behind(struct cache_file *f, uint64_t off, uint64_t end)
{
	struct cache_space *s = f->space;
	bool is_dropped = true;

	if (s->cache->os->drop == NULL)
		return end;
	while (off < end) {
		const struct chunk *ch;

		cache_space_lock(s);
		ch = cachei_chunk_find(f, (uint32_t)(off >> CACHE_CHUNK_SHIFT));
		if (ch != NULL)
			is_dropped = drop_chunk(s, ch);
		cache_space_unlock(s);
		if (!is_dropped)
			break;
		off = (off | (CACHE_CHUNK_SIZE - 1)) + 1;
	}
	return min64(off, end);
}
