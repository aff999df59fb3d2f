/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_fixture.h - a volume and a byte array that says what it should hold.  Its remote image is that of
 * vol_fake.h, or, with VX_REAL defined, the real one over a store in memory that outlives the volume.
 */
#ifndef TESTS_VOLUME_FIXTURE_H
#define TESTS_VOLUME_FIXTURE_H

#include "tests/unit/cache_fixture.h"
#ifdef VX_REAL
#include "gateway/volume/volume_int.h"
#include "s3/objstore_mem.h"
#define VF_MAX (4u << 20)
#else
#include "tests/unit/vol_fake.h"
#endif

#include "gateway/base/clock.h"

#define VX_SIZE (1ull << 30) /* what it says; only the first VF_MAX bytes are written to */

struct vx {
	char dir[64], index_path[160], image[128];
	const char *data_dirs[1];
	struct cache_conf conf;
	struct cw_volume_conf vconf;
	struct volume_tune tune;
	struct cache *cache;
	struct cw_volume *v;
	unsigned char *oracle; /* VF_MAX */
	pthread_mutex_t events_lock;
	char events[1024];
};

#ifdef VX_REAL
static struct objstore *vx_bucket; /* what stays */

struct vx_view { /* what a volume gets: closing it leaves the bucket alone */
	struct objstore pub;
	_Atomic unsigned int nunder_way;
};

struct vx_req {
	void (*done)(struct objstore_req *req);
	void *ctx;
	struct vx_view *view;
};

static inline void
vx_view_done(struct objstore_req *req)
{
	struct vx_req *q = req->ctx;
	struct vx_view *view = q->view;

	req->done = q->done;
	req->ctx = q->ctx;
	free(q);
	req->done(req);
	view->nunder_way--;
}

static inline void
vx_view_submit(struct objstore *s, struct objstore_req *req)
{
	struct vx_view *view = container_of(s, struct vx_view, pub);
	struct vx_req *q = xcalloc(1, sizeof(*q));

	view->nunder_way++;
	q->done = req->done;
	q->ctx = req->ctx;
	q->view = view;
	req->done = vx_view_done;
	req->ctx = q;
	objstore_submit(vx_bucket, req);
}

static inline void
vx_view_close(struct objstore *s)
{
	struct vx_view *view = container_of(s, struct vx_view, pub);

	while (view->nunder_way > 0)
		clock_sleep_ms(1);
	free(view);
}

static inline struct objstore *
vx_store(void)
{
	static const struct objstore_ops ops = {vx_view_submit, vx_view_close};
	struct vx_view *view = xcalloc(1, sizeof(*view));

	if (vx_bucket == NULL)
		vx_bucket = objstore_mem_new("bucket");
	view->pub = *vx_bucket;
	view->pub.ops = &ops;
	return &view->pub;
}

static inline void
vx_drop_bucket(void)
{
	if (vx_bucket != NULL)
		vx_bucket->ops->close(vx_bucket);
	vx_bucket = NULL;
}
#else
static inline struct objstore *
vx_store(void)
{
	return objstore_mem_new("fake");
}
#endif

static inline void
vx_event(void *arg, struct cw_volume *v, const char *type, const char *json)
{
	struct vx *x = arg;
	size_t n;

	(void)v;
	pthread_mutex_lock(&x->events_lock);
	n = strlen(x->events);
	snprintf(x->events + n, sizeof(x->events) - n, "%s%s;", type, json);
	pthread_mutex_unlock(&x->events_lock);
}

/* vx_waits_for - an event of this type comes, within ten seconds. */
static inline bool
vx_waits_for(struct vx *x, const char *type)
{
	bool is_there = false;

	for (int i = 0; i < 10000 && !is_there; i++) {
		clock_sleep_ms(1);
		pthread_mutex_lock(&x->events_lock);
		is_there = strstr(x->events, type) != NULL;
		pthread_mutex_unlock(&x->events_lock);
	}
	return is_there;
}

static inline int
vx_try_open(struct vx *x, const struct cw_volume_origin *origin, bool is_new)
{
	struct cw_volume_env env = {
	    .appliance_id = "me", .event = vx_event, .event_arg = x, .tune = &x->tune};
	char text[512];
	int err;

	err = cache_open(&x->conf, &x->cache, text, sizeof(text));
	if (err != 0)
		print_error("cache_open: %s\n", text);
	assert_int_equal(err, 0);
	assert_int_equal(cache_start(x->cache), 0);
	env.cache = x->cache;
	env.store = vx_store();
	if (is_new)
		err = cw_volume_create(1, &x->vconf, &env, origin, &x->v, text, sizeof(text));
	else
		err = cw_volume_open(1, &x->vconf, &env, &x->v, text, sizeof(text));
	if (err != 0)
		print_message("open: %s\n", text);
	return err;
}

static inline struct vx *
vx_init(const struct osfile_ops *os, uint64_t capacity, enum cw_volume_mode mode)
{
	struct vx *x = xcalloc(1, sizeof(*x));

#ifndef VX_REAL
	vf_reset();
#endif
	snprintf(x->dir, sizeof(x->dir), "/tmp/cw-volume-test-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	snprintf(x->index_path, sizeof(x->index_path), "%s/index.db", x->dir);
	x->data_dirs[0] = x->dir;
	x->conf = (struct cache_conf){.index_path = x->index_path,
	    .data_dirs = x->data_dirs,
	    .ndata_dirs = 1,
	    .capacity_bytes = capacity,
	    .flush_interval_ms = 50,
	    .workers = 4,
	    .os = os};
	cw_volume_conf_init(&x->vconf);
	snprintf(x->vconf.id, sizeof(x->vconf.id), "vol-0123abcd");
	x->vconf.iqn = xstrdup("iqn.1997-05.com.amazon:test");
	x->vconf.prefix = xstrdup("");
	x->vconf.mode = mode;
	x->vconf.size_bytes = VX_SIZE;
	x->vconf.seal_interval_ms = 3600000; /* only barriers that tests ask for */
	pthread_mutex_init(&x->events_lock, NULL);
	x->oracle = xcalloc(1, VF_MAX);
	return x;
}

static inline struct vx *
vx_new(const struct osfile_ops *os, uint64_t capacity, enum cw_volume_mode mode)
{
	struct vx *x = vx_init(os, capacity, mode);

	assert_int_equal(vx_try_open(x, NULL, true), 0);
	return x;
}

static inline void
vx_close(struct vx *x)
{
	if (x->v != NULL)
		cw_volume_close(x->v);
	x->v = NULL;
	cache_close(x->cache);
}

static inline void
vx_free(struct vx *x)
{
	testdir_remove(x->dir);
	cw_volume_conf_free(&x->vconf);
	free(x->oracle);
	free(x);
#ifndef VX_REAL
	free(vf.now.p);
	free(vf.before.p);
	vf.now.p = vf.before.p = NULL;
#endif
	osfile_crash_reset();
}

static inline void
vx_end(struct vx *x)
{
	vx_close(x);
	vx_free(x);
}

static inline void
vx_no_problem(void *arg, const char *line)
{
	(void)arg;
	print_error("check: %s\n", line);
}

static inline void
vx_reopen(struct vx *x)
{
	struct cache_check_report report;

	vx_close(x);
	assert_int_equal(cache_check(&x->conf, vx_no_problem, NULL, &report), 0);
	assert_int_equal(vx_try_open(x, NULL, false), 0);
}

/* --- requests ------------------------------------------------------------------------------------------- */

static inline int
vx_call(struct vx *x, enum cw_vio_op op, uint64_t off, uint64_t len, void *buf, bool is_fua)
{
	struct cw_vio vio = {
	    .op = op, .volume = x->v, .off = off, .len = len, .buf = buf, .is_fua = is_fua};

	int err = cw_volume_call(&vio);

#ifdef VX_REAL /* "ask again": the bucket fails now and then, and is opened in the background */
	for (int i = 0; i < 2000 && (err == -ERR_OFFLINE || err == -ERR_BACKPRESSURE); i++) {
		clock_sleep_ms(10);
		err = cw_volume_call(&vio);
	}
#endif
	return err;
}

static inline int
vx_write(struct vx *x, uint64_t off, uint32_t len, const void *buf, bool is_fua)
{
	int err = vx_call(x, CW_VIO_WRITE, off, len, (void *)(uintptr_t)buf, is_fua);

	if (err == 0)
		memcpy(x->oracle + off, buf, len);
	return err;
}

static inline int
vx_zero(struct vx *x, uint64_t off, uint64_t len)
{
	int err = vx_call(x, CW_VIO_ZERO, off, len, NULL, false);

	if (err == 0 && off < VF_MAX)
		memset(x->oracle + off, 0, min64(len, VF_MAX - off));
	return err;
}

static inline int
vx_sync(struct vx *x)
{
	return vx_call(x, CW_VIO_SYNC, 0, 0, NULL, false);
}

static inline void
vx_check(struct vx *x, uint64_t off, uint32_t len)
{
	unsigned char *buf = xmalloc(len);

	memset(buf, 0xee, len);
	assert_int_equal(vx_call(x, CW_VIO_READ, off, len, buf, false), 0);
	for (uint32_t i = 0; i < len; i++) {
		if (buf[i] == x->oracle[off + i])
			continue;
		print_error("byte %llu: %02x, should be %02x\n", (unsigned long long)(off + i),
		    buf[i], x->oracle[off + i]);
		fail();
	}
	free(buf);
}

static inline void
vx_check_all(struct vx *x)
{
	vx_check(x, 0, VF_MAX);
}

struct vx_drain {
	_Atomic bool is_done;
	int err;
};

static inline void
vx_drained(void *arg, int err)
{
	struct vx_drain *d = arg;

	d->err = err;
	d->is_done = true;
}

/* vx_drain - everything written so far is in the bucket. */
static inline void
vx_drain(struct vx *x)
{
	struct vx_drain d = {false, 0};

	cw_volume_drain(x->v, vx_drained, &d);
	while (!d.is_done)
		clock_sleep_ms(1);
	assert_int_equal(d.err, 0);
}

#ifndef VX_REAL
/* vx_check_bucket - the image in the bucket is the oracle, and zeros cost nothing there. */
static inline void
vx_check_bucket(struct vx *x)
{
	pthread_mutex_lock(&vf.lock);
	assert_memory_equal(vf.now.p, x->oracle, VF_MAX);
	pthread_mutex_unlock(&vf.lock);
}
#endif

#endif
