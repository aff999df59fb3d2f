/* SPDX-License-Identifier: Apache-2.0 */
/*
 * punch.c - give the disk back what READY slots hold, beside clients.
 *
 * A punch holds the data file, and on some disks the whole device, for milliseconds.  So it is done piece by
 * piece, and makes way for I/O, as far as slots may wait to be used again (slot.c).  The evictor's thread.
 */
#include "cache/cache_int.h"

#define PIECE_MAX 65536u     /* slots */
#define PIECE_NS 4000000ull  /* of punching, about, while there is I/O */
#define DUTY 10u	     /* of so many parts of the time one */
#define DUTY_EXTRA 2u	     /* when more wait than may */
#define BUSY_NS 200000000ull /* I/O that was so long ago is still going on */

/* excess - READY slots, together with all that may be stale, that take more than a bit beyond the capacity. A cache
 * in use is full of clean data: without that bit every slot would be punched before it can be used again. */
static uint32_t
excess(struct cache *c)
{
	uint64_t used = (uint64_t)(c->clean_bytes + c->dirty_bytes),
		 limit = c->capacity + c->capacity / 16;

	used += (uint64_t)(c->nready + c->nstale) << CACHE_CHUNK_SHIFT;
	return used > limit ? (uint32_t)((used - limit + CACHE_CHUNK_SIZE - 1) >> CACHE_CHUNK_SHIFT)
			    : 0;
}

/* punch_excess - at once, whoever waits meanwhile. */
static void
punch_excess(struct cache *c)
{
	uint32_t left = excess(c);
	struct cache_space *s;
	int64_t id = -1;

	while (left > 0 && (s = cachei_space_next(c, &id)) != NULL) {
		if (!s->is_pinned && s->slots.nready > 0)
			left -= cachei_slot_punch(s, left);
		cachei_space_put(s);
	}
}

/* is_busy - are clients at it? */
static bool
is_busy(struct cache *c)
{
	uint64_t nios = 0, now = clock_mono_ns();
	struct cache_space *s;
	int64_t id = -1;

	while ((s = cachei_space_next(c, &id)) != NULL) {
		cache_space_lock(s);
		nios += s->nios;
		cache_space_unlock(s);
		cachei_space_put(s);
	}
	if (nios != c->punch.nios)
		c->punch.busy_ns = now;
	c->punch.nios = nios;
	return c->punch.busy_ns != 0 && now - c->punch.busy_ns < BUSY_NS;
}

/* next_ready - a space with READY slots, in turn; to be put back. NULL: there is none. *is_extra: it has more than
 * may wait */
static struct cache_space *
next_ready(struct cache *c, bool *is_extra)
{
	for (unsigned int round = 0; round < 2; round++) {
		struct cache_space *s;
		bool has;

		while ((s = cachei_space_next(c, &c->punch.last_id)) != NULL) {
			cache_space_lock(s);
			has = s->slots.nready > 0 && !s->is_closing;
			*is_extra = cachei_slots_extra(s);
			cache_space_unlock(s);
			if (has)
				return s;
			cachei_space_put(s);
		}
		c->punch.last_id = -1;
	}
	return NULL;
}

/* punch_piece - as much as takes PIECE_NS, and then a pause of duty - 1 times that. */
static void
punch_piece(struct cache *c, struct cache_space *s, unsigned int duty)
{
	uint64_t start = clock_mono_ns(), took;

	if (c->punch.piece == 0)
		c->punch.piece = 1;
	cachei_slot_punch(s, c->punch.piece);
	took = clock_mono_ns() - start;
	if (took > PIECE_NS && c->punch.piece > 1)
		c->punch.piece /= 2;
	else if (took < PIECE_NS / 2 && c->punch.piece < PIECE_MAX)
		c->punch.piece *= 2;
	c->punch.next_ns = start + took * duty;
}

uint64_t
cachei_punch(struct cache *c)
{
	uint64_t now = clock_mono_ns();
	struct cache_space *s;
	unsigned int duty;
	bool is_extra;

	punch_excess(c);
	s = next_ready(c, &is_extra);
	if (s == NULL)
		return 0;
	duty = !is_busy(c) ? 1 : is_extra ? DUTY_EXTRA : DUTY;
	if (duty == 1 || now >= c->punch.next_ns)
		punch_piece(c, s, duty);
	cachei_space_put(s);
	now = clock_mono_ns();
	return c->punch.next_ns > now ? c->punch.next_ns - now : 1;
}
