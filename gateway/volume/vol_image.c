/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_image.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

void
vol_image_init(struct vol_image *im, const uint8_t uuid[VOL_UUID_LEN])
{
	memset(im, 0, sizeof(*im));
	memcpy(im->uuid, uuid, VOL_UUID_LEN);
	vol_map_init(&im->map);
}

void
vol_image_free(struct vol_image *im)
{
	vol_map_free(&im->map);
	for (uint32_t i = 0; i < im->nsources; i++)
		free(im->sources[i].prefix);
	free(im->sources);
	free(im->objects);
	free(im->index);
	free(im->spare);
	free(im->points);
	memset(im, 0, sizeof(*im));
}

/* ---- objects ---- */

static uint32_t *
index_place(const struct vol_image *im, uint32_t source, uint32_t term, uint64_t seq)
{
	uint64_t h = (seq + ((uint64_t)term << 40) + source) * 0x9e3779b97f4a7c15ull;
	uint32_t i = (uint32_t)(h >> 32) & (im->nindex - 1);

	for (; im->index[i] != 0; i = (i + 1) & (im->nindex - 1)) {
		const struct vol_object *o = &im->objects[im->index[i] - 1];

		if (o->source == source && o->term == term && o->seq == seq)
			break;
	}
	return &im->index[i];
}

static void
index_rebuild(struct vol_image *im)
{
	uint32_t want = 64;

	while (want < 2 * im->nobjects + 2)
		want *= 2;
	free(im->index);
	im->nindex = want;
	im->index = xcalloc(want, sizeof(*im->index));
	for (uint32_t i = 0; i < im->nobjects; i++) {
		const struct vol_object *o = &im->objects[i];

		if (o->bytes != 0)
			*index_place(im, o->source, o->term, o->seq) = i + 1;
	}
}

uint32_t
vol_image_find(const struct vol_image *im, uint32_t source, uint32_t term, uint64_t seq)
{
	uint32_t at = im->nindex > 0 ? *index_place(im, source, term, seq) : 0;

	return at == 0 ? VOL_NO_OBJECT : at - 1;
}

uint64_t
vol_object_live_bytes(const struct vol_object *o)
{
	return o->blocks == 0 ? 0 : o->bytes * o->live / o->blocks;
}

static void
sums(struct vol_image *im, const struct vol_object *o, bool is_added)
{
	if (o->source != 0 || o->bytes == 0)
		return;
	if (is_added) {
		im->object_bytes += o->bytes;
		im->live_bytes += vol_object_live_bytes(o);
		im->own_objects++;
	} else {
		im->object_bytes -= o->bytes;
		im->live_bytes -= vol_object_live_bytes(o);
		im->own_objects--;
	}
}

void
vol_image_count(struct vol_image *im)
{
	im->object_bytes = im->live_bytes = im->own_objects = 0;
	for (uint32_t i = 0; i < im->nobjects; i++)
		sums(im, &im->objects[i], true);
}

uint32_t
vol_image_add(struct vol_image *im, const struct vol_object *o)
{
	uint32_t at;

	CW_ASSERT(o->bytes != 0);
	if (im->nspare > 0) {
		at = im->spare[--im->nspare];
	} else {
		if (im->nobjects == im->cap_objects) {
			im->cap_objects = im->cap_objects > 0 ? 2 * im->cap_objects : 64;
			im->objects = xrealloc(im->objects, im->cap_objects * sizeof(*im->objects));
		}
		at = im->nobjects++;
	}
	im->objects[at] = *o;
	if (2 * im->nobjects + 2 > im->nindex)
		index_rebuild(im);
	else
		*index_place(im, o->source, o->term, o->seq) = at + 1;
	sums(im, o, true);
	return at;
}

void
vol_image_drop(struct vol_image *im, uint32_t ordinal)
{
	struct vol_object *o = &im->objects[ordinal];
	uint32_t *place = index_place(im, o->source, o->term, o->seq);
	uint32_t i = (uint32_t)(place - im->index);

	CW_ASSERT(o->bytes != 0 && o->live == 0 && *place == ordinal + 1);
	sums(im, o, false);
	o->bytes = 0;
	*place = 0;
	/* close the gap in the run behind it */
	for (i = (i + 1) & (im->nindex - 1); im->index[i] != 0; i = (i + 1) & (im->nindex - 1)) {
		uint32_t v = im->index[i];
		const struct vol_object *q = &im->objects[v - 1];

		im->index[i] = 0;
		*index_place(im, q->source, q->term, q->seq) = v;
	}
	if (im->nspare == im->cap_spare) {
		im->cap_spare = im->cap_spare > 0 ? 2 * im->cap_spare : 64;
		im->spare = xrealloc(im->spare, im->cap_spare * sizeof(*im->spare));
	}
	im->spare[im->nspare++] = ordinal;
}

uint32_t
vol_image_add_source(struct vol_image *im, const struct vol_source *s)
{
	struct vol_source *to;

	for (uint32_t i = 0; i < im->nsources; i++)
		if (strcmp(im->sources[i].id, s->id) == 0 &&
		    strcmp(im->sources[i].prefix, s->prefix) == 0 &&
		    im->sources[i].epoch == s->epoch)
			return i + 1;
	if (im->nsources == VOL_SOURCES_MAX)
		return 0;
	im->sources = xrealloc(im->sources, (im->nsources + 1) * sizeof(*im->sources));
	to = &im->sources[im->nsources];
	*to = *s;
	to->prefix = xstrdup(s->prefix);
	return ++im->nsources;
}

/* ---- points ---- */

void
vol_image_add_point(struct vol_image *im, const struct vol_point *p)
{
	if (im->npoints == im->cap_points) {
		im->cap_points = im->cap_points > 0 ? 2 * im->cap_points : 64;
		im->points = xrealloc(im->points, im->cap_points * sizeof(*im->points));
	}
	im->points[im->npoints++] = *p;
}

void
vol_image_drop_points(struct vol_image *im, uint64_t epoch)
{
	size_t n = 0;

	while (n < im->npoints && im->points[n].epoch < epoch)
		n++;
	memmove(im->points, im->points + n, (im->npoints - n) * sizeof(*im->points));
	im->npoints -= n;
}

const struct vol_point *
vol_image_point(const struct vol_image *im, uint64_t epoch)
{
	size_t lo = 0, hi = im->npoints;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (im->points[mid].epoch < epoch)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < im->npoints && im->points[lo].epoch == epoch ? &im->points[lo] : NULL;
}

/* ---- updates ---- */

struct vol_update {
	struct vol_image *im;
	struct vol_change *change;
	struct vol_point at;
	struct vol_object *objects; /* new ones, with the ordinals they will get */
	uint32_t *ordinals;
	size_t n;
};

/* next_ordinal - what the i-th vol_image_add() from now on will return. */
static uint32_t
next_ordinal(const struct vol_image *im, size_t i)
{
	return i < im->nspare ? im->spare[im->nspare - 1 - i]
			      : im->nobjects + (uint32_t)(i - im->nspare);
}

static void
piece_of(const struct vol_extent *e, uint32_t object, struct vol_piece *p)
{
	*p = (struct vol_piece){.block = e->block,
	    .nblocks = e->nblocks,
	    .object = object,
	    .stored_off = e->stored_off,
	    .stored_len = e->stored_len,
	    .crc = e->crc,
	    .comp = e->comp,
	    .frame_blocks = (uint8_t)e->nblocks};
}

static const char *
update_log(struct vol_update *u, const struct vol_log *l, size_t i)
{
	struct vol_object *o = &u->objects[i];
	struct vol_piece p;

	u->ordinals[i] = next_ordinal(u->im, i);
	*o = (struct vol_object){.term = l->term,
	    .seq = l->seq,
	    .bytes = l->object_bytes,
	    .birth = l->epoch,
	    .is_sealed = (l->flags & VOL_LOG_SEALED) != 0};
	for (uint32_t k = 0; k < l->nextents; k++) {
		const struct vol_extent *e = &l->extents[k];

		if (e->kind == VOL_ZERO) {
			vol_change_zero(u->change, e->block, e->nblocks);
			continue;
		}
		o->blocks += e->nblocks;
		piece_of(e, u->ordinals[i], &p);
		if (e->kind == VOL_DATA) {
			vol_change_set(u->change, &p);
		} else {
			const struct vol_origin_ref *r = &l->origins[e->from];
			uint32_t from = vol_image_find(u->im, r->source, r->term, r->seq);

			/* an origin that is not known any more has nothing live */
			if (from != VOL_NO_OBJECT)
				vol_change_move(u->change, &p, from, e->from_off);
		}
	}
	return NULL;
}

static const char *
update_check(
    const struct vol_image *im, const struct vol_log *const *logs, size_t n, struct vol_point *at)
{
	const struct vol_log *commit = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct vol_log *l = logs[i];

		if (memcmp(l->uuid, im->uuid, VOL_UUID_LEN) != 0)
			return "log object of another volume";
		if (l->epoch != im->at.epoch + 1)
			return "log object of another epoch";
		if (i > 0 && (logs[i - 1]->seq >= l->seq || logs[i - 1]->term != l->term))
			return "log objects out of order";
		if (vol_image_find(im, 0, l->term, l->seq) != VOL_NO_OBJECT)
			return "log object of an earlier epoch";
		commit = vol_log_is_commit(l) ? l : commit;
	}
	if (commit == NULL)
		return "epoch without commit";
	if (commit->prev_term != im->at.term || commit->prev_seq != im->at.seq)
		return "commit of another line";
	if (commit->size_bytes < im->at.size_bytes)
		return "volume shrinks";
	for (size_t i = 0; i < n; i++)
		if (logs[i]->size_bytes > commit->size_bytes)
			return "log object beyond the volume";
	*at = (struct vol_point){.epoch = commit->epoch,
	    .size_bytes = commit->size_bytes,
	    .seq = commit->seq,
	    .time_ns = commit->time_ns,
	    .term = commit->term};
	return NULL;
}

int
vol_update_new(struct vol_image *im, const struct vol_log *const *logs, size_t n,
    struct vol_update **out, const char **why)
{
	struct vol_point at;
	const char *problem = update_check(im, logs, n, &at);
	struct vol_update *u = NULL;

	*out = NULL;
	if (problem == NULL) {
		u = xcalloc(1, sizeof(*u));
		u->im = im;
		u->at = at;
		u->n = n;
		u->objects = xcalloc(n, sizeof(*u->objects));
		u->ordinals = xcalloc(n, sizeof(*u->ordinals));
		u->change = vol_change_new(&im->map);
	}
	for (size_t i = 0; problem == NULL && i < n; i++)
		problem = update_log(u, logs[i], i);
	if (why != NULL)
		*why = problem;
	if (problem != NULL) {
		vol_update_free(u);
		return -ERR_CHECKSUM;
	}
	vol_change_seal(u->change);
	*out = u;
	return 0;
}

void
vol_update_apply(struct vol_update *u)
{
	struct vol_image *im = u->im;
	uint32_t n = vol_change_objects(u->change);

	for (size_t i = 0; i < u->n; i++)
		CW_ASSERT(vol_image_add(im, &u->objects[i]) == u->ordinals[i]);
	vol_change_apply(u->change);
	for (uint32_t i = 0; i < n && i < im->nobjects; i++) {
		struct vol_object *o = &im->objects[i];
		int64_t delta = vol_change_delta(u->change, i);

		if (delta == 0 || o->bytes == 0)
			continue;
		sums(im, o, false);
		o->live = (uint32_t)((int64_t)o->live + delta);
		sums(im, o, true);
		if (o->live == 0)
			o->death = u->at.epoch;
	}
	for (size_t i = 0; i < u->n; i++) /* those that were dead from the beginning */
		if (im->objects[u->ordinals[i]].live == 0)
			im->objects[u->ordinals[i]].death = u->at.epoch;
	im->at = u->at;
	vol_image_add_point(im, &u->at);
}

void
vol_update_free(struct vol_update *u)
{
	if (u == NULL)
		return;
	vol_change_free(u->change);
	free(u->objects);
	free(u->ordinals);
	free(u);
}
