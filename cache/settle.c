/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.c - what a seal consists of, and, in pinned spaces, how its bytes get to their final place.
 *
 * When a seal is done, its bytes become CLEAN.  Where the chunk has a CLEAN slot with other blocks, one
 * of the two slots has to take in the other's.  A cache does that later (a "refill") and may lose it, as
 * the bucket has the bytes; in a pinned space the local bytes are all there is without the bucket, so
 * they are copied and made durable first, while the SEALED ones are still named.  The places in the CLEAN
 * slot are free for it: the seal un-named them (C8), and that was durable before the upload began.
 */
#include <stdlib.h>

#include "cache/cache_int.h"

#define SETTLE_BATCH 16384u /* chunks copied before one sync */

/* --- runs ------------------------------------------------------------------------------------------ */

struct sealed_chunk {
	uint32_t no;
	uint64_t mask, zero;
};

static int
by_no(const void *a, const void *b)
{
	const struct sealed_chunk *x = a, *y = b;

	return x->no < y->no ? -1 : x->no > y->no;
}

static void
add_run(struct vec *v, uint64_t off, uint64_t len, bool is_zero)
{
	struct cache_run *runs = v->p, *r;

	if (v->n > 0) {
		r = &runs[v->n - 1];
		if (r->is_zero == is_zero && r->off + r->len == off) {
			r->len += len;
			return;
		}
	}
	r = cachei_vec_push(v, sizeof(*r));
	*r = (struct cache_run){off, len, is_zero};
}

static void
chunk_runs(struct vec *v, const struct sealed_chunk *sc)
{
	uint64_t base = (uint64_t)sc->no << CACHE_CHUNK_SHIFT, left = sc->mask;

	while (left != 0) {
		uint32_t first = (uint32_t)__builtin_ctzll(left), n = 0;
		bool is_zero = (sc->zero >> first & 1) != 0;
		uint64_t same = left & (is_zero ? sc->zero : ~sc->zero);

		while (first + n < CACHE_CHUNK_BLOCKS && (same >> (first + n) & 1) != 0)
			n++;
		left &= ~cachei_mask(first, n);
		add_run(v, base + ((uint64_t)first << CACHE_BLOCK_SHIFT),
		    (uint64_t)n << CACHE_BLOCK_SHIFT, is_zero);
	}
}

void
cache_sealed_runs(struct cache_file *f, struct cache_run **out, size_t *n)
{
	struct vec chunks = {0}, runs = {0};
	struct sealed_chunk *sc;
	struct list *l;

	cache_space_lock(f->space);
	list_for_each(l, &f->active)
	{
		const struct chunk *ch = container_of(l, struct chunk, active);

		if (ch->sealed == 0)
			continue;
		sc = cachei_vec_push(&chunks, sizeof(*sc));
		*sc = (struct sealed_chunk){ch->no, ch->sealed, ch->sealed_zero};
	}
	cache_space_unlock(f->space);
	sc = chunks.p;
	if (chunks.n > 1)
		qsort(sc, chunks.n, sizeof(*sc), by_no);
	for (uint32_t i = 0; i < chunks.n; i++)
		chunk_runs(&runs, &sc[i]);
	cachei_vec_free(&chunks);
	*out = runs.p;
	*n = runs.n;
}

/* --- settling ----------------------------------------------------------------------------------------- */

/* needs_copy - SEALED bytes that will have to be in the CLEAN slot, and are not known to be. */
static bool
needs_copy(const struct chunk *ch)
{
	return sealed_data(ch) != 0 && (ch->clean & ~ch->sealed) != 0 &&
	       (ch->flags & CHUNK_SETTLED) == 0;
}

bool
cache_is_settled(const struct cache_file *f)
{
	const struct list *l;

	if (!f->space->is_pinned || !f->has_sealed)
		return true;
	list_for_each(l, &f->active)
	{
		const struct chunk *ch = container_of(l, struct chunk, active);

		if (ch->sealed != 0 && (needs_copy(ch) || ch->sealed_unsynced != 0))
			return false;
	}
	return true;
}

struct settling {
	struct chunk *ch; /* pinned */
	int32_t from, to; /* slots, referenced */
	uint64_t mask;
};

/* gather - up to SETTLE_BATCH chunks that can be copied now. locked */
static uint32_t
gather(struct cache_file *f, struct settling *v)
{
	struct cache_space *s = f->space;
	struct list *l;
	uint32_t n = 0;

	list_for_each(l, &f->active)
	{
		struct chunk *ch = container_of(l, struct chunk, active);

		if (n == SETTLE_BATCH || !needs_copy(ch) || ch->fetching != 0 ||
		    (ch->clean_row & ~ch->clean & sealed_data(ch)) != 0)
			continue;
		v[n] = (struct settling){ch, ch->sealed_slot, ch->clean_slot, sealed_data(ch)};
		ch->pins++;
		cachei_slot_ref(s, v[n].from);
		cachei_slot_ref(s, v[n].to);
		n++;
	}
	return n;
}

static int
copy_runs(struct cache_space *s, const struct settling *t, char *buf)
{
	uint64_t left = t->mask;
	int err = 0;

	while (left != 0 && err == 0) {
		uint32_t first = (uint32_t)__builtin_ctzll(left), n = 0;
		uint64_t in = (uint64_t)first << CACHE_BLOCK_SHIFT;
		size_t len;

		while (first + n < CACHE_CHUNK_BLOCKS && (left >> (first + n) & 1) != 0)
			n++;
		left &= ~cachei_mask(first, n);
		len = (size_t)n << CACHE_BLOCK_SHIFT;
		err = s->cache->os->pread(s->file, buf, len, slot_off(t->from) + in, false);
		if (err == 0)
			err = s->cache->os->pwrite(s->file, buf, len, slot_off(t->to) + in);
	}
	return err;
}

/* settle_batch - copy, sync, note. v: what gather() took. unlocked */
static int
settle_batch(struct cache_file *f, struct settling *v, uint32_t n, char *buf)
{
	struct cache_space *s = f->space;
	uint32_t sync_errors;
	int err = 0;

	cache_space_lock(s);
	sync_errors = s->sync_errors;
	cache_space_unlock(s);
	for (uint32_t i = 0; i < n && err == 0; i++)
		err = copy_runs(s, &v[i], buf);
	CACHE_FAILPOINT("settle");
	if (err == 0) {
		cache_space_lock(s);
		s->force_sync = true;
		cache_space_unlock(s);
		err = cache_commit_sync(s);
	}
	cache_space_lock(s);
	if (err == 0 && sync_errors != s->sync_errors)
		err = -EIO; /* another round's sync took our pages, and failed (P6) */
	for (uint32_t i = 0; i < n; i++) {
		struct chunk *ch = v[i].ch;

		if (err == 0 && (ch->flags & CHUNK_DEAD) == 0 && ch->clean_slot == v[i].to)
			ch->flags |= CHUNK_SETTLED;
		cachei_slot_unref(s, v[i].from);
		cachei_slot_unref(s, v[i].to);
		cachei_chunk_unpin(s, ch);
	}
	cache_space_unlock(s);
	return err;
}

int
cache_settle(struct cache_file *f)
{
	struct cache_space *s = f->space;
	struct settling *v;
	bool is_done;
	uint32_t n;
	char *buf;
	int err = 0;

	cache_space_lock(s);
	/* bytes that are durable as redo rows only must not become CLEAN: a failed sync drops those */
	is_done = !s->is_pinned || (cache_is_settled(f) && s->redo_bytes == 0);
	cache_space_unlock(s);
	if (is_done)
		return 0;
	v = xmalloc(SETTLE_BATCH * sizeof(*v));
	buf = xmalloc(CACHE_CHUNK_SIZE);
	while (err == 0 && !is_done) {
		cache_space_lock(s);
		n = gather(f, v);
		cache_space_unlock(s);
		/* with none to copy, too: this commit may un-name or sync what is to be */
		err = settle_batch(f, v, n, buf);
		cache_space_lock(s);
		is_done = cache_is_settled(f);
		cache_space_unlock(s);
		if (n == 0 && !is_done && err == 0)
			clock_sleep_ms(5); /* a fetch is landing there */
	}
	free(buf);
	free(v);
	return err;
}
