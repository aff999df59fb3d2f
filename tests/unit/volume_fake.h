/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_fake.h - volumes in memory, in the place of the real ones, for tests of the control plane.
 *
 * A fake becomes what fake_state says; what the "bucket" holds (fake_bucket: ids of volumes and their
 * snapshots) outlives the volumes, as the real one does.
 */
#ifndef TEST_VOLUME_FAKE_H
#define TEST_VOLUME_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"
#include "gateway/volume.h"

#define FAKE_SNAPSHOTS 64

struct fake_snapshot {
	char id[CW_SNAPSHOT_ID_MAX], volume_id[CW_VOLUME_ID_MAX], description[256];
	uint64_t size_bytes;
	int64_t time_ns;
	bool is_there, is_now;
};

struct cw_volume {
	struct list link;
	struct cw_volume_conf conf;
	struct cw_volume_env env;
	uint32_t space_id;
	uint64_t size_bytes;
	enum cw_volume_source source;
	char origin_volume[CW_VOLUME_ID_MAX], origin_snapshot[CW_SNAPSHOT_ID_MAX];
	int64_t origin_ns;
	struct cw_chap chaps[8];
	size_t nchaps;
	struct list sessions;
	atomic_int refs;
	bool is_closed, is_retired;
};

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list fake_volumes = LIST_INIT(fake_volumes);
static struct fake_snapshot fake_bucket[FAKE_SNAPSHOTS];
static char fake_made[32][CW_VOLUME_ID_MAX]; /* have local rows */
static const char *_Atomic fake_state = "AVAILABLE";
static double fake_progress = -1;
static uint64_t fake_dirty = 8192;
static __attribute__((unused)) bool fake_is_fenced;	 /* another appliance has the volume */
static __attribute__((unused)) _Atomic bool fake_is_due; /* a snapshot is not done yet */
static __attribute__((unused)) char fake_refused[CW_SNAPSHOT_ID_MAX]; /* cannot be deleted */
static bool fake_is_quick; /* snapshots are complete at once */
static __attribute__((unused)) atomic_int fake_open_err, fake_detach_err, fake_creates,
    fake_destroys, fake_destroy_tries, fake_destroy_err, fake_replaced;

void
cw_volume_conf_init(struct cw_volume_conf *c)
{
	memset(c, 0, sizeof(*c));
	c->block_bytes = 512;
}

void
cw_volume_conf_free(struct cw_volume_conf *c)
{
	free(c->target_name);
	free(c->iqn);
	free(c->listen_address);
	free(c->data_dir);
	free(c->bucket);
	free(c->prefix);
	free(c->key_id);
	memset(c, 0, sizeof(*c));
}

static char *
fake_dup(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

int
cw_volume_conf_copy(struct cw_volume_conf *to, const struct cw_volume_conf *from)
{
	*to = *from;
	to->target_name = fake_dup(from->target_name);
	to->iqn = fake_dup(from->iqn);
	to->listen_address = fake_dup(from->listen_address);
	to->data_dir = fake_dup(from->data_dir);
	to->bucket = fake_dup(from->bucket);
	to->prefix = fake_dup(from->prefix);
	to->key_id = fake_dup(from->key_id);
	return 0;
}

int
cw_volume_conf_check(const struct cw_volume_conf *c, char *err_text, size_t err_cap)
{
	if (c->size_bytes >= CW_VOLUME_SIZE_MIN)
		return 0;
	snprintf(err_text, err_cap, "too small");
	return -EINVAL;
}

/* Write over the row that holds "from". -> was there one? Store jobs of several volumes come here side by side. */
static bool
fake_replace_made(const char *from, const char *to)
{
	bool is_there = false;

	pthread_mutex_lock(&fake_lock);
	for (size_t i = 0; i < 32 && !is_there; i++)
		if ((is_there = strcmp(fake_made[i], from) == 0))
			memmove(fake_made[i], to, strlen(to) + 1);
	pthread_mutex_unlock(&fake_lock);
	return is_there;
}

static bool
fake_is_made(const char *id)
{
	return fake_replace_made(id, id);
}

static int
fake_start(uint32_t space_id, const struct cw_volume_conf *conf, const struct cw_volume_env *env,
    struct cw_volume **out)
{
	struct cw_volume *v = xcalloc(1, sizeof(*v));

	cw_volume_conf_copy(&v->conf, conf);
	v->env = *env;
	v->space_id = space_id;
	v->size_bytes = conf->size_bytes;
	v->nchaps = env->nchaps < 8 ? env->nchaps : 8;
	if (v->nchaps > 0)
		memcpy(v->chaps, env->chaps, v->nchaps * sizeof(v->chaps[0]));
	v->refs = 1;
	list_init(&v->sessions);
	pthread_mutex_lock(&fake_lock);
	list_add_tail(&fake_volumes, &v->link);
	pthread_mutex_unlock(&fake_lock);
	*out = v;
	return 0;
}

int
cw_volume_open(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, struct cw_volume **out, char *err_text, size_t err_cap)
{
	int r = fake_open_err != 0 ? fake_open_err : fake_is_made(conf->id) ? 0 : -ENOENT;

	*out = NULL;
	if (r == 0)
		return fake_start(space_id, conf, env, out);
	snprintf(err_text, err_cap, "fake says %d", r);
	env->store->ops->close(env->store);
	return r;
}

int
cw_volume_create(uint32_t space_id, const struct cw_volume_conf *conf,
    const struct cw_volume_env *env, const struct cw_volume_origin *origin, struct cw_volume **out,
    char *err_text, size_t err_cap)
{
	int r = fake_open_err != 0 ? fake_open_err : fake_is_made(conf->id) ? -EEXIST : 0;

	*out = NULL;
	fake_creates++;
	if (r < 0) {
		snprintf(err_text, err_cap, "fake says %d", r);
		env->store->ops->close(env->store);
		return r;
	}
	assert_true(fake_replace_made("", conf->id));
	r = fake_start(space_id, conf, env, out);
	(*out)->source = origin->source;
	(*out)->origin_ns = origin->time_ns;
	if (origin->volume_id != NULL)
		snprintf((*out)->origin_volume, CW_VOLUME_ID_MAX, "%s", origin->volume_id);
	if (origin->snapshot_id != NULL)
		snprintf((*out)->origin_snapshot, CW_SNAPSHOT_ID_MAX, "%s", origin->snapshot_id);
	return r;
}

void
cw_volume_get(struct cw_volume *v)
{
	v->refs++;
}

void
cw_volume_put(struct cw_volume *v)
{
	if (--v->refs > 0)
		return;
	cw_volume_conf_free(&v->conf);
	free(v);
}

void
cw_volume_close(struct cw_volume *v)
{
	pthread_mutex_lock(&fake_lock);
	list_del(&v->link);
	pthread_mutex_unlock(&fake_lock);
	v->env.store->ops->close(v->env.store);
	v->is_closed = true;
	cw_volume_put(v);
}

static void
fake_forget(const char *id)
{
	fake_replace_made(id, "");
}

void
cw_volume_destroy(struct cw_volume *v)
{
	fake_forget(v->conf.id);
	cw_volume_close(v);
}

bool
cw_snapshot_is_due(struct cw_volume *v)
{
	(void)v;
	return fake_is_due;
}

int
cw_volume_destroy_remote(const struct cw_volume_place *p)
{
	assert_non_null(p->store);
	fake_destroy_tries++;
	if (fake_destroy_err != 0)
		return fake_destroy_err;
	fake_destroys++;
	return 0;
}

int
cw_volume_detach(struct cw_volume *v, bool is_forced)
{
	if (fake_detach_err != 0 && !is_forced)
		return fake_detach_err;
	fake_forget(v->conf.id);
	cw_volume_close(v);
	return 0;
}

int
cw_volume_resize(struct cw_volume *v, uint64_t size_bytes)
{
	if (size_bytes < v->size_bytes || size_bytes % 4096 != 0)
		return -EINVAL;
	v->size_bytes = size_bytes;
	return 0;
}

void
cw_volume_change(struct cw_volume *v, const struct cw_volume_conf *conf)
{
	v->conf.is_compressed = conf->is_compressed;
	v->conf.seal_interval_ms = conf->seal_interval_ms;
	v->conf.seal_bytes = conf->seal_bytes;
	v->conf.recovery_keep_s = conf->recovery_keep_s;
}

void
cw_volume_replace_store(struct cw_volume *v, struct objstore *store)
{
	v->env.store->ops->close(v->env.store);
	v->env.store = store;
	fake_replaced++;
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
	return v->size_bytes;
}

struct cw_volume *
cw_volume_by_id(const char *id)
{
	struct cw_volume *found = NULL;
	struct list *l;

	pthread_mutex_lock(&fake_lock);
	list_for_each(l, &fake_volumes)
	{
		struct cw_volume *v = container_of(l, struct cw_volume, link);

		if (strcmp(v->conf.id, id) == 0)
			found = v;
	}
	if (found != NULL)
		cw_volume_get(found);
	pthread_mutex_unlock(&fake_lock);
	return found;
}

void
cw_volume_get_status(struct cw_volume *v, struct cw_volume_status *out)
{
	memset(out, 0, sizeof(*out));
	out->state = fake_state;
	out->progress = fake_progress;
	out->is_owner = !fake_is_fenced;
	out->size_bytes = v->size_bytes;
	out->used_bytes = 4096;
	out->dirty_bytes = fake_dirty;
	out->recovery_point_ns = 1764108301123000000;
}

void
cw_volume_drain(struct cw_volume *v, void (*done)(void *arg, int err), void *arg)
{
	(void)v;
	if (done != NULL)
		done(arg, 0);
}

/* --- snapshots ------------------------------------------------------------------------------------ */

static struct fake_snapshot *
fake_snapshot(const char *id)
{
	for (size_t i = 0; i < FAKE_SNAPSHOTS; i++)
		if (strcmp(fake_bucket[i].id, id) == 0)
			return &fake_bucket[i];
	return NULL;
}

int
cw_snapshot_destroy_remote(const struct cw_volume_place *p, const char *snapshot_id)
{
	struct fake_snapshot *s;
	int r = strcmp(snapshot_id, fake_refused) == 0 ? -ERR_OFFLINE : fake_destroy_err;

	assert_non_null(p->store);
	fake_destroy_tries++;
	pthread_mutex_lock(&fake_lock);
	s = fake_snapshot(snapshot_id);
	if (r == 0 && s != NULL && strcmp(s->volume_id, p->id) == 0)
		s->id[0] = '\0';
	pthread_mutex_unlock(&fake_lock);
	return r;
}

int
cw_snapshot_create(struct cw_volume *v, const char *id, const char *description, bool is_now)
{
	struct fake_snapshot *s = fake_snapshot("");

	if (s == NULL)
		return -ENOSPC;
	snprintf(s->id, sizeof(s->id), "%s", id);
	snprintf(s->volume_id, sizeof(s->volume_id), "%s", v->conf.id);
	snprintf(s->description, sizeof(s->description), "%s", description);
	s->size_bytes = v->size_bytes;
	s->time_ns = clock_real_ns();
	s->is_now = is_now;
	s->is_there = fake_is_quick;
	return 0;
}

/* fake_complete - all snapshots of v are in the bucket now. */
static inline void
fake_complete(struct cw_volume *v)
{
	for (size_t i = 0; i < FAKE_SNAPSHOTS; i++)
		if (strcmp(fake_bucket[i].volume_id, v->conf.id) == 0)
			fake_bucket[i].is_there = true;
	v->env.event(v->env.event_arg, v, "snapshot-complete", "{}");
}

int
cw_snapshot_delete(struct cw_volume *v, const char *id)
{
	struct fake_snapshot *s = fake_snapshot(id);

	(void)v;
	if (s == NULL)
		return -ENOENT;
	memset(s, 0, sizeof(*s));
	return 0;
}

void
cw_snapshot_each(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_snapshot_info *s), void *arg)
{
	for (size_t i = 0; i < FAKE_SNAPSHOTS; i++) {
		const struct fake_snapshot *s = &fake_bucket[i];
		struct cw_snapshot_info info = {.size_bytes = s->size_bytes,
		    .time_ns = s->time_ns,
		    .state = s->is_there ? CW_SNAPSHOT_COMPLETED : CW_SNAPSHOT_PENDING,
		    .description = s->description};

		if (s->id[0] == '\0' || strcmp(s->volume_id, v->conf.id) != 0)
			continue;
		memcpy(info.id, s->id, sizeof(info.id));
		memcpy(info.volume_id, s->volume_id, sizeof(info.volume_id));
		fn(arg, &info);
	}
}

void
cw_volume_each_recovery_point(struct cw_volume *v, unsigned int max,
    void (*fn)(void *arg, uint64_t epoch, int64_t time_ns), void *arg)
{
	(void)v;
	for (uint64_t e = 3; e > 0 && max > 0; e--, max--)
		fn(arg, e, (int64_t)e * 1000000000);
}

/* --- targets -------------------------------------------------------------------------------------- */

void
cw_target_set_chap(struct cw_volume *v, const struct cw_chap *c)
{
	size_t i = 0;

	while (i < v->nchaps && strcmp(v->chaps[i].initiator, c->initiator) != 0)
		i++;
	if (c->secret_initiator[0] == '\0') {
		if (i < v->nchaps)
			v->chaps[i] = v->chaps[--v->nchaps];
		return;
	}
	v->chaps[i] = *c;
	if (i == v->nchaps)
		v->nchaps++;
}

void
cw_target_retire(struct cw_volume *v)
{
	v->is_retired = true;
}

int
cw_target_session_add(struct cw_volume *v, struct cw_target_session *s)
{
	list_add_tail(&v->sessions, &s->link);
	return 0;
}

void
cw_target_session_del(struct cw_volume *v, struct cw_target_session *s)
{
	(void)v;
	list_del(&s->link);
}

void
cw_target_each_session(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_target_session *s), void *arg)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &v->sessions)
	    fn(arg, container_of(l, struct cw_target_session, link));
}

#endif
