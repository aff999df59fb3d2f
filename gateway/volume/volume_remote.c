/* SPDX-License-Identifier: Apache-2.0 */
/* volume_remote.c - how a volume gets hold of its remote image: made, opened from here, or from the bucket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/volume_int.h"

char *
volume_map_path(struct cw_volume *v)
{
	const char *data = cache_space_path(v->space), *slash = strrchr(data, '/');

	return slash == NULL
		   ? xasprintf("volume-%u.map", v->space_id)
		   : xasprintf("%.*s/volume-%u.map", (int)(slash - data), data, v->space_id);
}

void
volume_remote_conf(struct cw_volume *v, struct vol_remote_conf *c, char **path)
{
	*path = volume_map_path(v);
	memset(c, 0, sizeof(*c));
	c->volume_id = v->conf.id;
	c->prefix = v->conf.prefix;
	c->appliance_id = v->appliance_id;
	c->size_bytes = v->size;
	c->block_bytes = v->conf.block_bytes;
	c->is_compressed = v->now.is_compressed;
	c->has_key = v->conf.key_id != NULL;
	memcpy(c->key, v->conf.key, sizeof(c->key));
	c->local_path = *path;
	c->recovery_keep_s = v->now.recovery_keep_s;
	c->store = v->store;
}

void
volume_remote_set(struct cw_volume *v)
{
	struct vol_remote *r = v->remote;

	if (r != NULL)
		vol_remote_set(r, v->now.is_compressed, v->now.recovery_keep_s);
}

/* set_irrecoverable - in the row; why NULL: it is not any more. */
static void
set_irrecoverable(struct cw_volume *v, const char *why)
{
	cache_space_lock(v->space);
	/* whoever sees the state meets it; what is complete here is served all the same, just not uploaded */
	v->is_irrecoverable =
	    why != NULL && (v->conf.mode == CW_VOLUME_CACHED || !v->row.is_complete);
	free(v->row.irrecoverable);
	v->row.irrecoverable = why != NULL ? xstrdup(why) : NULL;
	volume_row_changed(v);
	cache_space_unlock(v->space);
}

static void
irrecoverable(struct cw_volume *v, const char *why)
{
	log_err("volume", "irrecoverable",
	    "volume=%s tries=%u: %s; the bucket is looked at again now and then", v->conf.id,
	    v->doubt.tries, why);
	set_irrecoverable(v, why);
	volume_event(v, "volume-irrecoverable", "{\"reason\":\"%s\"}", why);
}

/* recovered - the bucket has the image after all. */
static void
recovered(struct cw_volume *v)
{
	log_info(
	    "volume", "recovered", "volume=%s before=\"%s\"", v->conf.id, v->row.irrecoverable);
	set_irrecoverable(v, NULL);
	volume_event(v, "volume-recovered", "{}");
}

void
volume_remote_open_local(struct cw_volume *v)
{
	struct vol_remote_conf c;
	struct vol_remote *r = NULL;
	char *path;
	int err;

	if (!v->row.is_created || v->row.irrecoverable != NULL)
		return;
	volume_remote_conf(v, &c, &path);
	err = vol_remote_open_local(&c, v->row.committed_epoch, &r);
	free(path);
	explicit_bzero(c.key, sizeof(c.key));
	if (err == 0)
		v->remote = r;
	else
		log_warn("volume", "map-missing",
		    "volume=%s err=\"%s\": it is read from the bucket", v->conf.id, err_str(err));
}

static void
take_time(void *arg, uint64_t epoch, int64_t time_ns, uint64_t size_bytes)
{
	int64_t *out = arg;

	(void)epoch;
	(void)size_bytes;
	*out = time_ns;
}

/* adopt - the image was made or found: what the row and the file say of the base. */
static void
adopt(struct cw_volume *v, struct vol_remote *r)
{
	bool has_base = v->row.source != CW_SOURCE_EMPTY && v->row.source != CW_SOURCE_IMAGE;
	uint64_t size = vol_remote_size(r);
	int64_t time_ns = 0;
	bool is_bigger;

	if (has_base) /* a recovery point, though it is not one of ours */
		vol_remote_point_each(r, 1, take_time, &time_ns);
	cache_space_lock(v->space);
	v->row.is_created = true;
	v->row.committed_epoch = vol_remote_epoch(r);
	v->row.committed_time_ns = time_ns;
	is_bigger = size > v->size;
	if (is_bigger)
		v->size = size;
	if (has_base)
		v->file.base_limit = size;
	v->remote = r;
	volume_row_changed(v);
	cache_space_unlock(v->space);
	if (is_bigger)
		volume_target_changed(v);
}

static int
make(struct cw_volume *v, const struct vol_remote_conf *c, struct vol_remote **r, char *text,
    size_t cap)
{
	struct cw_volume_origin o = {.source = v->row.source,
	    .volume_id = v->row.origin_volume,
	    .prefix = v->row.origin_prefix,
	    .snapshot_id = v->row.origin_snapshot,
	    .time_ns = v->row.origin_time_ns};

	if (o.source == CW_SOURCE_BUCKET)
		return vol_remote_open_bucket(c, r, text, cap);
	return vol_remote_create(c, &o, r, text, cap); /* what was begun before a crash goes on */
}

/* is_lost - an answer of the bucket that asking again does not change, if it is true. -EEXIST: what is there is not
 * ours, as we never uploaded anything. */
static bool
is_lost(int err)
{
	return err == -EEXIST || err == -ENOENT || err == -ERR_CHECKSUM || err == -EUCLEAN;
}

/* is_believed - was this the answer often enough, and for long enough? A store may be wrong for a while: a policy,
 * a listing from some time ago, a bucket that is being restored. */
static bool
is_believed(struct cw_volume *v, int err)
{
	uint64_t now = clock_mono_ns();

	if (v->doubt.err != err) {
		v->doubt.err = err;
		v->doubt.tries = 0;
		v->doubt.since_ns = now;
	}
	v->doubt.tries++;
	return v->doubt.tries >= v->tune.lost_tries &&
	       now - v->doubt.since_ns >= v->tune.lost_ms * 1000000ull;
}

/* answered - err of the bucket, and what it makes of the volume. */
static void
answered(struct cw_volume *v, int err, const char *why)
{
	if (!is_lost(err))
		v->doubt.err = 0;
	else if (v->row.irrecoverable != NULL && strcmp(v->row.irrecoverable, why) != 0)
		set_irrecoverable(v, why); /* something was mended, but not all */
	else if (v->row.irrecoverable == NULL && is_believed(v, err))
		irrecoverable(v, why);
}

int
volume_remote_connect(struct cw_volume *v)
{
	bool was_created = v->row.is_created;
	char text[200] = "", *path;
	struct vol_remote *r = NULL;
	struct vol_remote_conf c;
	int err;

	volume_remote_conf(v, &c, &path);
	c.is_doubted = v->doubt.err != 0 || v->row.irrecoverable != NULL;
	cache_space_lock(v->space);
	c.is_epoch_known = was_created;
	c.epoch = v->row.committed_epoch;
	c.sealed_epoch = v->row.sealed_epoch;
	cache_space_unlock(v->space);
	if (was_created)
		err = vol_remote_open_bucket(&c, &r, text, sizeof(text));
	else
		err = make(v, &c, &r, text, sizeof(text));
	free(path);
	explicit_bzero(c.key, sizeof(c.key));
	answered(v, err, text[0] != '\0' ? text : err_str(err));
	if (err == 0 && was_created)
		v->remote = r;
	else if (err == 0)
		adopt(v, r);
	if (err == 0) { /* it was opened with the settings of before */
		pthread_mutex_lock(&v->sched_lock);
		volume_remote_set(v);
		pthread_mutex_unlock(&v->sched_lock);
	}
	if (err == 0 && v->row.irrecoverable != NULL)
		recovered(v);
	if (err == 0 && !was_created)
		err = cache_commit_sync(v->space);
	volume_say(v, err, text[0] != '\0' ? text : "the bucket cannot be used");
	return err;
}
