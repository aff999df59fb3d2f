/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.c - freeze one moment of a file for upload, and make it the new base when it is in the bucket.
 *
 * A seal moves bits and slots, no bytes.  It waits for writes in flight and holds new ones back until
 * they have left; the owner's sealed() sees the exact moment, done() is told afterwards.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

struct file_waits *
cachei_waits(struct cache_file *f)
{
	if (f->waits == NULL) {
		f->waits = xcalloc(1, sizeof(*f->waits));
		list_init(&f->waits->idle);
	}
	return f->waits;
}

void
cachei_waits_tidy(struct cache_file *f)
{
	if (f->waits == NULL || f->waits->has_seal || !list_empty(&f->waits->idle))
		return;
	free(f->waits);
	f->waits = NULL;
}

static void
note_seal(struct cache_file *f, bool is_delete)
{
	struct seal_op *op;

	if (!is_delete && f->seal_base_limit == 0)
		return; /* what has no row reads as 0 */
	op = cachei_vec_push(&f->space->pend.seals, sizeof(*op));
	op->file_id = f->id;
	op->base_limit = f->seal_base_limit;
	op->is_delete = is_delete;
}

/* flip - every DIRTY block becomes SEALED. locked; no writer in flight */
static void
flip(struct cache_file *f, uint64_t size)
{
	struct list *l;

	CACHE_FAILPOINT("seal");
	f->has_sealed = true;
	f->sealed_size = f->sealed_limit = size;
	f->seal_base_limit = f->base_limit;
	note_seal(f, false);
	if (f->space->ops->sealed != NULL)
		f->space->ops->sealed(f->space->owner, f->owner);
	list_for_each(l, &f->active)
	{
		struct chunk *ch = container_of(l, struct chunk, active);
		uint64_t mask = ch->dirty, zero = ch->dirty_zero, unsynced = ch->dirty_unsynced;

		CW_ASSERT(ch->sealed_slot == NO_SLOT && ch->sealed == 0);
		ch->sealed_slot = ch->dirty_slot;
		ch->dirty_slot = NO_SLOT;
		ch->dirty_unsynced = 0;
		cachei_chunk_set_sealed(ch, mask, zero);
		ch->sealed_unsynced = unsynced;
		cachei_chunk_set_dirty(ch, 0, 0);
		if (f->space->is_pinned &&
		    (ch->clean & mask) != 0) { /* settle.c writes there (C8) */
			cachei_chunk_set_clean(ch, ch->clean & ~mask);
			ch->clean_lazy &= ch->clean;
		}
		cachei_chunk_changed(ch, true);
		cachei_chunk_check(ch);
	}
}

struct seal_report {
	struct work work;
	struct cache_file *file;
	void (*done)(void *arg);
	void *arg;
};

static void
seal_report(struct work *w)
{
	struct seal_report *r = container_of(w, struct seal_report, work);
	struct cache_space *s = r->file->space;

	r->done(r->arg);
	cache_space_lock(s);
	cachei_io_leave(r->file);
	cache_space_unlock(s);
	free(r);
}

void
cachei_seal_note_write(struct cache_file *f, uint64_t end)
{
	f->waits->seal_size = max64(f->waits->seal_size, end);
}

void
cachei_seal_flip_pending(struct cache_file *f)
{
	struct seal_report *r = xcalloc(1, sizeof(*r));
	struct file_waits *fw = f->waits;

	flip(f, fw->seal_size);
	f->seal_pending = false;
	r->work.fn = seal_report;
	r->file = f;
	r->done = fw->seal_done;
	r->arg = fw->seal_arg;
	fw->has_seal = false;
	cachei_wake(f, IO_WAIT_SEAL, 0, 0, 0);
	cachei_waits_tidy(f);
	workq_submit(f->space->cache->wq, &r->work);
}

int
cache_seal(struct cache_file *f, uint64_t size, void (*done)(void *arg), void *arg)
{
	struct file_waits *fw;

	if (f->has_sealed || f->seal_pending)
		return -EALREADY;
	if (f->nwriters == 0) {
		flip(f, size);
		return 0;
	}
	fw = cachei_waits(f);
	fw->has_seal = true;
	fw->seal_done = done;
	fw->seal_arg = arg;
	fw->seal_size = size;
	f->seal_pending = true;
	f->nio++;
	f->space->nio++;
	return -EINPROGRESS;
}

/* each block of [off, off+len): chunk may be NULL */
static bool
any_sealed(const struct cache_file *f, uint64_t off, uint64_t len)
{
	uint64_t b = off >> CACHE_BLOCK_SHIFT, last = (off + len - 1) >> CACHE_BLOCK_SHIFT;

	while (b <= last) {
		const struct chunk *ch = cachei_chunk_find(f, (uint32_t)(b / CACHE_CHUNK_BLOCKS));
		uint32_t in = (uint32_t)(b % CACHE_CHUNK_BLOCKS);
		uint32_t n = (uint32_t)min64(CACHE_CHUNK_BLOCKS - in, last - b + 1);

		if (ch != NULL && (ch->sealed & cachei_mask(in, n)) != 0)
			return true;
		b += n;
	}
	return false;
}

bool
cache_sealed_in(const struct cache_file *f, uint64_t off, uint64_t len)
{
	if (len == 0)
		return false;
	return off + len > f->seal_base_limit || any_sealed(f, off, len);
}

bool
cache_sealed_local(const struct cache_file *f, uint64_t off, uint64_t len)
{
	uint64_t end = min64(off + len, f->seal_base_limit);
	uint64_t b = off >> CACHE_BLOCK_SHIFT,
		 last = (end + CACHE_BLOCK_SIZE - 1) >> CACHE_BLOCK_SHIFT;

	if (off >= f->seal_base_limit)
		return true;
	while (b < last) {
		const struct chunk *ch = cachei_chunk_find(f, (uint32_t)(b / CACHE_CHUNK_BLOCKS));
		uint32_t in = (uint32_t)(b % CACHE_CHUNK_BLOCKS);
		uint32_t n = (uint32_t)min64(CACHE_CHUNK_BLOCKS - in, last - b);
		uint64_t mask = cachei_mask(in, n);

		if (ch == NULL || ((ch->sealed | ch->clean) & mask) != mask)
			return false;
		b += n;
	}
	return true;
}

/* keep_mask - blocks of the chunk that lie whole below `limit`. */
static uint64_t
keep_mask(uint32_t no, uint64_t limit)
{
	uint64_t start = (uint64_t)no << CACHE_CHUNK_SHIFT;

	if (limit <= start)
		return 0;
	return cachei_mask(
	    0, (uint32_t)(min64(limit - start, CACHE_CHUNK_SIZE) >> CACHE_BLOCK_SHIFT));
}

/* keep_clean - the old CLEAN slot stays; what of SEALED is not in it is refilled after it was un-named
 * there (C3), or, in a pinned space, was settled before. locked */
static void
keep_clean(struct chunk *ch, int32_t sealed_slot, uint64_t sealed, uint64_t keep)
{
	struct cache_space *s = ch->file->space;

	if (s->is_pinned)
		keep |= sealed;
	if (ch->clean_slot != NO_SLOT && keep != ch->clean) {
		/* the row may go on naming what stays */
		cachei_chunk_set_clean(ch, keep);
		ch->clean_lazy &= keep;
		cachei_chunk_changed(ch, true);
	}
	if (sealed_slot == NO_SLOT)
		return;
	if (!s->is_pinned)
		cachei_refill(ch, sealed_slot, sealed & ~ch->fetching);
	cachei_slot_free(s, sealed_slot);
	cachei_chunk_changed(ch, true);
}

/* chunk_seal_done - SEALED becomes CLEAN; of two slots the one with more blocks stays, and takes in what
 * the other has. locked */
static void
chunk_seal_done(struct chunk *ch, uint64_t old_base_limit)
{
	struct cache_space *s = ch->file->space;
	uint64_t sealed = sealed_data(ch), unsynced = ch->sealed_unsynced, named = sealed;
	uint64_t keep = ch->clean & ~ch->sealed & keep_mask(ch->no, old_base_limit);
	int32_t slot = ch->sealed_slot;

	if ((ch->flags & CHUNK_RELOC) != 0)
		sealed &=
		    ~unsynced; /* a failed sync may have lost them, the bucket has them (P6) */

	if (ch->sealed != 0)
		cachei_chunk_changed(ch, true);
	cachei_chunk_set_sealed(ch, 0, 0);
	ch->sealed_unsynced = 0;
	ch->sealed_slot = NO_SLOT;
	ch->flags &= (uint16_t)~CHUNK_SETTLED;
	if (slot == NO_SLOT || (sealed == 0 && keep != 0) ||
	    (s->is_pinned ? keep != 0 : blocks_of(keep) > blocks_of(sealed))) {
		keep_clean(ch, slot, sealed, keep);
		return;
	}
	if (!s->is_pinned &&
	    ch->clean_slot != NO_SLOT) /* no row names them in the slot that stays */
		cachei_refill(ch, ch->clean_slot, keep & ~ch->fetching);
	cachei_chunk_drop_clean(ch);
	ch->clean_slot = slot;
	ch->clean_row = named;
	cachei_chunk_set_clean(ch, sealed);
	ch->clean_lazy = unsynced & sealed;
	list_add_tail(&s->lru, &ch->lru);
	ch->flags |= CHUNK_REF;
}

/* cut_clean - chunks without SEALED blocks: only those may have to change that lie where the old base
 * ended, or, after a truncation, behind that. locked */
static void
cut_clean(struct cache_file *f, uint64_t old_base_limit)
{
	struct chunk *ch;
	uint32_t pos = 0;

	if (!f->has_cut_base) {
		ch = cachei_chunk_find(f, (uint32_t)(old_base_limit >> CACHE_CHUNK_SHIFT));
		if (ch != NULL && ch->sealed == 0) {
			chunk_seal_done(ch, old_base_limit);
			cachei_chunk_tidy(ch);
		}
	}
	while (f->has_cut_base && (ch = cachei_chunk_next(f, &pos)) != NULL) {
		if (ch->sealed != 0)
			continue;
		chunk_seal_done(ch, old_base_limit);
		if (cachei_chunk_tidy(ch))
			pos--;
	}
	/* also without a walk: after a restart the uploader may have fetched what a truncation hid before */
	f->has_cut_base = f->sealed_limit < f->sealed_size;
}

void
cache_seal_done(struct cache_file *f)
{
	uint64_t old_base_limit = f->seal_base_limit;
	struct list *l, *tmp;

	CW_ASSERT(f->has_sealed && !f->seal_pending);
	CW_ASSERT(cache_is_settled(f));
	CACHE_FAILPOINT("seal-done");
	f->base_gen++;
	cachei_bufs_drop(f);
	f->base_limit = f->sealed_limit;
	note_seal(f, true);
	cut_clean(f, old_base_limit);
	list_for_each_safe(l, tmp, &f->active)
	{
		struct chunk *ch = container_of(l, struct chunk, active);

		if (ch->sealed == 0)
			continue;
		chunk_seal_done(ch, old_base_limit);
		cachei_chunk_tidy(ch);
	}
	f->has_sealed = false;
	f->sealed_limit = f->sealed_size = f->seal_base_limit = 0;
	cache_mark(f->space);
	cachei_space_freed(f->space->cache);
}
