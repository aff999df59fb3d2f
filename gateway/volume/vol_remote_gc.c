/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vol_remote_gc.c - checkpoints, and what may be deleted.
 *
 * The horizon H is the epoch of the oldest checkpoint that is kept: the newest one that is older than
 * recovery_keep_s, or the oldest of all.  Every epoch from H on can be restored: by a checkpoint and the
 * commits behind it.  A log object may go iff it was dead at H, and no pinned epoch e (a snapshot, a
 * clone) has birth <= e < death.  Checkpoints below H go first, so none that is there needs it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

#define DELETE_MAX 1000u    /* keys in one go */
#define PINS_LOOK_MS 60000u /* a damaged one is looked at again */
#define NS 1000000000ll

/* ---- checkpoints ---- */

uint64_t
voli_floor(const struct vol_remote *r)
{
	if (r->nmoved > 0)
		return r->moved[0].seq;
	if (r->pending != NULL && r->pending->nparts > 0)
		return r->pending->parts[0].log.seq;
	return r->next_seq;
}

static void
map_known(struct vol_remote *r, uint32_t term, uint64_t epoch)
{
	for (size_t i = 0; i < r->nmaps; i++)
		if (r->maps[i].term == term && r->maps[i].epoch == epoch)
			return;
	r->maps = xrealloc(r->maps, (r->nmaps + 1) * sizeof(*r->maps));
	r->maps[r->nmaps++] = (struct vol_map_name){term, epoch};
}

int
voli_load_maps(struct vol_remote *r)
{
	struct vol_names names;
	struct vol_place pl;
	int err;

	(void)voli_place(r, 0, &pl);
	err = vol_list_names(&pl, "map/", 0, 0, &names);
	if (err < 0)
		return err;
	r->nmaps = 0;
	for (size_t i = 0; i < names.n; i++)
		map_known(r, names.v[i].term, names.v[i].seq);
	vol_names_free(&names);
	r->are_maps_known = true;
	return 0;
}

/* ---- pins ---- */

struct pin_list {
	struct vol_remote *r;
	struct vol_pin *pins;
	size_t n, ndamaged;
};

/* pin_name - "<id>.json" or "<id>.clone.json". */
static bool
pin_name(const char *rest, char id[VOL_ID_MAX], bool *is_clone)
{
	const char *dot = strchr(rest, '.');
	size_t n = dot != NULL ? (size_t)(dot - rest) : VOL_ID_MAX;

	if (n >= VOL_ID_MAX)
		return false;
	memcpy(id, rest, n);
	id[n] = '\0';
	*is_clone = strcmp(dot, ".clone.json") == 0;
	return vol_id_is_valid(id) && (*is_clone || strcmp(dot, ".json") == 0);
}

static const struct vol_pin *
pin_find(const struct vol_remote *r, const char *id, bool is_clone)
{
	for (size_t i = 0; i < r->npins; i++)
		if (r->pins[i].is_clone == is_clone && strcmp(r->pins[i].id, id) == 0)
			return &r->pins[i];
	return NULL;
}

static int
pin_get(struct vol_remote *r, const char *rest, struct vol_pin *out)
{
	char key[VOL_KEY_MAX], name[96], *text;
	size_t len;
	int err;

	(void)snprintf(name, sizeof(name), "snap/%s", rest);
	vol_key(key, r->prefix, r->id, name);
	err = vol_get(r->store, key, VOL_JSON_MAX, &text, &len, NULL);
	if (err < 0)
		return err;
	err = vol_pin_decode(text, len, out);
	if (err < 0) {
		if (!r->is_pin_damaged)
			log_err("gateway.volume", "damaged",
			    "key=\"%s\" why=\"not a snapshot\": nothing is deleted while it is "
			    "there",
			    key);
		voli_reason(r, "%s: damaged; nothing is deleted while it is there", key);
	}
	free(text);
	return err;
}

static int
pin_add(void *arg, const char *rest, const struct objstore_entry *e)
{
	struct pin_list *l = arg;
	const struct vol_pin *old;
	char id[VOL_ID_MAX];
	struct vol_pin pin;
	bool is_clone;
	int err = 0;

	(void)e;
	if (!pin_name(rest, id, &is_clone))
		return 0;
	old = pin_find(l->r, id, is_clone);
	if (old != NULL) {
		pin = *old;
		pin.description = old->description != NULL ? xstrdup(old->description) : NULL;
	} else {
		err = pin_get(l->r, rest, &pin);
	}
	if (err == -ENOENT) /* it went meanwhile */
		return 0;
	if (err == -ERR_CHECKSUM) { /* who knows what it needs? The rest goes on */
		l->ndamaged++;
		return 0;
	}
	if (err < 0)
		return err;
	l->pins = xrealloc(l->pins, (l->n + 1) * sizeof(*l->pins));
	l->pins[l->n++] = pin;
	return 0;
}

static int
pin_compare(const void *a, const void *b)
{
	const struct vol_pin *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return strcmp(x->id, y->id);
}

static void
pins_free(struct vol_pin *pins, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(pins[i].description);
	free(pins);
}

int
voli_load_pins(struct vol_remote *r)
{
	struct pin_list l = {.r = r};
	char prefix[VOL_KEY_MAX];
	struct vol_pin *old;
	size_t nold;
	int err;

	vol_key(prefix, r->prefix, r->id, "snap/");
	err = vol_list(r->store, prefix, NULL, pin_add, &l);
	if (err < 0) {
		pins_free(l.pins, l.n);
		return err;
	}
	if (l.n > 1)
		qsort(l.pins, l.n, sizeof(*l.pins), pin_compare);
	pthread_mutex_lock(&r->lock);
	old = r->pins;
	nold = r->npins;
	r->pins = l.pins;
	r->npins = l.n;
	pthread_mutex_unlock(&r->lock);
	pins_free(old, nold);
	if (r->is_pin_damaged && l.ndamaged == 0)
		voli_reason(r, "%s", "");
	r->is_pin_damaged = l.ndamaged > 0;
	r->are_pins_known = true;
	r->pins_look_ms = clock_mono_ms() + PINS_LOOK_MS;
	return 0;
}

bool
voli_is_pinned(const struct vol_remote *r, const struct vol_object *o)
{
	for (size_t i = 0; i < r->npins; i++)
		if (o->birth <= r->pins[i].epoch && (o->death == 0 || r->pins[i].epoch < o->death))
			return true;
	return false;
}

/* ---- what may go ---- */

/* is_stale - of an owner who wrote it after he had been replaced. */
static bool
is_stale(const struct vol_remote *r, const struct vol_map_name *m)
{
	for (size_t i = 0; i < r->nmaps; i++)
		if (r->maps[i].term > m->term && r->maps[i].epoch < m->epoch)
			return true;
	return false;
}

/* horizon - of the checkpoints there are, or with one at the committed epoch. */
static uint64_t
horizon(const struct vol_remote *r, bool with_new)
{
	int64_t cutoff = clock_real_ns() - (int64_t)r->keep_s * NS;
	uint64_t oldest = UINT64_MAX, best = 0;
	bool has_best = false;

	if (with_new && r->im.at.time_ns <= cutoff)
		return r->im.at.epoch;
	for (size_t i = 0; i < r->nmaps; i++) {
		const struct vol_map_name *m = &r->maps[i];
		const struct vol_point *p = vol_image_point(&r->im, m->epoch);

		if (p == NULL || is_stale(r, m))
			continue;
		oldest = m->epoch < oldest ? m->epoch : oldest;
		if (p->time_ns <= cutoff && m->epoch >= best) {
			best = m->epoch;
			has_best = true;
		}
	}
	if (has_best)
		return best;
	return oldest == UINT64_MAX ? 0 : oldest;
}

/* forget_points - epochs that cannot be restored any more. */
static void
forget_points(struct vol_remote *r, uint64_t h)
{
	pthread_mutex_lock(&r->lock);
	vol_image_drop_points(&r->im, h);
	pthread_mutex_unlock(&r->lock);
}

int
voli_checkpoint(struct vol_remote *r)
{
	struct vol_ckpt head = {.term = r->term, .floor = voli_floor(r)};
	struct strbuf b = STRBUF_INIT;
	char key[VOL_KEY_MAX];
	int err;

	forget_points(r, horizon(r, true));
	vol_ckpt_encode(&r->im, &head, &b);
	vol_key_map(key, r->prefix, r->id, r->term, r->im.at.epoch);
	err = vol_put(r->store, key, b.s, b.len, NULL, false, NULL, NULL);
	if (err == 0) {
		voli_uploaded(r, b.len, false);
		map_known(r, r->term, r->im.at.epoch);
		err = voli_owner_check(r);
	}
	if (err == 0)
		err = voli_local_save(r, b.s, b.len);
	if (err == 0) {
		r->map_epoch = r->im.at.epoch;
		r->map_bytes = b.len;
		r->map_time_ns = clock_real_ns();
		r->log_since = 0;
		log_debug("gateway.volume", "checkpoint",
		    "volume=%s epoch=%" PRIu64 " bytes=%zu extents=%" PRIu64, r->id, r->map_epoch,
		    b.len, r->im.map.nentries);
	}
	strbuf_free(&b);
	return err;
}

static bool
may_go(const struct vol_remote *r, const struct vol_object *o, uint64_t h)
{
	return o->bytes != 0 && o->live == 0 && o->death != 0 && o->death <= h &&
	       !voli_is_pinned(r, o);
}

static bool
map_may_go(const struct vol_remote *r, const struct vol_map_name *m, uint64_t h)
{
	for (size_t i = 0; i < r->npins; i++)
		if (!r->pins[i].is_clone && r->pins[i].map_term == m->term &&
		    r->pins[i].map_epoch == m->epoch)
			return false;
	if (m->term == r->term && m->epoch >= r->map_epoch)
		return false;
	if (m->epoch < h || is_stale(r, m))
		return true;
	for (size_t i = 0; i < r->nmaps; i++) /* another owner's of the same epoch */
		if (r->maps[i].epoch == m->epoch && r->maps[i].term > m->term)
			return true;
	return false;
}

static int
delete_maps(struct vol_remote *r, uint64_t h)
{
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < r->nmaps; i++) {
		struct vol_map_name m = r->maps[i];
		char key[VOL_KEY_MAX];
		const char *keys[1] = {key};

		if (err == 0 && map_may_go(r, &m, h)) {
			vol_key_map(key, r->prefix, r->id, m.term, m.epoch);
			err = vol_delete(r->store, keys, 1);
			if (err == 0) {
				/* what judged by the whole list goes on judging by it */
				r->maps[i].term = 0;
				r->maps[i].epoch = UINT64_MAX;
			}
		}
	}
	for (size_t i = 0; i < r->nmaps; i++)
		if (r->maps[i].term != 0)
			r->maps[kept++] = r->maps[i];
	r->nmaps = kept;
	return err;
}

static int
delete_objects(struct vol_remote *r, uint64_t h, bool *is_more)
{
	char(*keys)[VOL_KEY_MAX] = xcalloc(DELETE_MAX, sizeof(*keys));
	const char **refs = xcalloc(DELETE_MAX, sizeof(*refs));
	uint32_t *ordinals = xcalloc(r->im.nobjects + 1u, sizeof(*ordinals));
	size_t n = 0, nkeys = 0;
	int err = 0;

	for (uint32_t i = 0; i < r->im.nobjects; i++) {
		const struct vol_object *o = &r->im.objects[i];

		if (!may_go(r, o, h))
			continue;
		if (nkeys == DELETE_MAX) {
			*is_more = true;
			break;
		}
		ordinals[n++] = i;
		if (o->source != 0)
			continue; /* not ours to delete */
		vol_key_log(keys[nkeys], r->prefix, r->id, o->term, o->seq);
		refs[nkeys] = keys[nkeys];
		nkeys++;
	}
	if (nkeys > 0)
		err = vol_delete(r->store, refs, nkeys);
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; err == 0 && i < n; i++)
		vol_image_drop(&r->im, ordinals[i]);
	if (err == 0)
		r->deleted_objects += nkeys;
	pthread_mutex_unlock(&r->lock);
	free(keys);
	free(refs);
	free(ordinals);
	return err;
}

/* release_sources - a volume that nothing of ours lies in any more need not keep it. */
static int
release_sources(struct vol_remote *r)
{
	int err = 0;

	for (uint32_t s = 1; err == 0 && s <= r->im.nsources; s++) {
		struct vol_place pl;
		char key[VOL_KEY_MAX];
		const char *keys[1] = {key};
		bool is_used = false;

		for (uint32_t i = 0; i < r->im.nobjects && !is_used; i++)
			is_used = r->im.objects[i].bytes != 0 && r->im.objects[i].source == s;
		if (is_used || r->is_source_free[s])
			continue;
		(void)voli_place(r, s, &pl);
		vol_key_clone(key, pl.prefix, pl.id, r->id);
		err = vol_delete(r->store, keys, 1);
		r->is_source_free[s] = err == 0;
		if (err == 0)
			voli_reap(r, pl.prefix, pl.id);
	}
	return err;
}

static bool
has_work(const struct vol_remote *r, uint64_t h)
{
	for (size_t i = 0; i < r->nmaps; i++)
		if (map_may_go(r, &r->maps[i], h))
			return true;
	for (uint32_t i = 0; i < r->im.nobjects; i++)
		if (may_go(r, &r->im.objects[i], h))
			return true;
	return false;
}

int
voli_collect(struct vol_remote *r, bool *is_more)
{
	uint64_t h = horizon(r, false);
	int err;

	*is_more = false;
	forget_points(r, h);
	if (!has_work(r, h))
		return 0;
	err = voli_load_pins(r); /* a clone may have come */
	if (err == 0 && r->is_pin_damaged)
		return 0;
	if (err == 0)
		err = voli_owner_check(r);
	if (err == 0)
		err = delete_maps(r, h);
	if (err == 0)
		err = delete_objects(r, h, is_more);
	if (err == 0 && !*is_more)
		err = release_sources(r);
	return err;
}

/* ---- log objects that nobody names ---- */

static int
sweep(struct vol_remote *r)
{
	struct vol_names names;
	struct vol_place pl;
	uint64_t floor = voli_floor(r);
	size_t n = 0;
	int err;

	(void)voli_place(r, 0, &pl);
	err = vol_list_names(&pl, "log/", 0, 0, &names);
	for (size_t i = 0; err == 0 && i < names.n; i++) {
		const struct vol_name *m = &names.v[i];
		char key[VOL_KEY_MAX];
		const char *keys[1] = {key};

		if (m->term > r->term || (m->term == r->term && m->seq >= floor) ||
		    vol_image_find(&r->im, 0, m->term, m->seq) != VOL_NO_OBJECT)
			continue;
		vol_key_log(key, r->prefix, r->id, m->term, m->seq);
		err = vol_delete(r->store, keys, 1);
		n += err == 0;
	}
	vol_names_free(&names);
	if (n > 0)
		log_info("gateway.volume", "swept", "volume=%s objects=%zu", r->id, n);
	return err;
}

/* ---- what is due ---- */

/* freed_by_checkpoint - bytes that could go if there were one now. */
static uint64_t
freed_by_checkpoint(const struct vol_remote *r)
{
	uint64_t now = horizon(r, false), then = horizon(r, true), n = 0;

	if (then <= now)
		return 0;
	for (uint32_t i = 0; i < r->im.nobjects; i++)
		if (r->im.objects[i].source == 0 && may_go(r, &r->im.objects[i], then) &&
		    r->im.objects[i].death > now)
			n += r->im.objects[i].bytes;
	return n;
}

static bool
checkpoint_due(const struct vol_remote *r)
{
	uint64_t log = r->tune.checkpoint_ratio * r->map_bytes;
	uint64_t waste = r->im.live_bytes / 20;

	if (r->map_epoch == r->im.at.epoch)
		return false;
	if (log < r->tune.checkpoint_min_bytes)
		log = r->tune.checkpoint_min_bytes;
	if (waste < r->tune.checkpoint_min_bytes)
		waste = r->tune.checkpoint_min_bytes;
	return r->log_since >= log || freed_by_checkpoint(r) >= waste ||
	       clock_real_ns() - r->map_time_ns >= r->tune.checkpoint_age_s * NS;
}

static int
look_after_owner(struct vol_remote *r, uint64_t *next_ms)
{
	uint64_t now = clock_mono_ms();
	int err = 0;

	if (now - r->owner_checked_ms >= r->tune.renew_ms) {
		/* an idle volume only looks */
		if (r->uploaded_objects != r->renewed_objects)
			err = voli_owner_renew(r);
		else
			err = voli_owner_check(r);
		r->renewed_objects = r->uploaded_objects;
		now = clock_mono_ms();
	}
	if (err == 0 && r->owner_checked_ms + r->tune.renew_ms > now)
		*next_ms = r->owner_checked_ms + r->tune.renew_ms - now;
	return err;
}

static int
tick(struct vol_remote *r, uint64_t *next_ms)
{
	bool is_more = false;
	int err = look_after_owner(r, next_ms);

	if (err == 0 &&
	    (!r->are_pins_known || (r->is_pin_damaged && clock_mono_ms() >= r->pins_look_ms)))
		err = voli_load_pins(r);
	if (err == 0 && !r->are_maps_known)
		err = voli_load_maps(r);
	if (err == 0 && checkpoint_due(r))
		err = voli_checkpoint(r);
	if (err == 0 && !r->is_pin_damaged)
		err = voli_collect(r, &is_more);
	if (err == 0 && r->is_sweep_due && !r->is_pin_damaged && r->map_epoch == r->im.at.epoch &&
	    r->pending == NULL) {
		err = voli_owner_check(r);
		if (err == 0)
			err = sweep(r);
		r->is_sweep_due = err < 0;
	}
	if (err == 0 && !r->is_pin_damaged && voli_compact_due(r)) {
		err = voli_compact(r);
		is_more = is_more || (err == 0 && voli_compact_due(r));
	}
	if (is_more)
		*next_ms = 0;
	else if (r->map_epoch != r->im.at.epoch && *next_ms > 5000)
		*next_ms = 5000;
	return err;
}

int
vol_remote_tick(struct vol_remote *r, uint64_t *next_ms)
{
	int err = 0;

	*next_ms = 5000;
	pthread_mutex_lock(&r->work);
	if (!voli_is_waiting(r)) {
		voli_done_with(r);
		err = r->is_owner ? tick(r, next_ms) : -ESTALE;
	}
	pthread_mutex_unlock(&r->work);
	return err;
}
