/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_compact.c - log objects with little in them that is still needed: what is, is copied into
 * new ones, as `moved` extents.  They are named by the next epoch's commit; where a block was written
 * meanwhile, its extent is passed over.  So the image never depends on when compaction ran.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

#define RESERVE_PERCENT 13u /* of live bytes, at most */

struct victim {
	uint32_t ordinal;
	uint32_t percent; /* live of all */
};

struct sums {
	uint64_t bytes; /* of objects with something live, after what is being moved */
	uint64_t live;
};

static bool
is_moving(const struct vol_remote *r, uint32_t ordinal)
{
	return ordinal < r->nmoving && r->is_moving[ordinal] != 0;
}

static void
sum_up(const struct vol_remote *r, struct sums *s)
{
	*s = (struct sums){0};
	for (uint32_t i = 0; i < r->im.nobjects; i++) {
		const struct vol_object *o = &r->im.objects[i];

		if (o->bytes == 0 || o->source != 0 || o->death != 0 || is_moving(r, i))
			continue;
		s->bytes += o->bytes;
		s->live += vol_object_live_bytes(o);
	}
	for (size_t i = 0; i < r->nmoved; i++) {
		s->bytes += r->moved[i].object_bytes;
		s->live += r->moved[i].object_bytes;
	}
}

/* reserve - what comes before anything can go: the next epoch, which names what was moved, and the one
 * behind it. Bounded: an epoch of half a volume does not make all of it worth moving. */
static uint64_t
reserve(const struct vol_remote *r, const struct sums *s)
{
	uint64_t n = 2 * r->epoch_bytes, most = s->live / 100 * RESERVE_PERCENT;

	return n < most ? n : most;
}

static bool
is_wasteful(const struct vol_remote *r, const struct sums *s)
{
	return (s->bytes + reserve(r, s)) * 100 > s->live * r->tune.waste_percent &&
	       s->bytes - s->live > r->tune.waste_min_bytes;
}

static int
victim_compare(const void *a, const void *b)
{
	const struct victim *x = a, *y = b;

	if (x->percent != y->percent)
		return x->percent < y->percent ? -1 : 1;
	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

/* choose - mark the objects to empty: those with the least in them, until that is enough.
 * result: how many; s is what is left then */
static size_t
choose(const struct vol_remote *r, struct sums *s, uint8_t *marks)
{
	struct victim *v = xcalloc(r->im.nobjects + 1u, sizeof(*v));
	uint64_t moved = 0;
	size_t n = 0, taken = 0;

	for (uint32_t i = 0; i < r->im.nobjects; i++) {
		const struct vol_object *o = &r->im.objects[i];

		/* a pinned object stays whatever is copied from it */
		if (o->bytes == 0 || o->source != 0 || o->death != 0 ||
		    o->live * 10ull >= o->blocks * 9ull || is_moving(r, i) || voli_is_pinned(r, o))
			continue;
		v[n++] = (struct victim){i, (uint32_t)(o->live * 100ull / o->blocks)};
	}
	if (n > 1)
		qsort(v, n, sizeof(*v), victim_compare);
	for (; taken < n && moved < r->tune.compact_bytes && is_wasteful(r, s); taken++) {
		const struct vol_object *o = &r->im.objects[v[taken].ordinal];

		marks[v[taken].ordinal] = 1;
		moved += vol_object_live_bytes(o);
		s->bytes -= o->bytes - vol_object_live_bytes(o);
	}
	free(v);
	return taken;
}

bool
voli_compact_due(const struct vol_remote *r)
{
	struct sums s;
	uint8_t *marks;
	size_t n;

	if (r->pending != NULL)
		return false;
	sum_up(r, &s);
	if (!is_wasteful(r, &s))
		return false;
	marks = xcalloc(r->im.nobjects + 1u, 1);
	n = choose(r, &s, marks);
	free(marks);
	return n > 0;
}

/* ---- moving ---- */

struct batch { /* pieces that make one new object */
	struct vol_want *wants;
	size_t n, cap;
	uint64_t blocks;
};

/* collect - pieces in marked objects from block *at on, up to one object's worth. */
static void
collect(const struct vol_remote *r, const uint8_t *marks, uint64_t *at, struct batch *b)
{
	struct vol_piece p;

	b->n = 0;
	b->blocks = 0;
	while (b->blocks << VOL_BLOCK_SHIFT < r->tune.object_bytes &&
	       vol_map_next(&r->im.map, *at, UINT64_MAX, &p)) {
		*at = p.block + p.nblocks;
		if (marks[p.object] == 0)
			continue;
		if (b->n == b->cap) {
			b->cap = b->cap > 0 ? 2 * b->cap : 64;
			b->wants = xrealloc(b->wants, b->cap * sizeof(*b->wants));
		}
		voli_want(r, &p, &b->wants[b->n++]);
		b->blocks += p.nblocks;
	}
}

static int
by_block(const void *a, const void *b)
{
	const struct vol_piece *x = &((const struct vol_want *)a)->piece;
	const struct vol_piece *y = &((const struct vol_want *)b)->piece;

	return x->block < y->block ? -1 : x->block > y->block;
}

static uint32_t
origin_of(struct vol_log *l, const struct vol_want *w)
{
	for (uint32_t i = l->norigins; i-- > 0;)
		if (l->origins[i].source == w->source && l->origins[i].term == w->term &&
		    l->origins[i].seq == w->seq)
			return i;
	l->origins = xrealloc(l->origins, (l->norigins + 1) * sizeof(*l->origins));
	l->origins[l->norigins] = (struct vol_origin_ref){w->source, w->term, w->seq};
	return l->norigins++;
}

/* describe - the header of the object that b makes, but for the frames. */
static int
describe(struct vol_remote *r, const struct batch *b, struct vol_log *l)
{
	int err = voli_seq(r, &l->seq);

	if (err < 0)
		return err;
	memcpy(l->uuid, r->info.uuid, VOL_UUID_LEN);
	l->term = r->term;
	l->flags = r->info.has_key ? VOL_LOG_SEALED : 0;
	l->epoch = r->im.at.epoch + 1;
	l->size_bytes = r->im.at.size_bytes;
	l->time_ns = clock_real_ns();
	l->extents = xcalloc(b->n, sizeof(*l->extents));
	l->nextents = (uint32_t)b->n;
	for (size_t i = 0; i < b->n; i++) {
		const struct vol_piece *p = &b->wants[i].piece;

		l->extents[i] = (struct vol_extent){.block = p->block,
		    .nblocks = p->nblocks,
		    .kind = VOL_MOVED,
		    .from = origin_of(l, &b->wants[i]),
		    .from_off = p->stored_off};
	}
	l->header_bytes = (uint32_t)vol_log_header_bytes(l->nextents, l->norigins, 0);
	return 0;
}

static int
put_moved(struct vol_remote *r, struct vol_log *l, const uint8_t *plain)
{
	uint8_t object_key[32], *k = NULL, *body, *to;
	struct vol_coder *coder = vol_coder_new();
	bool is_compressed = r->is_compressed;
	uint64_t cap = l->header_bytes;
	char key[VOL_KEY_MAX];
	int err;

	if (r->info.has_key) {
		k = object_key;
		vol_object_key(r->key, l->uuid, l->term, l->seq, object_key);
	}
	for (uint32_t i = 0; i < l->nextents; i++)
		cap += ((uint64_t)l->extents[i].nblocks << VOL_BLOCK_SHIFT) + 16;
	body = xmalloc(cap);
	to = body + l->header_bytes;
	for (uint32_t i = 0; i < l->nextents; i++) {
		struct vol_extent *e = &l->extents[i];

		e->stored_off = (uint32_t)(to - body);
		vol_frame_encode(coder, k, is_compressed, e, plain, to);
		plain += (size_t)e->nblocks << VOL_BLOCK_SHIFT;
		to += e->stored_len;
	}
	l->object_bytes = (uint64_t)(to - body);
	vol_log_encode(l, body);
	vol_key_log(key, r->prefix, r->id, l->term, l->seq);
	err = vol_put(r->store, key, body, l->object_bytes, NULL, false, NULL, NULL);
	if (err == 0)
		voli_uploaded(r, l->object_bytes, true);
	free(body);
	vol_coder_free(coder);
	return err;
}

static int
move_batch(struct vol_remote *r, struct batch *b)
{
	uint8_t *plain = xmalloc(b->blocks << VOL_BLOCK_SHIFT), *to = plain;
	struct vol_log l = {0};
	int err;

	for (size_t i = 0; i < b->n; i++) {
		b->wants[i].to = to;
		to += (size_t)b->wants[i].piece.nblocks << VOL_BLOCK_SHIFT;
	}
	err = describe(r, b, &l);
	if (err == 0)
		err = voli_read_wait(r, b->wants, b->n);
	if (err == 0) {
		qsort(b->wants, b->n, sizeof(*b->wants), by_block); /* as they were */
		err = put_moved(r, &l, plain);
	}
	if (err == 0) {
		r->moved = xrealloc(r->moved, (r->nmoved + 1) * sizeof(*r->moved));
		r->moved[r->nmoved++] = l;
	} else {
		vol_log_free(&l);
		r->is_sweep_due = true; /* it may be there */
	}
	free(plain);
	return err == -ENOENT ? -EIO : err;
}

int
voli_compact(struct vol_remote *r)
{
	uint8_t *marks = xcalloc(r->im.nobjects + 1u, 1);
	struct batch b = {0};
	struct sums s;
	uint64_t at = 0;
	size_t n;
	int err = 0;

	sum_up(r, &s);
	n = choose(r, &s, marks);
	do {
		collect(r, marks, &at, &b);
		if (b.n > 0)
			err = move_batch(r, &b);
	} while (err == 0 && b.n > 0);
	/* also after an error: what was moved already must not be moved again */
	if (r->nmoving < r->im.nobjects) {
		r->is_moving = xrealloc(r->is_moving, r->im.nobjects);
		memset(r->is_moving + r->nmoving, 0, r->im.nobjects - r->nmoving);
		r->nmoving = r->im.nobjects;
	}
	for (uint32_t i = 0; i < r->im.nobjects; i++)
		r->is_moving[i] |= marks[i];
	free(b.wants);
	free(marks);
	log_debug(
	    "gateway.volume", "compacted", "volume=%s emptied=%zu new=%zu", r->id, n, r->nmoved);
	return err;
}

void
voli_moved_free(struct vol_remote *r)
{
	for (size_t i = 0; i < r->nmoved; i++)
		vol_log_free(&r->moved[i]);
	free(r->moved);
	free(r->is_moving);
	r->moved = NULL;
	r->is_moving = NULL;
	r->nmoved = r->nmoving = 0;
}
