/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_create.c - the first image of a volume, empty or of another one.
 *
 * A clone's first checkpoint refers to log objects of its source.  The pin in the source comes first,
 * then the source is read, then it is looked whether all is (still) there, then the clone's checkpoint
 * is written: what was collected before the pin is noticed, what is there behind it stays.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

/* ---- from another volume ---- */

static int
put_pin(struct vol_remote *r, const char *prefix, const char *id, uint64_t epoch, struct vol_err *e)
{
	struct vol_pin pin = {.is_clone = true, .epoch = epoch, .time_ns = clock_real_ns()};
	char key[VOL_KEY_MAX], *text;
	int err;

	memcpy(pin.id, r->id, strlen(r->id) + 1);
	memcpy(pin.volume, id, strlen(id) + 1);
	text = vol_pin_encode(&pin);
	vol_key_clone(key, prefix, id, r->id);
	err = vol_put(r->store, key, text, strlen(text), NULL, false, NULL, NULL);
	if (err < 0)
		vol_err_set(e, "%s: %s", key, err_str(err));
	free(text);
	return err;
}

/* point_at - the newest point not after time_ns; 0 = the latest. */
static const struct vol_point *
point_at(const struct vol_image *now, int64_t time_ns)
{
	for (size_t i = now->npoints; i-- > 0;)
		if (time_ns == 0 || now->points[i].time_ns <= time_ns)
			return &now->points[i];
	return NULL;
}

static int
read_point(struct vol_remote *r, const struct vol_place *pl, int64_t time_ns, struct vol_image *im,
    struct vol_err *e)
{
	const struct vol_point *p;
	struct vol_found found;
	struct vol_image now;
	int err = vol_replay_now(pl, &now, &found, e);

	if (err < 0)
		return err;
	p = point_at(&now, time_ns);
	if (p == NULL) {
		vol_err_set(e, "volume %s has no recovery point so old", pl->id);
		vol_image_free(&now);
		return -ENOENT;
	}
	err = put_pin(r, pl->prefix, pl->id, p->epoch, e);
	if (err == 0 && p->epoch == now.at.epoch) {
		*im = now;
		return 0;
	}
	if (err == 0)
		err = vol_replay_at(pl, &now, p->epoch, im, e);
	vol_image_free(&now);
	return err;
}

static int
read_snapshot(struct vol_remote *r, const struct vol_place *pl, const char *snapshot,
    struct vol_image *im, struct vol_err *e)
{
	struct vol_pin pin;
	int err = vol_id_is_valid(snapshot) ? 0 : -ENOENT;

	if (err == 0)
		err = vol_replay_snapshot(pl, snapshot, im, &pin, e);
	if (err < 0)
		return err;
	free(pin.description);
	vol_image_free(im);
	err = put_pin(r, pl->prefix, pl->id, pin.epoch, e);
	if (err == 0) /* again: it might have gone before the pin was there */
		err = vol_replay_snapshot(pl, snapshot, im, &pin, e);
	if (err == 0)
		free(pin.description);
	return err;
}

/* rename_objects - the source's image becomes the clone's: own objects are those of source 1 now. */
static void
rename_objects(struct vol_remote *r, const struct vol_place *pl, struct vol_image *from)
{
	struct vol_image *im = &r->im;
	struct vol_source self = {.prefix = (char *)(uintptr_t)pl->prefix, .epoch = from->at.epoch};
	uint32_t numbers[VOL_SOURCES_MAX + 1], *ordinals;
	struct vol_piece p;
	uint64_t at = 0;

	memcpy(self.id, pl->id, strlen(pl->id) + 1);
	memcpy(self.uuid, pl->uuid, VOL_UUID_LEN);
	numbers[0] = vol_image_add_source(im, &self);
	for (uint32_t i = 0; i < from->nsources; i++)
		numbers[i + 1] = vol_image_add_source(im, &from->sources[i]);
	ordinals = xcalloc(from->nobjects + 1u, sizeof(*ordinals));
	for (uint32_t i = 0; i < from->nobjects; i++) {
		struct vol_object o = from->objects[i];

		ordinals[i] = VOL_NO_OBJECT;
		if (o.bytes == 0 || o.live == 0)
			continue;
		o.source = numbers[o.source];
		o.birth = o.death = 0;
		ordinals[i] = vol_image_add(im, &o);
	}
	while (vol_map_next(&from->map, at, UINT64_MAX, &p)) {
		p.object = ordinals[p.object];
		vol_map_load(&im->map, &p);
		at = p.block + p.nblocks;
	}
	free(ordinals);
}

static bool
is_listed(const struct vol_names *names, uint32_t term, uint64_t seq)
{
	size_t lo = 0, hi = names->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct vol_name *n = &names->v[mid];

		if (n->term < term || (n->term == term && n->seq < seq))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < names->n && names->v[lo].term == term && names->v[lo].seq == seq;
}

/* check_all - is every object that the image needs of source s there? */
static int
check_all(struct vol_remote *r, uint32_t s, struct vol_err *e)
{
	struct vol_names names;
	struct vol_place pl;
	int err;

	(void)voli_place(r, s, &pl);
	err = vol_list_names(&pl, "log/", 0, 0, &names);
	if (err < 0)
		return err;
	for (uint32_t i = 0; err == 0 && i < r->im.nobjects; i++) {
		const struct vol_object *o = &r->im.objects[i];

		if (o->source != s || is_listed(&names, o->term, o->seq))
			continue;
		vol_err_set(e, "%s%s/log/%08" PRIx32 "-%016" PRIx64 ": missing", pl.prefix, pl.id,
		    o->term, o->seq);
		err = -ERR_CHECKSUM;
	}
	vol_names_free(&names);
	return err;
}

static int
read_origin(struct vol_remote *r, const struct vol_remote_conf *c, const struct cw_volume_origin *o,
    struct vol_err *e)
{
	struct vol_place pl = {
	    .store = r->store, .prefix = o->prefix != NULL ? o->prefix : "", .id = o->volume_id};
	struct vol_info source;
	struct vol_image from;
	int err = pl.id != NULL && vol_id_is_valid(pl.id) ? 0 : -ENOENT;

	if (err == 0)
		err = vol_read_info(r->store, pl.prefix, pl.id, &source, e);
	if (err == 0)
		err = voli_check_key(c, &source, e);
	if (err < 0)
		return err;
	memcpy(pl.uuid, source.uuid, VOL_UUID_LEN);
	if (o->source == CW_SOURCE_SNAPSHOT)
		err = read_snapshot(r, &pl, o->snapshot_id, &from, e);
	else
		err = read_point(r, &pl, o->time_ns, &from, e);
	if (err < 0)
		return err;
	if (from.nsources == VOL_SOURCES_MAX) {
		vol_err_set(e, "clone of a clone of a clone ... too often");
		err = -EINVAL;
	} else {
		rename_objects(r, &pl, &from);
		memcpy(r->info.origin_volume, pl.id, strlen(pl.id) + 1);
		(void)snprintf(
		    r->info.origin_prefix, sizeof(r->info.origin_prefix), "%s", pl.prefix);
		r->info.origin_epoch = from.at.epoch;
		if (o->source == CW_SOURCE_SNAPSHOT)
			memcpy(r->info.origin_snapshot, o->snapshot_id, strlen(o->snapshot_id) + 1);
		if (r->info.size_bytes < from.at.size_bytes)
			r->info.size_bytes = from.at.size_bytes;
	}
	vol_image_free(&from);
	for (uint32_t s = 2; err == 0 && s <= r->im.nsources; s++)
		err = put_pin(r, r->im.sources[s - 1].prefix, r->im.sources[s - 1].id,
		    r->im.sources[s - 1].epoch, e);
	for (uint32_t s = 1; err == 0 && s <= r->im.nsources; s++)
		err = check_all(r, s, e);
	return err;
}

/* ---- creation ---- */

/* has_history - is there more than the beginning of a creation? result: 1, 0, errors */
static int
has_history(struct vol_remote *r)
{
	struct vol_names logs, maps;
	struct vol_place pl;
	int err;

	(void)voli_place(r, 0, &pl);
	err = vol_list_names(&pl, "log/", 0, 0, &logs);
	if (err < 0)
		return err;
	err = vol_list_names(&pl, "map/", 0, 0, &maps);
	if (err == 0) {
		err = logs.n > 0;
		for (size_t i = 0; i < maps.n; i++)
			err = err || maps.v[i].seq > 0;
		vol_names_free(&maps);
	}
	vol_names_free(&logs);
	return err;
}

static void
info_fill(struct vol_remote *r, const struct vol_remote_conf *c)
{
	struct vol_info *v = &r->info;

	memcpy(v->id, r->id, strlen(r->id) + 1);
	random_bytes(v->uuid, VOL_UUID_LEN);
	v->size_bytes = c->size_bytes;
	v->block_bytes = c->block_bytes;
	v->created_ns = clock_real_ns();
	v->is_compressed = c->is_compressed;
	v->has_key = c->has_key;
	if (c->has_key)
		vol_key_check(c->key, v->uuid, v->key_check);
}

/* is_others - does another appliance own what is there? Asked of the object itself, as listings may be late.
 * result: 1, 0, errors */
static int
is_others(const struct vol_remote *r, const struct vol_remote_conf *c)
{
	struct vol_remote_owner who;
	int err = vol_remote_read_owner(c, &who);

	if (err < 0)
		return err;
	return who.appliance_id[0] != '\0' && strcmp(who.appliance_id, r->appliance) != 0;
}

/* find_started - a creation that did not come to its end. result: 0 (also: nothing), -EEXIST, errors */
static int
find_started(struct vol_remote *r, const struct vol_remote_conf *c, bool *is_new, struct vol_err *e)
{
	struct vol_info old;
	int err = vol_read_info(r->store, r->prefix, r->id, &old, e);

	*is_new = err == -ENOENT;
	if (err < 0)
		return *is_new ? 0 : err;
	r->info = old;
	err = is_others(r, c);
	if (err == 0)
		err = has_history(r);
	if (err > 0) {
		vol_err_set(e, "volume %s is in the bucket already", r->id);
		err = -EEXIST;
	}
	return err == 0 ? voli_check_key(c, &old, e) : err;
}

static int
create(struct vol_remote *r, const struct vol_remote_conf *c, const struct cw_volume_origin *o,
    struct vol_err *e)
{
	char key[VOL_KEY_MAX], *text;
	bool is_new;
	int err = find_started(r, c, &is_new, e);

	if (err < 0)
		return err;
	if (is_new)
		info_fill(r, c);
	vol_image_free(&r->im);
	vol_image_init(&r->im, r->info.uuid);
	if (o != NULL && (o->source == CW_SOURCE_SNAPSHOT || o->source == CW_SOURCE_VOLUME))
		err = read_origin(r, c, o, e);
	if (err < 0)
		return err;
	for (uint32_t i = 0; i < r->im.nobjects; i++)
		CW_ASSERT(r->im.objects[i].source != 0);
	r->im.at =
	    (struct vol_point){.size_bytes = r->info.size_bytes, .time_ns = r->info.created_ns};
	vol_image_add_point(&r->im, &r->im.at);
	vol_image_count(&r->im);
	text = vol_info_encode(&r->info);
	vol_key(key, r->prefix, r->id, "volume.json");
	err = vol_put(r->store, key, text, strlen(text), NULL, false, NULL, NULL);
	free(text);
	if (err == 0)
		err = voli_owner_take(r);
	if (err == 0)
		err = voli_local_info(r);
	if (err == 0)
		err = voli_checkpoint(r);
	if (err < 0)
		vol_err_set(e, "creating volume %s: %s", r->id, err_str(err));
	return err;
}

int
vol_remote_create(const struct vol_remote_conf *c, const struct cw_volume_origin *origin,
    struct vol_remote **out, char *err_text, size_t err_cap)
{
	bool is_clone = origin != NULL && (origin->source == CW_SOURCE_SNAPSHOT ||
					      origin->source == CW_SOURCE_VOLUME);
	struct vol_err e = {""};
	struct vol_remote *r;
	int err = 0;

	*out = NULL;
	if (!vol_id_is_valid(c->volume_id) || strlen(c->prefix) >= VOL_PREFIX_MAX ||
	    strlen(c->appliance_id) >= VOL_APPLIANCE_MAX || c->size_bytes % VOL_BLOCK != 0 ||
	    c->size_bytes > VOL_SIZE_MAX || (c->size_bytes == 0 && !is_clone) ||
	    (origin != NULL && origin->source == CW_SOURCE_BUCKET)) {
		vol_err_set(&e, "bad id, prefix, size or origin");
		err = -EINVAL;
	}
	if (err == 0) {
		r = voli_new(c);
		err = create(r, c, origin, &e);
		if (err == 0)
			*out = r;
		else
			voli_free(r);
	}
	if (err < 0 && err_cap > 0)
		(void)snprintf(err_text, err_cap, "%s", e.text[0] != '\0' ? e.text : err_str(err));
	return err;
}
