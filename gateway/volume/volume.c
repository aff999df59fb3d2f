/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.c - life of a volume: made, opened, resized, closed, given away, destroyed; who knows it.
 *
 * Opening never waits for the bucket: rows and local map are enough to serve what is here; the volume's
 * thread (volume_seal.c) makes or finds the remote image and goes on with what was under way.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "gateway/volume/volume_int.h"
#include "s3/objstore_door.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = LIST_INIT(registry);

/* --- who knows it ------------------------------------------------------------------------------------- */

void
cw_volume_get(struct cw_volume *v)
{
	pthread_mutex_lock(&registry_lock);
	v->refs++;
	pthread_mutex_unlock(&registry_lock);
}

static void
volume_free(struct cw_volume *v)
{
	volume_target_free(v);
	pthread_mutex_destroy(&v->range_lock);
	pthread_mutex_destroy(&v->sched_lock);
	pthread_cond_destroy(&v->sched);
	pthread_cond_destroy(&v->quiet);
	volume_row_free(&v->row);
	cw_volume_conf_free(&v->conf);
	free(v->appliance_id);
	free(v);
}

void
cw_volume_put(struct cw_volume *v)
{
	bool is_last;

	pthread_mutex_lock(&registry_lock);
	is_last = --v->refs == 0;
	pthread_mutex_unlock(&registry_lock);
	if (is_last)
		volume_free(v);
}

static struct cw_volume *
find(const char *id, const char *iqn)
{
	struct cw_volume *found = NULL;
	struct list *l;

	pthread_mutex_lock(&registry_lock);
	list_for_each(l, &registry)
	{
		struct cw_volume *v = container_of(l, struct cw_volume, link);

		if (id != NULL ? strcmp(v->conf.id, id) == 0
			       : !v->is_retired && strcasecmp(v->conf.iqn, iqn) == 0) {
			found = v;
			v->refs++;
			break;
		}
	}
	pthread_mutex_unlock(&registry_lock);
	return found;
}

struct cw_volume *
cw_volume_by_id(const char *id)
{
	return find(id, NULL);
}

struct cw_volume *
cw_volume_by_iqn(const char *iqn)
{
	return find(NULL, iqn);
}

void
cw_volume_each(void (*fn)(void *arg, struct cw_volume *v), void *arg)
{
	struct cw_volume **all = NULL;
	size_t n = 0;
	struct list *l;

	pthread_mutex_lock(&registry_lock);
	list_for_each(l, &registry)
	{
		struct cw_volume *v = container_of(l, struct cw_volume, link);

		if (v->is_retired)
			continue;
		all = xrealloc(all, (n + 1) * sizeof(*all));
		all[n++] = v;
		v->refs++;
	}
	pthread_mutex_unlock(&registry_lock);
	for (size_t i = 0; i < n; i++) {
		fn(arg, all[i]);
		cw_volume_put(all[i]);
	}
	free(all);
}

const char *
cw_volume_id(const struct cw_volume *v)
{
	return v->conf.id;
}

const struct cw_volume_conf *
cw_volume_conf(const struct cw_volume *v)
{
	return &v->conf;
}

uint64_t
cw_volume_size(const struct cw_volume *v)
{
	return v->size;
}

/* --- in and out ------------------------------------------------------------------------------------------ */

#define CLOSING 0x80000000u /* in nio */

bool
volume_enter(struct cw_volume *v)
{
	if ((atomic_fetch_add(&v->nio, 1) & CLOSING) == 0)
		return true;
	volume_leave(v);
	return false;
}

void
volume_leave(struct cw_volume *v)
{
	/* who takes the count to its end says so under the lock, after which it touches v no more */
	if (atomic_fetch_sub(&v->nio, 1) - 1 != CLOSING)
		return;
	pthread_mutex_lock(&v->range_lock);
	v->is_quiet = true;
	pthread_cond_broadcast(&v->quiet);
	pthread_mutex_unlock(&v->range_lock);
}

/* wait_quiet - nobody comes in any more, and the last has left. */
static void
wait_quiet(struct cw_volume *v)
{
	atomic_fetch_or(&v->nio, CLOSING);
	volume_leave(v); /* the owner's own */
	pthread_mutex_lock(&v->range_lock);
	while (!v->is_quiet)
		pthread_cond_wait(&v->quiet, &v->range_lock);
	pthread_mutex_unlock(&v->range_lock);
}

struct workq *
volume_workq(struct cw_volume *v)
{
	return v->boot_wq != NULL ? v->boot_wq : cache_workq(v->cache);
}

void
volume_event(struct cw_volume *v, const char *type, const char *fmt, ...)
{
	char json[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(json, sizeof(json), fmt, ap);
	va_end(ap);
	if (v->env.event != NULL)
		v->env.event(v->env.event_arg, v, type, json);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static void
tune_fill(struct volume_tune *t)
{
	t->lost_tries = t->lost_tries != 0 ? t->lost_tries : 5;
	t->lost_ms = t->lost_ms != 0 ? t->lost_ms : 30000;
	t->retry_ms = t->retry_ms != 0 ? t->retry_ms : 1000;
	t->look_ms = t->look_ms != 0 ? t->look_ms : 60000;
}

/* set_now - conf is one that cw_volume_conf_copy() made: no zeros. */
static void
set_now(struct cw_volume *v, const struct cw_volume_conf *conf)
{
	v->now.is_compressed = conf->is_compressed;
	v->now.seal_interval_ms = conf->seal_interval_ms;
	v->now.seal_bytes = conf->seal_bytes;
	v->now.recovery_keep_s = conf->recovery_keep_s;
}

static struct cw_volume *
volume_new(uint32_t space_id, const struct cw_volume_conf *conf, const struct cw_volume_env *env)
{
	struct cw_volume *v = xcalloc(1, sizeof(*v));
	pthread_condattr_t attr;

	list_init(&v->link);
	v->refs = 1;
	v->nio = 1;
	cw_volume_conf_copy(&v->conf, conf);
	set_now(v, &v->conf);
	v->env = *env;
	v->env.chaps = NULL;
	v->env.nchaps = 0;
	v->env.tune = NULL;
	if (env->tune != NULL)
		v->tune = *env->tune;
	tune_fill(&v->tune);
	v->appliance_id = xstrdup(env->appliance_id != NULL ? env->appliance_id : "");
	v->env.appliance_id = v->appliance_id;
	v->space_id = space_id;
	v->cache = env->cache;
	v->store = objstore_door_new(env->store, cache_workq(env->cache));
	v->image_fd = -1;
	v->progress = -1;
	volume_row_init(&v->row);
	pthread_mutex_init(&v->range_lock, NULL);
	pthread_mutex_init(&v->sched_lock, NULL);
	pthread_cond_init(&v->quiet, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->sched, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&v->ranges);
	list_init(&v->waiting);
	list_init(&v->drains);
	volume_target_init(v, env->chaps, env->nchaps);
	return v;
}

static struct cache_file *
resolve(void *owner, uint64_t file_id)
{
	struct cw_volume *v = owner;

	return v->file.id == file_id ? &v->file : NULL;
}

static int
open_space(struct cw_volume *v)
{
	if (v->conf.mode == CW_VOLUME_STORED)
		return cache_space_open_pinned(
		    v->cache, v->space_id, v->conf.data_dir, &volume_cache_ops, v, &v->space);
	return cache_space_open(v->cache, v->space_id, &volume_cache_ops, v, &v->space);
}

/* open_image - the one being taken over. It must be there: what was not copied is nowhere else. */
static int
open_image(struct cw_volume *v, char *err_text, size_t err_cap)
{
	int err;

	if (v->row.image_path == NULL)
		return 0;
	err = volume_image_open(v);
	if (err == 0)
		err = workq_new("image", 2, &v->boot_wq);
	if (err != 0)
		snprintf(err_text, err_cap, "image %s: %s", v->row.image_path, err_str(err));
	v->is_boot = err == 0;
	return err;
}

/* grow - the row's size is the truth; settings may have been made larger before it. */
static void
grow(struct cw_volume *v)
{
	if (v->conf.size_bytes <= v->size || v->conf.size_bytes % VOLUME_BLOCK != 0)
		return;
	cache_space_lock(v->space);
	v->size = v->conf.size_bytes;
	volume_row_changed(v);
	cache_space_unlock(v->space);
}

/* teardown - what close and a failed open have in common: nobody uses v any more. */
static void
teardown(struct cw_volume *v, bool is_destroy)
{
	char *map = v->space != NULL && is_destroy ? volume_map_path(v) : NULL;
	int err = 0;

	if (v->boot_wq != NULL)
		workq_free(v->boot_wq);
	v->boot_wq = NULL;
	if (v->remote != NULL)
		vol_remote_close(v->remote);
	v->remote = NULL;
	if (v->space != NULL && is_destroy)
		err = cache_space_destroy(v->space);
	else if (v->space != NULL)
		cache_space_close(v->space);
	v->space = NULL;
	volume_image_close(v);
	v->store->ops->close(v->store);
	v->store = NULL;
	if (!is_destroy)
		return;
	if (map != NULL)
		vol_remote_forget_local(map);
	free(map);
	if (err == 0)
		err = volume_row_forget(v->cache, v->conf.id);
	if (err != 0)
		log_err(
		    "volume", "destroy-failed", "volume=%s err=\"%s\"", v->conf.id, err_str(err));
}

/* serve - rows are loaded: chunks, map, threads, the world. */
static int
serve(struct cw_volume *v, char *err_text, size_t err_cap)
{
	int err = cache_space_load(v->space, resolve);

	if (err == 0)
		err = open_image(v, err_text, err_cap);
	if (err != 0)
		return err;
	grow(v);
	v->is_irrecoverable = v->row.irrecoverable != NULL &&
			      (v->conf.mode == CW_VOLUME_CACHED || !v->row.is_complete);
	volume_remote_open_local(v);
	err = volume_copier_start(v);
	if (err == 0)
		err = volume_thread_start(v);
	if (err != 0) {
		v->is_closing = true;
		volume_copier_stop(v);
		return err;
	}
	pthread_mutex_lock(&registry_lock);
	list_add_tail(&registry, &v->link);
	pthread_mutex_unlock(&registry_lock);
	return 0;
}

int
cw_volume_open(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, struct cw_volume **out, char *err_text, size_t err_cap)
{
	struct cw_volume *v = volume_new(space_id, conf, env);
	int err;

	*out = NULL;
	err_text[0] = '\0';
	err = volume_row_exists(v->cache, conf->id) ? 0 : -ENOENT;
	if (err == 0)
		err = open_space(v);
	if (err == 0)
		err = volume_row_load(v);
	if (err == 0)
		err = serve(v, err_text, err_cap);
	if (err != 0) {
		if (err_text[0] == '\0')
			snprintf(err_text, err_cap, "volume %s: %s", conf->id, err_str(err));
		teardown(v, false);
		cw_volume_put(v);
		return err;
	}
	*out = v;
	return 0;
}

/* --- making ----------------------------------------------------------------------------------------------------- */

static char *
copy(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

/* first_row - what a volume begins with. */
static int
first_row(struct cw_volume *v, const struct cw_volume_origin *o, char *err_text, size_t err_cap)
{
	struct volume_row *r = &v->row;
	struct stat st;

	r->source = o == NULL ? CW_SOURCE_EMPTY : o->source;
	r->is_complete = r->source == CW_SOURCE_EMPTY;
	if (r->source == CW_SOURCE_IMAGE) {
		if (v->conf.mode != CW_VOLUME_STORED || o->image_path == NULL ||
		    stat(o->image_path, &st) != 0) {
			snprintf(err_text, err_cap, "image %s: not there, or not for this volume",
			    o->image_path == NULL ? "" : o->image_path);
			return -EINVAL;
		}
		r->image_path = xstrdup(o->image_path);
	} else if (r->source != CW_SOURCE_EMPTY) {
		r->origin_volume = copy(o->volume_id);
		r->origin_prefix = copy(o->prefix);
		r->origin_snapshot = copy(o->snapshot_id);
		r->origin_time_ns = o->time_ns;
	}
	if (v->conf.size_bytes == 0 &&
	    (r->source == CW_SOURCE_EMPTY || r->source == CW_SOURCE_IMAGE)) {
		snprintf(err_text, err_cap, "a volume needs a size");
		return -EINVAL;
	}
	return 0;
}

/* make_rows - durable at once; the committer knows nothing of the volume yet. */
static int
make_rows(struct cw_volume *v)
{
	struct index *ix = cache_index(v->cache);
	struct index_txn *t = index_txn_new();
	int err;

	/* an image of which nothing is known yet has everything, perhaps: no limit to what is asked of it */
	cache_file_init(&v->file, v->space, index_next_ino(ix), v, v->conf.size_bytes);
	v->size = v->conf.size_bytes;
	volume_row_collect(v, t);
	err = index_apply(ix, t);
	index_txn_free(t);
	return err;
}

int
cw_volume_create(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, const struct cw_volume_origin *origin, struct cw_volume **out,
    char *err_text, size_t err_cap)
{
	struct cw_volume *v = volume_new(space_id, conf, env);
	bool is_made = false;
	int err;

	*out = NULL;
	err_text[0] = '\0';
	err = cw_volume_conf_check(&v->conf, err_text, err_cap);
	if (err == 0 && volume_row_exists(v->cache, conf->id))
		err = -EEXIST;
	if (err == 0)
		err = first_row(v, origin, err_text, err_cap);
	if (err == 0)
		err = open_space(v);
	is_made = err == 0;
	if (err == 0)
		err = make_rows(v);
	if (err == 0)
		err = serve(v, err_text, err_cap);
	if (err != 0) {
		if (err_text[0] == '\0')
			snprintf(err_text, err_cap, "volume %s: %s", conf->id, err_str(err));
		teardown(v, is_made);
		cw_volume_put(v);
		return err;
	}
	*out = v;
	return 0;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static void
unregister(struct cw_volume *v)
{
	pthread_mutex_lock(&registry_lock);
	list_del(&v->link);
	pthread_mutex_unlock(&registry_lock);
}

/* stop - no new requests, none under way, no thread. shut: do not wait for what the store is asked */
static void
stop(struct cw_volume *v, bool shut)
{
	unregister(v);
	v->is_closing = true;
	atomic_fetch_or(&v->nio, CLOSING); /* no new requests */
	volume_target_end_all(v);
	if (shut)
		objstore_door_replace(v->store, NULL);
	volume_copier_stop(v);
	volume_thread_stop(v);
	wait_quiet(v);
}

void
cw_volume_close(struct cw_volume *v)
{
	stop(v, true);
	teardown(v, false);
	cw_volume_put(v);
}

void
cw_volume_destroy(struct cw_volume *v)
{
	stop(v, true);
	teardown(v, true);
	cw_volume_put(v);
}

/* place_conf - what deletions in a bucket need. result: 0, or why the store cannot be used */
static int
place_conf(const struct cw_volume_place *p, struct vol_remote_conf *c)
{
	char *prefix = xasprintf("%s%s/", p->prefix, p->id);
	int err = objstore_probe(p->store, prefix);

	free(prefix);
	*c = (struct vol_remote_conf){.volume_id = p->id,
	    .prefix = p->prefix,
	    .appliance_id = p->appliance_id,
	    .store = p->store};
	return err;
}

int
cw_volume_destroy_remote(const struct cw_volume_place *p)
{
	struct vol_remote_conf c;
	int err = place_conf(p, &c);

	if (err == 0)
		err = vol_remote_destroy(&c);
	return err < 0 ? err : 0;
}

int
cw_snapshot_destroy_remote(const struct cw_volume_place *p, const char *snapshot_id)
{
	struct vol_remote_conf c;
	int err = place_conf(p, &c);

	if (err == 0)
		err = vol_remote_snapshot_drop(&c, snapshot_id);
	return err == -ENOENT ? 0 : err;
}

struct drain_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
	int err;
};

static void
drained(void *arg, int err)
{
	struct drain_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->err = err;
	w->is_done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int
drain_and_wait(struct cw_volume *v)
{
	struct drain_wait w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

	cw_volume_drain(v, drained, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.is_done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.err;
}

int
cw_volume_detach(struct cw_volume *v, bool is_forced)
{
	int err = 0;

	v->is_detaching = true; /* no more writes; an upload that fails is told */
	volume_target_end_all(v);
	if (!is_forced)
		err = drain_and_wait(v);
	if (err == 0) {
		volume_thread_stop(v);
		err = v->remote == NULL ? -ERR_OFFLINE : vol_remote_release(v->remote);
		if (err == -ESTALE || is_forced)
			err = 0; /* somebody else has it already */
	}
	if (err != 0) {
		v->is_detaching = false;
		if (!v->has_thread && volume_thread_start(v) != 0)
			log_err("volume", "thread", "volume=%s: no upload until the next start",
			    v->conf.id);
		return err;
	}
	stop(v, true);
	teardown(v, true);
	cw_volume_put(v);
	return 0;
}

int
cw_volume_resize(struct cw_volume *v, uint64_t size_bytes)
{
	uint64_t max =
	    v->conf.mode == CW_VOLUME_STORED ? CW_VOLUME_STORED_MAX : CW_VOLUME_CACHED_MAX;
	int err = 0;

	if (size_bytes % VOLUME_BLOCK != 0 || size_bytes > max)
		return -EINVAL;
	if (!volume_enter(v))
		return -ESHUTDOWN;
	cache_space_lock(v->space);
	if (size_bytes < v->size) {
		err = -EINVAL;
	} else if (size_bytes > v->size) {
		v->size = size_bytes;
		volume_row_changed(v);
		volume_kick(v);
	}
	cache_space_unlock(v->space);
	if (err == 0)
		err = cache_commit_sync(v->space);
	if (err == 0)
		volume_target_changed(v);
	volume_leave(v);
	return err;
}

void
cw_volume_change(struct cw_volume *v, const struct cw_volume_conf *conf)
{
	struct cw_volume_conf full;

	if (!volume_enter(v))
		return;
	cw_volume_conf_copy(&full, conf);
	pthread_mutex_lock(&v->sched_lock);
	set_now(v, &full);
	volume_remote_set(v);
	v->is_kicked = true; /* a barrier may be due by now */
	pthread_cond_signal(&v->sched);
	pthread_mutex_unlock(&v->sched_lock);
	cw_volume_conf_free(&full);
	volume_leave(v);
}

void
cw_volume_replace_store(struct cw_volume *v, struct objstore *store)
{
	objstore_door_replace(v->store, store);
	pthread_mutex_lock(&v->sched_lock);
	v->is_retry_now = v->is_kicked = true;
	v->is_probed = false;
	pthread_cond_signal(&v->sched);
	pthread_mutex_unlock(&v->sched_lock);
}
