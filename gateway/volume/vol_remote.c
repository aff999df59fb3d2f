/* SPDX-License-Identifier: Apache-2.0 */
/* vol_remote.c - life of a volume's remote image: opening, closing, facts. */
#include "gateway/volume/vol_remote.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume/vol_int.h"

/* ---- building ---- */

static void
tune_fill(struct vol_tune *t)
{
	static const struct vol_tune defaults = {.object_bytes = 8u << 20,
	    .width = 8,
	    .checkpoint_min_bytes = 64u << 20,
	    .checkpoint_ratio = 20,
	    .checkpoint_age_s = 3600,
	    .waste_percent = 143,
	    .waste_min_bytes = 64u << 20,
	    .compact_bytes = 64u << 20,
	    .renew_ms = 60000};

#define FILL(m) t->m = t->m != 0 ? t->m : defaults.m
	FILL(object_bytes);
	FILL(width);
	FILL(checkpoint_min_bytes);
	FILL(checkpoint_ratio);
	FILL(checkpoint_age_s);
	FILL(waste_percent);
	FILL(waste_min_bytes);
	FILL(compact_bytes);
	FILL(renew_ms);
#undef FILL
}

static int
check_conf(const struct vol_remote_conf *c, struct vol_err *e)
{
	if (!vol_id_is_valid(c->volume_id) || strlen(c->prefix) >= VOL_PREFIX_MAX ||
	    strlen(c->appliance_id) >= VOL_APPLIANCE_MAX) {
		vol_err_set(e, "bad volume id, prefix or appliance id");
		return -EINVAL;
	}
	return 0;
}

struct vol_remote *
voli_new(const struct vol_remote_conf *c)
{
	struct vol_remote *r = xcalloc(1, sizeof(*r));

	r->id = xstrdup(c->volume_id);
	r->prefix = xstrdup(c->prefix);
	r->appliance = xstrdup(c->appliance_id);
	r->stem = c->local_path != NULL ? xstrdup(c->local_path) : NULL;
	memcpy(r->key, c->key, sizeof(r->key));
	r->is_compressed = c->is_compressed;
	r->keep_s = c->recovery_keep_s;
	if (c->tune != NULL)
		r->tune = *c->tune;
	tune_fill(&r->tune);
	r->store = c->store;
	r->incarnation = 1;
	r->next_seq = 1ull << 32;
	pthread_mutex_init(&r->work, NULL);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->idle, NULL);
	vol_image_init(&r->im, r->info.uuid);
	r->map_time_ns = clock_real_ns();
	voli_reader_start();
	return r;
}

void
voli_free(struct vol_remote *r)
{
	if (r == NULL)
		return;
	voli_local_close(r);
	voli_done_with(r);
	voli_moved_free(r);
	voli_pending_free(r->pending);
	for (size_t i = 0; i < r->nnext; i++)
		vol_log_free(&r->next[i]);
	free(r->next);
	for (size_t i = 0; i < r->npins; i++)
		free(r->pins[i].description);
	free(r->pins);
	free(r->maps);
	vol_image_free(&r->im);
	pthread_mutex_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->idle);
	free(r->id);
	free(r->prefix);
	free(r->appliance);
	free(r->stem);
	free(r);
}

bool
voli_place(const struct vol_remote *r, uint32_t source, struct vol_place *pl)
{
	if (source > r->im.nsources)
		return false;
	*pl = (struct vol_place){.store = r->store, .prefix = r->prefix, .id = r->id};
	if (source == 0) {
		memcpy(pl->uuid, r->info.uuid, VOL_UUID_LEN);
	} else {
		pl->prefix = r->im.sources[source - 1].prefix;
		pl->id = r->im.sources[source - 1].id;
		memcpy(pl->uuid, r->im.sources[source - 1].uuid, VOL_UUID_LEN);
	}
	return true;
}

int
voli_seq(struct vol_remote *r, uint64_t *seq)
{
	int err = r->is_incarnation_durable ? 0 : voli_local_start(r);

	*seq = r->next_seq;
	if (err == 0)
		r->next_seq++;
	return err;
}

void
voli_uploaded(struct vol_remote *r, uint64_t bytes, bool is_moved)
{
	pthread_mutex_lock(&r->lock);
	r->uploaded_bytes += bytes;
	r->uploaded_objects++;
	r->moved_bytes += is_moved ? bytes : 0;
	pthread_mutex_unlock(&r->lock);
}

void
voli_reason(struct vol_remote *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&r->lock);
	(void)vsnprintf(r->reason, sizeof(r->reason), fmt, ap);
	pthread_mutex_unlock(&r->lock);
	va_end(ap);
}

bool
voli_is_waiting(struct vol_remote *r)
{
	bool is_waiting;

	pthread_mutex_lock(&r->lock);
	is_waiting = r->pending != NULL && r->pending->is_uploaded;
	pthread_mutex_unlock(&r->lock);
	return is_waiting;
}

void
voli_done_with(struct vol_remote *r)
{
	struct vol_pending *p;

	pthread_mutex_lock(&r->lock);
	p = r->spent;
	r->spent = NULL;
	pthread_mutex_unlock(&r->lock);
	if (p == NULL)
		return;
	r->log_since += p->bytes;
	voli_pending_free(p);
	voli_moved_free(r);
}

int
voli_check_key(const struct vol_remote_conf *c, const struct vol_info *info, struct vol_err *e)
{
	uint8_t check[VOL_KEY_CHECK_LEN];

	if (info->has_key != c->has_key) {
		vol_err_set(e, "volume %s is %s", info->id,
		    info->has_key ? "encrypted: a key is needed" : "not encrypted");
		return -EKEYREJECTED;
	}
	if (!info->has_key)
		return 0;
	vol_key_check(c->key, info->uuid, check);
	if (digest_equal(check, info->key_check, sizeof(check)))
		return 0;
	vol_err_set(e, "volume %s is encrypted with another key", info->id);
	return -EKEYREJECTED;
}

/* ---- opening ---- */

int
vol_remote_open_local(
    const struct vol_remote_conf *c, uint64_t committed_epoch, struct vol_remote **out)
{
	struct vol_remote *r;
	int err;

	*out = NULL;
	if (check_conf(c, NULL) < 0 || c->local_path == NULL)
		return -ENOENT;
	r = voli_new(c);
	err = voli_local_load(r, committed_epoch);
	if (err == 0)
		err = voli_check_key(c, &r->info, NULL);
	if (err < 0) {
		log_warn("gateway.volume", "map-unusable",
		    "volume=%s err=\"%s\": it is rebuilt from the bucket", r->id, err_str(err));
		voli_free(r);
		return err;
	}
	r->is_owner = true; /* until the bucket says otherwise */
	r->is_adopt_due = r->is_sweep_due = true;
	*out = r;
	return 0;
}

/* check_epoch - does the image in the bucket fit to what is here? */
static int
check_epoch(const struct vol_remote_conf *c, const struct vol_image *im, struct vol_err *e)
{
	uint64_t found = im->at.epoch;

	if (c == NULL || !c->is_epoch_known || found == c->epoch ||
	    (c->sealed_epoch != 0 && found == c->sealed_epoch))
		return 0;
	vol_err_set(e,
	    "the bucket holds epoch %" PRIu64 " of the volume, this gateway knows epoch %" PRIu64,
	    found, c->epoch);
	return -EUCLEAN;
}

static int
replay(const struct vol_place *pl, const struct vol_remote_conf *c, struct vol_image *im,
    struct vol_found *found, struct vol_err *e)
{
	int err = vol_replay_now(pl, im, found, e);

	if (err < 0)
		return err;
	err = check_epoch(c, im, e);
	if (err < 0)
		vol_image_free(im);
	return err;
}

/* look - is there an image to be opened? A checkpoint of an older one, in a new term, would be the end of
 * what came after it, and a new term ends the uploads of another owner: neither may come of an answer
 * that is wrong. */
static int
look(const struct vol_place *pl, const struct vol_remote_conf *c, struct vol_err *e)
{
	struct vol_found found;
	struct vol_image im;
	int err = replay(pl, c, &im, &found, e);

	if (err == 0)
		vol_image_free(&im);
	return err;
}

int
voli_open_bucket(struct vol_remote *r, const struct vol_remote_conf *c, struct vol_err *e)
{
	struct vol_found found;
	struct vol_place pl;
	struct vol_image im;
	int err = vol_read_info(r->store, r->prefix, r->id, &r->info, e);

	if (err == 0 && c != NULL)
		err = voli_check_key(c, &r->info, e);
	(void)voli_place(r, 0, &pl);
	if (err == 0 && c != NULL && (c->is_epoch_known || c->is_doubted))
		err = look(&pl, c, e);
	if (err == 0) {
		err = voli_owner_take(r);
		if (err < 0)
			vol_err_set(e, "%s%s/owner: %s", r->prefix, r->id, err_str(err));
	}
	if (err < 0)
		return err;
	err = replay(&pl, c, &im, &found, e);
	if (err < 0)
		return err;
	vol_image_free(&r->im);
	r->im = im;
	if (found.is_map_damaged)
		voli_reason(r, "a checkpoint was damaged; an older one and the log stood in");
	r->is_sweep_due = !found.is_map_damaged;
	/* the new term begins with a checkpoint: it is what a late write of the old owner is
	 * measured by */
	err = voli_local_info(r);
	if (err == 0)
		err = voli_checkpoint(r);
	if (err < 0)
		vol_err_set(e, "checkpoint of volume %s: %s", r->id, err_str(err));
	else
		log_info("gateway.volume", "recovered",
		    "volume=%s epoch=%" PRIu64 " term=%u extents=%" PRIu64 " objects=%u", r->id,
		    r->im.at.epoch, r->term, r->im.map.nentries, r->im.own_objects);
	return err;
}

int
vol_remote_open_bucket(
    const struct vol_remote_conf *c, struct vol_remote **out, char *err_text, size_t err_cap)
{
	struct vol_err e = {""};
	struct vol_remote *r;
	int err = check_conf(c, &e);

	*out = NULL;
	if (err == 0) {
		r = voli_new(c);
		err = voli_open_bucket(r, c, &e);
		if (err == 0)
			*out = r;
		else
			voli_free(r);
	}
	if (err < 0 && err_cap > 0)
		(void)snprintf(err_text, err_cap, "%s", e.text[0] != '\0' ? e.text : err_str(err));
	return err;
}

void
vol_remote_close(struct vol_remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->is_closing = true;
	while (r->fetches[0] + r->fetches[1] > 0)
		pthread_cond_wait(&r->idle, &r->lock);
	pthread_mutex_unlock(&r->lock);
	voli_free(r);
}

void
vol_remote_replace_store(struct vol_remote *r, struct objstore *store)
{
	unsigned int old;

	pthread_mutex_lock(&r->work);
	pthread_mutex_lock(&r->lock);
	old = r->fetch_turn;
	r->fetch_turn = 1 - old;
	r->store = store;
	while (r->fetches[old] > 0)
		pthread_cond_wait(&r->idle, &r->lock);
	r->is_owner_known = false;
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_unlock(&r->work);
}

void
vol_remote_set(struct vol_remote *r, bool is_compressed, uint32_t recovery_keep_s)
{
	r->is_compressed = is_compressed;
	r->keep_s = recovery_keep_s;
}

int
vol_remote_release(struct vol_remote *r)
{
	int err;

	pthread_mutex_lock(&r->work);
	if (voli_is_waiting(r)) {
		err = -EBUSY;
	} else {
		voli_done_with(r);
		err = r->is_owner ? 0 : -ESTALE;
		if (err == 0 && r->map_epoch != r->im.at.epoch)
			err = voli_checkpoint(r);
		if (err == 0)
			err = voli_owner_release(r);
	}
	pthread_mutex_unlock(&r->work);
	return err;
}

/* ---- facts ---- */

uint64_t
vol_remote_epoch(const struct vol_remote *cr)
{
	struct vol_remote *r = (struct vol_remote *)(uintptr_t)cr;
	uint64_t epoch;

	pthread_mutex_lock(&r->lock);
	epoch = r->im.at.epoch;
	pthread_mutex_unlock(&r->lock);
	return epoch;
}

uint64_t
vol_remote_size(const struct vol_remote *cr)
{
	struct vol_remote *r = (struct vol_remote *)(uintptr_t)cr;
	uint64_t size;

	pthread_mutex_lock(&r->lock);
	size = r->im.at.size_bytes;
	pthread_mutex_unlock(&r->lock);
	return size;
}

uint64_t
vol_remote_mapped_bytes(const struct vol_remote *cr)
{
	struct vol_remote *r = (struct vol_remote *)(uintptr_t)cr;
	uint64_t blocks;

	pthread_mutex_lock(&r->lock);
	blocks = r->im.map.mapped_blocks;
	pthread_mutex_unlock(&r->lock);
	return blocks << VOL_BLOCK_SHIFT;
}

void
vol_remote_get_stats(struct vol_remote *r, struct vol_remote_stats *out)
{
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&r->lock);
	out->epoch = r->im.at.epoch;
	out->term = r->term;
	out->point_ns = r->im.at.epoch > 0 ? r->im.at.time_ns : 0;
	out->extents = r->im.map.nentries;
	out->map_bytes = r->im.map.memory_bytes;
	out->objects = r->im.own_objects;
	out->bytes = r->im.object_bytes;
	out->live_bytes = r->im.live_bytes;
	out->mapped_bytes = r->im.map.mapped_blocks << VOL_BLOCK_SHIFT;
	out->uploaded_bytes = r->uploaded_bytes;
	out->uploaded_objects = r->uploaded_objects;
	out->moved_bytes = r->moved_bytes;
	out->deleted_objects = r->deleted_objects;
	out->checkpoint_epoch = r->map_epoch;
	out->is_owner = r->is_owner;
	out->is_takeover_unsafe = !r->store->has_conditional_put;
	memcpy(out->reason, r->reason, sizeof(out->reason));
	pthread_mutex_unlock(&r->lock);
}
