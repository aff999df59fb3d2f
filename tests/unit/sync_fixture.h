/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_fixture.h - a share whose bucket (in memory) outlives restarts of the share, with the events it
 * sends and a way to wait until everything is in the bucket.
 */
#ifndef TEST_SYNC_FIXTURE_H
#define TEST_SYNC_FIXTURE_H

#include <pthread.h>

#include "tests/unit/share_fixture.h"

/* A store that only passes on; closing it leaves the bucket behind it alone. */
struct keeper {
	struct objstore base;
	struct objstore *bucket;
};

static inline void
keeper_submit(struct objstore *s, struct objstore_req *req)
{
	objstore_submit(((struct keeper *)(void *)s)->bucket, req);
}

static inline void
keeper_close(struct objstore *s)
{
	struct keeper *k = (struct keeper *)(void *)s;

	while (objstore_mem_waiting(k->bucket) > 0)
		clock_sleep_ms(1);
	free(k);
}

static const struct objstore_ops keeper_ops = {.submit = keeper_submit, .close = keeper_close};

static inline struct objstore *
keeper_new(struct objstore *bucket)
{
	struct keeper *k = xcalloc(1, sizeof(*k));

	k->base = *bucket;
	k->base.ops = &keeper_ops;
	k->bucket = bucket;
	return &k->base;
}

struct sx {
	struct fx fx;
	struct objstore *bucket;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	unsigned int ndone;
	char *last_event[8], *last_type[8]; /* newest first */
	uint64_t changed;
	int err;
	const struct osfile_ops *os; /* the disk of the next start; NULL = a real one */
};

static inline void
sx_event(void *arg, struct cw_share *s, const char *type, const char *json)
{
	struct sx *sx = arg;
	unsigned int i;

	(void)s;
	pthread_mutex_lock(&sx->mutex);
	free(sx->last_event[7]);
	free(sx->last_type[7]);
	for (i = 7; i > 0; i--) {
		sx->last_event[i] = sx->last_event[i - 1];
		sx->last_type[i] = sx->last_type[i - 1];
	}
	sx->last_event[0] = xstrdup(json);
	sx->last_type[0] = xstrdup(type);
	pthread_mutex_unlock(&sx->mutex);
}

/* sx_has_event - was there an event of type whose JSON contains text? */
static inline bool
sx_has_event(struct sx *sx, const char *type, const char *text)
{
	bool found = false;
	unsigned int i;

	pthread_mutex_lock(&sx->mutex);
	for (i = 0; i < 8; i++)
		if (sx->last_type[i] != NULL && strcmp(sx->last_type[i], type) == 0 &&
		    strstr(sx->last_event[i], text) != NULL)
			found = true;
	pthread_mutex_unlock(&sx->mutex);
	return found;
}

static inline void
sx_start(struct sx *sx)
{
	struct fx *fx = &sx->fx;
	const char *dirs[] = {fx->data};
	struct cache_conf cc = {.index_path = fx->index,
	    .data_dirs = dirs,
	    .ndata_dirs = 1,
	    .capacity_bytes = 256u << 20,
	    .flush_interval_ms = 20,
	    .workers = 2,
	    .os = sx->os};
	struct cw_share_env env = {.appliance_id = "sgw-TEST", .event = sx_event, .event_arg = sx};
	char err[256] = "";
	int r;

	r = cache_open(&cc, &fx->cache, err, sizeof(err));
	if (r < 0)
		fail_msg("cache_open: %s %s", err_str(r), err);
	fx->store = sx->bucket;
	env.cache = fx->cache;
	env.store = keeper_new(sx->bucket);
	assert_int_equal(cw_share_open(7, &fx->conf, &env, &fx->s), 0);
	assert_int_equal(cache_start(fx->cache), 0);
	fx->root = cw_share_root(fx->s);
}

static inline void
sx_stop(struct sx *sx)
{
	cw_share_close(sx->fx.s);
	cache_close(sx->fx.cache);
}

static inline void
sx_restart(struct sx *sx)
{
	sx_stop(sx);
	sx_start(sx);
}

/* sx_forget - the appliance is lost: cache and index are gone, the bucket is there. */
static inline void
sx_forget(struct sx *sx)
{
	sx_stop(sx);
	fx_remove_dir(sx->fx.dir);
	assert_int_equal(mkdir(sx->fx.dir, 0700), 0);
	assert_int_equal(mkdir(sx->fx.data, 0700), 0);
	sx_start(sx);
}

static inline int
sx_setup(void **state)
{
	struct sx *sx = xcalloc(1, sizeof(*sx));
	struct fx *fx = fx_new();

	sx->fx = *fx;
	free(fx);
	pthread_mutex_init(&sx->mutex, NULL);
	pthread_cond_init(&sx->cond, NULL);
	free(sx->fx.conf.prefix);
	sx->fx.conf.prefix = xstrdup("p/");
	sx->fx.conf.guess_mime_type = true;
	sx->bucket = objstore_mem_new("test");
	sx_start(sx);
	*state = sx;
	return 0;
}

static inline int
sx_teardown(void **state)
{
	struct sx *sx = *state;
	unsigned int i;

	sx_stop(sx);
	fx_remove_dir(sx->fx.dir);
	cw_share_conf_free(&sx->fx.conf);
	sx->bucket->ops->close(sx->bucket);
	for (i = 0; i < 8; i++) {
		free(sx->last_event[i]);
		free(sx->last_type[i]);
	}
	free(sx);
	return 0;
}

static inline void
sx_done(void *arg)
{
	struct sx *sx = arg;

	pthread_mutex_lock(&sx->mutex);
	sx->ndone++;
	pthread_cond_signal(&sx->cond);
	pthread_mutex_unlock(&sx->mutex);
}

static inline void
sx_say_upload(void *arg, const struct cw_upload_info *u)
{
	(void)arg;
	fprintf(stderr, "pending: %s %s tries=%u err=\"%s\"\n", u->path, u->what, u->tries,
	    u->last_error != 0 ? err_str(u->last_error) : "");
}

static inline void
sx_wait_done(struct sx *sx)
{
	struct cw_share_status st;
	struct timespec until;
	unsigned int i;
	int r = ETIMEDOUT;

	pthread_mutex_lock(&sx->mutex);
	for (i = 0; i < 200 && sx->ndone == 0; i++) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 100000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		(void)pthread_cond_timedwait(&sx->cond, &sx->mutex, &until);
		if (sx->ndone > 0)
			break;
		pthread_mutex_unlock(&sx->mutex);
		cw_share_drain(sx->fx.s); /* what failed meanwhile need not back off for a test */
		pthread_mutex_lock(&sx->mutex);
	}
	if (sx->ndone > 0) {
		sx->ndone--;
		r = 0;
	}
	pthread_mutex_unlock(&sx->mutex);
	if (r != 0) {
		cw_share_get_status(sx->fx.s, &st);
		cw_share_each_upload(sx->fx.s, 20, sx_say_upload, NULL);
		fail_msg("not uploaded in time: %llu pending, available=%d %s",
		    (unsigned long long)st.pending_files, st.available, st.reason);
	}
}

static inline uint64_t
sx_pending(struct sx *sx)
{
	struct cw_share_status st;

	cw_share_get_status(sx->fx.s, &st);
	return st.pending_files;
}

/* sx_sync - until the bucket holds everything and nothing it should not. */
static inline void
sx_sync(struct sx *sx)
{
	int i;

	for (i = 0; i < 400; i++) {
		cw_share_drain(sx->fx.s);
		assert_int_equal(cw_share_notify_uploaded(sx->fx.s, sx_done, sx), 0);
		cw_share_drain(sx->fx.s);
		sx_wait_done(sx);
		if (sx_pending(sx) == 0)
			return;
		clock_sleep_ms(5); /* a deletion waits for the commit that names it */
	}
	fail_msg("does not converge");
}

static inline void
sx_refreshed(void *arg, int err, uint64_t changed)
{
	struct sx *sx = arg;

	sx->err = err;
	sx->changed = changed;
	sx_done(sx);
}

static inline uint64_t
sx_refresh(struct sx *sx, const char *folder, bool recursive)
{
	const char *folders[] = {folder};

	clock_sleep_ms(
	    2); /* what changed in the millisecond of its start is not judged by a listing */
	assert_int_equal(cw_share_refresh(sx->fx.s, folders, 1, recursive, sx_refreshed, sx), 0);
	sx_wait_done(sx);
	assert_int_equal(sx->err, 0);
	return sx->changed;
}

static inline bool
sx_exists(struct sx *sx, const char *key)
{
	char *data = objstore_mem_get(sx->bucket, key, NULL, NULL);

	free(data);
	return data != NULL;
}

#define sx_assert_object(sx, key, want)                                                            \
	do {                                                                                       \
		char *sx_got = objstore_mem_get((sx)->bucket, key, NULL, NULL);                    \
		if (sx_got == NULL)                                                                \
			fail_msg("no object %s", key);                                             \
		assert_string_equal(sx_got, want);                                                 \
		free(sx_got);                                                                      \
	} while (0)

#define sx_assert_meta(sx, key, name, want)                                                        \
	do {                                                                                       \
		char *sx_got = objstore_mem_get_meta((sx)->bucket, key, name);                     \
		if (sx_got == NULL)                                                                \
			fail_msg("%s has no %s", key, name);                                       \
		assert_string_equal(sx_got, want);                                                 \
		free(sx_got);                                                                      \
	} while (0)

/* sx_file - make or overwrite a file. result: ino */
static inline uint64_t
sx_file(struct sx *sx, uint64_t dir, const char *name, const char *text)
{
	uint64_t ino = fx_create_ok(&sx->fx, dir, name);

	assert_int_equal(fx_write(&sx->fx, &fx_root, ino, 0, text, (uint32_t)strlen(text)), 0);
	return ino;
}

static inline uint64_t
sx_ino(struct sx *sx, uint64_t dir, const char *name)
{
	int r = fx_lookup(&sx->fx, &fx_root, dir, name);

	if (r < 0)
		fail_msg("lookup %s: %s", name, err_str(r));
	return sx->fx.op.attr.ino;
}

#define sx_assert_reads(sx, ino, want)                                                             \
	do {                                                                                       \
		char sx_buf[256];                                                                  \
		assert_int_equal(fx_read(&(sx)->fx, &fx_root, ino, 0, sx_buf, 255), 0);            \
		sx_buf[(sx)->fx.op.count_done] = '\0';                                             \
		assert_string_equal(sx_buf, want);                                                 \
	} while (0)

#endif
