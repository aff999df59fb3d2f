/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.c - which 256 KiB slots of a space's data file are in use.
 *
 * A slot that was given back may be named by the durable index for a while: it goes through LIMBO
 * until the transaction that un-names it is durable, through GRAVE while a reader is still in it,
 * and only then may be re-used (READY).  What is not re-used is punched by the evictor (FREE).
 *
 * Re-use comes first: a volume that is sealed gives thousands of slots back at a time and wants as many
 * soon after, and punching costs up to milliseconds of the data file, for all who use it.  Its price is
 * what a slot still holds of its former use where it was not written anew ("stale"): no layer counts that, so
 * the number of such slots is bounded (KEEP_SHARE), and the evictor counts them.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_int.h"

#define SLOTS_MAX (1u << 30)
#define PUNCH_RUN 1024u

#define KEEP_SHARE 8u /* of the capacity may be stale */
#define KEEP_MIN 4u   /* slots, however small the cache is */

/* --- sets of slots, and their numbers -------------------------------------------------------------- */

static void
map_add(uint64_t *map, uint32_t slot)
{
	map[slot >> 6] |= 1ull << (slot & 63);
}

static void
map_del(uint64_t *map, uint32_t slot)
{
	map[slot >> 6] &= ~(1ull << (slot & 63));
}

/* set_free, set_ready - the state, and the set that goes with it. */
static void
set_free(struct slots *sl, uint32_t slot)
{
	sl->v[slot].state = SLOT_FREE;
	map_add(sl->freemap, slot);
	sl->nfree++;
}

static void
set_ready(struct cache_space *s, uint32_t slot)
{
	s->slots.v[slot].state = SLOT_READY;
	map_add(s->slots.readymap, slot);
	s->slots.nready++;
	if (!s->is_pinned)
		s->cache->nready++;
}

/* set_other - out of the set that it is in. */
static void
set_other(struct cache_space *s, uint32_t slot, enum slot_state state)
{
	struct slots *sl = &s->slots;

	if (sl->v[slot].state == SLOT_FREE) {
		map_del(sl->freemap, slot);
		sl->nfree--;
	} else if (sl->v[slot].state == SLOT_READY) {
		map_del(sl->readymap, slot);
		sl->nready--;
		if (!s->is_pinned)
			s->cache->nready--;
	}
	sl->v[slot].state = (uint8_t)state;
}

static void
set_stale(struct cache_space *s, uint32_t slot, bool is_stale)
{
	struct slot *v = &s->slots.v[slot];
	int by = (int)is_stale - (int)v->is_stale;

	v->is_stale = is_stale;
	s->slots.nstale += (uint32_t)by;
	if (!s->is_pinned)
		s->cache->nstale += by;
}

/* keep_max - a pinned space has a disk, and so a bound, of its own. */
static uint32_t
keep_max(const struct cache_space *s)
{
	uint64_t n = s->is_pinned ? s->slots.n : s->cache->capacity >> CACHE_CHUNK_SHIFT;

	return (uint32_t)max64(n / KEEP_SHARE, KEEP_MIN);
}

static bool
may_reuse(const struct cache_space *s)
{
	return (s->is_pinned ? s->slots.nstale : (uint32_t)s->cache->nstale) < keep_max(s);
}

bool
cachei_slots_extra(const struct cache_space *s)
{
	return s->is_pinned && s->slots.nready > keep_max(s);
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
		sl->readymap = xrealloc(sl->readymap, sl->cap / 64 * sizeof(*sl->readymap));
		memset(
		    sl->freemap + old_cap / 64, 0, (sl->cap - old_cap) / 64 * sizeof(*sl->freemap));
		memset(sl->readymap + old_cap / 64, 0,
		    (sl->cap - old_cap) / 64 * sizeof(*sl->readymap));
	}
	while (sl->n < n)
		set_free(sl, sl->n++);
}

/* find - next slot of a set at or after `from`, around the end; only called when there is one. */
static uint32_t
find(const struct slots *sl, const uint64_t *map, uint32_t from)
{
	uint32_t nwords = (sl->n + 63) / 64, w = from / 64;
	uint64_t bits;

	if (w >= nwords)
		w = from = 0;
	bits = map[w] & (BLOCKS_ALL << (from & 63));
	for (uint32_t i = 0; i <= nwords; i++) {
		if (bits != 0)
			return w * 64 + (uint32_t)__builtin_ctzll(bits);
		w = w + 1 == nwords ? 0 : w + 1;
		bits = map[w];
	}
	fatal_at(__FILE__, __LINE__, "count of slots is wrong");
}

/* --- taking and giving back ------------------------------------------------------------------------- */

static bool
is_usable(const struct slots *sl, int32_t slot, bool may_be_ready)
{
	if (slot == NO_SLOT || (uint32_t)slot >= sl->n)
		return false;
	return sl->v[slot].state == SLOT_FREE || (may_be_ready && sl->v[slot].state == SLOT_READY);
}

int32_t
cachei_slot_alloc(struct cache_space *s, int32_t hint)
{
	struct slots *sl = &s->slots;
	bool may = may_reuse(s);
	uint32_t slot;

	if (is_usable(sl, hint, may)) {
		slot = (uint32_t)hint;
	} else if (may && sl->nready > 0) {
		slot = find(sl, sl->readymap, sl->cursor);
	} else {
		if (sl->nfree == 0)
			cachei_slots_grow(s, sl->n + 1);
		slot = find(sl, sl->freemap, sl->cursor);
	}
	sl->cursor = slot + 1 >= sl->n ? 0 : slot + 1;
	CW_ASSERT(sl->v[slot].refs == 0);
	set_stale(s, slot, sl->v[slot].state == SLOT_READY);
	set_other(s, slot, SLOT_USED);
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
	if (sl->v[slot].state != SLOT_FREE)
		return -EUCLEAN;
	set_other(s, (uint32_t)slot, SLOT_USED);
	sl->v[slot].is_named = true;
	return 0;
}

void
cachei_slots_loaded(struct cache_space *s, uint64_t valid_bytes)
{
	const struct osfile_ops *os = s->cache->os;
	struct slots *sl = &s->slots;
	int64_t held = os->held == NULL ? 0 : os->held(s->file);
	uint64_t most = valid_bytes + ((uint64_t)sl->nfree << CACHE_CHUNK_SHIFT) +
			((uint64_t)keep_max(s) << CACHE_CHUNK_SHIFT);

	for (uint32_t i = 0; i < sl->n; i++) {
		if (sl->v[i].state == SLOT_USED) {
			set_stale(s, i, held > (int64_t)most);
			continue;
		}
		set_other(s, i, SLOT_PUNCHING); /* what no row names may still hold blocks */
		set_ready(s, i);
	}
}

static void
slot_ready(struct cache_space *s, int32_t slot)
{
	set_ready(s, (uint32_t)slot);
	cachei_evict_kick(s->cache);
}

void
cachei_slot_whole(struct cache_space *s, int32_t slot)
{
	if (s->slots.v[slot].is_stale)
		set_stale(s, (uint32_t)slot, false);
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
	set_stale(s, (uint32_t)slot, false);
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

/* --- punching ----------------------------------------------------------------------------------------- */

/* take_run - adjacent READY slots, marked PUNCHING. locked */
static uint32_t
take_run(struct cache_space *s, uint32_t max, uint32_t *first)
{
	struct slots *sl = &s->slots;
	uint32_t n;

	if (sl->nready == 0 || s->is_closing)
		return 0;
	*first = find(sl, sl->readymap, sl->punch_cursor);
	for (n = 0; n < max && *first + n < sl->n && sl->v[*first + n].state == SLOT_READY; n++)
		set_other(s, *first + n, SLOT_PUNCHING);
	sl->punch_cursor = *first + n;
	s->npunching += n;
	return n;
}

unsigned int
cachei_slot_punch(struct cache_space *s, unsigned int max)
{
	uint32_t first = 0, n, total = 0;
	int err;

	while (total < max) {
		cache_space_lock(s);
		n = take_run(s, (uint32_t)min64(max - total, PUNCH_RUN), &first);
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
		for (uint32_t i = 0; i < n; i++)
			set_free(&s->slots, first + i);
		s->npunching -= n;
		cachei_idle_signal(s);
		cache_space_unlock(s);
		total += n;
	}
	return total;
}

void
cachei_slots_gone(struct cache_space *s)
{
	if (s->is_pinned)
		return;
	s->cache->nready -= (int32_t)s->slots.nready;
	s->cache->nstale -= (int32_t)s->slots.nstale;
}

void
cachei_slots_free(struct slots *sl)
{
	free(sl->v);
	free(sl->freemap);
	free(sl->readymap);
	memset(sl, 0, sizeof(*sl));
}
