/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.c - which 256 KiB slots of a space's data file are in use.
 *
 * A slot that was given back may be named by the durable index for a while: it goes through LIMBO
 * until the transaction that un-names it is durable, through GRAVE while a reader is still in it,
 * and only then may be re-used (READY).  What is not re-used is punched by the evictor (FREE).
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

#define SLOTS_MAX (1u << 30)

static void
map_set(struct slots *sl, uint32_t slot, bool is_free)
{
	uint64_t bit = 1ull << (slot & 63);

	if (is_free) {
		sl->freemap[slot >> 6] |= bit;
		sl->nfree++;
	} else {
		sl->freemap[slot >> 6] &= ~bit;
		sl->nfree--;
	}
}

static bool
map_get(const struct slots *sl, uint32_t slot)
{
	return slot < sl->n && (sl->freemap[slot >> 6] >> (slot & 63) & 1) != 0;
}

void
cachei_slots_grow(struct cache_space *s, uint32_t n)
{
	struct slots *sl = &s->slots;
	uint32_t old_cap = sl->cap;

	CW_ASSERT(n <= SLOTS_MAX);
	if (n > sl->cap) {
		while (sl->cap < n)
			sl->cap = sl->cap == 0 ? 1024 : sl->cap * 2;
		sl->v = xrealloc(sl->v, sl->cap * sizeof(*sl->v));
		memset(sl->v + old_cap, 0, (sl->cap - old_cap) * sizeof(*sl->v));
		sl->freemap = xrealloc(sl->freemap, sl->cap / 64 * sizeof(*sl->freemap));
		memset(
		    sl->freemap + old_cap / 64, 0, (sl->cap - old_cap) / 64 * sizeof(*sl->freemap));
	}
	while (sl->n < n)
		map_set(sl, sl->n++, true);
}

/* find_free - next free slot at or after the cursor, around the end; only called when there is one. */
static uint32_t
find_free(struct slots *sl)
{
	uint32_t nwords = (sl->n + 63) / 64, w = sl->cursor / 64;
	uint64_t bits;

	if (w >= nwords)
		w = 0;
	bits = sl->freemap[w] & (BLOCKS_ALL << (sl->cursor & 63));
	for (uint32_t i = 0; i <= nwords; i++) {
		if (bits != 0)
			return w * 64 + (uint32_t)__builtin_ctzll(bits);
		w = w + 1 == nwords ? 0 : w + 1;
		bits = sl->freemap[w];
	}
	fatal_at(__FILE__, __LINE__, "free slot count is wrong");
}

int32_t
cachei_slot_alloc(struct cache_space *s, int32_t hint)
{
	struct slots *sl = &s->slots;
	uint32_t slot;

	if (hint != NO_SLOT && map_get(sl, (uint32_t)hint)) {
		slot = (uint32_t)hint;
	} else {
		if (sl->nfree == 0)
			cachei_slots_grow(s, sl->n + 1);
		slot = find_free(sl);
	}
	sl->cursor = slot + 1 >= sl->n ? 0 : slot + 1;
	map_set(sl, slot, false);
	if (sl->v[slot].state == SLOT_READY)
		sl->nready--;
	CW_ASSERT(sl->v[slot].refs == 0);
	sl->v[slot].state = SLOT_USED;
	sl->v[slot].is_named = sl->v[slot].has_redo = false;
	return (int32_t)slot;
}

int
cachei_slot_claim(struct cache_space *s, int32_t slot)
{
	struct slots *sl = &s->slots;

	if (slot < 0 || (uint32_t)slot >= SLOTS_MAX)
		return -EUCLEAN;
	cachei_slots_grow(s, (uint32_t)slot + 1);
	if (!map_get(sl, (uint32_t)slot))
		return -EUCLEAN;
	map_set(sl, (uint32_t)slot, false);
	if (sl->v[slot].state == SLOT_READY)
		sl->nready--;
	sl->v[slot].state = SLOT_USED;
	sl->v[slot].is_named = true;
	return 0;
}

static void
slot_ready(struct cache_space *s, int32_t slot)
{
	struct slots *sl = &s->slots;

	sl->v[slot].state = SLOT_READY;
	map_set(sl, (uint32_t)slot, true);
	sl->nready++;
	*(int32_t *)cachei_vec_push(&sl->ready, sizeof(slot)) = slot;
	cachei_evict_kick(s->cache);
}

void
cachei_slot_release(struct cache_space *s, int32_t slot)
{
	if (s->slots.v[slot].refs > 0)
		s->slots.v[slot].state = SLOT_GRAVE;
	else
		slot_ready(s, slot);
}

void
cachei_slot_free(struct cache_space *s, int32_t slot)
{
	struct slot *v = &s->slots.v[slot];

	CW_ASSERT(v->state == SLOT_USED);
	if (!v->is_named) {
		cachei_slot_release(s, slot);
		return;
	}
	v->state = SLOT_LIMBO;
	*(int32_t *)cachei_vec_push(&s->pend.limbo, sizeof(slot)) = slot;
}

void
cachei_slot_ref(struct cache_space *s, int32_t slot)
{
	CW_ASSERT(s->slots.v[slot].refs < UINT16_MAX);
	s->slots.v[slot].refs++;
}

void
cachei_slot_unref(struct cache_space *s, int32_t slot)
{
	struct slot *v = &s->slots.v[slot];

	CW_ASSERT(v->refs > 0);
	if (--v->refs == 0 && v->state == SLOT_GRAVE)
		slot_ready(s, slot);
}

/* take_run - adjacent READY slots, marked PUNCHING. locked */
static uint32_t
take_run(struct cache_space *s, uint32_t max, uint32_t *first)
{
	struct slots *sl = &s->slots;
	uint32_t slot, n = 0;

	while (sl->ready.n > 0) {
		slot = (uint32_t)((int32_t *)sl->ready.p)[--sl->ready.n];
		if (sl->v[slot].state != SLOT_READY)
			continue;
		while (slot > 0 && sl->v[slot - 1].state == SLOT_READY && n + 1 < max) {
			slot--;
			n++;
		}
		*first = slot;
		for (n = 0; n < max && slot + n < sl->n && sl->v[slot + n].state == SLOT_READY;
		     n++) {
			sl->v[slot + n].state = SLOT_PUNCHING;
			map_set(sl, slot + n, false);
			sl->nready--;
		}
		return n;
	}
	return 0;
}

unsigned int
cachei_slot_punch(struct cache_space *s, unsigned int max)
{
	uint32_t first = 0, n, total = 0;
	int err;

	while (total < max) {
		cache_space_lock(s);
		n = s->is_closing ? 0 : take_run(s, 1024, &first);
		s->npunching += n;
		cache_space_unlock(s);
		if (n == 0)
			break;
		CACHE_FAILPOINT("punch");
		err = s->cache->os->punch(
		    s->file, slot_off((int32_t)first), (uint64_t)n << CACHE_CHUNK_SHIFT);
		if (err != 0)
			log_warn("cache.slot", "punch-failed", "space=%u slot=%u n=%u err=\"%s\"",
			    s->id, first, n, err_str(err));
		cache_space_lock(s);
		for (uint32_t i = 0; i < n; i++) {
			s->slots.v[first + i].state = SLOT_FREE;
			map_set(&s->slots, first + i, true);
		}
		s->npunching -= n;
		cachei_idle_signal(s);
		cache_space_unlock(s);
		total += n;
	}
	return total;
}

void
cachei_slots_free(struct slots *sl)
{
	free(sl->v);
	free(sl->freemap);
	cachei_vec_free(&sl->ready);
	memset(sl, 0, sizeof(*sl));
}
