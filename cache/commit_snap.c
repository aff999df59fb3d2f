/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit_snap.c - what a commit takes from a space, and what becomes of it afterwards.
 *
 * The order that keeps P1: a block's bit is set after its bytes are in the page cache; the snapshot
 * copies the bits into rows; only then the data file is synced (or the bytes ride along as redo rows);
 * only then the transaction is applied.  Fetched blocks (lazy) are named only in rounds that sync.
 * Slots that were given back before the snapshot are un-named by its transaction and free after it.
 */
#include <string.h>

#include "cache/cache_int.h"
#include "cache/redo.h"

/* survey - what waits in the changed chunks. locked */
static uint64_t
survey(const struct cache_space *s, bool *has_rows)
{
	struct list *l;
	uint64_t bytes = 0;

	*has_rows =
	    s->pend.dead_files.n + s->pend.dead_chunks.n + s->pend.seals.n + s->pend.limbo.n > 0;
	list_for_each(l, &s->changed)
	{
		struct chunk *ch = container_of(l, struct chunk, link);

		bytes += (uint64_t)(blocks_of(ch->dirty_unsynced) + blocks_of(ch->sealed_unsynced))
			 << CACHE_BLOCK_SHIFT;
		*has_rows = *has_rows || (ch->flags & CHUNK_ROW) != 0;
	}
	return bytes;
}

static void
name_slot(struct cache_space *s, int32_t slot)
{
	if (slot != NO_SLOT)
		s->slots.v[slot].is_named = true;
}

/* put_row - what the index shall say about the chunk. locked */
static void
put_row(struct commit_space *cs, struct commit_entry *e)
{
	struct cache_space *s = cs->s;
	struct chunk *ch = e->ch;
	struct index_chunk row = {.file_id = ch->file->id,
	    .chunk_no = ch->no,
	    .space = s->id,
	    .clean_slot = NO_SLOT,
	    .sealed_slot = NO_SLOT,
	    .dirty_slot = NO_SLOT};

	if (e->row_clean != 0) {
		row.clean_slot = ch->clean_slot;
		row.clean_mask = e->row_clean;
	}
	if (sealed_data(ch) != 0)
		row.sealed_slot = ch->sealed_slot;
	row.sealed_mask = ch->sealed;
	row.sealed_zero = ch->sealed_zero;
	if (dirty_data(ch) != 0)
		row.dirty_slot = ch->dirty_slot;
	row.dirty_mask = ch->dirty;
	row.dirty_zero = ch->dirty_zero;
	name_slot(s, (int32_t)row.clean_slot);
	name_slot(s, (int32_t)row.sealed_slot);
	name_slot(s, (int32_t)row.dirty_slot);
	if ((row.clean_mask | row.sealed_mask | row.dirty_mask) != 0) {
		index_txn_put_chunk(cs->txn, &row);
		ch->flags |= CHUNK_STORED;
	} else if ((ch->flags & CHUNK_STORED) != 0) {
		index_txn_del_chunk(cs->txn, row.file_id, row.chunk_no);
	}
}

static void
take_chunk(struct commit_space *cs, struct chunk *ch)
{
	struct commit_entry *e = cachei_vec_push(&cs->entries, sizeof(*e));

	list_del(&ch->link);
	e->ch = ch;
	e->clean_slot = ch->clean_slot;
	e->sealed_slot = ch->sealed_slot;
	e->dirty_slot = ch->dirty_slot;
	e->lazy = cs->want_sync ? ch->clean_lazy : 0;
	e->sealed_unsynced = ch->sealed_unsynced;
	e->dirty_unsynced = ch->dirty_unsynced;
	e->row_clean = ch->clean & ~(ch->clean_lazy & ~e->lazy);
	e->has_row = (ch->flags & CHUNK_ROW) != 0 || e->lazy != 0;
	if (e->has_row) {
		put_row(cs, e);
		ch->clean_row |= e->row_clean;
	}
	ch->sealed_unsynced = ch->dirty_unsynced = 0;
	ch->pins++;
	ch->flags &= (uint16_t) ~(CHUNK_QUEUED | CHUNK_ON_LAZY | CHUNK_ROW);
	ch->flags |= CHUNK_TAKEN;
	if (ch->clean_lazy != 0 && e->lazy == 0)
		cachei_chunk_lazy(ch);
}

/* take_pend - deletions and slots. They go before the rows that may make the same keys again. */
static void
take_pend(struct commit_space *cs)
{
	struct cache_space *s = cs->s;
	struct pend *p = &cs->pend;

	*p = s->pend;
	memset(&s->pend, 0, sizeof(s->pend));
	for (uint32_t i = 0; i < p->dead_files.n; i++)
		index_txn_del_file_chunks(cs->txn, ((uint64_t *)p->dead_files.p)[i]);
	for (uint32_t i = 0; i < p->dead_chunks.n; i++) {
		const struct chunk_key *k = (struct chunk_key *)p->dead_chunks.p + i;

		index_txn_del_chunk(cs->txn, k->file_id, k->no);
	}
	for (uint32_t i = 0; i < p->seals.n; i++) {
		const struct seal_op *op = (struct seal_op *)p->seals.p + i;
		struct index_seal row = {op->file_id, s->id, op->base_limit};

		if (op->is_delete)
			index_txn_del_seal(cs->txn, op->file_id);
		else
			index_txn_put_seal(cs->txn, &row);
	}
	for (uint32_t i = 0; i < p->limbo.n && !cs->want_sync; i++) {
		int32_t slot = ((int32_t *)p->limbo.p)[i];

		if (s->slots.v[slot].has_redo)
			index_txn_clear_redo_slot(cs->txn, s->id, slot);
	}
}

void
cachei_snap_take(struct commit_space *cs, uint64_t *redo_bytes)
{
	struct cache_space *s = cs->s;
	uint64_t bytes;
	bool has_rows, is_few;

	cache_space_lock(s);
	s->flush_lazy = s->flush_lazy || cs->is_tidy;
	if (s->ops->collect != NULL)
		s->ops->collect(s->owner, cs->txn);
	bytes = survey(s, &has_rows);
	has_rows = has_rows || !index_txn_empty(cs->txn);
	if (bytes > 0) {
		is_few = !s->flush_lazy && *redo_bytes + bytes <= REDO_GROUP_MAX;
		/* with no row to write an fdatasync alone is as cheap as a transaction */
		cs->use_redo = is_few && (has_rows || s->redo_bytes > 0) &&
			       s->redo_bytes + bytes <= REDO_TOTAL_MAX &&
			       cachei_redo_pays(s, bytes) && index_has_redo_room(s->cache->index);
		cs->want_sync = !cs->use_redo;
		cs->is_sample = cs->want_sync && is_few && s->redo_bytes == 0;
	} else if (s->flush_lazy) {
		cs->want_sync =
		    !list_empty(&s->lazy) || !list_empty(&s->changed) || s->redo_bytes > 0;
	}
	if (s->force_sync) {
		cs->want_sync = true;
		cs->use_redo = false;
	}
	if (cs->use_redo)
		*redo_bytes += bytes;
	if (cs->want_sync) {
		s->flush_lazy = s->force_sync = false;
		s->lazy_bytes = 0;
	}
	cs->clears_redo = s->redo_bytes > 0 && (cs->want_sync || s->redo_stale);
	if (cs->clears_redo)
		index_txn_clear_redo(cs->txn, s->id);
	take_pend(cs);
	/* one pass: take_chunk may put a chunk on s->lazy, which is empty by then if it matters */
	while (cs->want_sync && !list_empty(&s->lazy))
		take_chunk(cs, container_of(s->lazy.next, struct chunk, link));
	while (!list_empty(&s->changed))
		take_chunk(cs, container_of(s->changed.next, struct chunk, link));
	cache_space_unlock(s);
}

void
cachei_pend_free(struct pend *p)
{
	cachei_vec_free(&p->dead_files);
	cachei_vec_free(&p->dead_chunks);
	cachei_vec_free(&p->seals);
	cachei_vec_free(&p->limbo);
}

static void
give_back(struct cache_space *s, struct chunk *ch)
{
	ch->flags &= (uint16_t)~CHUNK_TAKEN;
	cachei_chunk_unpin(s, ch);
}

void
cachei_snap_done(struct commit_space *cs)
{
	struct cache_space *s = cs->s;
	const int32_t *limbo = cs->pend.limbo.p;

	cache_space_lock(s);
	if (cs->clears_redo)
		cachei_redo_forget(s);
	if (cs->use_redo)
		cachei_redo_note(cs);
	for (uint32_t i = 0; i < cs->entries.n; i++) {
		struct commit_entry *e = (struct commit_entry *)cs->entries.p + i;
		struct chunk *ch = e->ch;

		if ((ch->flags & CHUNK_DEAD) == 0 && ch->clean_slot == e->clean_slot) {
			ch->clean_lazy &= ~e->lazy;
			if (e->has_row)
				ch->clean_row = e->row_clean;
		}
		give_back(s, ch);
	}
	for (uint32_t i = 0; i < cs->pend.limbo.n; i++)
		cachei_slot_release(s, limbo[i]);
	cachei_vec_free(&cs->entries);
	cachei_pend_free(&cs->pend);
	cache_space_unlock(s);
}

/* distrust - these blocks of a slot are not durable after all; find which layer they are in now. */
static void
distrust(struct chunk *ch, int32_t slot, uint64_t mask)
{
	if ((ch->flags & CHUNK_DEAD) != 0 || slot == NO_SLOT || mask == 0)
		return;
	if (slot == ch->dirty_slot)
		ch->dirty_unsynced |= mask & dirty_data(ch);
	else if (slot == ch->sealed_slot)
		ch->sealed_unsynced |= mask & sealed_data(ch);
	else if (slot == ch->clean_slot)
		ch->clean_lazy |= mask & ch->clean;
	else
		return;
	cachei_chunk_changed(ch, false);
}

/* after_failed_sync - nothing un-synced is trusted: fetched blocks go, dirty ones are copied later. */
static void
after_failed_sync(struct cache_space *s)
{
	struct list *l;

	for (uint32_t i = 0; i < s->redo.n; i++) {
		struct redo_ref *r = (struct redo_ref *)s->redo.p + i;

		distrust(r->ch, r->slot, r->mask);
	}
	while (!list_empty(&s->lazy))
		cachei_chunk_changed(container_of(s->lazy.next, struct chunk, link), true);
	list_for_each(l, &s->changed)
	{
		struct chunk *ch = container_of(l, struct chunk, link);

		if (ch->clean_lazy != 0) {
			cachei_chunk_set_clean(ch, ch->clean & ~ch->clean_lazy);
			ch->clean_lazy = 0;
			ch->flags |= CHUNK_ROW;
		}
		if ((ch->dirty_unsynced | ch->sealed_unsynced) != 0 &&
		    (ch->flags & CHUNK_RELOC) == 0) {
			ch->flags |= CHUNK_RELOC;
			s->nreloc++;
		}
	}
}

void
cachei_snap_failed(struct commit_space *cs, bool sync_failed)
{
	struct cache_space *s = cs->s;
	struct pend *p = &cs->pend;

	cache_space_lock(s);
	for (uint32_t i = 0; i < cs->entries.n; i++) {
		struct commit_entry *e = (struct commit_entry *)cs->entries.p + i;

		if ((e->ch->flags & CHUNK_DEAD) == 0)
			cachei_chunk_changed(e->ch, e->has_row);
		if (!cs->did_sync) {
			distrust(e->ch, e->dirty_slot, e->dirty_unsynced);
			distrust(e->ch, e->sealed_slot, e->sealed_unsynced);
		}
	}
	if (cs->did_sync && cs->clears_redo)
		s->redo_stale = true;
	if (cs->err == -ENOSPC) /* no redo rows next time, and give back what they take */
		s->force_sync = true;
	if (sync_failed) {
		s->sync_errors++;
		after_failed_sync(s);
	}
	for (uint32_t i = 0; i < cs->entries.n; i++)
		give_back(s, ((struct commit_entry *)cs->entries.p)[i].ch);
	cachei_vec_prepend(&s->pend.dead_files, &p->dead_files, sizeof(uint64_t));
	cachei_vec_prepend(&s->pend.dead_chunks, &p->dead_chunks, sizeof(struct chunk_key));
	cachei_vec_prepend(&s->pend.seals, &p->seals, sizeof(struct seal_op));
	cachei_vec_prepend(&s->pend.limbo, &p->limbo, sizeof(int32_t));
	cachei_vec_free(&cs->entries);
	cache_space_unlock(s);
	cachei_mark_again(s);
}
