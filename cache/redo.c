/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redo.c - few bytes become durable inside the index transaction, and data that a failed sync touched
 * gets a second life.
 *
 * A redo row holds one block as it was at a commit.  Rows of a space are all deleted in the
 * transaction that follows an fdatasync of its data file, and those of a slot in the one that frees
 * the slot, so a row is never replayed over newer durable bytes or into a slot of someone else.
 *
 * A row spares a wait for the disk and costs the CPU: its block is read back, copied into the index's
 * log, and gone over once more when that is taken in.  So rows are used where an fdatasync takes longer than that,
 * which disks differ in by a factor of two hundred: what syncs of few blocks take is measured.
 */
#include <stdlib.h>

#include "cache/cache_int.h"
#include "cache/redo.h"
#include "gateway/base/clock.h"

#define SYNC_LOOK_NS                                                                               \
	1000000000ull /* an estimate older than this is looked at again, once no rows exist */

uint64_t cachei_redo_row_ns = 10000;

bool
cachei_redo_pays(const struct cache_space *s, uint64_t bytes)
{
	if (cachei_redo_row_ns == 0)
		return true;
	if (s->redo_bytes == 0 && clock_mono_ns() - s->sync_seen_ns >= SYNC_LOOK_NS)
		return false;
	return (bytes >> CACHE_BLOCK_SHIFT) * cachei_redo_row_ns < s->sync_ns;
}

void
cachei_redo_sync_took(struct cache_space *s, uint64_t ns)
{
	/* down at once by half, up slowly: a sync that met other traffic says little about the next one */
	if (s->sync_seen_ns == 0)
		s->sync_ns = ns;
	else if (ns < s->sync_ns)
		s->sync_ns = (s->sync_ns + ns) / 2;
	else
		s->sync_ns += (min64(ns, 4 * s->sync_ns) - s->sync_ns) / 8;
	s->sync_seen_ns = clock_mono_ns();
}

static int
put_blocks(struct commit_space *cs, int32_t slot, uint64_t mask)
{
	struct cache_space *s = cs->s;
	char block[CACHE_BLOCK_SIZE];

	for (; mask != 0; mask &= mask - 1) {
		uint32_t b = (uint32_t)__builtin_ctzll(mask);
		int err = s->cache->os->pread(s->file, block, sizeof(block),
		    slot_off(slot) + (uint64_t)b * CACHE_BLOCK_SIZE, false);

		if (err != 0)
			return err;
		index_txn_put_redo(cs->txn, s->id, slot, b, block);
	}
	return 0;
}

int
cachei_redo_put(struct commit_space *cs)
{
	int err = 0;

	for (uint32_t i = 0; i < cs->entries.n && err == 0; i++) {
		struct commit_entry *e = (struct commit_entry *)cs->entries.p + i;

		/* a slot freed since the snapshot stays in limbo until a later commit, so it still holds
		 * the bytes that the rows of this one name */
		err = put_blocks(cs, e->dirty_slot, e->dirty_unsynced);
		if (err == 0)
			err = put_blocks(cs, e->sealed_slot, e->sealed_unsynced);
	}
	return err;
}

static void
note_ref(struct cache_space *s, struct chunk *ch, int32_t slot, uint64_t mask)
{
	struct redo_ref *r;
	uint64_t bytes = (uint64_t)blocks_of(mask) << CACHE_BLOCK_SHIFT;

	if (mask == 0)
		return;
	r = cachei_vec_push(&s->redo, sizeof(*r));
	r->ch = ch;
	r->slot = slot;
	r->mask = mask;
	ch->pins++;
	s->redo_bytes += bytes;
	s->cache->redo_bytes += bytes;
	s->slots.v[slot].has_redo = true;
}

void
cachei_redo_note(struct commit_space *cs)
{
	for (uint32_t i = 0; i < cs->entries.n; i++) {
		struct commit_entry *e = (struct commit_entry *)cs->entries.p + i;

		note_ref(cs->s, e->ch, e->dirty_slot, e->dirty_unsynced);
		note_ref(cs->s, e->ch, e->sealed_slot, e->sealed_unsynced);
	}
}

void
cachei_redo_forget(struct cache_space *s)
{
	for (uint32_t i = 0; i < s->redo.n; i++) {
		struct redo_ref *r = (struct redo_ref *)s->redo.p + i;

		s->slots.v[r->slot].has_redo = false;
		cachei_chunk_unpin(s, r->ch);
	}
	cachei_vec_free(&s->redo);
	s->redo_bytes = 0;
	s->redo_stale = false;
}

/* --- start-up ---------------------------------------------------------------------------------------- */

struct replay {
	struct cache_space *s;
	uint64_t nblocks;
};

static int
replay_block(void *arg, int64_t slot, uint32_t block, const void *data)
{
	struct replay *r = arg;

	if (slot < 0 || slot > INT32_MAX || block >= CACHE_CHUNK_BLOCKS)
		return -EUCLEAN;
	r->nblocks++;
	return r->s->cache->os->pwrite(r->s->file, data, CACHE_BLOCK_SIZE,
	    slot_off((int32_t)slot) + (uint64_t)block * CACHE_BLOCK_SIZE);
}

int
cachei_redo_replay(struct cache_space *s)
{
	struct replay r = {s, 0};
	struct index_txn *t;
	int err;

	err = index_each_redo(s->cache->index, s->id, replay_block, &r);
	if (err != 0 || r.nblocks == 0)
		return err;
	CACHE_FAILPOINT("replay-before-sync");
	err = s->cache->os->sync(s->file);
	if (err != 0)
		return err;
	t = index_txn_new();
	index_txn_clear_redo(t, s->id);
	CACHE_FAILPOINT("replay-before-txn");
	err = index_apply(s->cache->index, t);
	index_txn_free(t);
	log_info(
	    "cache.redo", "replayed", "space=%u blocks=%llu", s->id, (unsigned long long)r.nblocks);
	return err;
}

/* --- after a failed sync ------------------------------------------------------------------------------- */

static int
copy_blocks(struct cache_space *s, int32_t from, int32_t to, uint64_t mask)
{
	char block[CACHE_BLOCK_SIZE];

	for (; mask != 0; mask &= mask - 1) {
		uint64_t in = (uint64_t)__builtin_ctzll(mask) * CACHE_BLOCK_SIZE;
		int err =
		    s->cache->os->pread(s->file, block, sizeof(block), slot_off(from) + in, false);

		if (err == 0)
			err =
			    s->cache->os->pwrite(s->file, block, sizeof(block), slot_off(to) + in);
		if (err != 0)
			return err;
	}
	return 0;
}

/* layer_of - blocks of the slot, as DIRTY or SEALED bytes. locked */
static uint64_t
layer_of(const struct chunk *ch, int32_t slot)
{
	if ((ch->flags & CHUNK_DEAD) != 0 || slot == NO_SLOT)
		return 0;
	if (slot == ch->dirty_slot)
		return dirty_data(ch);
	return slot == ch->sealed_slot ? sealed_data(ch) : 0;
}

/* move_slot - all of a layer to a fresh slot. locked, unlocks for the copy */
static int
move_slot(struct cache_space *s, struct chunk *ch, int32_t old)
{
	uint64_t mask = layer_of(ch, old);
	int32_t fresh;
	int err;

	if (mask == 0)
		return 0;
	fresh = cachei_slot_alloc(s, NO_SLOT);
	cachei_slot_ref(s, old);
	cache_space_unlock(s);
	err = copy_blocks(s, old, fresh, mask);
	cache_space_lock(s);
	cachei_slot_unref(s, old);
	if (err == 0 && (ch->flags & CHUNK_DEAD) == 0 && ch->dirty_slot == old) {
		ch->dirty_slot = fresh;
		ch->dirty_unsynced = dirty_data(ch);
	} else if (err == 0 && (ch->flags & CHUNK_DEAD) == 0 && ch->sealed_slot == old) {
		ch->sealed_slot = fresh;
		ch->sealed_unsynced = sealed_data(ch);
	} else { /* uploaded meanwhile: what may be lost was not made CLEAN (seal.c) */
		cachei_slot_free(s, fresh);
		return err;
	}
	cachei_slot_free(s, old);
	cachei_chunk_changed(ch, true);
	return 0;
}

static int
relocate_chunk(struct cache_space *s, struct chunk *ch)
{
	int32_t sealed = NO_SLOT, dirty = NO_SLOT;
	int err;

	ch->pins++;
	ch->flags |= CHUNK_HOLD;
	s->nidle_waiters++;
	while (ch->nwriters > 0)
		pthread_cond_wait(&s->idle, &s->lock);
	s->nidle_waiters--;
	/* both now: while the first is copied, a seal may end and the next one begin, and DIRTY be SEALED */
	if ((ch->flags & CHUNK_DEAD) == 0) {
		sealed = ch->sealed_unsynced != 0 ? ch->sealed_slot : NO_SLOT;
		dirty = ch->dirty_unsynced != 0 ? ch->dirty_slot : NO_SLOT;
	}
	err = move_slot(s, ch, sealed);
	if (err == 0)
		err = move_slot(s, ch, dirty);
	ch->flags &= (uint16_t)~CHUNK_HOLD;
	if ((ch->flags & CHUNK_DEAD) == 0) {
		if (err == 0 && (ch->flags & CHUNK_RELOC) != 0) {
			ch->flags &= (uint16_t)~CHUNK_RELOC;
			s->nreloc--;
		}
		cachei_wake(ch->file, IO_WAIT_BLOCK, 0, 0, 0);
	}
	cachei_chunk_unpin(s, ch);
	return err;
}

int
cachei_relocate(struct cache_space *s)
{
	struct list *l;
	int err = 0;

	cache_space_lock(s);
	while (s->nreloc > 0 && err == 0) {
		struct chunk *found = NULL;

		list_for_each(l, &s->changed)
		{
			struct chunk *ch = container_of(l, struct chunk, link);

			if ((ch->flags & CHUNK_RELOC) != 0) {
				found = ch;
				break;
			}
		}
		CW_ASSERT(found != NULL);
		err = relocate_chunk(s, found);
	}
	cache_space_unlock(s);
	if (err != 0)
		log_err("cache.redo", "copy-failed", "space=%u err=\"%s\": after a failed sync",
		    s->id, err_str(err));
	return err;
}
