/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk.c - the state of 256 KiB of one file, block by block.
 *
 * A block of a chunk is in each of three layers or not; a read takes the uppermost that has it:
 *
 *   layer   bits    slot         holds                                who may write the slot
 *   DIRTY   dirty   dirty_slot   what clients wrote since the seal    writers, in place
 *   SEALED  sealed  sealed_slot  the moment being uploaded            nobody
 *   CLEAN   clean   clean_slot   bytes of the base object             fetch, blocks no row names
 *   none    -       -            bytes of the base object below base_limit, zeros past it
 *
 * A DIRTY or SEALED block may be a zero block (dirty_zero, sealed_zero): it hides what lies below, reads
 * as zeros and has no bytes; where all blocks of a layer are such there is no slot.  The owner's hole()
 * says where the base holds nothing: there a read needs no fetch, and zeros need no zero block.
 *
 * State of a block (D, S, C = bit set; Z a zero block) x event -> next state, and who does it:
 *
 *   event                        D         S         C         by
 *   fetched                      .         .         0 -> 1    fetch.c (lazy until a sync, then named)
 *   written                      . -> 1    .         .         write.c (fresh slot if chunk has none)
 *   zeroed, data below           . -> Z    .         C -> 0    zero.c  (C stays while a seal is on)
 *   zeroed, nothing below        . -> 0    .         .         zero.c
 *   seal                         D -> 0    0 -> D    .         seal.c  (slot and Z move with the bits;
 *                                                              pinned: C -> 0 where D was set)
 *   seal_done, S set, S kept     .         1 -> 0    . -> 1    seal.c  (SEALED slot becomes CLEAN)
 *   seal_done, S set, C kept     .         1 -> 0    . -> 0    seal.c  (then refilled from the old slot)
 *   seal_done, C set, S kept     .         .         1 -> 0    seal.c  (same)
 *   seal_done, S is Z            .         Z -> 0    0         seal.c  (the new base has a hole there)
 *   seal_done, pinned, C kept    .         1 -> 0    0 -> 1    settle.c copied the bytes before (C8)
 *   seal_done, S clear           .         .         C stays if below the base limit of the seal
 *   truncate, block past EOF     D -> 0    .         C -> 0 when no view can reach it   truncate.c
 *   evicted                      .         .         C -> 0    evict.c (whole slot; never if pinned)
 *   drop_clean                   (0)       (0)       C -> 0    cache_file_drop_clean()
 *   discard                      0         0         0         cache_file_discard()
 *   sync failed                  kept, slot replaced by a copy;  lazy C -> 0           commit.c
 *
 * Invariants (cachei_chunk_check):
 *   C1  no block has bytes in a slot that is NO_SLOT; the three slots differ and are SLOT_USED
 *   C2  lazy is part of clean; sealed_unsynced of sealed, dirty_unsynced of dirty, zero blocks not
 *   C3  no block is fetched into a clean_slot block that a durable row may name (clean_row) and that
 *       is no longer valid: such a landing waits for a commit
 *   C4  busy blocks have no DIRTY bytes
 *   C5  sealed only while the file has a seal
 *   C7  a chunk is on its file's `active` list if and only if it has DIRTY or SEALED blocks
 *   C8  in a pinned space no block is CLEAN and SEALED at once, and nothing un-synced becomes CLEAN
 *       by the end of a seal
 *   C6  bytes of a DIRTY block at or past the file's size are zeros (write.c pads, truncate.c zeroes)
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

void (*cache_failpoint)(const char *name);

/* --- slab: chunks of a space lie together and go together when it is closed ----------------------- */

#define SLAB_CHUNKS 480

struct slab_block {
	struct slab_block *next;
	struct chunk chunks[SLAB_CHUNKS];
};

void *
cachei_slab_chunk(struct cache_space *s)
{
	struct slab_block *b;
	struct chunk *ch;

	if (s->slab_free == NULL) {
		b = xcalloc(1, sizeof(*b));
		b->next = s->slab;
		s->slab = b;
		for (unsigned int i = SLAB_CHUNKS; i-- > 0;)
			cachei_slab_put(s, &b->chunks[i]);
	}
	ch = s->slab_free;
	s->slab_free = (struct chunk *)(void *)ch->link.next;
	memset(ch, 0, sizeof(*ch));
	return ch;
}

void
cachei_slab_put(struct cache_space *s, struct chunk *ch)
{
	ch->file = NULL;
	ch->link.next = (struct list *)(void *)s->slab_free;
	s->slab_free = ch;
}

void
cachei_slab_free_all(struct cache_space *s)
{
	struct slab_block *b;

	while ((b = s->slab) != NULL) {
		s->slab = b->next;
		for (unsigned int i = 0; i < SLAB_CHUNKS; i++) {
			struct cache_file *f = b->chunks[i].file;

			if (f == NULL || (b->chunks[i].flags & CHUNK_DEAD) != 0)
				continue;
			free(f->table);
			f->table = NULL;
			f->table_cap = f->nchunks = 0;
			list_init(&f->active);
			f->clean_bytes = f->sealed_bytes = f->dirty_bytes = 0;
			f->sealed_zeros = f->dirty_zeros = 0;
		}
		free(b);
	}
	s->slab_free = NULL;
}

/* --- table: open hash with linear probing, backward shift on removal ------------------------------- */

static uint32_t
table_slot(const struct cache_file *f, uint32_t no)
{
	return (no * 0x9e3779b1u >> 5) & (f->table_cap - 1);
}

struct chunk *
cachei_chunk_find(const struct cache_file *f, uint32_t no)
{
	uint32_t i;

	if (f->nchunks == 0)
		return NULL;
	i = table_slot(f, no);
	for (uint32_t probes = 0; probes < f->table_cap; probes++) {
		struct chunk *ch = f->table[i];

		if (ch == NULL || ch->no == no)
			return ch;
		i = (i + 1) & (f->table_cap - 1);
	}
	return NULL;
}

static void
table_put(struct cache_file *f, struct chunk *ch)
{
	uint32_t i = table_slot(f, ch->no);

	while (f->table[i] != NULL)
		i = (i + 1) & (f->table_cap - 1);
	f->table[i] = ch;
}

static void
table_grow(struct cache_file *f)
{
	struct chunk **old = f->table;
	uint32_t old_cap = f->table_cap;

	/* one chunk: one entry; then keep a third free */
	if (f->nchunks + 1 <= (old_cap <= 1 ? old_cap : old_cap / 3 * 2))
		return;
	f->table_cap = old_cap == 0 ? 1 : old_cap == 1 ? 4 : old_cap * 2;
	f->table = xcalloc(f->table_cap, sizeof(*f->table));
	for (uint32_t i = 0; i < old_cap; i++) {
		if (old[i] != NULL)
			table_put(f, old[i]);
	}
	free(old);
}

static void
table_remove(struct cache_file *f, const struct chunk *ch)
{
	uint32_t mask = f->table_cap - 1, i = table_slot(f, ch->no), j;

	while (f->table[i] != ch)
		i = (i + 1) & mask;
	f->table[i] = NULL;
	for (j = (i + 1) & mask; f->table[j] != NULL; j = (j + 1) & mask) {
		struct chunk *moved = f->table[j];

		f->table[j] = NULL;
		table_put(f, moved);
	}
	if (--f->nchunks == 0) {
		free(f->table);
		f->table = NULL;
		f->table_cap = 0;
	}
}

struct chunk *
cachei_chunk_get(struct cache_file *f, uint32_t no)
{
	struct chunk *ch = cachei_chunk_find(f, no);

	if (ch != NULL)
		return ch;
	ch = cachei_slab_chunk(f->space);
	ch->file = f;
	ch->no = no;
	ch->clean_slot = ch->sealed_slot = ch->dirty_slot = NO_SLOT;
	list_init(&ch->lru);
	list_init(&ch->link);
	list_init(&ch->active);
	table_grow(f);
	table_put(f, ch);
	f->nchunks++;
	return ch;
}

struct chunk *
cachei_chunk_next(const struct cache_file *f, uint32_t *pos)
{
	while (*pos < f->table_cap) {
		struct chunk *ch = f->table[(*pos)++];

		if (ch != NULL)
			return ch;
	}
	return NULL;
}

uint64_t
cachei_mask(uint32_t first, uint32_t n)
{
	if (n == 0 || first >= CACHE_CHUNK_BLOCKS)
		return 0;
	return (n >= 64 ? BLOCKS_ALL : (1ull << n) - 1) << first;
}

/* --- masks with accounts ------------------------------------------------------------------------ */

static int64_t
mask_delta(uint64_t from, uint64_t to)
{
	return ((int64_t)blocks_of(to) - (int64_t)blocks_of(from)) * (int64_t)CACHE_BLOCK_SIZE;
}

void
cachei_chunk_set_clean(struct chunk *ch, uint64_t mask)
{
	int64_t d = mask_delta(ch->clean, mask);
	struct cache_space *s = ch->file->space;

	ch->clean = mask;
	ch->file->clean_bytes += (uint64_t)d;
	s->clean_bytes += (uint64_t)d;
	if (!s->is_pinned)
		s->cache->clean_bytes += d;
}

/* set_active - the file's list of chunks that a seal or its end has to visit. */
static void
set_active(struct chunk *ch)
{
	if ((ch->dirty | ch->sealed) == 0)
		list_del(&ch->active);
	else if (list_empty(&ch->active))
		list_add_tail(&ch->file->active, &ch->active);
}

void
cachei_chunk_set_sealed(struct chunk *ch, uint64_t mask, uint64_t zero)
{
	int64_t d = mask_delta(sealed_data(ch), mask & ~zero);

	ch->file->sealed_zeros += (uint64_t)blocks_of(zero) - blocks_of(ch->sealed_zero);
	ch->sealed = mask;
	ch->sealed_zero = zero;
	ch->file->sealed_bytes += (uint64_t)d;
	ch->file->space->sealed_bytes += (uint64_t)d;
	ch->file->space->cache->dirty_bytes += d;
	set_active(ch);
}

void
cachei_chunk_set_dirty(struct chunk *ch, uint64_t mask, uint64_t zero)
{
	int64_t d = mask_delta(dirty_data(ch), mask & ~zero);

	ch->file->dirty_zeros += (uint64_t)blocks_of(zero) - blocks_of(ch->dirty_zero);
	ch->dirty = mask;
	ch->dirty_zero = zero;
	ch->file->dirty_bytes += (uint64_t)d;
	ch->file->space->dirty_bytes += (uint64_t)d;
	ch->file->space->cache->dirty_bytes += d;
	set_active(ch);
}

void
cachei_chunk_changed(struct chunk *ch, bool row)
{
	struct cache_space *s = ch->file->space;

	if (row)
		ch->flags |= CHUNK_ROW;
	if ((ch->flags & CHUNK_QUEUED) != 0)
		return;
	list_del(&ch->link);
	ch->flags = (uint16_t)((ch->flags & ~CHUNK_ON_LAZY) | CHUNK_QUEUED);
	list_add_tail(&s->changed, &ch->link);
}

void
cachei_chunk_lazy(struct chunk *ch)
{
	if ((ch->flags & (CHUNK_QUEUED | CHUNK_ON_LAZY)) != 0)
		return;
	ch->flags |= CHUNK_ON_LAZY;
	list_add_tail(&ch->file->space->lazy, &ch->link);
}

void
cachei_chunk_drop_clean(struct chunk *ch)
{
	struct cache_space *s = ch->file->space;

	if (ch->clean_slot == NO_SLOT)
		return;
	cachei_chunk_set_clean(ch, 0);
	ch->clean_lazy = ch->clean_row = 0;
	list_del(&ch->lru);
	cachei_slot_free(s, ch->clean_slot);
	ch->clean_slot = NO_SLOT;
	cachei_chunk_changed(ch, true);
}

static void
chunk_forget(struct chunk *ch)
{
	struct cache_space *s = ch->file->space;

	list_del(&ch->link);
	list_del(&ch->lru);
	list_del(&ch->active);
	if ((ch->flags & CHUNK_RELOC) != 0)
		s->nreloc--;
	ch->flags =
	    (uint16_t)((ch->flags & ~(CHUNK_QUEUED | CHUNK_ON_LAZY | CHUNK_RELOC)) | CHUNK_DEAD);
	table_remove(ch->file, ch);
	if (ch->pins == 0)
		cachei_slab_put(s, ch);
}

bool
cachei_chunk_tidy(struct chunk *ch)
{
	struct cache_space *s = ch->file->space;
	struct chunk_key *key;

	if ((ch->flags & CHUNK_DEAD) != 0)
		return true;
	if (ch->clean_slot != NO_SLOT && ch->clean == 0 && ch->fetching == 0)
		cachei_chunk_drop_clean(ch);
	if (ch->dirty_slot != NO_SLOT && dirty_data(ch) == 0 && ch->nwriters == 0) {
		cachei_slot_free(s, ch->dirty_slot);
		ch->dirty_slot = NO_SLOT;
		cachei_chunk_changed(ch, true);
	}
	cachei_chunk_check(ch);
	if (ch->clean_slot != NO_SLOT || ch->sealed_slot != NO_SLOT || ch->dirty_slot != NO_SLOT ||
	    (ch->dirty | ch->sealed) != 0 || ch->fetching != 0 || ch->busy != 0 || ch->pins != 0)
		return false;
	if ((ch->flags & CHUNK_STORED) != 0) {
		key = cachei_vec_push(&s->pend.dead_chunks, sizeof(*key));
		key->file_id = ch->file->id;
		key->no = ch->no;
	}
	chunk_forget(ch);
	return true;
}

void
cachei_chunk_unpin(struct cache_space *s, struct chunk *ch)
{
	CW_ASSERT(ch->pins > 0);
	if (--ch->pins > 0)
		return;
	if ((ch->flags & CHUNK_DEAD) != 0) /* its file may be gone */
		cachei_slab_put(s, ch);
	else
		cachei_chunk_tidy(ch);
}

void
cachei_chunk_kill(struct chunk *ch)
{
	struct cache_space *s = ch->file->space;

	cachei_chunk_drop_clean(ch);
	cachei_chunk_set_sealed(ch, 0, 0);
	cachei_chunk_set_dirty(ch, 0, 0);
	ch->sealed_unsynced = ch->dirty_unsynced = 0;
	if (ch->sealed_slot != NO_SLOT)
		cachei_slot_free(s, ch->sealed_slot);
	if (ch->dirty_slot != NO_SLOT)
		cachei_slot_free(s, ch->dirty_slot);
	ch->sealed_slot = ch->dirty_slot = NO_SLOT;
	chunk_forget(ch);
}

static void
check_slot(const struct chunk *ch, int32_t slot, uint64_t mask)
{
	const struct slots *sl = &ch->file->space->slots;

	if (slot == NO_SLOT) {
		CW_ASSERT(mask == 0);
		return;
	}
	CW_ASSERT(slot >= 0 && (uint32_t)slot < sl->n);
	CW_ASSERT(sl->v[slot].state == SLOT_USED);
}

void
cachei_chunk_check(const struct chunk *ch)
{
#ifdef CW_DEBUG
	check_slot(ch, ch->clean_slot, ch->clean | ch->clean_row);
	check_slot(ch, ch->sealed_slot, sealed_data(ch));
	check_slot(ch, ch->dirty_slot, dirty_data(ch));
	CW_ASSERT(ch->clean_slot == NO_SLOT || ch->clean_slot != ch->sealed_slot);
	CW_ASSERT(ch->clean_slot == NO_SLOT || ch->clean_slot != ch->dirty_slot);
	CW_ASSERT(ch->dirty_slot == NO_SLOT || ch->dirty_slot != ch->sealed_slot);
	CW_ASSERT((ch->clean_lazy & ~ch->clean) == 0);
	CW_ASSERT((ch->sealed_zero & ~ch->sealed) == 0 && (ch->dirty_zero & ~ch->dirty) == 0);
	CW_ASSERT((ch->sealed_unsynced & ~sealed_data(ch)) == 0);
	CW_ASSERT((ch->dirty_unsynced & ~dirty_data(ch)) == 0);
	CW_ASSERT((ch->busy & dirty_data(ch)) == 0);
	CW_ASSERT(list_empty(&ch->active) == ((ch->dirty | ch->sealed) == 0));
	CW_ASSERT(ch->sealed == 0 || ch->file->has_sealed);
#else
	(void)ch;
	(void)check_slot;
#endif
}
