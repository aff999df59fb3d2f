/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share_fixture.h - a whole share in a temporary directory with its bucket in memory, and one short
 * call for each op.  What the calls return lies in fx->op.
 */
#ifndef TEST_SHARE_FIXTURE_H
#define TEST_SHARE_FIXTURE_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/cache.h"
#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/op.h"
#include "gateway/share.h"
#include "s3/objstore_mem.h"

struct fx {
	char dir[64], index[96], data[96];
	struct cache *cache;
	struct cw_share *s;
	struct objstore *store; /* the bucket: outlives the share */
	struct cw_share_conf conf;
	uint64_t root;
	struct cw_op op;
};

static const struct cw_cred fx_root = {.uid = 0, .gid = 0};
static const struct cw_cred fx_alice = {
    .uid = 1000, .gid = 1000, .ngroups = 2, .groups = {1000, 500}};
static const struct cw_cred fx_bob = {.uid = 2000, .gid = 2000};

/* --- a door to the bucket that can be closed without losing it -------------------------------------- */

struct fx_door {
	struct objstore pub;
	struct objstore *bucket;
	unsigned int nrunning; /* atomic */
};

struct fx_passing {
	struct fx_door *door;
	void (*done)(struct objstore_req *req);
	void *ctx;
};

static inline void
fx_door_done(struct objstore_req *req)
{
	struct fx_passing *p = req->ctx;
	struct fx_door *d = p->door;

	req->done = p->done;
	req->ctx = p->ctx;
	free(p);
	req->done(req);
	__atomic_sub_fetch(&d->nrunning, 1, __ATOMIC_SEQ_CST);
}

static inline void
fx_door_submit(struct objstore *s, struct objstore_req *req)
{
	struct fx_passing *p = xcalloc(1, sizeof(*p));

	p->door = (struct fx_door *)(void *)s;
	p->done = req->done;
	p->ctx = req->ctx;
	req->done = fx_door_done;
	req->ctx = p;
	__atomic_add_fetch(&p->door->nrunning, 1, __ATOMIC_SEQ_CST);
	objstore_submit(p->door->bucket, req);
}

static inline void
fx_door_close(struct objstore *s)
{
	struct fx_door *d = (struct fx_door *)(void *)s;

	while (__atomic_load_n(&d->nrunning, __ATOMIC_SEQ_CST) > 0)
		clock_sleep_ms(1);
	free(d);
}

static inline struct objstore *
fx_door(struct objstore *bucket)
{
	static const struct objstore_ops ops = {.submit = fx_door_submit, .close = fx_door_close};
	struct fx_door *d = xcalloc(1, sizeof(*d));

	d->pub = *bucket;
	d->pub.ops = &ops;
	d->bucket = bucket;
	return &d->pub;
}

/* --- life ------------------------------------------------------------------------------------------ */

static inline void
fx_start(struct fx *fx)
{
	const char *dirs[] = {fx->data};
	struct cache_conf cc = {.index_path = fx->index,
	    .data_dirs = dirs,
	    .ndata_dirs = 1,
	    .capacity_bytes = 256u << 20,
	    .flush_interval_ms = 100,
	    .workers = 2};
	struct cw_share_env env = {.appliance_id = "test"};
	char err[256] = "";
	int r;

	r = cache_open(&cc, &fx->cache, err, sizeof(err));
	if (r < 0)
		fail_msg("cache_open: %s %s", err_str(r), err);
	env.cache = fx->cache;
	env.store = fx_door(fx->store);
	assert_int_equal(cw_share_open(7, &fx->conf, &env, &fx->s), 0);
	assert_int_equal(cache_start(fx->cache), 0);
	fx->root = cw_share_root(fx->s);
}

static inline void
fx_stop(struct fx *fx)
{
	cw_share_close(fx->s);
	cache_close(fx->cache);
}

/* fx_restart - the daemon ends and starts again. */
static inline void
fx_restart(struct fx *fx)
{
	fx_stop(fx);
	fx_start(fx);
}

static inline struct fx *
fx_new(void)
{
	struct fx *fx = xcalloc(1, sizeof(*fx));

	log_set_level(LOG_LEVEL_ERR);
	snprintf(fx->dir, sizeof(fx->dir), "/tmp/cw-share-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->index, sizeof(fx->index), "%s/index.db", fx->dir);
	snprintf(fx->data, sizeof(fx->data), "%s/data", fx->dir);
	assert_int_equal(mkdir(fx->data, 0700), 0);
	fx->store = objstore_mem_new("test");
	cw_share_conf_init(&fx->conf);
	fx->conf.name = xstrdup("test");
	fx->conf.bucket = xstrdup("bucket");
	fx->conf.settle_ms = fx->conf.max_age_ms = 3600 * 1000; /* nothing is uploaded by itself */
	return fx;
}

static inline void
fx_remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char *sub;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		sub = xasprintf("%s/%s", path, e->d_name);
		if (unlink(sub) < 0)
			fx_remove_dir(sub);
		free(sub);
	}
	if (d != NULL)
		closedir(d);
	rmdir(path);
}

static inline void
fx_free(struct fx *fx)
{
	fx_stop(fx);
	fx->store->ops->close(fx->store);
	fx_remove_dir(fx->dir);
	cw_share_conf_free(&fx->conf);
	free(fx);
}

static inline int
fx_setup(void **state)
{
	struct fx *fx = fx_new();

	fx_start(fx);
	*state = fx;
	return 0;
}

static inline int
fx_teardown(void **state)
{
	fx_free(*state);
	return 0;
}

/* --- ops ---------------------------------------------------------------------------------------- */

static inline struct cw_op *
fx_op(struct fx *fx, enum cw_opcode code, const struct cw_cred *cred, uint64_t ino)
{
	memset(&fx->op, 0, sizeof(fx->op));
	fx->op.code = code;
	fx->op.share = fx->s;
	fx->op.cred = *cred;
	fx->op.ino = ino;
	return &fx->op;
}

static inline int
fx_getattr(struct fx *fx, uint64_t ino)
{
	return cw_call(fx_op(fx, CW_GETATTR, &fx_root, ino));
}

static inline int
fx_lookup(struct fx *fx, const struct cw_cred *cred, uint64_t dir, const char *name)
{
	struct cw_op *op = fx_op(fx, CW_LOOKUP, cred, dir);

	op->name = name;
	return cw_call(op);
}

static inline int
fx_setattr(struct fx *fx, const struct cw_cred *cred, uint64_t ino, const struct cw_sattr *a)
{
	struct cw_op *op = fx_op(fx, CW_SETATTR, cred, ino);

	op->sattr = *a;
	return cw_call(op);
}

static inline int
fx_chmod(struct fx *fx, uint64_t ino, uint32_t mode)
{
	struct cw_sattr a = {.mask = CW_SET_MODE, .mode = mode};

	return fx_setattr(fx, &fx_root, ino, &a);
}

static inline int
fx_truncate(struct fx *fx, const struct cw_cred *cred, uint64_t ino, uint64_t size)
{
	struct cw_sattr a = {.mask = CW_SET_SIZE, .size = size};

	return fx_setattr(fx, cred, ino, &a);
}

static inline int
fx_make(struct fx *fx, enum cw_opcode code, const struct cw_cred *cred, uint64_t dir,
    const char *name, uint32_t mode)
{
	struct cw_op *op = fx_op(fx, code, cred, dir);

	op->name = name;
	op->create_mode = CW_CREATE_GUARDED;
	op->sattr.mask = CW_SET_MODE;
	op->sattr.mode = mode;
	return cw_call(op);
}

static inline int
fx_create(struct fx *fx, const struct cw_cred *cred, uint64_t dir, const char *name, uint32_t mode)
{
	return fx_make(fx, CW_CREATE, cred, dir, name, mode);
}

static inline int
fx_mkdir(struct fx *fx, const struct cw_cred *cred, uint64_t dir, const char *name, uint32_t mode)
{
	return fx_make(fx, CW_MKDIR, cred, dir, name, mode);
}

/* fx_create_ok, fx_mkdir_ok - result: ino */
static inline uint64_t
fx_create_ok(struct fx *fx, uint64_t dir, const char *name)
{
	assert_int_equal(fx_create(fx, &fx_root, dir, name, 0644), 0);
	return fx->op.attr.ino;
}

static inline uint64_t
fx_mkdir_ok(struct fx *fx, uint64_t dir, const char *name)
{
	assert_int_equal(fx_mkdir(fx, &fx_root, dir, name, 0755), 0);
	return fx->op.attr.ino;
}

static inline int
fx_unlink(
    struct fx *fx, enum cw_opcode code, const struct cw_cred *cred, uint64_t dir, const char *name)
{
	struct cw_op *op = fx_op(fx, code, cred, dir);

	op->name = name;
	return cw_call(op);
}

static inline int
fx_rename(struct fx *fx, const struct cw_cred *cred, uint64_t dir, const char *name, uint64_t dir2,
    const char *name2)
{
	struct cw_op *op = fx_op(fx, CW_RENAME, cred, dir);

	op->name = name;
	op->ino2 = dir2;
	op->name2 = name2;
	return cw_call(op);
}

static inline int
fx_write(struct fx *fx, const struct cw_cred *cred, uint64_t ino, uint64_t off, const void *data,
    uint32_t len)
{
	struct cw_op *op = fx_op(fx, CW_WRITE, cred, ino);

	op->offset = off;
	op->count = len;
	op->buf = (void *)(uintptr_t)data;
	return cw_call(op);
}

static inline int
fx_read(
    struct fx *fx, const struct cw_cred *cred, uint64_t ino, uint64_t off, void *buf, uint32_t len)
{
	struct cw_op *op = fx_op(fx, CW_READ, cred, ino);

	op->offset = off;
	op->count = len;
	op->buf = buf;
	return cw_call(op);
}

static inline int
fx_commit(struct fx *fx, uint64_t ino)
{
	return cw_call(fx_op(fx, CW_COMMIT, &fx_root, ino));
}

#endif
